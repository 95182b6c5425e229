package pgwal

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/assert"
)

const (
	// recordHeaderSize is PostgreSQL's SizeOfXLogRecord.
	recordHeaderSize = 24

	// recordSizeMax bounds xl_tot_len. PostgreSQL builds and reads a record in one
	// allocation of at most 1 GiB - 1; later versions state the bound as 1020 MiB, which
	// leaves room for the reader's own bookkeeping. Records near it are real: one logical
	// message may carry that much. A corrupt length below it costs no memory, because
	// the reader grows with the bytes it was fed and each page header must agree.
	recordSizeMax = 1020 << 20

	// retainMax is the largest assembly buffer kept after its record is done, by a scanner
	// that keeps records: far above
	// the usual record across a page, below what would matter per stream.
	retainMax = 1 << 20

	infoMask = 0xF0 // the resource manager's bits of xl_info
)

var zeroPage [WALPageSize]byte

// scanState is what the byte at Scanner.pos belongs to.
type scanState uint8

const (
	inRecord scanState = iota // a record's first byte, or a later one if some have come
	inHeader                  // a page header, of which head holds the first bytes
	inZeros                   // what XLOG_SWITCH left empty; part holds the switch record
)

// Scanner finds the records of a log as its bytes arrive: it checks page headers,
// lengths, links, padding and CRCs, and does not look into records.
//
// The caller's duties: [Scanner.Feed] bytes that follow those fed before; call
// [Scanner.Next] until it returns false before the next Feed; leave the bytes alone
// until then.
type Scanner struct {
	name string
	end  wal.LSN // end of the last whole record
	in   []byte  // fed last
	off  int     // how much of in is consumed
	pos  wal.LSN // LSN of in[off]

	state scanState
	whole bool    // part is the record last returned
	head  []byte  // a page header that arrived in pieces
	keeps bool    // part has all of the record, for a Decoder, not only its beginning
	part  []byte  // a record that arrived in pieces or crosses a page
	have  int     // how many bytes of that record have come, with its padding
	crc   uint32  // of what has come behind its header
	pad   uint64  // what has come of its padding
	start wal.LSN // LSN of that record
	prev  wal.LSN // LSN of the last whole record, zero before the first

	overwrites  bool    // the next record must be OVERWRITE_CONTRECORD
	overwritten wal.LSN // and name this record, unless zero
	systemID    uint64  // zero until known
	err         error
}

// NewScanner returns a scanner of the log from start on: the end of a record, or the
// LSN of one. name is the log's name in errors; offsets in errors are LSNs.
func NewScanner(name string, start wal.LSN) *Scanner {
	assert.That(IsRecordPosition(start), "%v is a position where a record may begin", start)
	return &Scanner{name: name, end: start, pos: start}
}

// ExpectSystemID makes a long page header that does not carry id corrupt. Without it
// the first long header decides.
func (s *Scanner) ExpectSystemID(id uint64) { s.systemID = id }

// Feed hands over the next bytes of the log. They are read in place, so they must not
// change until Next returns false; by then everything still needed has been copied.
func (s *Scanner) Feed(p []byte) {
	if s.err != nil {
		return
	}
	if s.off != len(s.in) {
		assert.Failf("everything fed before is consumed, but %d bytes at %v are not", len(s.in)-s.off, s.pos)
	}
	s.in, s.off = p, 0
}

// Position returns the end of the last whole record, or the start if there is none.
func (s *Scanner) Position() wal.LSN { return s.end }

// Next steps over one record. False without an error means that it needs more bytes.
// An error matches [wal.ErrCorruption] and stays.
func (s *Scanner) Next() (bool, error) {
	raw, err := s.next()
	return raw != nil, err
}

// next returns the bytes of the next record, valid until the next call, or nil if it
// needs more: all of them, or, unless the scanner keeps them, at least the header. The
// record's LSN is then prev, and its end is end.
func (s *Scanner) next() ([]byte, error) {
	if s.err != nil {
		return nil, s.err
	}
	if s.whole {
		s.dropPart()
	}
	if s.state == inRecord && s.have == 0 {
		if raw := s.inPlace(); raw != nil {
			return raw, nil
		}
	}
	return s.inPieces()
}

// dropPart forgets the record in part, and its memory if that is unusually large.
func (s *Scanner) dropPart() {
	s.part, s.whole, s.have, s.crc, s.pad = s.part[:0], false, 0, 0, 0
	if cap(s.part) > retainMax {
		s.part = nil
	}
}

// pageLeft returns the number of bytes from pos to the end of its page, 0 at a page's
// start.
func (s *Scanner) pageLeft() int { return int(-s.pos % WALPageSize) }

