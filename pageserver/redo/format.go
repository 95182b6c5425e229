package redo

import (
	"encoding/binary"

	"github.com/varvedb/varve/wal/pgwal"
)

// A delta's value is operations, one after the other:
//
//	+--------+-------------+--------+
//	| op (1) | length (4)  | body   |  little-endian
//	+--------+-------------+--------+
//
//	generic        the block's data of a Generic record: | offset (2) | length (2) | bytes | ...
//	vm clear       | heap block (4) | bits (1) |
//	vm truncate    | heap blocks that remain (4) |
//	xact status    | status (1) | xid (4) | xid (4) | ...
//	multi offset   | multixact (4) | member offset (4) |
//	multi members  | first member offset (4) | xid (4) | status (1) | xid (4) | status (1) | ...
//	commit time    | time (8) | origin (2) | xid (4) | xid (4) | ...
//	append         bytes that are added at the value's end
//	record         what a record says of one of its pages:
//
//		| manager (1) | info (1) | xid (4) | pages (1) | page ... | length (4) | main data | data |
//		page: | number in the record, 64 more if redo starts from nothing (1) | block (4) |
//
// The first page of a record operation is the one it is about; the others, in
// ascending order of their numbers, are the record's other pages, which redo may have
// to link to. Images are left out: the log has them only under some settings.
type op uint8

// The operations. The numbers are in every delta layer.
const (
	opGeneric      op = 1
	opVMClear      op = 2
	opVMTruncate   op = 3
	opXactStatus   op = 4
	opMultiOffset  op = 5
	opMultiMembers op = 6
	opCommitTs     op = 7
	opAppend       op = 8
	opRecord       op = 9
)

const opHeaderBytes = 5

// XactStatus is the fate of a transaction, as pg_xact holds it.
type XactStatus uint8

// What the log can say of a transaction's fate.
const (
	Committed XactStatus = 1
	Aborted   XactStatus = 2
)

// AppendGeneric appends the change that a Generic record makes to a block.
func AppendGeneric(dst, delta []byte) []byte {
	return append(appendHeader(dst, opGeneric, len(delta)), delta...)
}

// AppendVMClear appends the clearing of bits of one heap block.
func AppendVMClear(dst []byte, heapBlock uint32, bits uint8) []byte {
	dst = appendHeader(dst, opVMClear, 5)
	return append(binary.LittleEndian.AppendUint32(dst, heapBlock), bits)
}

// AppendVMTruncate appends the clearing of all bits of the heap blocks from
// heapBlocks on.
func AppendVMTruncate(dst []byte, heapBlocks uint32) []byte {
	dst = appendHeader(dst, opVMTruncate, 4)
	return binary.LittleEndian.AppendUint32(dst, heapBlocks)
}

// AppendXactStatus appends the fate of transactions that share a page.
func AppendXactStatus(dst []byte, status XactStatus, xids []uint32) []byte {
	dst = append(appendHeader(dst, opXactStatus, 1+4*len(xids)), byte(status))
	return appendXIDs(dst, xids)
}

// AppendMultiOffset appends where a multixact's members begin.
func AppendMultiOffset(dst []byte, multi, offset uint32) []byte {
	dst = appendHeader(dst, opMultiOffset, 8)
	dst = binary.LittleEndian.AppendUint32(dst, multi)
	return binary.LittleEndian.AppendUint32(dst, offset)
}

// AppendMultiMembers appends members from offset first on that share a page.
func AppendMultiMembers(dst []byte, first uint32, members []pgwal.MultiXactMember) []byte {
	dst = appendHeader(dst, opMultiMembers, 4+5*len(members))
	dst = binary.LittleEndian.AppendUint32(dst, first)
	for _, m := range members {
		dst = append(binary.LittleEndian.AppendUint32(dst, m.XID), uint8(m.Status))
	}
	return dst
}

// AppendCommitTs appends the commit time, in microseconds since 2000, of
// transactions that share a page.
func AppendCommitTs(dst []byte, time int64, origin uint16, xids []uint32) []byte {
	dst = appendHeader(dst, opCommitTs, 10+4*len(xids))
	dst = binary.LittleEndian.AppendUint64(dst, uint64(time))
	dst = binary.LittleEndian.AppendUint16(dst, origin)
	return appendXIDs(dst, xids)
}

