package check

import (
	"github.com/varvedb/varve/lsm/manifest"
	"github.com/varvedb/varve/wal"
)

// Branches checks what becomes of branches and of what is kept for their readers: one that
// was deleted is gone for good, and nothing else is; a refusal to delete was for a child
// that was there; one that was detached has no parent any more, and nobody else has lost
// his; a lease keeps its LSN readable.
func Branches(r *Run) Verdict {
	b := &branches{judge: newJudge("branches"), run: r, replay: NewReplay(&r.Log), of: map[wal.TimelineID][]*Op{}}
	for i := range r.Ops {
		switch op := &r.Ops[i]; op.Kind {
		case BranchCreate:
			b.of[op.Child] = append(b.of[op.Child], op)
		case BranchDelete, BranchDetach, LeaseGrant, LeaseRelease:
			b.count(op.Kind.String() + ", " + op.Outcome.String())
			b.of[op.Branch] = append(b.of[op.Branch], op)
		}
	}
	for i := range r.Ops {
		switch op := &r.Ops[i]; op.Kind {
		case BranchDelete:
			b.refusedDelete(op)
		case HistoryRead, SnapshotRead:
			b.read(op)
		}
	}
	b.samples()
	return b.done()
}

type branches struct {
	*judge
	run    *Run
	replay *Replay
	of     map[wal.TimelineID][]*Op // operations on a branch, and its creation
}

// did reports whether an operation of a kind on a branch was acknowledged before an event.
func (b *branches) did(kind Kind, id wal.TimelineID, before Event) bool {
	for _, op := range b.of[id] {
		if op.Kind == kind && op.Outcome == OK && op.Return < before {
			return true
		}
	}
	return false
}

// mayHave reports whether an operation of a kind on a branch may have happened by an event.
func (b *branches) mayHave(kind Kind, id wal.TimelineID, by Event) bool {
	for _, op := range b.of[id] {
		if op.Kind == kind && op.Outcome != Failed && op.Call < by {
			return true
		}
	}
	return false
}

// refusedDelete flags a refusal for children where none can have been.
func (b *branches) refusedDelete(op *Op) {
	if op.Outcome != Failed || op.Reason != HasChildren {
		return
	}
	for i := range b.run.Ops {
		made := &b.run.Ops[i]
		if made.Kind != BranchCreate || made.Call > op.Return {
			continue
		}
		// A branch made below where its parent begins is an ancestor's.
		owner, _ := b.replay.Owner(made.Branch, made.LSN)
		isChild := made.Branch == op.Branch || owner != nil && owner.ID == op.Branch
		if isChild && !b.did(BranchDelete, made.Child, op.Call) && !b.did(BranchDetach, made.Child, op.Call) {
			return
		}
	}
	b.flag("refused for children, and branch %s has none: %v", short(op.Branch), op)
}

// read judges reads that were asked of whoever serves the branch, and refusals of what a
// lease keeps.
func (b *branches) read(op *Op) {
	told := op.Outcome == Failed && op.Reason == NoSuchBranch
	if op.Confirmed && op.Term == 0 && op.Outcome != Unknown {
		b.count("reads of branches that are there or not")
		switch {
		case told && !b.mayHave(BranchDelete, op.Branch, op.Return):
			b.flag("there is no such branch, and nobody deleted %s: %v", short(op.Branch), op)
		case !told && b.did(BranchDelete, op.Branch, op.Call):
			b.flag("branch %s is deleted, and answers: %v", short(op.Branch), op)
		}
	}
	owner, _ := b.replay.Owner(op.Branch, op.LSN)
	if owner == nil || owner.ID != op.Branch {
		return
	}
	for _, lease := range b.of[owner.ID] {
		if lease.Kind != LeaseGrant || lease.Outcome != OK || lease.LSN != op.LSN || lease.Return > op.Call || b.released(lease, op.Return) {
			continue
		}
		b.count("reads at leases")
		if op.Outcome == Failed && op.Reason == BelowHorizon && !b.mayHave(BranchDelete, op.Branch, op.Return) {
			b.flag("refused as below the horizon, and leased since event %d: %v", lease.Return, op)
		}
		return
	}
}

// released reports whether a lease may have ended by an event.
func (b *branches) released(lease *Op, by Event) bool {
	for _, op := range b.of[lease.Branch] {
		if op.Kind == LeaseRelease && op.Child == lease.Child && op.Call < by {
			return true
		}
	}
	return false
}

// samples looks for branches that vanished, came back, or lost their parents.
func (b *branches) samples() {
	var before []wal.TimelineID
	for i := range b.run.Bucket {
		s := &b.run.Bucket[i]
		now := map[wal.TimelineID]*manifest.Index{}
		for k := range s.Indexes {
			x := &s.Indexes[k]
			now[x.Timeline] = x
			b.index(s.At, x)
		}
		for _, id := range before {
			if now[id] == nil && !b.mayHave(BranchDelete, id, s.At) && !b.wasUndone(id) {
				b.flag("event %d: branch %s is gone, and nobody deleted it", s.At, short(id))
			}
		}
		before = before[:0]
		for k := range s.Indexes {
			before = append(before, s.Indexes[k].Timeline)
		}
	}
}

// wasUndone reports whether a branch was never told to be there: its index may go again.
func (b *branches) wasUndone(id wal.TimelineID) bool {
	for _, op := range b.of[id] {
		if op.Kind == BranchCreate {
			return op.Outcome != OK
		}
	}
	return false
}

func (b *branches) index(at Event, x *manifest.Index) {
	b.count("indexes")
	if b.did(BranchDelete, x.Timeline, at) {
		b.flag("event %d: branch %s was deleted, and has an index", at, short(x.Timeline))
	}
	made := b.replay.Branch(x.Timeline)
	switch {
	case made == nil || made.Parent.IsZero():
	case x.IsRoot() && !b.mayHave(BranchDetach, x.Timeline, at):
		b.flag("event %d: branch %s has no parent, and nobody detached it", at, short(x.Timeline))
	case !x.IsRoot() && b.did(BranchDetach, x.Timeline, at):
		b.flag("event %d: branch %s was detached, and has a parent", at, short(x.Timeline))
	}
}
