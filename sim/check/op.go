package check

import (
	"cmp"
	"fmt"

	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/pgwal"
)

// Event is a place in the recorder's order: a count that rises with every call,
// return and sample of a run. It is not a time: two events are never equal.
type Event uint64

// Never is the return of an operation whose outcome stayed unknown: what it asked
// for may happen at any later moment.
const Never Event = 1<<63 - 1

// ClientID numbers a client: it has at most one open operation. One that gave up
// waiting leaves its operation open, and goes on under a new number.
type ClientID uint32

// TxID names a transaction: unique over a run, whatever branch or term it is of,
// and found again in the log (a run gives out its xids so). Zero is no client's.
type TxID uint64

// Value is what a client reads from a page and writes to it: unique over a run. Zero
// is a page that nobody has written.
type Value uint64

// PageID names a page of a branch.
type PageID struct {
	Rel   pgwal.RelFileNode
	Fork  pgwal.Fork
	Block pgwal.BlockNumber
}

// String renders the page as 1663/5/16384 main 7.
func (p PageID) String() string { return fmt.Sprintf("%v %v %d", p.Rel, p.Fork, p.Block) }

// Compare orders pages as their keys are ordered.
func (p PageID) Compare(q PageID) int {
	return cmp.Or(
		cmp.Compare(p.Rel.Spc, q.Rel.Spc), cmp.Compare(p.Rel.DB, q.Rel.DB), cmp.Compare(p.Rel.Rel, q.Rel.Rel),
		cmp.Compare(p.Fork, q.Fork), cmp.Compare(p.Block, q.Block))
}

// Place is a page of a branch.
type Place struct {
	Branch wal.TimelineID
	Page   PageID
}

// String renders the place with the first digits of its branch.
func (p Place) String() string { return fmt.Sprintf("page %v of branch %s", p.Page, short(p.Branch)) }

// short is enough of a timeline's id to find it in a run.
func short(id wal.TimelineID) string { return id.String()[:8] }

// Kind says what an operation asked for.
type Kind uint8

// The kinds of operations. Fields that a kind does not name are zero.
const (
	// Write is a transaction: Branch, Tx, Term, Pages with the values it writes, and
	// LSN, the end of its commit record, once it is known.
	Write Kind = iota
	// LatestRead reads one page as its client's compute has it: Branch, Term, Pages
	// with what was found, and LSN, the end of the log as of which it was found; zero
	// if the reader knows a value and no LSN. Confirmed says that a quorum round of
	// its term, begun after the read was called, came back before it returned.
	LatestRead
	// HistoryRead reads one page at LSN, as a pageserver serves it: Branch, LSN, Pages.
	// Confirmed says that the pageserver was told before to serve the branch.
	HistoryRead
	// SnapshotRead reads several pages at one LSN: Branch, LSN, Pages; and Term if the
	// reader is a compute. Confirmed says that LSN was to be the head of the log, and as
	// for LatestRead that a quorum round made sure of it.
	SnapshotRead
	// BranchCreate makes Child from Branch at LSN. Confirmed says that LSN was to be
	// the head of the parent's log.
	BranchCreate
	// CutoffAdvance lets history of Branch's own log below LSN go. It is acknowledged
	// only when every server that may answer knows it; one fenced and unaware leaves
	// it unknown, which permits refusals and demands none.
	CutoffAdvance
	// BranchDelete removes Branch. It fails with HasChildren while others branch from it,
	// and has then changed nothing.
	BranchDelete
	// BranchDetach makes Branch a root: below where it left its parent it has no history
	// any more.
	BranchDetach
	// LeaseGrant keeps LSN of Branch's own history readable; Child is the lease's id.
	LeaseGrant
	// LeaseRelease ends the lease Child of Branch.
	LeaseRelease
)

var kindNames = [...]string{"write", "latest read", "history read", "snapshot", "branch creation", "cutoff", "deletion", "detachment", "lease", "release"}

// String names the kind.
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return fmt.Sprintf("kind %d", uint8(k))
}

// Outcome says what the client was told.
type Outcome uint8

// The outcomes of an operation.
const (
	Unknown Outcome = iota // nothing, or an error that leaves the effect open
	OK                     // it happened
	Failed                 // definitely: it did not happen and will not
)

var outcomeNames = [...]string{"unknown", "ok", "failed"}

// String names the outcome.
func (o Outcome) String() string {
	if int(o) < len(outcomeNames) {
		return outcomeNames[o]
	}
	return fmt.Sprintf("outcome %d", uint8(o))
}

// Reason says why an operation failed, where a checker can hold the system to it.
type Reason uint8

// The reasons of a failure.
const (
	OtherReason  Reason = iota // a fault, a time-out, fenced, not yet there: nothing to hold it to
	BelowHorizon               // the LSN lies below what is kept
	NoSuchPage                 // there is no such relation, or the page lies beyond its end
	NoSuchBranch               // there is no such branch
	HasChildren                // others branch from it
)

// PageValue is one page of an operation.
type PageValue struct {
	Page  PageID
	Value Value // a Write's is not zero
	// LSN is the end of the record that wrote the page, in a Write that knows it.
	LSN wal.LSN
	// Digest is [PageDigest] of the page as it was read, zero where its bytes are not
	// meant to be those of the log (hint bits in a compute's own buffer).
	Digest uint64
}

// Op is one operation of a recorded history.
type Op struct {
	Kind      Kind
	Outcome   Outcome
	Reason    Reason
	Confirmed bool
	Client    ClientID
	Call      Event // taken before the request left
	Return    Event // taken after the answer came; Never if the outcome is unknown
	Branch    wal.TimelineID
	Child     wal.TimelineID
	LSN       wal.LSN
	Term      wal.Term // of the compute that answered; zero where a pageserver did
	Tx        TxID
	Pages     []PageValue
}

// String tells the operation in one line of a finding.
func (op *Op) String() string {
	end := "never"
	if op.Return != Never {
		end = fmt.Sprint(uint64(op.Return))
	}
	text := fmt.Sprintf("%v of branch %s by client %d at events %d to %s, LSN %v, %v", op.Kind, short(op.Branch), op.Client, uint64(op.Call), end, op.LSN, op.Outcome)
	if op.Tx != 0 {
		text += fmt.Sprintf(", transaction %d", op.Tx)
	}
	return text
}
