package walapi

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/quorum"
)

// Payloads, little-endian. Each travels in a frame, which has a checksum, and the
// hello has settled their version.
//
//	identity       tenant 16, timeline 16, system id 8, PG version 4, start 8
//	history        count 4, then count times: term 8, LSN 8
//
//	Create         identity
//	Status         timeline 16
//	List           nothing
//	Read           timeline 16, term 8, begin 8, bytes at most 4, wait in milliseconds 4
//	TimelineStatus identity, node 8, standing 1, term 8, flush 8, commit 8, readable 8, history
//	TimelineList   count 4, then count times: timeline 16
//	Chunk          begin 8, limit 8, bytes to the end of the payload
//
// A value has one encoding: what decodes, encodes to the same bytes.
const (
	termStartSize = 16
	chunkHead     = 16

	// timelinesMax bounds a list: 2^20 timelines are 16 MiB.
	timelinesMax = 1 << 20
)

var le = binary.LittleEndian

func appendIdentity(dst []byte, id quorum.Identity) []byte {
	dst = append(dst, id.Tenant[:]...)
	dst = append(dst, id.Timeline[:]...)
	dst = le.AppendUint64(dst, id.SystemID)
	dst = le.AppendUint32(dst, id.PGVersion)
	return le.AppendUint64(dst, uint64(id.Start))
}

// DecodeCreate reads the payload of a Create.
func DecodeCreate(src []byte) (quorum.Identity, error) {
	r := &reader{what: "create request", src: src}
	id := r.identity()
	return id, r.finish()
}

func appendTimeline(dst []byte, timeline wal.TimelineID) []byte {
	return append(dst, timeline[:]...)
}

// DecodeTimeline reads the payload of a Status.
func DecodeTimeline(src []byte) (timeline wal.TimelineID, err error) {
	r := &reader{what: "status request", src: src}
	copy(timeline[:], r.bytes("timeline", len(timeline)))
	return timeline, r.finish()
}

// AppendTo appends the encoded request to dst.
func (m ReadRequest) AppendTo(dst []byte) []byte {
	dst = append(dst, m.Timeline[:]...)
	dst = le.AppendUint64(dst, uint64(m.Term))
	dst = le.AppendUint64(dst, uint64(m.Begin))
	dst = le.AppendUint32(dst, uint32(m.BytesMax))
	return le.AppendUint32(dst, uint32(m.Wait/time.Millisecond))
}

// DecodeRead reads the payload of a Read.
func DecodeRead(src []byte) (m ReadRequest, err error) {
	r := &reader{what: "read request", src: src}
	copy(m.Timeline[:], r.bytes("timeline", len(m.Timeline)))
	m.Term = wal.Term(r.u64("term"))
	m.Begin = r.lsn("begin")
	bytesMax, wait := r.u32("bytes at most"), r.u32("wait")
	if bytesMax > ReadBytesMax {
		r.fail("bytes at most", fmt.Sprintf("at most %d", ReadBytesMax), bytesMax)
	}
	if wait > uint32(WaitMax/time.Millisecond) {
		r.fail("wait", fmt.Sprintf("at most %v", WaitMax), wait)
	}
	m.BytesMax, m.Wait = int(bytesMax), time.Duration(wait)*time.Millisecond
	return m, r.finish()
}

// AppendTo appends the encoded status to dst.
func (m TimelineStatus) AppendTo(dst []byte) []byte {
	dst = appendIdentity(dst, m.Identity)
	dst = le.AppendUint64(dst, uint64(m.Node))
	dst = append(dst, byte(m.Standing))
	dst = le.AppendUint64(dst, uint64(m.Term))
	dst = le.AppendUint64(dst, uint64(m.Flush))
	dst = le.AppendUint64(dst, uint64(m.Commit))
	dst = le.AppendUint64(dst, uint64(m.Readable))
	dst = le.AppendUint32(dst, uint32(len(m.History)))
	for _, e := range m.History {
		dst = le.AppendUint64(dst, uint64(e.Term))
		dst = le.AppendUint64(dst, uint64(e.LSN))
	}
	return dst
}

// DecodeStatus reads the payload of a TimelineStatus.
func DecodeStatus(src []byte) (m TimelineStatus, err error) {
	r := &reader{what: "timeline status", src: src}
	m.Identity = r.identity()
	m.Node = wal.NodeID(r.u64("node"))
	m.Standing = quorum.Standing(r.u8("standing"))
	m.Term = wal.Term(r.u64("term"))
	m.Flush, m.Commit, m.Readable = r.lsn("flush"), r.lsn("commit"), r.lsn("readable")
	m.History = r.history()
	return m, r.finish()
}

