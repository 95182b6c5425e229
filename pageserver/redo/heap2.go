package redo

import (
	"github.com/varvedb/varve/wal/pgwal"
)

// heap2 applies a Heap2 record to the page that is ref.
func heap2(page []byte, rec *pgwal.Record, ref *pgwal.BlockRef) error {
	switch rec.Op() {
	case pgwal.OpHeap2Prune:
		return heapPrune(page, rec, ref)
	case pgwal.OpHeap2Vacuum:
		return heapVacuum(page, rec, ref)
	case pgwal.OpHeap2FreezePage:
		return heapFreeze(page, rec, ref)
	case pgwal.OpHeap2Visible:
		return heapVisible(page, rec, ref)
	case pgwal.OpHeap2MultiInsert:
		return heapMultiInsert(page, rec, ref)
	case pgwal.OpHeap2LockUpdated:
		_, _, err := lockedTuple(page, rec)
		return err
	}
	return unknownKind(rec)
}

// heapPrune turns line pointers into redirected, dead and unused ones, then compacts. The
// data of the block are their numbers: pairs for the redirected.
func heapPrune(page []byte, rec *pgwal.Record, ref *pgwal.BlockRef) error {
	h, err := pgwal.ParseHeapPrune(rec)
	if err != nil {
		return err
	}
	f, err := frameOf(page)
	if err != nil {
		return err
	}
	redirected, dead := 4*int(h.Redirected), 2*int(h.Dead)
	if len(ref.Data)%2 != 0 || redirected+dead > len(ref.Data) {
		return corrupt("line pointers to prune", redirected+dead, len(ref.Data))
	}
	for pairs := numbers(ref.Data[:redirected]); len(pairs) > 0; pairs = pairs[4:] {
		to := pairs.at(1)
		if to < 1 || to > f.count() {
			return corrupt("line pointer to redirect to", f.count(), to)
		}
		if err := f.turn(page, pairs.at(0), pointer{state: pointerRedirect, offset: to}); err != nil {
			return err
		}
	}
	if err := f.turnAll(page, ref.Data[redirected:redirected+dead], pointer{state: pointerDead}); err != nil {
		return err
	}
	if err := f.turnAll(page, ref.Data[redirected+dead:], pointer{state: pointerUnused}); err != nil {
		return err
	}
	if err := f.compact(page); err != nil {
		return err
	}
	f.cutUnused(page, 0)
	return nil
}

// cutUnused cuts unused line pointers off the array's end, but for the first so many,
// and sets the page's flag that says whether there are others.
func (f *frame) cutUnused(page []byte, keep int) {
	for f.count() > keep && at(page, f.count()).state == pointerUnused {
		f.lower -= pointerBytes
	}
	f.store(page)
	if hasUnused(f.lines(page)) {
		flags(page, flagHasFreeLines, 0)
	} else {
		flags(page, 0, flagHasFreeLines)
	}
}

// turn replaces a line pointer.
func (f frame) turn(page []byte, n int, p pointer) error {
	if _, err := f.named(page, n); err != nil {
		return err
	}
	setPointer(page, n, p)
	return nil
}

func (f frame) turnAll(page []byte, which numbers, p pointer) error {
	for i := range which.len() {
		if err := f.turn(page, which.at(i), p); err != nil {
			return err
		}
	}
	return nil
}

// heapVacuum frees dead line pointers and cuts unused ones off the array's end; but
// for the first one, so that the page does not look like an empty one.
func heapVacuum(page []byte, rec *pgwal.Record, ref *pgwal.BlockRef) error {
	unused, err := pgwal.ParseHeapVacuum(rec)
	if err != nil {
		return err
	}
	f, err := frameOf(page)
	if err != nil {
		return err
	}
	if len(ref.Data) != 2*int(unused) {
		return corrupt("line pointers to free", 2*int(unused), len(ref.Data))
	}
	if err := f.turnAll(page, ref.Data, pointer{state: pointerUnused}); err != nil {
		return err
	}
	f.cutUnused(page, 1)
	return nil
}

// heapFreeze replaces the xmax and the flags of tuples. The data of the block are the
// plans: | xmax (4) | line pointer (2) | t_infomask2 (2) | t_infomask (2) | what (1) | 0 (1) |
func heapFreeze(page []byte, rec *pgwal.Record, ref *pgwal.BlockRef) error {
	const (
		planBytes   = 12
		xvacFrozen  = 0x02 // t_xvac, which shares its bytes with t_cid, is set to these
		xvacInvalid = 0x04
		frozenXID   = 2
	)
	h, err := pgwal.ParseHeapFreezePage(rec)
	if err != nil {
		return err
	}
	f, err := frameOf(page)
	if err != nil {
		return err
	}
	if len(ref.Data) != planBytes*int(h.Tuples) {
		return corrupt("plans to freeze tuples", planBytes*int(h.Tuples), len(ref.Data))
	}
	for plans := ref.Data; len(plans) > 0; plans = plans[planBytes:] {
		tuple, err := f.tuple(page, int(get16(plans, 4)), tupleHeader)
		if err != nil {
			return err
		}
		put32(tuple, tupleXmax, get32(plans, 0))
		if plans[10]&xvacFrozen != 0 {
			put32(tuple, tupleCID, frozenXID)
		}
		if plans[10]&xvacInvalid != 0 {
			put32(tuple, tupleCID, 0)
		}
		put16(tuple, tupleInfomask2, get16(plans, 6))
		put16(tuple, tupleInfomask, get16(plans, 8))
	}
	return nil
}

// heapVisible sets bits of the visibility map, which is block 0, and the flag of the
// heap page, block 1, that they are about.
func heapVisible(page []byte, rec *pgwal.Record, ref *pgwal.BlockRef) error {
	h, err := pgwal.ParseHeapVisible(rec)
	if err != nil {
		return err
	}
	if ref.ID == 1 {
		flags(page, flagAllVisible, 0)
		return nil
	}
	heapPage := rec.Block(1)
	if heapPage == nil {
		return corrupt("heap page that is all-visible", "a block reference", "none")
	}
	return vmSet(page, ref.Block, heapPage.Block, h.Flags)
}

// heapMultiInsert adds tuples. The data of the block are, for each, aligned to 2:
// | length of the rest (2) | t_infomask2 (2) | t_infomask (2) | t_hoff (1) | rest |
func heapMultiInsert(page []byte, rec *pgwal.Record, ref *pgwal.BlockRef) error {
	const headerBytes = 2 + logHeaderBytes
	h, err := pgwal.ParseHeapMultiInsert(rec)
	if err != nil {
		return err
	}
	f, err := heapFrame(page, rec)
	if err != nil {
		return err
	}
	data, from := ref.Data, 0
	for i := range int(h.Tuples) {
		n := i + 1
		if len(h.Offsets) > 0 {
			n = numbers(h.Offsets).at(i)
		}
		from += from & 1
		if len(data)-from < headerBytes {
			return corrupt("data of new tuples", headerBytes, len(data)-from)
		}
		header := data[from:]
		from += headerBytes
		length := int(get16(header, 0))
		if len(data)-from < length {
			return corrupt("data of new tuples", length, len(data)-from)
		}
		tuple, err := f.addHeap(page, n, tupleHeader+length)
		if err != nil {
			return err
		}
		startTuple(tuple, rec.XID, ref.Block, uint16(n), header[2:])
		copy(tuple[tupleHeader:], data[from:from+length])
		from += length
	}
	if from != len(data) {
		return corrupt("data of new tuples", from, len(data))
	}
	inserted(page, h.Flags)
	return nil
}
