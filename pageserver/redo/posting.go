package redo

import (
	"github.com/varvedb/varve/wal/pgwal"
)

// An index tuple is | row or block and number (6) | info (2) | null bitmap, keys |. The
// low bits of info are its size. A posting list is a tuple for several rows with equal
// keys: the alternative-TID bit of info is set, the first 6 bytes are the offset of
// the list of rows in the tuple, as a block, and their number with a flag; the list is
// at the tuple's end, 6 bytes a row, ascending.
const (
	tupleIDsAndInfo = 8
	tupleNumber     = 4
	tupleInfo       = 6
	tupleSizeMask   = 0x1FFF
	tupleAltTID     = 0x2000
	rowBytes        = 6
	postingFlag     = 0x2000 // in the number
	postingRowsMask = 0x0FFF

	// indexTupleMax is above BTMaxItemSize: at least three tuples fit on a page.
	indexTupleMax = pgwal.PageSize / 3
)

// indexTupleSize is the size of the tuple at the start of b, all of which is in b
// with its padding.
func indexTupleSize(b []byte) (int, error) {
	if len(b) < tupleIDsAndInfo {
		return 0, corrupt("index tuple", tupleIDsAndInfo, len(b))
	}
	size := int(get16(b, tupleInfo)) & tupleSizeMask
	if size < tupleIDsAndInfo || align(size) > len(b) {
		return 0, corrupt("size of an index tuple", len(b), size)
	}
	return size, nil
}

// tidBlock reads the block of an item pointer.
func tidBlock(b []byte) uint32 { return uint32(get16(b, 0))<<16 | uint32(get16(b, 2)) }

// rowsOf returns the row or rows that a tuple leads to, and how many bytes come before
// the list. Of a tuple that is no posting list these are all.
func rowsOf(tuple []byte) (list []byte, keys int, err error) {
	size, err := indexTupleSize(tuple)
	if err != nil {
		return nil, 0, err
	}
	number := int(get16(tuple, tupleNumber))
	if get16(tuple, tupleInfo)&tupleAltTID == 0 || number&postingFlag == 0 {
		return tuple[:rowBytes], size, nil
	}
	count, at := number&postingRowsMask, int(tidBlock(tuple)&0xFFFF)
	if tidBlock(tuple) > uint32(size) || at < tupleIDsAndInfo || count < 1 || at+count*rowBytes > size {
		return nil, 0, corrupt("posting list", size, number)
	}
	return tuple[at : at+count*rowBytes], at, nil
}

// postingOf returns the rows of a posting list.
func postingOf(tuple []byte) (list []byte, keys int, err error) {
	if list, keys, err = rowsOf(tuple); err != nil {
		return nil, 0, err
	}
	if keys+len(list) > len(tuple) {
		return nil, 0, corrupt("index tuple", "a posting list", keys)
	}
	return list, keys, nil
}

// formPosting writes to dst a tuple with the keys of base, whose keys end at keys, for
// the rows of list, and returns it.
func formPosting(dst, base []byte, keys int, list []byte) ([]byte, error) {
	count := len(list) / rowBytes
	size := keys
	if count > 1 {
		size = align(keys + len(list))
	}
	if size > len(dst) || count < 1 || count > postingRowsMask {
		return nil, corrupt("rows of a posting list", len(dst), size)
	}
	tuple := dst[:size]
	clear(tuple[copy(tuple, base[:keys]):])
	info := get16(tuple, tupleInfo)&^tupleSizeMask | uint16(size)
	if count > 1 {
		put16(tuple, tupleInfo, info|tupleAltTID)
		putTID(tuple, uint32(keys), uint16(count)|postingFlag)
		copy(tuple[keys:], list)
	} else {
		put16(tuple, tupleInfo, info&^tupleAltTID)
		copy(tuple, list)
	}
	return tuple, nil
}

// swapPosting puts the row of tuple into a posting list at place, and the list's last
// row, which has no room there any more, into tuple.
func swapPosting(tuple, posting []byte, place int) error {
	list, _, err := postingOf(posting)
	if err != nil {
		return err
	}
	at := place * rowBytes
	if place < 1 || at >= len(list) {
		return corrupt("place in a posting list", len(list)/rowBytes, place)
	}
	var last [rowBytes]byte
	copy(last[:], list[len(list)-rowBytes:])
	copy(list[at+rowBytes:], list[at:])
	copy(list[at:], tuple[:rowBytes])
	copy(tuple, last[:])
	return nil
}

// split does swapPosting on copies, in room, of a new tuple and of posting list n.
func (f frame) split(page []byte, n int, tuple []byte, place int, room *[2 * indexTupleMax]byte) (added, posting []byte, err error) {
	old, err := f.stored(page, n, tupleIDsAndInfo)
	if err != nil {
		return nil, nil, err
	}
	if len(tuple) > indexTupleMax || len(old) > indexTupleMax {
		return nil, nil, corrupt("size of an index tuple", indexTupleMax, max(len(tuple), len(old)))
	}
	added = room[:copy(room[:], tuple)]
	posting = room[indexTupleMax:][:copy(room[indexTupleMax:], old)]
	return added, posting, swapPosting(added, posting, place)
}

