package redo

import (
	"encoding/binary"

	"github.com/varvedb/varve/wal/pgwal"
)

// The header of a heap tuple; null bitmap and values follow, the values from t_hoff on:
//
//	| t_xmin (4) | t_xmax (4) | t_cid (4) | t_ctid: block as two halves, the upper one
//	first (4), line pointer (2) | t_infomask2 (2) | t_infomask (2) | t_hoff (1) |
//
// The log does not say which command of a transaction made a change: redo sets t_cid
// to 0, the first one, as PostgreSQL's own does.
const (
	tupleXmin      = 0
	tupleXmax      = 4
	tupleCID       = 8
	tupleCtid      = 12
	tupleInfomask2 = 18
	tupleInfomask  = 20
	tupleHoff      = 22
	tupleHeader    = 23
)

// Bits of t_infomask and t_infomask2.
const (
	xmaxKeyShared  = 0x0010
	comboCID       = 0x0020
	xmaxExclusive  = 0x0040
	xmaxLockOnly   = 0x0080
	xmaxCommitted  = 0x0400
	xmaxInvalid    = 0x0800
	xmaxIsMulti    = 0x1000
	moved          = 0xC000
	xmaxLocks      = xmaxKeyShared | xmaxExclusive
	xmaxBits       = xmaxCommitted | xmaxInvalid | xmaxIsMulti | xmaxLocks | xmaxLockOnly
	keysUpdated    = 0x2000 // of t_infomask2
	hotUpdated     = 0x4000 // of t_infomask2
	movedBlock     = 0xFFFFFFFF
	movedPointer   = 0xFFFD // in t_ctid: the row went to another partition
	logHeaderBytes = 5      // of a tuple in a record: t_infomask2, t_infomask, t_hoff
)

// heap applies a Heap record to the page that is ref.
func heap(page []byte, rec *pgwal.Record, ref *pgwal.BlockRef) error {
	switch rec.Op() {
	case pgwal.OpHeapInsert:
		return heapInsert(page, rec, ref)
	case pgwal.OpHeapDelete:
		return heapDelete(page, rec, ref)
	case pgwal.OpHeapUpdate, pgwal.OpHeapHotUpdate:
		return heapUpdate(page, rec, ref)
	case pgwal.OpHeapConfirm:
		return heapConfirm(page, rec, ref)
	case pgwal.OpHeapLock:
		return heapLock(page, rec, ref)
	case pgwal.OpHeapInplace:
		return heapInplace(page, rec, ref)
	}
	return unknownKind(rec)
}

// heapFrame starts a heap page if the record says so, and checks it.
func heapFrame(page []byte, rec *pgwal.Record) (frame, error) {
	if rec.Info&pgwal.InfoInitPage != 0 {
		initPage(page)
	}
	return frameOf(page)
}

func put16(b []byte, at int, v uint16) { binary.LittleEndian.PutUint16(b[at:], v) }
func put32(b []byte, at int, v uint32) { binary.LittleEndian.PutUint32(b[at:], v) }
func get16(b []byte, at int) uint16    { return binary.LittleEndian.Uint16(b[at:]) }
func get32(b []byte, at int) uint32    { return binary.LittleEndian.Uint32(b[at:]) }

// putTID writes an item pointer.
func putTID(b []byte, block uint32, n uint16) {
	put16(b, 0, uint16(block>>16))
	put16(b, 2, uint16(block))
	put16(b, 4, n)
}

// heapInsert adds a tuple. The data of the block are its header, cut to what cannot be
// known otherwise, and the rest of it.
func heapInsert(page []byte, rec *pgwal.Record, ref *pgwal.BlockRef) error {
	h, err := pgwal.ParseHeapInsert(rec)
	if err != nil {
		return err
	}
	f, err := heapFrame(page, rec)
	if err != nil {
		return err
	}
	if len(ref.Data) < logHeaderBytes {
		return corrupt("data of the new tuple", logHeaderBytes, len(ref.Data))
	}
	rest := ref.Data[logHeaderBytes:]
	tuple, err := f.addHeap(page, int(h.Offset), tupleHeader+len(rest))
	if err != nil {
		return err
	}
	startTuple(tuple, rec.XID, ref.Block, h.Offset, ref.Data)
	copy(tuple[tupleHeader:], rest)
	inserted(page, h.Flags)
	return nil
}

