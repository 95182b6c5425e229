package workload

import (
	"encoding/binary"

	"github.com/varvedb/varve/sim/check"
	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/pgwal"
)

// A page of the workload, with PostgreSQL's page header:
//
//	| header (24) | body | hole | value (8) | bytes that follow from the value (56) |
//
// Most blocks have no body and a hole down to the value; one in fullEvery has a body
// and no hole, so that its images fill a page of the log and run into the next. Now and
// then the end of its body becomes a hole, and what was there is gone.
const (
	valueOffset = pgwal.PageSize - 64
	headerBytes = 24
	bodyBytes   = valueOffset - headerBytes
	fullEvery   = 5

	offLSN     = 0
	offLower   = 12
	offUpper   = 14
	offSpecial = 16
	offVersion = 18
)

// ValueOf is the value that a page holds, zero if nobody has written it.
func ValueOf(page []byte) check.Value {
	return check.Value(binary.LittleEndian.Uint64(page[valueOffset:]))
}

// newPage makes a page that holds a value, as a record that ends at lsn leaves it.
func newPage(block pgwal.BlockNumber, value check.Value, lsn wal.LSN) []byte {
	return pageWith(changesOf(block, value), lsn)
}

// pageWith is newPage of the value that the changes make a page hold.
func pageWith(changes []pgwal.PageChange, lsn wal.LSN) []byte {
	page := make([]byte, pgwal.PageSize)
	le := binary.LittleEndian
	le.PutUint16(page[offLower:], headerBytes)
	le.PutUint16(page[offUpper:], valueOffset)
	le.PutUint16(page[offSpecial:], pgwal.PageSize)
	le.PutUint16(page[offVersion:], pgwal.PageSize|4)
	for _, c := range changes {
		copy(page[c.Offset:], c.Data)
	}
	clearHole(page)
	setPageLSN(page, lsn)
	return page
}

// clearHole empties the hole, of which a change says nothing.
func clearHole(page []byte) {
	clear(page[binary.LittleEndian.Uint16(page[offLower:]):binary.LittleEndian.Uint16(page[offUpper:])])
}

func isFull(block pgwal.BlockNumber) bool { return block%fullEvery == fullEvery-1 }

// changesOf is what makes a page hold a value: its tail; and of a page that has a body
// where that ends, and a stretch of it, at a place that depends on the value.
func changesOf(block pgwal.BlockNumber, value check.Value) []pgwal.PageChange {
	tail := binary.LittleEndian.AppendUint64(make([]byte, 0, pgwal.PageSize-valueOffset), uint64(value))
	tail = appendNoise(tail, uint64(value), pgwal.PageSize-valueOffset-8)
	if !isFull(block) {
		return []pgwal.PageChange{{Offset: valueOffset, Data: tail}}
	}
	const (
		stretch    = 200
		shortEvery = 4
	)
	lower := uint16(valueOffset)
	if value%shortEvery == 0 {
		lower -= bodyBytes / 4
	}
	at := headerBytes + uint64(value)*131%(bodyBytes-stretch)
	return []pgwal.PageChange{
		{Offset: offLower, Data: binary.LittleEndian.AppendUint16(nil, lower)},
		{Offset: uint16(at), Data: appendNoise(make([]byte, 0, stretch), uint64(value)+1, stretch)},
		{Offset: valueOffset, Data: tail},
	}
}

// appendNoise appends n bytes that follow from a number.
func appendNoise(dst []byte, number uint64, n int) []byte {
	for i := range n {
		number = number*0x9E3779B97F4A7C15 + uint64(i)
		dst = append(dst, byte(number>>56))
	}
	return dst
}

func setPageLSN(page []byte, lsn wal.LSN) {
	binary.LittleEndian.PutUint32(page[offLSN:], uint32(lsn>>32))
	binary.LittleEndian.PutUint32(page[offLSN+4:], uint32(lsn))
}

func isNew(page []byte) bool { return binary.LittleEndian.Uint16(page[offUpper:]) == 0 }
