package redo

import (
	"math/rand"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/pgwal"
)

// drawPage makes a page of tuples that lie in some order, side by side or with gaps.
func drawPage(random *rand.Rand) []byte {
	page := make([]byte, pgwal.PageSize)
	special := []int{0, 16}[random.Intn(2)]
	initPageSpecial(page, special)
	random.Read(page[pgwal.PageSize-special:])
	count := 1 + random.Intn(100)
	f := frame{lower: place(count + 1), upper: pgwal.PageSize - special, special: pgwal.PageSize - special}
	order := random.Perm(count)
	if random.Intn(2) == 0 {
		for i := range order {
			order[i] = i // as they lie after a compaction
		}
	}
	for _, i := range order {
		p := pointer{state: random.Intn(4), length: 1 + random.Intn(60)}
		if random.Intn(4) == 0 {
			p.offset, p.length = random.Intn(count), 0
		} else {
			f.upper -= p.aligned()
			p.offset = f.upper
			random.Read(page[p.offset:][:p.aligned()])
		}
		setPointer(page, i+1, p)
		if random.Intn(8) == 0 {
			f.upper -= 8
		}
	}
	f.store(page)
	return page
}

// The naive twin takes all tuples off the page and puts them back, pointer by pointer.
func naiveCompact(page []byte, f frame) []byte {
	twin := append([]byte(nil), page...)
	clear(twin[f.upper:f.special])
	upper := f.special
	for n := 1; n <= f.count(); n++ {
		if p := at(page, n); p.length > 0 {
			upper -= p.aligned()
			copy(twin[upper:], page[p.offset:][:p.aligned()])
			p.offset = upper
			setPointer(twin, n, p)
		}
	}
	frame{lower: f.lower, upper: upper}.store(twin)
	return twin
}

func TestCompactingMovesTuplesAsOneByOne(t *testing.T) {
	random := rand.New(rand.NewSource(1))
	for range 5000 {
		page := drawPage(random)
		f, err := frameOf(page)
		require.NoError(t, err)
		want := naiveCompact(page, f)
		require.NoError(t, f.compact(page))
		require.Equal(t, want, page)
	}
}

// Arrays of which one line pointer, or none, is unused, wherever it stands: and what lies
// behind an array is no part of it.
func TestOneUnusedPointerIsSeen(t *testing.T) {
	for count := range 9 {
		lines := make([]byte, 4*count, 4*count+8)
		for states := range 1 << (2 * count) {
			unused := false
			for n := range count {
				state := states >> (2 * n) & 3
				put32(lines, 4*n, pointer{offset: 0x7FFF * (n % 2), state: state, length: 0x7FFF * (n / 2 % 2)}.pack())
				unused = unused || state == pointerUnused
			}
			if hasUnused(lines) != unused {
				t.Fatalf("%d pointers, their states %b: %v", count, states, !unused)
			}
		}
	}
}

// A tuple that lies outside of where tuples lie is found wherever its pointer stands.
func TestCompactingRefusesTuplesElsewhere(t *testing.T) {
	random := rand.New(rand.NewSource(2))
	for range 2000 {
		page := drawPage(random)
		f, err := frameOf(page)
		require.NoError(t, err)
		n := 1 + random.Intn(f.count())
		offset := []int{random.Intn(f.upper), f.special - random.Intn(8), f.special + random.Intn(8)}[random.Intn(3)]
		setPointer(page, n, pointer{offset: offset, state: pointerNormal, length: 1 + random.Intn(60)})
		if p := at(page, n); !f.within(p) {
			require.ErrorIs(t, f.compact(page), wal.ErrCorruption, "pointer %d to %v in %v", n, p, f)
		}
	}
}

func TestCompactingRefusesTuplesThatAreMoreThanThePage(t *testing.T) {
	page := make([]byte, pgwal.PageSize)
	initPage(page)
	f := frame{lower: place(4), upper: place(4), special: pgwal.PageSize}
	f.upper = align(f.upper)
	for n := 1; n <= 3; n++ { // the same tuple three times
		setPointer(page, n, pointer{offset: f.upper, state: pointerNormal, length: 4000})
	}
	f.store(page)
	require.ErrorIs(t, f.compact(page), wal.ErrCorruption)
}