// startTuple writes the header of a tuple that xid makes. logged begins with the
// fields that the record holds.
func startTuple(tuple []byte, xid, block uint32, n uint16, logged []byte) {
	put32(tuple, tupleXmin, xid)
	put32(tuple, tupleXmax, 0)
	put32(tuple, tupleCID, 0)
	putTID(tuple[tupleCtid:], block, n)
	put16(tuple, tupleInfomask2, get16(logged, 0))
	put16(tuple, tupleInfomask, get16(logged, 2)&^comboCID)
	tuple[tupleHoff] = logged[4]
}

// inserted changes the page's flags as an insertion does.
func inserted(page []byte, insertFlags uint8) {
	if insertFlags&pgwal.HeapInsertAllVisibleCleared != 0 {
		flags(page, 0, flagAllVisible)
	}
	if insertFlags&pgwal.HeapInsertAllFrozenSet != 0 {
		flags(page, flagAllVisible, 0)
	}
}

// heapDelete marks a tuple as deleted, or takes a speculative one back.
func heapDelete(page []byte, rec *pgwal.Record, ref *pgwal.BlockRef) error {
	h, err := pgwal.ParseHeapDelete(rec)
	if err != nil {
		return err
	}
	f, err := frameOf(page)
	if err != nil {
		return err
	}
	tuple, err := f.tuple(page, int(h.Offset), tupleHeader)
	if err != nil {
		return err
	}
	setXmaxBits(tuple, h.InfoBits)
	clearHotUpdated(tuple)
	if h.Flags&pgwal.HeapDeleteIsSuper != 0 {
		put32(tuple, tupleXmin, 0)
	} else {
		put32(tuple, tupleXmax, h.Xmax)
	}
	clearCID(tuple)
	prunable(page, rec.XID)
	if h.Flags&pgwal.HeapDeleteAllVisibleCleared != 0 {
		flags(page, 0, flagAllVisible)
	}
	if h.Flags&pgwal.HeapDeleteIsPartitionMove != 0 {
		putTID(tuple[tupleCtid:], movedBlock, movedPointer)
	} else {
		putTID(tuple[tupleCtid:], ref.Block, h.Offset)
	}
	return nil
}

// maskOfXmax is t_infomask's bits of an xmax by the record's of it, all but the last,
// which is about t_infomask2.
var maskOfXmax = makeMasksOfXmax()

func makeMasksOfXmax() (masks [pgwal.HeapKeysUpdated]uint16) {
	for info := range masks {
		for _, bit := range [...]struct {
			logged int
			mask   uint16
		}{
			{pgwal.HeapXmaxIsMulti, xmaxIsMulti},
			{pgwal.HeapXmaxLockOnly, xmaxLockOnly},
			{pgwal.HeapXmaxExclLock, xmaxExclusive},
			{pgwal.HeapXmaxKeyShrLock, xmaxKeyShared},
		} {
			if info&bit.logged != 0 {
				masks[info] |= bit.mask
			}
		}
	}
	return masks
}

// setXmaxBits replaces what a tuple says of its xmax by what the record says.
func setXmaxBits(tuple []byte, info uint8) {
	mask := get16(tuple, tupleInfomask) &^ (xmaxBits | moved)
	mask2 := get16(tuple, tupleInfomask2) &^ keysUpdated
	mask |= maskOfXmax[info%uint8(len(maskOfXmax))]
	if info&pgwal.HeapKeysUpdated != 0 {
		mask2 |= keysUpdated
	}
	put16(tuple, tupleInfomask, mask)
	put16(tuple, tupleInfomask2, mask2)
}

