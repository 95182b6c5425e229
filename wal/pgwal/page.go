package pgwal

import (
	"encoding/binary"
	"fmt"

	"github.com/varvedb/varve/wal"
)

// Sizes and constants of page headers. They are PostgreSQL 15's wire format.
const (
	shortHeaderSize = 24
	longHeaderSize  = 40

	pageMagic  = 0xD110
	timelineID = 1

	pageContinues  = 0x0001 // XLP_FIRST_IS_CONTRECORD
	pageLong       = 0x0002 // XLP_LONG_HEADER
	pageRemovable  = 0x0004 // XLP_BKP_REMOVABLE
	pageOverwrites = 0x0008 // XLP_FIRST_IS_OVERWRITE_CONTRECORD
	pageAllInfo    = pageContinues | pageLong | pageRemovable | pageOverwrites
)

// pageHeader is what a page header says beyond what its position dictates.
type pageHeader struct {
	info     uint16
	rest     uint32 // bytes that remain of the record that continues here
	systemID uint64 // long headers only
}

// decodePageHeader checks every byte of the header of the page at lsn against what
// must be there. b holds at least PageHeaderSize(page) bytes.
func decodePageHeader(b []byte, page wal.LSN) (h pageHeader, what string, want, got any) {
	le := binary.LittleEndian
	h.info, h.rest = le.Uint16(b[2:]), le.Uint32(b[16:])
	long := uint16(0)
	if page.SegmentOffset() == 0 {
		long = pageLong
		h.systemID = le.Uint64(b[24:])
	}
	switch {
	case le.Uint16(b) != pageMagic:
		return h, "page magic", fmt.Sprintf("%04X", pageMagic), fmt.Sprintf("%04X", le.Uint16(b))
	case h.info&^pageAllInfo != 0:
		return h, "page info bits", "only known ones", fmt.Sprintf("%04X", h.info)
	case h.info&pageLong != long:
		return h, "long page header bit", long, h.info & pageLong
	case le.Uint32(b[4:]) != timelineID:
		return h, "page timeline", timelineID, le.Uint32(b[4:])
	case wal.LSN(le.Uint64(b[8:])) != page:
		return h, "page address", page, wal.LSN(le.Uint64(b[8:]))
	case le.Uint32(b[20:]) != 0:
		return h, "page header padding", 0, le.Uint32(b[20:])
	case long != 0 && le.Uint32(b[32:]) != wal.SegmentSize:
		return h, "segment size", wal.SegmentSize, le.Uint32(b[32:])
	case long != 0 && le.Uint32(b[36:]) != WALPageSize:
		return h, "log page size", WALPageSize, le.Uint32(b[36:])
	}
	return h, "", nil, nil
}

// AppendPageHeader appends the header of the log page that starts at page, a multiple
// of [WALPageSize]: 24 bytes, or 40 at a segment's start. rest is the number of bytes
// that remain of the record which continues on the page, 0 if none does. The segment
// that a Postgres starts from has such headers before its first record.
func AppendPageHeader(dst []byte, page wal.LSN, systemID uint64, rest uint32) []byte {
	le := binary.LittleEndian
	info := uint16(0)
	if rest > 0 {
		info |= pageContinues
	}
	if page.SegmentOffset() == 0 {
		info |= pageLong
	}
	dst = le.AppendUint16(dst, pageMagic)
	dst = le.AppendUint16(dst, info)
	dst = le.AppendUint32(dst, timelineID)
	dst = le.AppendUint64(dst, uint64(page))
	dst = le.AppendUint32(dst, rest)
	dst = le.AppendUint32(dst, 0)
	if info&pageLong != 0 {
		dst = le.AppendUint64(dst, systemID)
		dst = le.AppendUint32(dst, wal.SegmentSize)
		dst = le.AppendUint32(dst, WALPageSize)
	}
	return dst
}
