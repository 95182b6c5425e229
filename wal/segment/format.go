package segment

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"sync"

	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/pgwal"
)

// A segment is named by the timeline id of PostgreSQL, which is always 1 here, and
// its number in two parts, each of eight hexadecimal digits: the upper 32 bits of
// its first LSN, and the segment's number among those that share them.
const (
	pgTimeline      = 1
	nameSize        = 24
	segmentsPerHalf = 1 << 32 / wal.SegmentSize
	hexDigits       = "0123456789ABCDEF"
)

// Name returns the file name of segment number n.
func Name(n uint64) string {
	var name [nameSize]byte
	for i := range 8 {
		shift := 4 * (7 - i)
		name[i] = hexDigits[pgTimeline>>shift&15]
		name[8+i] = hexDigits[n/segmentsPerHalf>>shift&15]
		name[16+i] = hexDigits[n%segmentsPerHalf>>shift&15]
	}
	return string(name[:])
}

// ParseName returns the number of the segment that the file name names; false if
// it names none.
func ParseName(name string) (n uint64, ok bool) {
	var timeline, high, low uint64
	if len(name) != nameSize {
		return 0, false
	}
	if _, err := fmt.Sscanf(name, "%08X%08X%08X", &timeline, &high, &low); err != nil {
		return 0, false
	}
	n = high*segmentsPerHalf + low
	return n, Name(n) == name
}

// preamble returns what a log that begins at start holds from its first segment's
// first byte up to start: the remainder of a record from before, with page headers
// that say so, and zeros for its bytes. It is written to buf.
func preamble(buf *emptySegment, start wal.LSN, systemID uint64) []byte {
	first := wal.SegmentStart(start.Segment())
	bytes := buf[:start-first]
	end, skip := start, 0
	for end > first {
		page := pgwal.PageStart(end - 1)
		skip += int(end-page) - pgwal.PageHeaderSize(page)
		pgwal.AppendPageHeader(bytes[page-first:page-first], page, systemID, uint32(skip))
		end = page
	}
	return bytes
}

// emptySegment is zeros but where pages of the log have their headers: those are all
// that a preamble writes, so that it can be used again for any other.
type emptySegment [wal.SegmentSize]byte

var emptySegments = sync.Pool{New: func() any { return new(emptySegment) }}

// checkStart says what is wrong with a log's start: a record cannot begin there.
func checkStart(start wal.LSN) error {
	if !pgwal.IsRecordPosition(start) {
		return fmt.Errorf("no record can start at %v", start)
	}
	return nil
}

// The file "mark", little-endian:
//
//	 0       4         8     16    20
//	+-------+---------+-----+-----+
//	| magic | version | LSN | CRC |
//	|  u32  |   u32   | u64 | u32 |
//	+-------+---------+-----+-----+
//
// The CRC32C covers what is before it. A mark that does not check is no mark.
const (
	markName    = "mark"
	markMagic   = 0x6B72616D // "mark"
	markVersion = 1
	markSize    = 20
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func appendMark(dst []byte, mark wal.LSN) []byte {
	begin := len(dst)
	dst = binary.LittleEndian.AppendUint32(dst, markMagic)
	dst = binary.LittleEndian.AppendUint32(dst, markVersion)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(mark))
	return binary.LittleEndian.AppendUint32(dst, crc32.Checksum(dst[begin:], castagnoli))
}

func decodeMark(src []byte) (mark wal.LSN, ok bool) {
	if len(src) != markSize || binary.LittleEndian.Uint32(src[16:]) != crc32.Checksum(src[:16], castagnoli) {
		return 0, false
	}
	if binary.LittleEndian.Uint32(src) != markMagic || binary.LittleEndian.Uint32(src[4:]) != markVersion {
		return 0, false
	}
	return wal.LSN(binary.LittleEndian.Uint64(src[8:])), true
}