func clearHotUpdated(tuple []byte) {
	put16(tuple, tupleInfomask2, get16(tuple, tupleInfomask2)&^hotUpdated)
}

func clearCID(tuple []byte) {
	put32(tuple, tupleCID, 0)
	put16(tuple, tupleInfomask, get16(tuple, tupleInfomask)&^comboCID)
}

// prunable notes that xid left something to prune, unless something older did.
func prunable(page []byte, xid uint32) {
	const firstNormalXID = 3
	noted := get32(page, offPrune)
	precedes := int32(xid-noted) < 0
	if xid < firstNormalXID || noted < firstNormalXID {
		precedes = xid < noted
	}
	if noted == 0 || precedes {
		put32(page, offPrune, xid)
	}
}

// heapUpdate changes one page of an update. Block 0 has the new tuple; block 1 the old
// one, if it is on another page.
func heapUpdate(page []byte, rec *pgwal.Record, ref *pgwal.BlockRef) error {
	h, err := pgwal.ParseHeapUpdate(rec)
	if err != nil {
		return err
	}
	newRef, oldElsewhere := rec.Block(0), rec.Block(1) != nil
	if newRef == nil || oldElsewhere && rec.Op() == pgwal.OpHeapHotUpdate {
		return corrupt("pages of the update", "the new tuple's, and for a HOT update no other", len(rec.Blocks))
	}
	if ref.ID == 1 {
		f, err := frameOf(page)
		if err != nil {
			return err
		}
		_, err = updateOld(page, f, rec, &h, newRef.Block)
		return err
	}
	f, err := heapFrame(page, rec)
	if err != nil {
		return err
	}
	var old []byte
	if !oldElsewhere {
		if old, err = updateOld(page, f, rec, &h, ref.Block); err != nil {
			return err
		}
	}
	return updateNew(page, f, rec, &h, ref, old)
}

// updateOld marks the old tuple as updated and returns it.
func updateOld(page []byte, f frame, rec *pgwal.Record, h *pgwal.HeapUpdate, newBlock uint32) ([]byte, error) {
	tuple, err := f.tuple(page, int(h.OldOffset), tupleHeader)
	if err != nil {
		return nil, err
	}
	setXmaxBits(tuple, h.OldInfoBits)
	mask2 := get16(tuple, tupleInfomask2) &^ hotUpdated
	if rec.Op() == pgwal.OpHeapHotUpdate {
		mask2 |= hotUpdated
	}
	put16(tuple, tupleInfomask2, mask2)
	put32(tuple, tupleXmax, h.OldXmax)
	clearCID(tuple)
	putTID(tuple[tupleCtid:], newBlock, h.NewOffset)
	prunable(page, rec.XID)
	if h.Flags&pgwal.HeapUpdateOldAllVisibleCleared != 0 {
		flags(page, 0, flagAllVisible)
	}
	return tuple, nil
}

// updateNew adds the new tuple, of which a beginning and an end may be the old one's.
// old is nil if the old tuple is on another page.
//
//	[ prefix length (2) ] [ suffix length (2) ] logged header (5) bitmap values
func updateNew(page []byte, f frame, rec *pgwal.Record, h *pgwal.HeapUpdate, ref *pgwal.BlockRef, old []byte) error {
	prefix, data, err := takeLength(ref.Data, h.Flags&pgwal.HeapUpdatePrefixFromOld != 0)
	if err != nil {
		return err
	}
	suffix, data, err := takeLength(data, h.Flags&pgwal.HeapUpdateSuffixFromOld != 0)
	if err != nil {
		return err
	}
	if len(data) < logHeaderBytes {
		return corrupt("data of the new tuple", logHeaderBytes, len(data))
	}
	logged, rest := data[:logHeaderBytes], data[logHeaderBytes:]
	var values []byte // of the old tuple
	if prefix+suffix > 0 {
		if old == nil || int(old[tupleHoff]) > len(old) {
			return corrupt("old tuple that the new one is like", "one on the same page", len(old))
		}
		values = old[old[tupleHoff]:]
	}
	// The bitmap comes before the prefix.
	bitmap := 0
	if prefix > 0 {
		bitmap = int(logged[4]) - tupleHeader
	}
	if bitmap < 0 || bitmap > len(rest) || prefix > len(values) || suffix > len(values) {
		return corrupt("parts of the new tuple", "those of record and old tuple", prefix+suffix)
	}
	tuple, err := f.addHeap(page, int(h.NewOffset), tupleHeader+len(rest)+prefix+suffix)
	if err != nil {
		return err
	}
	startTuple(tuple, rec.XID, ref.Block, h.NewOffset, logged)
	put32(tuple, tupleXmax, h.NewXmax)
	to := tuple[tupleHeader:]
	to = to[copy(to, rest[:bitmap]):]
	to = to[copy(to, values[:prefix]):]
	to = to[copy(to, rest[bitmap:]):]
	copy(to, values[len(values)-suffix:])
	if h.Flags&pgwal.HeapUpdateNewAllVisibleCleared != 0 {
		flags(page, 0, flagAllVisible)
	}
	return nil
}

