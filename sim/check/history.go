package check

import (
	"slices"

	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/quorum"
)

// History checks every read at an LSN against the replay of the log, what was refused
// against the cutoffs, and that equal questions had equal bytes.
func History(r *Run) Verdict {
	h := &history{
		judge: newJudge("history"), replay: NewReplay(&r.Log),
		cutoffs: map[wal.TimelineID][]*Op{}, left: map[wal.TimelineID][]*Op{}, answers: map[question]answer{},
	}
	for i := range r.Ops {
		if op := &r.Ops[i]; op.Kind == CutoffAdvance && op.Outcome != Failed {
			h.cutoffs[op.Branch] = append(h.cutoffs[op.Branch], op)
		} else if (op.Kind == BranchDelete || op.Kind == BranchDetach) && op.Outcome != Failed {
			h.left[op.Branch] = append(h.left[op.Branch], op)
		}
	}
	for i := range r.Ops {
		h.operation(&r.Ops[i])
	}
	return h.done()
}

type history struct {
	*judge
	replay  *Replay
	cutoffs map[wal.TimelineID][]*Op
	left    map[wal.TimelineID][]*Op // deletions and detachments that may have happened
	answers map[question]answer
}

// question is what an answer depends on: a version of a page.
type question struct {
	place Place
	lsn   wal.LSN
}

// answer is the first that a question had.
type answer struct {
	op     *Op
	digest uint64
}

func (h *history) operation(op *Op) {
	switch {
	case op.Kind == BranchCreate && op.Outcome == OK:
		h.count("branches above the cutoff")
		h.mustBeKept(op)
	case op.Kind != LatestRead && op.Kind != HistoryRead && op.Kind != SnapshotRead:
	case op.Outcome == Failed:
		h.refusal(op)
	case op.Outcome == OK && op.LSN == 0:
		h.skip("reads without an LSN")
	case op.Outcome == OK && h.replay.beyondTerm(op):
		h.skip("unconfirmed reads beyond what their term committed")
	case op.Outcome == OK:
		h.served(op)
	}
}

// served judges a read that was answered. The values of a snapshot are left to
// [Snapshots]; its bytes are compared with other answers here.
func (h *history) served(op *Op) {
	h.mustBeKept(op)
	h.mustBeWithin(op)
	if op.Kind != SnapshotRead {
		h.count(op.Kind.String() + "s")
		h.replay.judgePages(h.judge, op)
	}
	for _, p := range op.Pages {
		if p.Digest != 0 {
			h.sameBytes(op, p)
		}
	}
}

// sameBytes compares a page with an earlier answer to the same question. Every LSN
// from one version of a page up to the next asks the same, on every branch that sees it.
func (h *history) sameBytes(op *Op, p PageValue) {
	v := h.replay.At(op.Branch, p.Page, op.LSN)
	q := question{Place{v.Branch, p.Page}, v.LSN}
	h.count("pages with bytes")
	first, asked := h.answers[q]
	if !asked {
		h.answers[q] = answer{op, p.Digest}
		return
	}
	if first.digest != p.Digest {
		h.flagAt(Place{op.Branch, p.Page}, "bytes %016x differ from bytes %016x of the same version at %v: %v\n  and %v", p.Digest, first.digest, v.LSN, op, first.op)
	}
}

// mustBeWithin flags a page that a pageserver served from beyond its relation's end. A
// compute makes such a page of zeros itself.
func (h *history) mustBeWithin(op *Op) {
	if op.Term != 0 {
		return
	}
	for _, p := range op.Pages {
		if blocks, known := h.replay.Blocks(op.Branch, p.Page.Rel, op.LSN); known && p.Page.Block >= blocks {
			h.flagAt(Place{op.Branch, p.Page}, "served, and its relation has %d blocks: %v", blocks, op)
		}
	}
}

// mustBeKept flags an answer below a cutoff that was acknowledged before the call. A
// branch point is kept whatever the cutoff.
func (h *history) mustBeKept(op *Op) {
	owner, end := h.replay.Owner(op.Branch, op.LSN)
	if owner == nil {
		return
	}
	if op.Branch != owner.ID && op.LSN == end {
		return
	}
	if owner.Parent.IsZero() && op.LSN < owner.Start {
		h.flag("answered below the start %v of branch %s: %v", owner.Start, short(owner.ID), op)
	}
	for _, c := range h.cutoffs[owner.ID] {
		if c.Return < op.Call && op.LSN < c.LSN {
			h.flag("answered below the cutoff %v of branch %s, acknowledged at event %d: %v", c.LSN, short(owner.ID), c.Return, op)
			return
		}
	}
}