// AppendAppend appends the lengthening of a value that is no page.
func AppendAppend(dst, tail []byte) []byte {
	return append(appendHeader(dst, opAppend, len(tail)), tail...)
}

// The sizes of a record operation, and the flag of a page that starts from nothing.
const (
	recordFixedBytes = 7
	recordPageBytes  = 5
	recordWillInit   = 0x40
)

// AppendRecord appends what rec, whose resource manager is [Native], does to the page
// that is ref. Of a Generic record the block's data say it all.
func AppendRecord(dst []byte, rec *pgwal.Record, ref *pgwal.BlockRef) []byte {
	if rec.RMgr == pgwal.RMgrGeneric {
		return AppendGeneric(dst, ref.Data)
	}
	length := recordFixedBytes + len(rec.Blocks)*recordPageBytes + 4 + len(rec.MainData) + len(ref.Data)
	dst = appendHeader(dst, opRecord, length)
	dst = append(dst, byte(rec.RMgr), rec.Info)
	dst = binary.LittleEndian.AppendUint32(dst, rec.XID)
	dst = append(dst, byte(len(rec.Blocks)))
	dst = appendRecordPage(dst, ref)
	for i := range rec.Blocks {
		if other := &rec.Blocks[i]; other.ID != ref.ID {
			dst = appendRecordPage(dst, other)
		}
	}
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(rec.MainData)))
	dst = append(dst, rec.MainData...)
	return append(dst, ref.Data...)
}

func appendRecordPage(dst []byte, ref *pgwal.BlockRef) []byte {
	id := ref.ID
	if ref.WillInit {
		id |= recordWillInit
	}
	return binary.LittleEndian.AppendUint32(append(dst, id), ref.Block)
}

// decodeRecord reads a record operation into rec, whose Blocks it reuses. The page
// that it is about is Blocks[0], with its data; they point into body. Nothing else than
// this and [applyRecord] fills rec, so that a block's other fields are zero.
func decodeRecord(rec *pgwal.Record, body []byte) error {
	if len(body) < recordFixedBytes {
		return corrupt("length of a record", recordFixedBytes, len(body))
	}
	rec.RMgr, rec.Info, rec.XID = pgwal.RMgr(body[0]), body[1], get32(body, 2)
	pages, rest := int(body[6]), body[recordFixedBytes:]
	if pages == 0 || len(rest) < pages*recordPageBytes+4 {
		return corrupt("pages of a record", "as many as it says, and at least one", pages)
	}
	if cap(rec.Blocks) < pages {
		rec.Blocks = make([]pgwal.BlockRef, pages)
	}
	rec.Blocks = rec.Blocks[:pages]
	for i := range rec.Blocks {
		id, ref := rest[0], &rec.Blocks[i]
		ref.ID, ref.WillInit, ref.Block, ref.Data = id&^recordWillInit, id&recordWillInit != 0, get32(rest, 1), nil
		rest = rest[recordPageBytes:]
	}
	main := get32(rest, 0)
	if uint64(main) > uint64(len(rest)-4) {
		return corrupt("length of a record's main data", len(rest)-4, main)
	}
	rec.MainData, rec.Blocks[0].Data = rest[4:4+main], rest[4+main:]
	return nil
}

func appendXIDs(dst []byte, xids []uint32) []byte {
	for _, xid := range xids {
		dst = binary.LittleEndian.AppendUint32(dst, xid)
	}
	return dst
}

func appendHeader(dst []byte, code op, length int) []byte {
	return binary.LittleEndian.AppendUint32(append(dst, byte(code)), uint32(length))
}

// nextOp splits the first operation off a delta's value.
func nextOp(b []byte) (code op, body, rest []byte, err error) {
	if len(b) < opHeaderBytes {
		return 0, nil, nil, corrupt("operation header", opHeaderBytes, len(b))
	}
	length := uint64(binary.LittleEndian.Uint32(b[1:]))
	if length > uint64(len(b)-opHeaderBytes) {
		return 0, nil, nil, corrupt("operation length", "at most the rest of the delta", length)
	}
	body = b[opHeaderBytes:]
	return op(b[0]), body[:length], body[length:], nil
}