// takeLength takes a length off the data of a new tuple, if it is there.
func takeLength(data []byte, there bool) (n int, rest []byte, err error) {
	if !there {
		return 0, data, nil
	}
	if len(data) < 2 {
		return 0, nil, corrupt("data of the new tuple", "a length", len(data))
	}
	return int(get16(data, 0)), data[2:], nil
}

// heapConfirm makes a speculative tuple an ordinary one. Redo never saw the difference.
func heapConfirm(page []byte, rec *pgwal.Record, ref *pgwal.BlockRef) error {
	n, err := pgwal.ParseHeapConfirm(rec)
	if err != nil {
		return err
	}
	f, err := frameOf(page)
	if err != nil {
		return err
	}
	tuple, err := f.tuple(page, int(n), tupleHeader)
	if err != nil {
		return err
	}
	putTID(tuple[tupleCtid:], ref.Block, n)
	return nil
}

// heapLock locks a tuple. If nothing but lockers is in its xmax, it has no successor.
func heapLock(page []byte, rec *pgwal.Record, ref *pgwal.BlockRef) error {
	h, tuple, err := lockedTuple(page, rec)
	if err != nil {
		return err
	}
	mask := get16(tuple, tupleInfomask)
	if mask&xmaxLockOnly != 0 || mask&(xmaxIsMulti|xmaxLocks) == xmaxExclusive {
		clearHotUpdated(tuple)
		putTID(tuple[tupleCtid:], ref.Block, h.Offset)
	}
	clearCID(tuple)
	return nil
}

// lockedTuple finds the tuple that a record locks and sets its xmax.
func lockedTuple(page []byte, rec *pgwal.Record) (h pgwal.HeapLock, tuple []byte, err error) {
	if h, err = pgwal.ParseHeapLock(rec); err != nil {
		return h, nil, err
	}
	f, err := frameOf(page)
	if err != nil {
		return h, nil, err
	}
	if tuple, err = f.tuple(page, int(h.Offset), tupleHeader); err != nil {
		return h, nil, err
	}
	setXmaxBits(tuple, h.InfoBits)
	put32(tuple, tupleXmax, h.Xmax)
	return h, tuple, nil
}

// heapInplace overwrites the values of a tuple.
func heapInplace(page []byte, rec *pgwal.Record, ref *pgwal.BlockRef) error {
	n, err := pgwal.ParseHeapInplace(rec)
	if err != nil {
		return err
	}
	f, err := frameOf(page)
	if err != nil {
		return err
	}
	tuple, err := f.tuple(page, int(n), tupleHeader)
	if err != nil {
		return err
	}
	if want := len(tuple) - int(tuple[tupleHoff]); want != len(ref.Data) {
		return corrupt("length of the values to overwrite", want, len(ref.Data))
	}
	copy(tuple[tuple[tupleHoff]:], ref.Data)
	return nil
}
