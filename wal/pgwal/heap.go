package pgwal

import "encoding/binary"

// The operations of Heap records (heapam_xlog.h). [InfoInitPage] may ride along with
// the insert and the updates.
const (
	OpHeapInsert    = 0x00
	OpHeapDelete    = 0x10
	OpHeapUpdate    = 0x20
	OpHeapTruncate  = 0x30 // for logical decoding; touches no page
	OpHeapHotUpdate = 0x40
	OpHeapConfirm   = 0x50
	OpHeapLock      = 0x60
	OpHeapInplace   = 0x70
)

// The operations of Heap2 records. [InfoInitPage] may ride along with MultiInsert.
const (
	OpHeap2Rewrite     = 0x00 // for logical decoding; touches no page
	OpHeap2Prune       = 0x10
	OpHeap2Vacuum      = 0x20
	OpHeap2FreezePage  = 0x30
	OpHeap2Visible     = 0x40
	OpHeap2MultiInsert = 0x50
	OpHeap2LockUpdated = 0x60
	OpHeap2NewCID      = 0x70 // for logical decoding; touches no page
)

// Flags of inserts and multi-inserts.
const (
	HeapInsertAllVisibleCleared = 1 << 0
	HeapInsertLastInMulti       = 1 << 1
	HeapInsertIsSpeculative     = 1 << 2
	HeapInsertContainsNewTuple  = 1 << 3
	HeapInsertOnToastRelation   = 1 << 4
	HeapInsertAllFrozenSet      = 1 << 5 // all tuples of the page are visible to all
)

// Flags of updates.
const (
	HeapUpdateOldAllVisibleCleared = 1 << 0
	HeapUpdateNewAllVisibleCleared = 1 << 1
	HeapUpdateContainsOldTuple     = 1 << 2
	HeapUpdateContainsOldKey       = 1 << 3
	HeapUpdateContainsNewTuple     = 1 << 4
	HeapUpdatePrefixFromOld        = 1 << 5
	HeapUpdateSuffixFromOld        = 1 << 6
)

// Flags of deletes.
const (
	HeapDeleteAllVisibleCleared = 1 << 0
	HeapDeleteContainsOldTuple  = 1 << 1
	HeapDeleteContainsOldKey    = 1 << 2
	HeapDeleteIsSuper           = 1 << 3
	HeapDeleteIsPartitionMove   = 1 << 4
)

// HeapLockAllFrozenCleared is the flag of locks and updated-version locks.
const HeapLockAllFrozenCleared = 1 << 0

// Bits of InfoBits: what becomes of a tuple's xmax.
const (
	HeapXmaxIsMulti    = 1 << 0
	HeapXmaxLockOnly   = 1 << 1
	HeapXmaxExclLock   = 1 << 2
	HeapXmaxKeyShrLock = 1 << 3
	HeapKeysUpdated    = 1 << 4
)

// Bits of the visibility map: two for each heap page.
const (
	VMAllVisible = 1 << 0
	VMAllFrozen  = 1 << 1
)

// HeapInsert is the body of a Heap INSERT. The tuple is the data of block 0.
type HeapInsert struct {
	Offset uint16
	Flags  uint8 // HeapInsert… flags
}

// ParseHeapInsert reads a Heap INSERT record.
func ParseHeapInsert(rec *Record) (HeapInsert, error) {
	b, err := fixedData(rec, 3)
	if err != nil {
		return HeapInsert{}, err
	}
	return HeapInsert{Offset: binary.LittleEndian.Uint16(b), Flags: b[2]}, nil
}

// HeapDelete is the body of a Heap DELETE.
type HeapDelete struct {
	Xmax     XID
	Offset   uint16
	InfoBits uint8
	Flags    uint8  // HeapDelete… flags
	Old      []byte // header and data of the old tuple or key, for logical decoding; points into the record
}

// ParseHeapDelete reads a Heap DELETE record.
func ParseHeapDelete(rec *Record) (HeapDelete, error) {
	f := mainData(rec)
	h := HeapDelete{Xmax: f.u32(), Offset: f.u16(), InfoBits: f.u8(), Flags: f.u8()}
	if h.Flags&(HeapDeleteContainsOldTuple|HeapDeleteContainsOldKey) != 0 {
		h.Old = f.rest()
	}
	return h, f.done()
}

// HeapUpdate is the body of a Heap UPDATE or HOT_UPDATE. Block 0 is the new tuple's
// page and has its data; block 1, when present, is the old tuple's, otherwise both
// are on block 0.
type HeapUpdate struct {
	OldXmax     XID
	OldOffset   uint16
	OldInfoBits uint8
	Flags       uint8 // HeapUpdate… flags
	NewXmax     XID
	NewOffset   uint16
	Old         []byte // header and data of the old tuple or key, for logical decoding; points into the record
}

