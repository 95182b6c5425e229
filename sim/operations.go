package sim

import (
	"github.com/varvedb/varve/sim/check"
	"github.com/varvedb/varve/wal"
)

// acts is what clients and operators do that is no operation of the history, by the
// label that marks it.
var acts = []string{
	"sim compute failover", "sim rival computes", "sim pageserver moved",
	"sim everything wiped but bucket and safekeepers",
	"sim relation truncated", "sim relation dropped",
	"sim branch deleted", "sim branch reset", "sim deletion refused", "sim branch detached", "sim history collected",
}

// operations is every kind of thing that clients and operators do, and how often it was
// done in the run, which may be never.
func (c *cluster) operations() (done check.Counts) {
	covered := c.w.Covered()
	for _, label := range acts {
		done.Add(label, int(covered[label]))
	}
	for _, kind := range kinds {
		done.Add(kind.name, 0)
	}
	children := map[wal.TimelineID]bool{}
	for i := range c.run.Ops {
		op := &c.run.Ops[i]
		for _, kind := range kinds {
			if kind.is(op, children) {
				done.Add(kind.name, 1)
			}
		}
		if op.Kind == check.BranchCreate {
			children[op.Child] = true
		}
	}
	return done
}

// kinds tells the operations of a history apart. children is the branches that were
// asked for so far.
var kinds = []struct {
	name string
	is   func(op *check.Op, children map[wal.TimelineID]bool) bool
}{
	{"transactions committed", ended(check.Write, check.OK, func(*check.Op) bool { return true })},
	{"transactions aborted", ended(check.Write, check.Failed, func(*check.Op) bool { return true })},
	{"transactions of unknown outcome", ended(check.Write, check.Unknown, func(*check.Op) bool { return true })},
	{"latest reads, confirmed", ended(check.LatestRead, check.OK, func(op *check.Op) bool { return op.Confirmed })},
	{"latest reads, unconfirmed", ended(check.LatestRead, check.OK, func(op *check.Op) bool { return !op.Confirmed })},
	{"snapshots of the head, confirmed", ended(check.SnapshotRead, check.OK, func(op *check.Op) bool { return op.Term != 0 && op.Confirmed })},
	{"snapshots of the head, unconfirmed", ended(check.SnapshotRead, check.OK, func(op *check.Op) bool { return op.Term != 0 && !op.Confirmed })},
	{"snapshots of the past", ended(check.SnapshotRead, check.OK, func(op *check.Op) bool { return op.Term == 0 })},
	{"reads of the past", ended(check.HistoryRead, check.OK, func(*check.Op) bool { return true })},
	{"reads refused below the horizon", ended(check.HistoryRead, check.Failed, func(op *check.Op) bool { return op.Reason == check.BelowHorizon })},
	{"reads of pages that are not there", ended(check.HistoryRead, check.Failed, func(op *check.Op) bool { return op.Reason == check.NoSuchPage })},
	{"branches at the head", ended(check.BranchCreate, check.OK, func(op *check.Op) bool { return op.Confirmed })},
	{"branches in the past", ended(check.BranchCreate, check.OK, func(op *check.Op) bool { return !op.Confirmed })},
	{"branches of branches", func(op *check.Op, children map[wal.TimelineID]bool) bool {
		return op.Kind == check.BranchCreate && op.Outcome == check.OK && children[op.Branch]
	}},
	{"leases", ended(check.LeaseGrant, check.OK, func(*check.Op) bool { return true })},
	{"leases released", ended(check.LeaseRelease, check.OK, func(*check.Op) bool { return true })},
	{"cutoffs raised", func(op *check.Op, _ map[wal.TimelineID]bool) bool { return op.Kind == check.CutoffAdvance }},
}

// ended tells operations of a kind that ended in one way, and of them those that are so.
func ended(kind check.Kind, outcome check.Outcome, so func(*check.Op) bool) func(*check.Op, map[wal.TimelineID]bool) bool {
	return func(op *check.Op, _ map[wal.TimelineID]bool) bool {
		return op.Kind == kind && op.Outcome == outcome && so(op)
	}
}
