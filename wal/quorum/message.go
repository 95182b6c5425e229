package quorum

import (
	"fmt"

	"github.com/varvedb/varve/wal"
)

// AppendBytesMax bounds the log bytes of one [Append], so that one message cannot hold
// up a connection for long and a frame can be read into a buffer of known size.
const AppendBytesMax = 1 << 20

// MessageBytesMax bounds an encoded message: the largest carries a full term history.
const MessageBytesMax = 256 + HistoryEntriesMax*termStartBytes

// Session numbers a connection between a proposer and an acceptor. Every message
// carries the session it belongs to, so that one of an older connection is known.
// In one life of a proposer later connections have larger numbers.
type Session uint64

// Header is in every message.
type Header struct {
	Timeline wal.TimelineID
	// Term is the sender's term: a proposer's own, or the one an acceptor is in.
	Term wal.Term
	// Session is chosen by the proposer; replies repeat it.
	Session Session
}

// Head returns the header.
func (h Header) Head() Header { return h }

// Message is one of the structs below.
type Message interface {
	Head() Header
	// AppendTo appends the encoded message to dst. See format.go.
	AppendTo(dst []byte) []byte
	kind() kind
}

// Greeting opens a session. Its term is 0 until the proposer has chosen one.
type Greeting struct {
	Header
	Proposer  wal.NodeID
	Tenant    wal.TenantID
	SystemID  uint64 // PostgreSQL's system identifier
	PGVersion uint32 // PostgreSQL's major version, such as 15
}

// GreetingReply says in which term the acceptor is, and no position: positions are
// told with a vote, when they can no longer change behind the candidate's back.
type GreetingReply struct {
	Header
	Node     wal.NodeID // who answers: an address may lead to the wrong node
	Standing Standing
}

// VoteRequest asks for the vote in its term.
type VoteRequest struct{ Header }

// VoteReply gives the vote in its term or denies it; a denial carries no position.
type VoteReply struct {
	Header
	Given   bool
	Flush   wal.LSN // end of the last whole record that is durable
	Commit  wal.LSN // known to be committed; the truth may be higher
	History TermHistory
}

// LastTerm is the last log term of the voter.
func (m VoteReply) LastTerm() wal.Term { return m.History.LastTerm(m.Flush) }

// Elected tells that the proposer has won its term and where its log starts. The last
// entry of History is (Term, Start).
type Elected struct {
	Header
	Start   wal.LSN
	History TermHistory
}

// ElectedReply says that the acceptor's log is a durable prefix of the leader's, up to Flush.
type ElectedReply struct {
	Header
	Flush wal.LSN
}

// Append carries log bytes; without bytes it carries a commit LSN and asks for a reply.
type Append struct {
	Header
	Begin wal.LSN
	// RecordEnd is the end of the last record that ends in Bytes, 0 if none does:
	// Begin < RecordEnd <= Begin+len(Bytes).
	RecordEnd wal.LSN
	Commit    wal.LSN
	Bytes     []byte // at most AppendBytesMax; never changed after the message was made
}

// End is the LSN after the last byte.
func (m Append) End() wal.LSN { return m.Begin + wal.LSN(len(m.Bytes)) }

// AppendReply says what the acceptor has in the term and session of its header.
type AppendReply struct {
	Header
	Written wal.LSN // end of the bytes received: flow control, no promise
	Flush   wal.LSN // end of the last whole record that is durable
	Commit  wal.LSN // the commit LSN adopted
}

// Refused says that the acceptor will not do what a message asked. Its term is the acceptor's.
type Refused struct {
	Header
	Reason Reason
}

// Reason says why an acceptor refuses.
type Reason uint8

const (
	// ReasonStaleTerm: the acceptor is in a higher term.
	ReasonStaleTerm Reason = 1
	// ReasonAmnesiac: the acceptor has lost what it promised.
	ReasonAmnesiac Reason = 2
	// ReasonForeign: tenant, system identifier, PostgreSQL version or the start of
	// the log differ: the proposer is of another cluster.
	ReasonForeign Reason = 3
	// ReasonContradicts: the log that was elected lacks what the acceptor knows to be
	// committed, or is of another leader of the same term. The disk of some node deceives.
	ReasonContradicts Reason = 4
)

func (r Reason) String() string {
	switch r {
	case ReasonStaleTerm:
		return "stale term"
	case ReasonAmnesiac:
		return "amnesiac"
	case ReasonForeign:
		return "foreign"
	case ReasonContradicts:
		return "at odds with the elected log"
	}
	return fmt.Sprintf("reason %d", uint8(r))
}

// Send is a message and the node it goes to, over the connection of its session. If
// that connection is gone, so is the message.
type Send struct {
	To      wal.NodeID
	Message Message
}