// ParseHeapUpdate reads a Heap UPDATE or HOT_UPDATE record.
func ParseHeapUpdate(rec *Record) (h HeapUpdate, err error) {
	const fixed = 14
	b := rec.MainData
	if len(b) < fixed {
		return h, wrongLength(rec, fixed)
	}
	le := binary.LittleEndian
	h = HeapUpdate{OldXmax: le.Uint32(b), OldOffset: le.Uint16(b[4:]), OldInfoBits: b[6], Flags: b[7], NewXmax: le.Uint32(b[8:]), NewOffset: le.Uint16(b[12:])}
	switch {
	case h.Flags&(HeapUpdateContainsOldTuple|HeapUpdateContainsOldKey) != 0:
		h.Old = b[fixed:]
	case len(b) != fixed:
		return h, wrongLength(rec, fixed)
	}
	return h, nil
}

// HeapTruncate is the body of a Heap TRUNCATE.
type HeapTruncate struct {
	DB          uint32
	Cascade     bool
	RestartSeqs bool
	Rels        []uint32 // OIDs, not file nodes
}

// ParseHeapTruncate reads a Heap TRUNCATE record.
func ParseHeapTruncate(rec *Record) (HeapTruncate, error) {
	f := mainData(rec)
	h := HeapTruncate{DB: f.u32()}
	n, flags := f.u32(), f.u8()
	h.Cascade, h.RestartSeqs = flags&1 != 0, flags&2 != 0
	f.take(3) // padding
	h.Rels = f.xids(nil, f.fits(n, 4))
	return h, f.done()
}

// HeapLock is the body of a Heap LOCK or a Heap2 LOCK_UPDATED.
type HeapLock struct {
	Xmax     XID // a multixact when InfoBits says so
	Offset   uint16
	InfoBits uint8
	Flags    uint8 // HeapLockAllFrozenCleared
}

// ParseHeapLock reads a Heap LOCK or a Heap2 LOCK_UPDATED record.
func ParseHeapLock(rec *Record) (HeapLock, error) {
	b, err := fixedData(rec, 8)
	if err != nil {
		return HeapLock{}, err
	}
	le := binary.LittleEndian
	return HeapLock{Xmax: le.Uint32(b), Offset: le.Uint16(b[4:]), InfoBits: b[6], Flags: b[7]}, nil
}

// ParseHeapConfirm reads a HEAP_CONFIRM record: the line pointer of the speculative
// tuple that stays.
func ParseHeapConfirm(rec *Record) (offset uint16, err error) { return parseOffset(rec) }

// ParseHeapInplace reads an INPLACE record: the line pointer of the tuple that the
// data of block 0 overwrite.
func ParseHeapInplace(rec *Record) (offset uint16, err error) { return parseOffset(rec) }

func parseOffset(rec *Record) (uint16, error) {
	b, err := fixedData(rec, 2)
	if err != nil {
		return 0, err
	}
	return binary.LittleEndian.Uint16(b), nil
}

// HeapPrune is the body of a Heap2 PRUNE. The data of block 0 are line pointers: pairs
// (from, to) of the redirected, then the dead, then the unused.
type HeapPrune struct {
	LatestRemovedXID XID
	Redirected, Dead uint16
}

// ParseHeapPrune reads a Heap2 PRUNE record.
func ParseHeapPrune(rec *Record) (HeapPrune, error) {
	b, err := fixedData(rec, 8)
	if err != nil {
		return HeapPrune{}, err
	}
	le := binary.LittleEndian
	return HeapPrune{LatestRemovedXID: le.Uint32(b), Redirected: le.Uint16(b[4:]), Dead: le.Uint16(b[6:])}, nil
}

// ParseHeapVacuum reads a Heap2 VACUUM record: how many line pointers, the data of
// block 0, become unused.
func ParseHeapVacuum(rec *Record) (unused uint16, err error) { return parseOffset(rec) }

// HeapFreezePage is the body of a Heap2 FREEZE_PAGE. The data of block 0 say what
// happens to each of the tuples.
type HeapFreezePage struct {
	CutoffXID XID
	Tuples    uint16
}

// ParseHeapFreezePage reads a Heap2 FREEZE_PAGE record.
func ParseHeapFreezePage(rec *Record) (HeapFreezePage, error) {
	f := mainData(rec)
	h := HeapFreezePage{CutoffXID: f.u32(), Tuples: f.u16()}
	return h, f.done()
}

// HeapVisible is the body of a Heap2 VISIBLE: bits are set in the map page that is
// block 0, for the heap page that is block 1, which becomes all-visible itself.
type HeapVisible struct {
	CutoffXID XID
	Flags     uint8 // VM… bits to set
}

// ParseHeapVisible reads a Heap2 VISIBLE record.
func ParseHeapVisible(rec *Record) (HeapVisible, error) {
	f := mainData(rec)
	h := HeapVisible{CutoffXID: f.u32(), Flags: f.u8()}
	return h, f.done()
}

// HeapMultiInsert is the body of a Heap2 MULTI_INSERT. The tuples are the data of
// block 0.
type HeapMultiInsert struct {
	Flags   uint8 // HeapInsert… flags
	Tuples  uint16
	Offsets []byte // two bytes for each tuple, empty when InfoInitPage numbers them from 1; points into the record
}

