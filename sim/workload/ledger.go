package workload

import (
	"slices"

	"github.com/varvedb/varve/lsm"
	"github.com/varvedb/varve/sim/check"
	"github.com/varvedb/varve/sim/world"
	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/pgwal"
	"github.com/varvedb/varve/wal/quorum"
)

// Ledger is what all clients of a run share: the recorder, the numbers that are
// unique over the run, and the branches that there are. One task at a time uses it,
// as one at a time runs.
type Ledger struct {
	*check.Recorder
	Branches []*Branch // in order of creation; the first is the root
	Deleted  []*Branch // that were deleted, or may have been, in order of their deletions
	Leases   []Lease   // that hold
	Wins     []check.Win

	value   check.Value
	tx      check.TxID
	most    int // operations that clients may begin; 0: any number
	begun   int
	stopped bool
}

// Branch is a branch as its clients know it.
type Branch struct {
	ID     wal.TimelineID
	Parent wal.TimelineID // zero for the root
	Start  wal.LSN
	// Head is an LSN that was once known to be committed: a reader may ask up to there.
	Head wal.LSN
	Acks int  // transactions of it that were acknowledged
	Gone bool // it was told to be deleted

	ends []wal.LSN // where the last changes of pages end in its log; some may have been lost with their term
}

// endsMax is how many ends of changes a branch remembers: those of some seconds.
const endsMax = 128

// Lease is an LSN of a branch that is kept readable.
type Lease struct {
	ID     lsm.LeaseID
	Branch *Branch
	LSN    wal.LSN
}

// NewLedger returns an empty ledger.
func NewLedger() *Ledger { return &Ledger{Recorder: check.NewRecorder(), tx: FirstXID - 1} }

// NewValue gives out a value.
func (l *Ledger) NewValue() check.Value {
	l.value++
	return l.value
}

// NewTx gives out a transaction's name, which is its xid.
func (l *Ledger) NewTx() check.TxID {
	l.tx++
	return l.tx
}

// Branch finds a branch by its id; nil if there is none.
func (l *Ledger) Branch(id wal.TimelineID) *Branch {
	for _, branches := range [][]*Branch{l.Branches, l.Deleted} {
		for _, b := range branches {
			if b.ID == id {
				return b
			}
		}
	}
	return nil
}

// doom takes a branch that is to be deleted from those that clients know, with its leases.
func (l *Ledger) doom(b *Branch) {
	l.Branches = slices.DeleteFunc(slices.Clone(l.Branches), func(o *Branch) bool { return o == b })
	l.Leases = slices.DeleteFunc(l.Leases, func(lease Lease) bool { return lease.Branch == b })
	l.Deleted = append(l.Deleted, b)
}

// spare takes doom back: but for the leases, which are known to nobody any more.
func (l *Ledger) spare(b *Branch) {
	l.Deleted = slices.DeleteFunc(slices.Clone(l.Deleted), func(o *Branch) bool { return o == b })
	l.Branches = append(l.Branches, b)
}

// Owner is the branch whose own history b's at lsn is: b, or an ancestor if lsn lies
// below where b begins. A branch made there becomes that one's child.
func (l *Ledger) Owner(b *Branch, lsn wal.LSN) *Branch {
	for !b.Parent.IsZero() && lsn < b.Start {
		b = l.Branch(b.Parent)
	}
	return b
}

// Bound bounds the operations that clients begin; 0 is no bound.
func (l *Ledger) Bound(most int) { l.most = most }

// Next reports whether a client may begin another operation, which then counts.
func (l *Ledger) Next() bool {
	if l.stopped || l.most > 0 && l.begun >= l.most {
		return false
	}
	l.begun++
	return true
}

// Begun is how many operations clients began, reads of the run's end not counted.
func (l *Ledger) Begun() int { return l.begun }

// Stop asks all clients to begin nothing more.
func (l *Ledger) Stop() { l.stopped = true }

// Stopped reports whether the clients were asked to stop.
func (l *Ledger) Stopped() bool { return l.stopped }

// won notes that a writer of b was told that it has won a term, and that the log is
// committed up to where that begins.
func (l *Ledger) won(b *Branch, term wal.Term, start wal.LSN) {
	l.Wins = append(l.Wins, check.Win{At: l.Tick(), Branch: b.ID, TermStart: quorum.TermStart{Term: term, LSN: start}})
	b.Learned(start)
}

// Learned notes that the log of b is committed up to lsn.
func (b *Branch) Learned(lsn wal.LSN) { b.Head = max(b.Head, lsn) }

// changed notes that a record which changes pages ends at an LSN.
func (b *Branch) changed(end wal.LSN) {
	b.ends = append(b.ends[max(0, len(b.ends)+1-endsMax):], end)
}

// moment draws an LSN from low to high: any, or, as that is where the edges are, one
// where a change ends.
func (b *Branch) moment(c *world.Choices, low, high wal.LSN) wal.LSN {
	if n := uint32(len(b.ends)); n > 0 && c.Below(2) == 1 {
		if end := b.ends[c.Below(n)]; low <= end && end <= high {
			return end
		}
	}
	return low + wal.LSN(c.Below(uint32(high-low)+1))
}

// PageOf is the id of a block of the n-th relation.
func PageOf(relation int, block pgwal.BlockNumber) check.PageID {
	return check.PageID{Rel: Relation(relation), Fork: pgwal.MainFork, Block: block}
}