// refusal judges a read that failed for a reason that can be held against the log.
func (h *history) refusal(op *Op) {
	switch op.Reason {
	case BelowHorizon:
		h.count("refusals below the horizon")
		h.mustBeGone(op)
	case NoSuchPage:
		if op.LSN == 0 || h.replay.beyondTerm(op) {
			h.skip("absent pages beyond what their term committed")
			return
		}
		h.count("absent pages")
		h.mustBeKept(op)
		h.mustBeAbsent(op)
	}
}

func (h *history) mustBeGone(op *Op) {
	owner, end := h.replay.Owner(op.Branch, op.LSN)
	if owner == nil || owner.Parent.IsZero() && op.LSN < owner.Start {
		return
	}
	pinned := op.Branch != owner.ID && op.LSN == end
	if !pinned && h.isCut(owner, op) {
		return
	}
	if h.hasLeft(op) {
		h.skip("refusals of branches that may be deleted or detached")
		return
	}
	h.flag("refused as below the horizon, and no cutoff of branch %s lies above: %v", short(owner.ID), op)
}

// isCut reports whether a read was refused that lies below a cutoff of a branch itself.
func (h *history) isCut(b *Branch, op *Op) bool {
	for _, c := range h.cutoffs[b.ID] {
		if c.Call < op.Return && op.LSN < c.LSN {
			return true
		}
	}
	return false
}

// hasLeft reports whether a branch may have been deleted by the time a read was refused, or
// it or an ancestor may have been detached above the LSN. One that is detached keeps its
// beginning as it keeps all of its own history.
func (h *history) hasLeft(op *Op) bool {
	b := h.replay.Branch(op.Branch)
	for range len(h.replay.branches) {
		if b == nil || b.ID != op.Branch && b.Parent.IsZero() {
			return false
		}
		for _, gone := range h.left[b.ID] {
			if gone.Call < op.Return && (gone.Kind == BranchDelete && b.ID == op.Branch || gone.Kind == BranchDetach && (op.LSN < b.Start || h.isCut(b, op))) {
				return true
			}
		}
		b = h.replay.Branch(b.Parent)
	}
	return false
}

func (h *history) mustBeAbsent(op *Op) {
	for _, p := range op.Pages {
		if v := h.replay.At(op.Branch, p.Page, op.LSN); v.Value != 0 {
			h.flagAt(Place{op.Branch, p.Page}, "refused as absent, and it holds %d since %v: %v", v.Value, v.LSN, op)
		} else if blocks, _ := h.replay.Blocks(op.Branch, p.Page.Rel, op.LSN); p.Page.Block < blocks {
			h.flagAt(Place{op.Branch, p.Page}, "refused as absent, and its relation has %d blocks: %v", blocks, op)
		}
	}
}

// judgePages compares what a read found with the replay at its LSN.
func (x *Replay) judgePages(j *judge, op *Op) {
	b := x.Branch(op.Branch)
	if b == nil || op.LSN > b.End {
		j.flag("answered beyond the end of the log of branch %s: %v", short(op.Branch), op)
		return
	}
	for _, p := range op.Pages {
		v := x.At(op.Branch, p.Page, op.LSN)
		switch at := (Place{op.Branch, p.Page}); {
		case v.Value != p.Value:
			j.flagAt(at, "found %d, and the log has %d since %v: %v", p.Value, v.Value, v.LSN, op)
		case p.Digest != 0 && v.Digest != 0 && p.Digest != v.Digest:
			j.flagAt(at, "found bytes %016x, and the log makes %016x at %v: %v", p.Digest, v.Digest, v.LSN, op)
		}
	}
}

// beyondTerm reports whether a read of a compute's own state, not confirmed, is of
// log that its term did not commit: what it saw there may be lost with it.
func (x *Replay) beyondTerm(op *Op) bool {
	b := x.Branch(op.Branch)
	if op.Term == 0 || op.Confirmed || b == nil {
		return false
	}
	if op.LSN > b.End {
		return true
	}
	if len(b.Terms) == 0 {
		return false
	}
	// A term that is not in the log has won a vote and committed nothing; where its
	// log left the one that stayed is not known.
	n := slices.IndexFunc(b.Terms, func(t quorum.TermStart) bool { return t.Term == op.Term })
	return n < 0 || n+1 < len(b.Terms) && op.LSN > b.Terms[n+1].LSN
}
