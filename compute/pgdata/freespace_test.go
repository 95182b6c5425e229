package pgdata

import (
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/wal/pgwal"
)

// TestMapTellsTheRoomOfEveryPage reads maps as a searcher does, from the root down, and
// holds each node against the greatest room below it.
func TestMapTellsTheRoomOfEveryPage(t *testing.T) {
	for _, pages := range []int{1, 2, mapSlots - 1, mapSlots, mapSlots + 1, 3*mapSlots + 7} {
		f := freeSpace{rooms: make([]byte, pages)}
		for i := range f.rooms {
			f.rooms[i] = byte(rand.IntN(256))
		}
		fork := f.fork()
		leaves := (pages + mapSlots - 1) / mapSlots
		require.Len(t, fork, (2+leaves)*pgwal.PageSize, "the root, one page below it, and the leaves")
		page := func(block int) []byte { return fork[block*pgwal.PageSize:][:pgwal.PageSize] }
		slot := func(block, n int) byte { return page(block)[mapNodesAt+innerNodes+n] }
		require.Equal(t, slices.Max(f.rooms), slot(0, 0))
		require.Equal(t, page(0)[mapNodesAt], slot(0, 0))
		for i, room := range f.rooms {
			require.Equal(t, room, slot(2+i/mapSlots, i%mapSlots))
		}
		for n, rooms := range slices.Collect(slices.Chunk(f.rooms, mapSlots)) {
			require.Equal(t, slices.Max(rooms), slot(1, n))
		}
		for block := range 2 + leaves {
			requireOrdered(t, page(block)[mapNodesAt:])
		}
	}
}

func requireOrdered(t *testing.T, nodes []byte) {
	t.Helper()
	for n := 1; n < len(nodes); n++ {
		require.GreaterOrEqual(t, nodes[(n-1)/2], nodes[n], "node %d and its parent", n)
	}
}

// TestMapPagesLieDepthFirst walks the tree and counts.
func TestMapPagesLieDepthFirst(t *testing.T) {
	next := 0
	visit := func(level, n int) {
		require.Equal(t, next, mapBlock(level, n), "page %d of level %d", n, level)
		next++
	}
	visit(2, 0)
	for child := range 3 {
		visit(1, child)
		for leaf := range mapSlots {
			visit(0, child*mapSlots+leaf)
		}
	}
}

func TestOnlyHeapsGetAMap(t *testing.T) {
	heap := func(lower, upper, special uint16) []byte {
		page := make([]byte, pgwal.PageSize)
		for i, v := range []uint16{lower, upper, special, pageVersion} {
			binary.LittleEndian.PutUint16(page[12+2*i:], v)
		}
		return page
	}
	unused, full, roomy := make([]byte, pgwal.PageSize), heap(28, 28, 8192), heap(24, 8192, 8192)
	manyRows := heap(pageHeaderSize+mostRows*itemSize, 8000, 8192)
	reusable := slices.Clone(manyRows)
	reusable[pageFlagsAt] = hasFreeLines
	taken := slices.Clone(reusable)
	for i := range mostRows {
		binary.LittleEndian.PutUint32(taken[pageHeaderSize+i*itemSize:], 1<<15)
	}
	for _, c := range []struct {
		name   string
		pages  [][]byte
		useful bool
		rooms  []byte
	}{
		{"nothing", nil, false, nil},
		{"pages that were never used", [][]byte{unused, unused}, false, []byte{255, 255}},
		{"room on the last page only", [][]byte{full, roomy}, false, []byte{0, 255}},
		{"room before the last page", [][]byte{roomy, full}, true, []byte{255, 0}},
		{"a page that was never used", [][]byte{unused, full}, true, []byte{255, 0}},
		{"room for 31 and for 32 bytes", [][]byte{heap(24, 59, 8192), heap(24, 60, 8192), full}, true, []byte{0, 1, 0}},
		{"the largest row but one byte", [][]byte{heap(24, 8187, 8192), full}, true, []byte{254, 0}},
		{"as many rows as a page can have", [][]byte{manyRows, taken, reusable, full}, true, []byte{0, 0, 212, 0}},
		{"a special area", [][]byte{roomy, heap(24, 8176, 8176), full}, false, []byte{255, 0}},
		{"a header out of order", [][]byte{roomy, heap(100, 50, 8192), full}, false, []byte{255, 0}},
	} {
		var f freeSpace
		for _, page := range c.pages {
			f.add(page)
		}
		require.Equal(t, c.rooms, f.rooms, c.name)
		require.Equal(t, c.useful, f.useful(), c.name)
	}
}