// shorten removes rows from posting list n. changes begins with their number (2) and
// their places (2 each), ascending; what follows is returned.
func (f *frame) shorten(page []byte, n int, changes []byte) ([]byte, error) {
	if len(changes) < 2 || len(changes)-2 < 2*int(get16(changes, 0)) {
		return nil, corrupt("rows to remove from a posting list", 2, len(changes))
	}
	gone := numbers(changes[2:][:2*int(get16(changes, 0))])
	rest := changes[2+len(gone):]
	old, err := f.stored(page, n, tupleIDsAndInfo)
	if err != nil {
		return nil, err
	}
	list, keys, err := postingOf(old)
	if err != nil {
		return nil, err
	}
	var left, room [indexTupleMax]byte
	kept := left[:0]
	for i := range len(list) / rowBytes {
		if gone.len() > 0 && gone.at(0) == i {
			gone = gone[2:]
			continue
		}
		if len(kept)+rowBytes > len(left) {
			return nil, corrupt("rows of a posting list", len(left), len(list))
		}
		kept = append(kept, list[i*rowBytes:][:rowBytes]...)
	}
	if gone.len() > 0 {
		return nil, corrupt("rows to remove from a posting list", "ascending places", gone.at(0))
	}
	tuple, err := formPosting(room[:], old, keys, kept)
	if err != nil {
		return nil, err
	}
	return rest, f.replaceIndex(page, n, tuple)
}

// dedup merges runs of tuples with equal keys into posting lists, on a copy of a page.
type dedup struct {
	page  [pgwal.PageSize]byte
	frame frame
	base  []byte // first tuple of the run, on the page as it was
	keys  int
	items int
	rows  int // bytes of rows in the run, in list
	list  [pgwal.PageSize]byte
}

// start begins a run.
func (d *dedup) start(tuple []byte) error {
	d.base, d.items, d.rows = tuple, 0, 0
	_, keys, err := rowsOf(tuple)
	d.keys = keys
	if err != nil {
		return err
	}
	return d.add(tuple)
}

// add puts the rows of a tuple into the run.
func (d *dedup) add(tuple []byte) error {
	list, _, err := rowsOf(tuple)
	if err != nil {
		return err
	}
	if d.rows+len(list) > len(d.list) {
		return corrupt("rows of a posting list", len(d.list), d.rows+len(list))
	}
	d.rows += copy(d.list[d.rows:], list)
	d.items++
	return nil
}

// finish writes the run: one tuple stays as it is.
func (d *dedup) finish() error {
	if d.items == 1 {
		return d.frame.append(d.page[:], d.base)
	}
	var room [indexTupleMax]byte
	tuple, err := formPosting(room[:], d.base, d.keys, d.list[:d.rows])
	if err != nil {
		return err
	}
	return d.frame.append(d.page[:], tuple)
}

// btreeDedup deduplicates a leaf. The data of the block are intervals, ascending:
// | number of the first tuple (2) | tuples (2) |; tuples in none stay.
func btreeDedup(page []byte, rec *pgwal.Record, ref *pgwal.BlockRef) error {
	count, err := pgwal.ParseBtreeDedup(rec)
	if err != nil {
		return err
	}
	f, o, err := btreeFrame(page)
	if err != nil {
		return err
	}
	intervals := numbers(ref.Data)
	if len(ref.Data) != 4*int(count) {
		return corrupt("intervals to deduplicate", 4*int(count), len(ref.Data))
	}
	var d dedup
	d.frame, _ = btreeInit(d.page[:], 0, 0, 0, 0)
	copy(d.page[d.frame.special:], o)
	n := o.firstData()
	if n == 2 {
		high, err := f.stored(page, 1, tupleIDsAndInfo)
		if err != nil {
			return err
		}
		if err := d.frame.append(d.page[:], high); err != nil {
			return err
		}
	}
	for n <= f.count() {
		items := 1
		if len(intervals) > 0 && intervals.at(0) == n {
			items, intervals = max(1, intervals.at(1)), intervals[4:]
		}
		if err := d.merge(page, f, n, items); err != nil {
			return err
		}
		n += items
	}
	if len(intervals) > 0 {
		return corrupt("interval to deduplicate", "ascending ones on the page", intervals.at(0))
	}
	copy(page, d.page[:])
	o.setFlags(o.flags() &^ btreeHasGarbage)
	return nil
}

// merge writes the run of so many tuples from n on.
func (d *dedup) merge(page []byte, f frame, n, items int) error {
	for i := range items {
		tuple, err := f.stored(page, n+i, tupleIDsAndInfo)
		if err != nil {
			return err
		}
		if i == 0 {
			err = d.start(tuple)
		} else {
			err = d.add(tuple)
		}
		if err != nil {
			return err
		}
	}
	return d.finish()
}
