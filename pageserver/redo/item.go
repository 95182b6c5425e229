package redo

import (
	"encoding/binary"
	"sync"

	"github.com/varvedb/varve/wal/pgwal"
)

// A page of items is a header, an array of line pointers that grows upwards, a hole,
// tuples that grow downwards from the special space, and the special space:
//
//	| header (24) | pointer 1 | pointer 2 | ... | hole | ... | tuple 2 | tuple 1 | special |
//	                                      pd_lower   pd_upper                  pd_special
//
// A line pointer is 32 bits: offset (15), state (2), length (15). Redirected ones hold
// the pointer they lead to in place of the offset. Where tuples lie is part of what
// PostgreSQL logs, if only implicitly: redo must put each where PostgreSQL put it.
const (
	pointerBytes = 4
	tupleAlign   = 8

	invalidBlock = 0xFFFFFFFF // InvalidBlockNumber
)

// The states of a line pointer.
const (
	pointerUnused   = 0
	pointerNormal   = 1
	pointerRedirect = 2
	pointerDead     = 3
)

// Bits of pd_flags.
const (
	flagHasFreeLines = 1 << 0
	flagAllVisible   = 1 << 2
)

// frame is the three offsets of a page's header, known to be in order.
type frame struct{ lower, upper, special int }

// frameOf reads and checks a page's offsets.
func frameOf(page []byte) (frame, error) {
	f := frame{
		lower:   int(binary.LittleEndian.Uint16(page[offLower:])),
		upper:   int(binary.LittleEndian.Uint16(page[offUpper:])),
		special: int(binary.LittleEndian.Uint16(page[offSpecial:])),
	}
	ordered := pageHeaderBytes <= f.lower && f.lower <= f.upper && f.upper <= f.special && f.special <= pgwal.PageSize
	if !ordered || f.special%tupleAlign != 0 {
		return frame{}, corrupt("offsets of the page", "24 <= lower <= upper <= special <= 8192", f)
	}
	return f, nil
}

func (f frame) store(page []byte) {
	binary.LittleEndian.PutUint16(page[offLower:], uint16(f.lower))
	binary.LittleEndian.PutUint16(page[offUpper:], uint16(f.upper))
}

// count is the number of line pointers. They are numbered from 1.
func (f frame) count() int { return (f.lower - pageHeaderBytes) / pointerBytes }

// place is where line pointer n stands in the page.
func place(n int) int { return pageHeaderBytes + (n-1)*pointerBytes }

// pointer is a line pointer, unpacked.
type pointer struct{ offset, state, length int }

func unpack(p uint32) pointer {
	return pointer{offset: int(p & 0x7FFF), state: int(p >> 15 & 3), length: int(p >> 17)}
}

func (p pointer) pack() uint32 { return uint32(p.offset) | uint32(p.state)<<15 | uint32(p.length)<<17 }

// aligned is how many bytes of the page the tuple takes.
func (p pointer) aligned() int { return align(p.length) }

func align(n int) int { return (n + tupleAlign - 1) &^ (tupleAlign - 1) }

// lines is the array of line pointers, for loops over all of them.
func (f frame) lines(page []byte) []byte {
	n := f.lower - pageHeaderBytes
	return page[pageHeaderBytes:][:n-n%pointerBytes]
}

// at reads line pointer n of at most count().
func at(page []byte, n int) pointer { return unpack(binary.LittleEndian.Uint32(page[place(n):])) }

func setPointer(page []byte, n int, p pointer) {
	binary.LittleEndian.PutUint32(page[place(n):], p.pack())
}

// within reports whether the tuple of p lies between hole and special space.
func (f frame) within(p pointer) bool {
	return p.length > 0 && p.offset >= f.upper && p.offset+p.aligned() <= f.special
}

// named reads line pointer n, which a record names.
func (f frame) named(page []byte, n int) (pointer, error) {
	if n < 1 || n > f.count() {
		return pointer{}, corrupt("line pointer that the record names", f.count(), n)
	}
	return at(page, n), nil
}

// tuple returns the bytes of tuple n, of at least so many bytes.
func (f frame) tuple(page []byte, n, atLeast int) ([]byte, error) {
	p, err := f.named(page, n)
	if err != nil {
		return nil, err
	}
	if p.state != pointerNormal || !f.within(p) || p.length < atLeast {
		return nil, corrupt("tuple that the record names", "one in its place", p)
	}
	return page[p.offset:][:p.length:p.length], nil
}

// stored returns the bytes of tuple n of an index, which may be marked dead.
func (f frame) stored(page []byte, n, atLeast int) ([]byte, error) {
	p, err := f.named(page, n)
	if err != nil {
		return nil, err
	}
	if !f.within(p) || p.length < atLeast {
		return nil, corrupt("tuple that the record names", "one in its place", p)
	}
	return page[p.offset:][:p.length:p.length], nil
}