func appendTimelines(dst []byte, timelines []wal.TimelineID) []byte {
	dst = le.AppendUint32(dst, uint32(len(timelines)))
	for _, timeline := range timelines {
		dst = append(dst, timeline[:]...)
	}
	return dst
}

// DecodeTimelines reads the payload of a TimelineList.
func DecodeTimelines(src []byte) ([]wal.TimelineID, error) {
	r := &reader{what: "timeline list", src: src}
	n := r.count("timelines", timelinesMax, len(wal.TimelineID{}))
	timelines := make([]wal.TimelineID, n)
	for i := range timelines {
		copy(timelines[i][:], r.bytes("timeline", len(timelines[i])))
	}
	return timelines, r.finish()
}

// AppendTo appends the encoded chunk to dst.
func (c Chunk) AppendTo(dst []byte) []byte {
	dst = le.AppendUint64(dst, uint64(c.Begin))
	dst = le.AppendUint64(dst, uint64(c.Limit))
	return append(dst, c.Bytes...)
}

// DecodeChunk reads the payload of a Chunk, whose bytes point into src.
func DecodeChunk(src []byte) (c Chunk, err error) {
	r := &reader{what: "chunk of log", src: src}
	c.Begin, c.Limit = r.lsn("begin"), r.lsn("limit")
	c.Bytes = r.bytes("bytes", len(src)-min(len(src), chunkHead))
	if len(c.Bytes) > ReadBytesMax {
		r.fail("bytes", fmt.Sprintf("at most %d", ReadBytesMax), len(c.Bytes))
	}
	if r.err == nil && (c.End() < c.Begin || c.End() > max(c.Limit, c.Begin)) {
		r.fail("end", fmt.Sprintf("at most %v", c.Limit), c.End())
	}
	return c, r.finish()
}

// reader takes fields off the front of src until one fails; then it gives zeros.
type reader struct {
	what string // names src in errors
	src  []byte
	at   int
	err  error
}

func (r *reader) fail(field string, want, got any) {
	if r.err == nil {
		r.err = wal.Corruptf(r.what, int64(r.at), field, want, got)
	}
}

func (r *reader) bytes(field string, n int) []byte {
	if left := len(r.src) - r.at; r.err == nil && n > left {
		r.fail(field, fmt.Sprintf("%d bytes", n), fmt.Sprintf("%d bytes", left))
	}
	if r.err != nil {
		return nil
	}
	r.at += n
	return r.src[r.at-n : r.at : r.at]
}

func (r *reader) u8(field string) uint8 {
	if b := r.bytes(field, 1); b != nil {
		return b[0]
	}
	return 0
}

func (r *reader) u32(field string) uint32 {
	if b := r.bytes(field, 4); b != nil {
		return le.Uint32(b)
	}
	return 0
}

func (r *reader) u64(field string) uint64 {
	if b := r.bytes(field, 8); b != nil {
		return le.Uint64(b)
	}
	return 0
}

func (r *reader) lsn(field string) wal.LSN { return wal.LSN(r.u64(field)) }

// count reads the number of things that follow, of so many bytes each.
func (r *reader) count(field string, limit, size int) int {
	n := int(r.u32(field))
	if n > limit || n*size > len(r.src)-r.at {
		r.fail(field, fmt.Sprintf("at most %d, all here", limit), n)
		return 0
	}
	return n
}

func (r *reader) identity() (id quorum.Identity) {
	copy(id.Tenant[:], r.bytes("tenant", len(id.Tenant)))
	copy(id.Timeline[:], r.bytes("timeline", len(id.Timeline)))
	id.SystemID = r.u64("system id")
	id.PGVersion = r.u32("PG version")
	id.Start = r.lsn("start")
	return id
}

func (r *reader) history() quorum.TermHistory {
	n := r.count("history", quorum.HistoryEntriesMax, termStartSize)
	if n == 0 {
		return nil
	}
	h := make(quorum.TermHistory, n)
	for i := range h {
		h[i] = quorum.TermStart{Term: wal.Term(r.u64("term")), LSN: r.lsn("LSN")}
	}
	if err := h.Check(); err != nil {
		r.fail("history", "a sound one", err)
	}
	return h
}

func (r *reader) finish() error {
	if r.err == nil && r.at != len(r.src) {
		r.fail("length", r.at, len(r.src))
	}
	if r.err != nil {
		return fmt.Errorf("decode %s: %w", r.what, r.err)
	}
	return nil
}
