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
	chunkHead = 16

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
	r := newReader("create request", src)
	id := r.identity()
	return id, r.Finish()
}

func appendTimeline(dst []byte, timeline wal.TimelineID) []byte {
	return append(dst, timeline[:]...)
}

// DecodeTimeline reads the payload of a Status.
func DecodeTimeline(src []byte) (timeline wal.TimelineID, err error) {
	r := newReader("status request", src)
	copy(timeline[:], r.Bytes("timeline", len(timeline)))
	return timeline, r.Finish()
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
	r := newReader("read request", src)
	copy(m.Timeline[:], r.Bytes("timeline", len(m.Timeline)))
	m.Term = wal.Term(r.Uint64("term"))
	m.Begin = r.LSN("begin")
	bytesMax, wait := r.Uint32("bytes at most"), r.Uint32("wait")
	if bytesMax > ReadBytesMax {
		r.Fail("bytes at most", fmt.Sprintf("at most %d", ReadBytesMax), bytesMax)
	}
	if wait > uint32(WaitMax/time.Millisecond) {
		r.Fail("wait", fmt.Sprintf("at most %v", WaitMax), wait)
	}
	m.BytesMax, m.Wait = int(bytesMax), time.Duration(wait)*time.Millisecond
	return m, r.Finish()
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
	return quorum.AppendHistory(dst, m.History)
}

// DecodeStatus reads the payload of a TimelineStatus.
func DecodeStatus(src []byte) (m TimelineStatus, err error) {
	r := newReader("timeline status", src)
	m.Identity = r.identity()
	m.Node = wal.NodeID(r.Uint64("node"))
	m.Standing = quorum.Standing(r.Uint8("standing"))
	m.Term = wal.Term(r.Uint64("term"))
	m.Flush, m.Commit, m.Readable = r.LSN("flush"), r.LSN("commit"), r.LSN("readable")
	m.History = quorum.ReadHistory(r.Fields)
	return m, r.Finish()
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
	r := newReader("timeline list", src)
	n := r.Count("timelines", timelinesMax, len(wal.TimelineID{}))
	timelines := make([]wal.TimelineID, n)
	for i := range timelines {
		copy(timelines[i][:], r.Bytes("timeline", len(timelines[i])))
	}
	return timelines, r.Finish()
}

// AppendTo appends the encoded chunk to dst.
func (c Chunk) AppendTo(dst []byte) []byte {
	dst = le.AppendUint64(dst, uint64(c.Begin))
	dst = le.AppendUint64(dst, uint64(c.Limit))
	return append(dst, c.Bytes...)
}

// DecodeChunk reads the payload of a Chunk, whose bytes point into src.
func DecodeChunk(src []byte) (c Chunk, err error) {
	r := newReader("chunk of log", src)
	c.Begin, c.Limit = r.LSN("begin"), r.LSN("limit")
	c.Bytes = r.Bytes("bytes", len(src)-min(len(src), chunkHead))
	if len(c.Bytes) > ReadBytesMax {
		r.Fail("bytes", fmt.Sprintf("at most %d", ReadBytesMax), len(c.Bytes))
	}
	if r.Err() == nil && (c.End() < c.Begin || c.End() > max(c.Limit, c.Begin)) {
		r.Fail("end", fmt.Sprintf("at most %v", c.Limit), c.End())
	}
	return c, r.Finish()
}

// reader adds this package's own fields.
type reader struct{ *wal.Fields }

func newReader(what string, src []byte) reader { return reader{wal.NewFields(what, src)} }

func (r reader) identity() (id quorum.Identity) {
	copy(id.Tenant[:], r.Bytes("tenant", len(id.Tenant)))
	copy(id.Timeline[:], r.Bytes("timeline", len(id.Timeline)))
	id.SystemID = r.Uint64("system id")
	id.PGVersion = r.Uint32("PG version")
	id.Start = r.LSN("start")
	return id
}