// reserve makes room for a tuple at the end of the hole and returns it. The tuple's
// padding is zeroed. lower is what pd_lower becomes.
func (f *frame) reserve(page []byte, n, size, lower int) ([]byte, error) {
	upper := f.upper - align(size)
	if size <= 0 || lower > upper {
		return nil, corrupt("room for a tuple", f.upper-lower, size)
	}
	f.lower, f.upper = lower, upper
	setPointer(page, n, pointer{offset: upper, state: pointerNormal, length: size})
	f.store(page)
	clear(page[upper+size : upper+align(size)])
	return page[upper:][:size:size], nil
}

// addHeap adds a heap tuple at line pointer n, which is unused or the next one.
func (f *frame) addHeap(page []byte, n, size int) ([]byte, error) {
	const heapTuplesMax = 291 // MaxHeapTuplesPerPage
	if n > heapTuplesMax {
		return nil, corrupt("line pointer of the new tuple", heapTuplesMax, n)
	}
	return f.addAt(page, n, size)
}

// addAt adds a tuple at line pointer n, which is unused or the next one.
func (f *frame) addAt(page []byte, n, size int) ([]byte, error) {
	lower, next := f.lower, f.count()+1
	switch {
	case n < 1 || n > next:
		return nil, corrupt("line pointer of the new tuple", next, n)
	case n == next:
		lower += pointerBytes
	case at(page, n).state != pointerUnused || at(page, n).length != 0:
		return nil, corrupt("line pointer of the new tuple", "an unused one", at(page, n))
	}
	return f.reserve(page, n, size, lower)
}

// addIndex adds an index tuple as number n; those from n on move up by one.
func (f *frame) addIndex(page []byte, n int, tuple []byte) error {
	next := f.count() + 1
	if n < 1 || n > next {
		return corrupt("line pointer of the new tuple", next, n)
	}
	if f.lower+pointerBytes > f.upper-align(len(tuple)) {
		return corrupt("room for a tuple", f.upper-f.lower-pointerBytes, len(tuple))
	}
	copy(page[place(n+1):], page[place(n):f.lower])
	slot, err := f.reserve(page, n, len(tuple), f.lower+pointerBytes)
	if err != nil {
		return err
	}
	copy(slot, tuple)
	return nil
}

// compact moves all tuples to the end of the page, in the order of their pointers, and
// zeroes what they leave behind.
func (f *frame) compact(page []byte) error {
	s, err := f.survey(page)
	if err != nil {
		return err
	}
	if s.ordered {
		// Each moves towards the end, over none that is still to be moved.
		f.gather(page, page, s)
		return nil
	}
	old := oldPages.Get().(*[pgwal.PageSize]byte)
	defer oldPages.Put(old)
	copy(old[f.upper:f.special], page[f.upper:f.special])
	f.gather(page, old[:], s)
	return nil
}

// oldPages are where a page's tuples are while they are put back in another order.
var oldPages = sync.Pool{New: func() any { return new([pgwal.PageSize]byte) }}

// survey is how the tuples of a page lie.
type survey struct {
	ordered bool // as their pointers do
	settled int  // bytes of line pointers, the first ones, whose tuples lie as compact leaves them
	upper   int  // where the last of those tuples begins
}

// survey checks that each tuple lies where tuples lie and that all of them have room
// there. Tuples in order have, if the first and the last of them lie there.
func (f frame) survey(page []byte) (survey, error) {
	lines := f.lines(page)
	s, rest := survey{upper: f.special}, lines
	for ; len(rest) >= pointerBytes; rest = rest[pointerBytes:] {
		p := unpack(binary.LittleEndian.Uint32(rest))
		if p.length == 0 {
			continue
		}
		if p.offset+p.aligned() != s.upper {
			break
		}
		s.upper = p.offset
	}
	s.settled = len(lines) - len(rest)
	last := s.upper
	for ; len(rest) >= pointerBytes; rest = rest[pointerBytes:] {
		p := unpack(binary.LittleEndian.Uint32(rest))
		if p.length == 0 {
			continue
		}
		if p.offset+p.aligned() > last {
			return s, f.checkTuples(lines)
		}
		last = p.offset
	}
	if last < f.upper {
		return s, corrupt("line pointer", "one to a tuple between hole and special space", last)
	}
	s.ordered = true
	return s, nil
}

// checkTuples checks tuples in any order, one by one.
func (f frame) checkTuples(lines []byte) error {
	upper := f.special
	for ; len(lines) >= pointerBytes; lines = lines[pointerBytes:] {
		p := unpack(binary.LittleEndian.Uint32(lines))
		if p.length == 0 {
			continue
		}
		if !f.within(p) {
			return corrupt("line pointer", "one to a tuple between hole and special space", p)
		}
		if upper -= p.aligned(); upper < f.lower {
			return corrupt("room for all tuples", f.special-f.lower, f.special-upper)
		}
	}
	return nil
}