// ParseHeapMultiInsert reads a Heap2 MULTI_INSERT record.
func ParseHeapMultiInsert(rec *Record) (HeapMultiInsert, error) {
	f := mainData(rec)
	h := HeapMultiInsert{Flags: f.u8()}
	f.take(1) // padding
	h.Tuples = f.u16()
	if rec.Info&InfoInitPage == 0 {
		h.Offsets = f.take(2 * int(h.Tuples))
	}
	return h, f.done()
}

// HeapNewCID is the body of a Heap2 NEW_CID: the command ids of a catalog tuple, for
// logical decoding.
type HeapNewCID struct {
	TopXID            XID
	Cmin, Cmax, Combo uint32
	Rel               RelFileNode
	Block             BlockNumber
	Offset            uint16
}

// ParseHeapNewCID reads a Heap2 NEW_CID record.
func ParseHeapNewCID(rec *Record) (HeapNewCID, error) {
	f := mainData(rec)
	h := HeapNewCID{TopXID: f.u32(), Cmin: f.u32(), Cmax: f.u32(), Combo: f.u32(), Rel: f.rel()}
	// An item pointer holds its block as two halves, the upper one first.
	h.Block = uint32(f.u16()) << 16
	h.Block |= uint32(f.u16())
	h.Offset = f.u16()
	return h, f.done()
}

// VMClear says that a record clears bits of the visibility map, without listing the
// map's page among its blocks.
type VMClear struct {
	Rel   RelFileNode
	Block BlockNumber // the heap page
	Bits  uint8       // VM… bits to clear
}

// AppendVMClears appends to dst the visibility bits that a record clears: at most two
// entries, none for records of other managers than Heap and Heap2.
func AppendVMClears(dst []VMClear, rec *Record) ([]VMClear, error) {
	switch rec.RMgr {
	case RMgrHeap:
		return appendHeapClears(dst, rec)
	case RMgrHeap2:
		return appendHeap2Clears(dst, rec)
	}
	return dst, nil
}

func appendHeapClears(dst []VMClear, rec *Record) ([]VMClear, error) {
	switch rec.Op() {
	case OpHeapInsert:
		h, err := ParseHeapInsert(rec)
		if err != nil || h.Flags&HeapInsertAllVisibleCleared == 0 {
			return dst, err
		}
		return appendClear(dst, rec, 0, VMAllVisible|VMAllFrozen)
	case OpHeapDelete:
		h, err := ParseHeapDelete(rec)
		if err != nil || h.Flags&HeapDeleteAllVisibleCleared == 0 {
			return dst, err
		}
		return appendClear(dst, rec, 0, VMAllVisible|VMAllFrozen)
	case OpHeapUpdate, OpHeapHotUpdate:
		return appendUpdateClears(dst, rec)
	case OpHeapLock:
		return appendLockClear(dst, rec)
	}
	return dst, nil
}

func appendHeap2Clears(dst []VMClear, rec *Record) ([]VMClear, error) {
	switch rec.Op() {
	case OpHeap2MultiInsert:
		h, err := ParseHeapMultiInsert(rec)
		if err != nil || h.Flags&HeapInsertAllVisibleCleared == 0 {
			return dst, err
		}
		return appendClear(dst, rec, 0, VMAllVisible|VMAllFrozen)
	case OpHeap2LockUpdated:
		return appendLockClear(dst, rec)
	}
	return dst, nil
}

func appendUpdateClears(dst []VMClear, rec *Record) ([]VMClear, error) {
	h, err := ParseHeapUpdate(rec)
	if err != nil {
		return dst, err
	}
	if h.Flags&HeapUpdateOldAllVisibleCleared != 0 {
		old := uint8(0)
		if rec.Block(1) != nil {
			old = 1
		}
		if dst, err = appendClear(dst, rec, old, VMAllVisible|VMAllFrozen); err != nil {
			return dst, err
		}
	}
	if h.Flags&HeapUpdateNewAllVisibleCleared != 0 {
		return appendClear(dst, rec, 0, VMAllVisible|VMAllFrozen)
	}
	return dst, nil
}

func appendLockClear(dst []VMClear, rec *Record) ([]VMClear, error) {
	h, err := ParseHeapLock(rec)
	if err != nil || h.Flags&HeapLockAllFrozenCleared == 0 {
		return dst, err
	}
	return appendClear(dst, rec, 0, VMAllFrozen)
}

// appendClear appends the clearing of bits for the heap page that is block id.
func appendClear(dst []VMClear, rec *Record, id uint8, bits uint8) ([]VMClear, error) {
	b := rec.Block(id)
	if b == nil {
		f := mainData(rec)
		return dst, f.corrupt("heap page whose visibility is cleared", "a block reference", "none")
	}
	return append(dst, VMClear{Rel: b.Rel, Block: b.Block, Bits: bits}), nil
}
