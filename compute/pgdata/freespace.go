package pgdata

import (
	"encoding/binary"

	"github.com/varvedb/varve/wal/pgwal"
)

// A free-space map tells for each page of a heap how much room it has, in steps of 32
// bytes. PostgreSQL 15 keeps it in pages of its own, each a heap-ordered tree whose
// inner nodes are the greater of their children:
//
//	0     24  page header: nothing but the header, no special area
//	24     4  slot where the next search begins
//	28  4095  inner nodes: node n has the children 2n+1 and 2n+2
//	4123 4069 leaves, one a slot
//
// A slot of a page at level 0 is the room of a page of the heap, one of a higher page
// the root of the page below. There are three levels, and the pages lie depth first:
// the root, its first child, the 4069 children of that, the root's second child, ...
const (
	mapNodesAt = pageHeaderSize + 4
	innerNodes = pgwal.PageSize/2 - 1
	mapSlots   = pgwal.PageSize - mapNodesAt - innerNodes
	mapLevels  = 3

	roomStep    = pgwal.PageSize / 256
	roomMost    = 255  // of a page that takes the largest row
	largestRow  = 8160 // with its pointer and nothing else on the page
	mostRows    = 291  // that a heap's page can point at
	unusedPage  = pgwal.PageSize - pageHeaderSize
	pageVersion = pgwal.PageSize | 4

	pageFlagsAt  = 10
	hasFreeLines = 1 // without it PostgreSQL looks for no unused pointer
)

// freeSpace gathers the room of a relation's pages, in order of their blocks.
type freeSpace struct {
	rooms []byte // in steps, as PostgreSQL writes them
	heaps int    // pages that are of a heap for certain
	other bool   // a page is of something else
}

// add takes the next page.
func (f *freeSpace) add(page []byte) {
	le := binary.LittleEndian
	lower, upper, special := int(le.Uint16(page[12:])), int(le.Uint16(page[14:])), int(le.Uint16(page[16:]))
	switch {
	case upper == 0: // as PostgreSQL knows a page that was never used
		f.rooms = append(f.rooms, roomInSteps(unusedPage))
	case special == pgwal.PageSize && le.Uint16(page[18:]) == pageVersion && pageHeaderSize <= lower && lower <= upper && upper <= special:
		f.heaps++
		f.rooms = append(f.rooms, roomInSteps(roomOf(page, lower, upper)))
	default: // Only a heap's pages have no special area.
		f.other = true
	}
}

// roomOf counts the bytes that a heap's page has for one more row.
func roomOf(page []byte, lower, upper int) int {
	if (lower-pageHeaderSize)/itemSize < mostRows || page[pageFlagsAt]&hasFreeLines != 0 && hasUnusedPointer(page[pageHeaderSize:lower]) {
		return max(upper-lower-itemSize, 0)
	}
	return 0
}

// hasUnusedPointer tells whether a row can come in without a new pointer.
func hasUnusedPointer(pointers []byte) bool {
	for ; len(pointers) >= itemSize; pointers = pointers[itemSize:] {
		if flags := binary.LittleEndian.Uint32(pointers) >> 15 & 3; flags == 0 {
			return true
		}
	}
	return false
}

func roomInSteps(room int) byte {
	if room >= largestRow {
		return roomMost
	}
	return byte(min(room/roomStep, roomMost-1))
}

// useful tells whether a map of f helps: without one PostgreSQL tries the last page.
func (f *freeSpace) useful() bool {
	if f.other || f.heaps == 0 {
		return false
	}
	for _, room := range f.rooms[:len(f.rooms)-1] {
		if room > 0 {
			return true
		}
	}
	return false
}

// fork makes the map's pages.
func (f *freeSpace) fork() []byte {
	last := (len(f.rooms) - 1) / mapSlots
	pages := make([]byte, (mapBlock(0, last)+1)*pgwal.PageSize)
	slots := f.rooms
	for level := range mapLevels {
		var roots []byte
		for n := 0; len(slots) > 0; n++ {
			mine := slots[:min(len(slots), mapSlots)]
			at := mapBlock(level, n) * pgwal.PageSize
			roots = append(roots, fillMapPage(pages[at:at+pgwal.PageSize], mine))
			slots = slots[len(mine):]
		}
		slots = roots
	}
	return pages
}

// fillMapPage makes a page of the map, and returns its root.
func fillMapPage(page, slots []byte) byte {
	le := binary.LittleEndian
	le.PutUint16(page[12:], pageHeaderSize)
	le.PutUint16(page[14:], pgwal.PageSize)
	le.PutUint16(page[16:], pgwal.PageSize)
	le.PutUint16(page[18:], pageVersion)
	nodes := page[mapNodesAt:]
	copy(nodes[innerNodes:], slots)
	for n := innerNodes - 1; n >= 0; n-- {
		for _, child := range nodes[min(2*n+1, len(nodes)):min(2*n+3, len(nodes))] {
			nodes[n] = max(nodes[n], child)
		}
	}
	return nodes[0]
}

// mapBlock is where page n of a level lies in the fork.
func mapBlock(level, n int) int {
	first := n // of the leaf pages below it
	for range level {
		first *= mapSlots
	}
	// Every page of each level up to that leaf comes before, but for the leaf's own
	// ancestors below level.
	block := 0
	for range mapLevels {
		block += first + 1
		first /= mapSlots
	}
	return block - level - 1
}
