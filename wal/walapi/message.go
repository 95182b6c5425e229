package walapi

import (
	"time"

	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/frame"
	"github.com/varvedb/varve/wal/quorum"
)

// Service is the name in the hello.
const Service = "varve-log"

// Types of frames.
const (
	TypeQuorum uint8 = 1
	TypeCreate uint8 = 2
	TypeStatus uint8 = 3
	TypeList   uint8 = 4
	TypeRead   uint8 = 5
)

// Codes of requests that fail.
const (
	// CodeNoTimeline: the safekeeper knows no such timeline.
	CodeNoTimeline = frame.CodeService + iota
	// CodeForeign: the timeline exists with another tenant, system identifier,
	// version or start.
	CodeForeign
	// CodeAmnesiac: the safekeeper has lost what it knew of the timeline.
	CodeAmnesiac
	// CodeBelowStart: the log begins above the LSN that was asked for.
	CodeBelowStart
	// CodeWrongTerm: the safekeeper is in another term than the reader's.
	CodeWrongTerm
)

// ReadBytesMax bounds the log bytes in one answer. It is what a proposer fetches at
// once, so that a fetch is one read.
const ReadBytesMax = quorum.AppendBytesMax

// WaitMax bounds how long a Read waits for the log to grow.
const WaitMax = 30 * time.Second

// TimelineStatus is what a safekeeper tells of a timeline.
type TimelineStatus struct {
	quorum.Identity
	Node     wal.NodeID
	Standing quorum.Standing
	Term     wal.Term // the highest that is durable
	Flush    wal.LSN  // end of the last whole record that is durable
	Commit   wal.LSN  // known here to be committed; the truth may be higher
	Readable wal.LSN  // end of what Read gives with term 0
	History  quorum.TermHistory
}

// ReadRequest asks for log bytes.
type ReadRequest struct {
	Timeline wal.TimelineID
	Term     wal.Term      // 0: only what is committed
	Begin    wal.LSN       // the first byte
	BytesMax int           // at most ReadBytesMax; 0: that
	Wait     time.Duration // how long to wait while there is nothing at Begin
}

// Chunk is a piece of the log.
type Chunk struct {
	Begin wal.LSN
	// Limit is the end of all that could be read at that moment: a record's end.
	Limit wal.LSN
	Bytes []byte // empty if Begin is at Limit
}

// End is the LSN after the last byte.
func (c Chunk) End() wal.LSN { return c.Begin + wal.LSN(len(c.Bytes)) }