// hasUnused reports whether an array of line pointers has an unused one. It looks at two
// at a time: both bits of a state are zero in an unused one alone.
func hasUnused(lines []byte) bool {
	const high = 1 << 16 // the upper bit of a state
	used := uint64(high<<32 | high)
	for ; len(lines) >= 2*pointerBytes; lines = lines[2*pointerBytes:] {
		pair := binary.LittleEndian.Uint64(lines)
		used &= pair | pair<<1
	}
	for ; len(lines) >= pointerBytes; lines = lines[pointerBytes:] {
		last := uint64(binary.LittleEndian.Uint32(lines))
		used &= last | last<<1 | high<<32
	}
	return used != high<<32|high
}

// gather is compact for tuples that were surveyed, from old, the page as it was: or the
// page itself, if they are in order.
func (f *frame) gather(page, old []byte, s survey) {
	lines, upper := f.lines(page), s.upper
	// Tuples that lie side by side stay so, and move at once: old[begin:end], by so much.
	begin, end, by := 0, 0, 0
	for rest := lines[s.settled:]; len(rest) >= pointerBytes; rest = rest[pointerBytes:] {
		packed := binary.LittleEndian.Uint32(rest)
		p := unpack(packed)
		if p.length == 0 {
			continue
		}
		size := p.aligned()
		upper -= size
		if p.offset+size != begin {
			if by != 0 {
				copy(page[begin+by:], old[begin:end])
			}
			end, by = p.offset+size, upper-p.offset
		}
		begin = p.offset
		put32(rest, 0, packed+uint32(by)) // The offset is in the lowest bits, and has room.
	}
	if by != 0 {
		copy(page[begin+by:], old[begin:end])
	}
	clear(page[f.upper:max(f.upper, upper)])
	f.upper = upper
	f.store(page)
}

// deleteIndex removes tuple n of an index page: its line pointer, and its bytes, over
// which the ones before them move.
func (f *frame) deleteIndex(page []byte, n int) error {
	p, err := f.named(page, n)
	if err != nil {
		return err
	}
	if !f.within(p) {
		return corrupt("index tuple to delete", "one in its place", p)
	}
	copy(page[place(n):], page[place(n+1):f.lower])
	clear(page[f.lower-pointerBytes : f.lower])
	f.lower -= pointerBytes
	f.shift(page, p.offset, p.aligned())
	return nil
}

// shift moves what lies between the hole and offset by so many bytes towards the end,
// or, when negative, towards the beginning, and with it the tuples that begin there
// or at offset itself.
func (f *frame) shift(page []byte, offset, by int) {
	copy(page[f.upper+by:], page[f.upper:offset])
	clear(page[f.upper:max(f.upper, f.upper+by)])
	f.upper += by
	for n := 1; n <= f.count(); n++ {
		if p := at(page, n); p.length > 0 && p.offset <= offset {
			p.offset += by
			setPointer(page, n, p)
		}
	}
	f.store(page)
}

// replaceIndex puts another tuple in the place of index tuple n, whose pointer keeps
// its number and state.
func (f *frame) replaceIndex(page []byte, n int, tuple []byte) error {
	p, err := f.named(page, n)
	if err != nil {
		return err
	}
	shrinks := p.aligned() - align(len(tuple))
	if !f.within(p) || len(tuple) == 0 || f.upper+shrinks < f.lower {
		return corrupt("index tuple to replace", "one in its place, and room", p)
	}
	if shrinks != 0 {
		f.shift(page, p.offset, shrinks)
	}
	p.offset, p.length = p.offset+shrinks, len(tuple)
	setPointer(page, n, p)
	copy(page[p.offset:], tuple)
	clear(page[p.offset+len(tuple) : p.offset+p.aligned()])
	return nil
}

// numbers is an array of line pointer numbers, as records hold it.
type numbers []byte

func (s numbers) len() int     { return len(s) / 2 }
func (s numbers) at(i int) int { return int(binary.LittleEndian.Uint16(s[2*i:])) }

// deleteIndexes removes index tuples, given in ascending order. Up to two are removed
// one by one, the last first, which leaves the other tuples in their order on the
// page; more by compaction, which brings them into the order of their pointers.
func (f *frame) deleteIndexes(page []byte, gone numbers) error {
	const oneByOneMax = 2
	if gone.len() <= oneByOneMax {
		for i := gone.len() - 1; i >= 0; i-- {
			if err := f.deleteIndex(page, gone.at(i)); err != nil {
				return err
			}
		}
		return nil
	}
	kept, next := 0, 0
	for n := 1; n <= f.count(); n++ {
		p := at(page, n)
		if !f.within(p) {
			return corrupt("index tuple", "one in its place", p)
		}
		if next < gone.len() && gone.at(next) == n {
			next++
			continue
		}
		kept++
		setPointer(page, kept, p)
	}
	if next != gone.len() {
		return corrupt("index tuples to delete", "numbers in ascending order", gone.at(next))
	}
	lower := pageHeaderBytes + kept*pointerBytes
	clear(page[lower:f.lower])
	f.lower = lower
	return f.compact(page)
}

// flags changes pd_flags.
func flags(page []byte, set, unset uint16) {
	const offFlags = 10
	binary.LittleEndian.PutUint16(page[offFlags:], binary.LittleEndian.Uint16(page[offFlags:])&^unset|set)
}