// inPlace is the hot path: a sound record that lies with its padding in the bytes fed,
// on one page. For all others it returns nil, having done nothing, and leaves it to
// inPieces to say what is wrong, if anything.
func (s *Scanner) inPlace() []byte {
	in := s.in[s.off:]
	room := min(s.pageLeft(), len(in))
	if room < recordHeaderSize {
		return nil
	}
	total := int(binary.LittleEndian.Uint32(in))
	size := align(total)
	if total < recordHeaderSize || size > room {
		return nil
	}
	raw := in[:total:total]
	if !s.linked(raw) || isSwitch(raw) || s.overwrites {
		return nil
	}
	if recordCRC(raw) != binary.LittleEndian.Uint32(raw[20:]) || padding(in[:size], total) != 0 {
		return nil
	}
	s.prev = s.pos
	s.skip(size)
	s.end = s.pos
	return raw
}

// inPieces consumes bytes until a record is whole or none are left.
func (s *Scanner) inPieces() (raw []byte, err error) {
	for s.off < len(s.in) && raw == nil && err == nil {
		if s.state == inRecord && s.pageLeft() == 0 {
			s.state = inHeader
		}
		switch s.state {
		case inHeader:
			if err = s.takeHeader(); err == nil && s.state == inRecord && s.have == 0 {
				raw = s.inPlace()
			}
		case inRecord:
			raw, err = s.takeRecord()
		case inZeros:
			raw, err = s.takeZeros()
		}
	}
	return raw, err
}

// take moves up to n bytes from the input to dst.
func (s *Scanner) take(dst []byte, n int) []byte {
	n = min(n, len(s.in)-s.off)
	dst = append(dst, s.in[s.off:s.off+n]...)
	s.skip(n)
	return dst
}

// skip consumes n bytes of the input.
func (s *Scanner) skip(n int) {
	s.off += n
	s.pos += wal.LSN(n)
}

// takeHeader consumes a page header, or as much of it as has come.
func (s *Scanner) takeHeader() error {
	page := s.pos - wal.LSN(len(s.head))
	size := PageHeaderSize(page)
	s.head = s.take(s.head, size-len(s.head))
	if len(s.head) < size {
		return nil
	}
	h, what, want, got := decodePageHeader(s.head, page)
	if what != "" {
		return s.corrupt(page, what, want, got)
	}
	s.head, s.state = s.head[:0], inRecord
	if err := s.checkSystemID(page, h); err != nil {
		return err
	}
	return s.checkContinuation(page, h)
}

func (s *Scanner) checkSystemID(page wal.LSN, h pageHeader) error {
	if h.info&pageLong == 0 {
		return nil
	}
	if s.systemID == 0 {
		s.systemID = h.systemID
	}
	if h.systemID != s.systemID {
		return s.corrupt(page, "system identifier", s.systemID, h.systemID)
	}
	return nil
}

// checkContinuation holds what the header of page says of the record that runs into it
// against the record in progress.
func (s *Scanner) checkContinuation(page wal.LSN, h pageHeader) error {
	want, rest := uint16(0), uint32(0)
	switch {
	case h.info&pageOverwrites != 0:
		// A crash abandoned the record in progress: its bytes are void. Only a reader that
		// begins on this page has not seen it.
		if s.have == 0 && s.prev.IsValid() {
			return s.corrupt(page, "page that overwrites a record", "a record in progress", "none")
		}
		want = pageOverwrites
		s.overwrites, s.overwritten = true, s.start
		s.dropPart()
	case s.have > 0:
		want, rest = pageContinues, binary.LittleEndian.Uint32(s.part)-uint32(s.have)
	}
	if got := h.info & (pageContinues | pageOverwrites); got != want {
		return s.corrupt(page, "page info bits of continuation", want, got)
	}
	if h.rest != rest {
		return s.corrupt(page, "length of the rest of a record", rest, h.rest)
	}
	return nil
}

// takeRecord consumes bytes of a record, as far as this page has them.
func (s *Scanner) takeRecord() ([]byte, error) {
	if s.have == 0 {
		s.start = s.pos
	}
	if s.have < recordHeaderSize {
		if err := s.takeRecordHeader(); err != nil || s.have < recordHeaderSize {
			return nil, err
		}
	}
	total := int(binary.LittleEndian.Uint32(s.part))
	size := align(total)
	s.takeRecordBody(min(s.pageLeft(), size-s.have), total)
	if s.have < size {
		return nil, nil
	}
	if err := s.checkRecord(total); err != nil {
		return nil, err
	}
	if isSwitch(s.part) && s.pos.SegmentOffset() != 0 {
		// It is whole when the zeros that follow it have been seen.
		s.state = inZeros
		return nil, nil
	}
	return s.finish(), nil
}

// takeRecordBody consumes up to n bytes behind the header of a record of total bytes,
// and of its padding. Large records cross pages, so that all of one is there only if it
// is copied: its checksum is taken of its pieces as they come.
func (s *Scanner) takeRecordBody(n, total int) {
	n = min(n, len(s.in)-s.off)
	p := s.in[s.off : s.off+n]
	body := p[:min(n, max(0, total-s.have))]
	s.crc = crc32.Update(s.crc, castagnoli, body)
	for i, b := range p[len(body):] {
		s.pad |= uint64(b) << (8 * (s.have + len(body) + i - total))
	}
	if s.keeps {
		s.part = append(s.part, p...)
	} else {
		s.part = append(s.part, p[:min(n, max(0, overwriteSize-len(s.part)))]...)
	}
	s.have += n
	s.skip(n)
}

