package quorum

import "github.com/varvedb/varve/wal"

// Token numbers the disk effects of one acceptor, from 1 upwards in their order.
type Token uint64

// DiskEffect is one of [PersistState], [TruncateLog], [WriteLog], [SyncLog].
type DiskEffect interface{ diskEffect() }

// PersistState replaces the durable state. It is done when a crash can no longer bring
// the former state back.
type PersistState struct {
	Token Token
	State AcceptorState
}

// TruncateLog cuts the log so that it ends at To. It is done when a crash can no longer
// bring back a byte at or above To.
type TruncateLog struct {
	Token Token
	To    wal.LSN
}

// WriteLog writes Bytes at LSN At, the end of the log as the effects before it left it.
// It needs not be durable, and is never reported.
type WriteLog struct {
	At        wal.LSN
	Bytes     []byte
	RecordEnd wal.LSN // end of the last record known to end in Bytes, 0 if none is
}

// SyncLog makes every byte written so far durable.
type SyncLog struct {
	Token     Token
	RecordEnd wal.LSN // end of the last whole record written so far
}

func (PersistState) diskEffect() {}
func (TruncateLog) diskEffect()  {}
func (WriteLog) diskEffect()     {}
func (SyncLog) diskEffect()      {}

// AcceptorEffects are the effects that an [Acceptor] is ready to see carried out.
type AcceptorEffects struct {
	// Disk is to be carried out in this order, each begun when the one before is done.
	Disk []DiskEffect
	// Sends may leave at once: all that they promise is durable already.
	Sends []Send
}

// Empty reports whether there is nothing to do.
func (e AcceptorEffects) Empty() bool { return len(e.Disk) == 0 && len(e.Sends) == 0 }

// ProposerEffects are the effects that a [Proposer] is ready to see carried out.
type ProposerEffects struct {
	Sends   []Send
	Fetches []Fetch
	Hangups []Hangup
	Rejects []Reject
	Leading *Leading // set once: from now on Propose is allowed
	Commit  wal.LSN  // the new commit LSN, 0 if it did not advance; never before Leading
	Lost    *Lost    // set once: the proposer is finished
}

// Empty reports whether there is nothing to do.
func (e ProposerEffects) Empty() bool {
	return len(e.Sends) == 0 && len(e.Fetches) == 0 && len(e.Hangups) == 0 && len(e.Rejects) == 0 &&
		e.Leading == nil && e.Commit == 0 && e.Lost == nil
}

// Fetch asks for the log bytes [Begin, End), at most [AppendBytesMax], read from the node
// From on behalf of the proposer of Term, to be answered by Fetched or FetchFailed. Record,
// at or below Begin, is the end of the last record known to have been sent to For: from
// there on the bytes can be checked. Flush, at or below Record, is what For has
// acknowledged: what is between the two may be on its way.
type Fetch struct {
	From, For     wal.NodeID
	Term          wal.Term
	Flush, Record wal.LSN
	Begin, End    wal.LSN
}

// Hangup asks to close the connection of a session whose other end has fallen silent, and
// to report it with Disconnected.
type Hangup struct {
	Node    wal.NodeID
	Session Session
}

// Reject tells that a node does not take part. It stays so until the node is connected anew.
type Reject struct {
	Node   wal.NodeID
	Reason Reason
}

// Leading tells that the term was won, and that the log up to Start is committed in it.
type Leading struct {
	Term  wal.Term
	Start wal.LSN
}

// Lost tells why a proposer is finished. Nothing it proposed beyond its last commit LSN
// is known to survive, and nothing of it is known to be lost.
type Lost struct {
	Term  wal.Term // the proposer's own
	Seen  wal.Term // the higher one, for LostFenced
	Cause LostCause
	Node  wal.NodeID // the one that contradicts, for LostContradiction
}

// LostCause says why a proposer is finished.
type LostCause uint8

const (
	// LostFenced: a node is in a higher term, so another proposer may have won.
	LostFenced LostCause = 1
	// LostElections: [ElectionRoundsMax] elections were not won.
	LostElections LostCause = 2
	// LostHistoryFull: the term history has no room for another term.
	LostHistoryFull LostCause = 3
	// LostContradiction: a node knows to be committed what is not in the log that was elected,
	// or another leader of the term. The disk of some node deceives.
	LostContradiction LostCause = 4
)

func (c LostCause) String() string {
	switch c {
	case LostFenced:
		return "fenced"
	case LostElections:
		return "too many elections"
	case LostHistoryFull:
		return "term history full"
	case LostContradiction:
		return "the elected log contradicts what a safekeeper knows"
	}
	return "unknown"
}

// againMax is the most elements of a slice whose memory is used again: more than a busy
// log makes between two calls of Ready, and little to hold for an idle one.
const againMax = 256

// again returns a slice that was handed out, emptied, to be filled again.
func again[T any](s []T) []T {
	clear(s)
	if cap(s) > againMax {
		return nil
	}
	return s[:0]
}