// takeRecordHeader consumes bytes of a record's header, and checks its length as soon
// as it is there, for everything after depends on it.
func (s *Scanner) takeRecordHeader() error {
	const lengthSize = 4
	before := s.have
	s.part = s.take(s.part, min(s.pageLeft(), recordHeaderSize-before))
	s.have = len(s.part)
	if before < lengthSize && s.have >= lengthSize {
		total := binary.LittleEndian.Uint32(s.part)
		if total < recordHeaderSize || total > recordSizeMax {
			want := fmt.Sprintf("%d to %d", recordHeaderSize, recordSizeMax)
			return s.corrupt(s.start, "record length", want, total)
		}
	}
	if s.have < recordHeaderSize {
		return nil
	}
	return s.checkHeader()
}

// takeZeros consumes what a switch left empty: zeros up to the segment's end.
func (s *Scanner) takeZeros() ([]byte, error) {
	rest := s.in[s.off:]
	n := min(len(rest), wal.SegmentSize-s.pos.SegmentOffset(), len(zeroPage))
	if !bytes.Equal(rest[:n], zeroPage[:n]) {
		return nil, s.corrupt(s.pos, "rest of a switched segment", "zeros", "other bytes")
	}
	s.skip(n)
	if s.pos.SegmentOffset() != 0 {
		return nil, nil
	}
	s.state = inRecord
	return s.finish(), nil
}

// finish notes that the record in part is whole and ends at pos.
func (s *Scanner) finish() []byte {
	total := int(binary.LittleEndian.Uint32(s.part))
	s.whole, s.prev, s.end = true, s.start, s.pos
	total = min(total, len(s.part))
	return s.part[:total:total]
}

// linked reports whether the record header b follows the last record.
func (s *Scanner) linked(b []byte) bool {
	return wal.LSN(binary.LittleEndian.Uint64(b[8:])) == s.prev && RMgr(b[17]).valid()
}

// checkHeader checks what can be checked of the header in part before the rest is there.
func (s *Scanner) checkHeader() error {
	prev := wal.LSN(binary.LittleEndian.Uint64(s.part[8:]))
	switch m := RMgr(s.part[17]); {
	case !m.valid():
		return s.corrupt(s.start, "resource manager", "a known one", uint8(m))
	case s.prev.IsValid() && prev != s.prev:
		return s.corrupt(s.start, "link to the record before", s.prev, prev)
	case prev >= s.start:
		return s.corrupt(s.start, "link to the record before", "less than its own LSN", prev)
	}
	return nil
}

// checkRecord checks the record of total bytes that has come, and the padding behind it.
func (s *Scanner) checkRecord(total int) error {
	want := binary.LittleEndian.Uint32(s.part[recordCRCSize:])
	if got := crc32.Update(s.crc, castagnoli, s.part[:recordCRCSize]); got != want {
		return s.corrupt(s.start, "record checksum", fmt.Sprintf("%08X", want), fmt.Sprintf("%08X", got))
	}
	if s.pad != 0 {
		return s.corrupt(s.start, "record padding", 0, fmt.Sprintf("%X", s.pad))
	}
	if s.overwrites {
		return s.checkOverwrite(total)
	}
	return nil
}

// overwriteSize is that of an OVERWRITE_CONTRECORD: LSN and time, behind a short main
// data header.
const overwriteSize = recordHeaderSize + 2 + 16

// checkOverwrite checks the first record, of total bytes, of a page that overwrites an
// abandoned one: it must say so, and name it.
func (s *Scanner) checkOverwrite(total int) error {
	if RMgr(s.part[17]) != RMgrXLOG || s.part[16]&infoMask != OpXLOGOverwriteContrecord || total != overwriteSize {
		return s.corrupt(s.start, "first record of a page that overwrites a record",
			"OVERWRITE_CONTRECORD", fmt.Sprintf("%v %02X", RMgr(s.part[17]), s.part[16]))
	}
	named := wal.LSN(binary.LittleEndian.Uint64(s.part[recordHeaderSize+2:]))
	if s.overwritten.IsValid() && named != s.overwritten {
		return s.corrupt(s.start, "overwritten record", s.overwritten, named)
	}
	s.overwrites, s.overwritten = false, 0
	return nil
}

// corrupt makes the error that the scanner stays in.
func (s *Scanner) corrupt(at wal.LSN, what string, want, got any) error {
	s.in, s.off = nil, 0
	s.err = wal.Corruptf(s.name, int64(at), fmt.Sprintf("%s at %v", what, at), want, got)
	return s.err
}

// isSwitch reports whether the record header b is XLOG_SWITCH's.
func isSwitch(b []byte) bool { return RMgr(b[17]) == RMgrXLOG && b[16]&infoMask == OpXLOGSwitch }

// padding returns the bytes that pad a record of total bytes to a multiple of 8: the
// last 0 to 7 of the last 8.
func padding(padded []byte, total int) uint64 {
	last := binary.LittleEndian.Uint64(padded[len(padded)-8:])
	return last >> (64 - 8*uint(len(padded)-total))
}
