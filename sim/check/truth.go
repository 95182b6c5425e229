package check

import (
	"slices"

	"github.com/varvedb/varve/wal"
)

// Truth checks the log itself, and that it has exactly what clients were told.
func Truth(r *Run) Verdict {
	t := &truth{
		judge: newJudge("truth"), run: r, replay: NewReplay(&r.Log),
		commits: map[TxID]*Commit{}, values: map[Value]*Version{},
	}
	t.branches()
	t.commitOrder()
	t.versions()
	writers := map[TxID]*Op{}
	made := map[wal.TimelineID]bool{}
	for i := range r.Ops {
		switch op := &r.Ops[i]; op.Kind {
		case Write:
			if writers[op.Tx] != nil || op.Tx == 0 {
				t.flag("history: transaction %d is not one operation's alone: %v", op.Tx, op)
			}
			writers[op.Tx] = op
			t.write(op)
		case BranchCreate:
			made[op.Child] = true
			t.creation(op)
		}
	}
	t.phantoms(writers, made)
	t.prefixes()
	t.terms()
	t.wins()
	return t.done()
}

type truth struct {
	*judge
	run     *Run
	replay  *Replay
	commits map[TxID]*Commit
	values  map[Value]*Version
}

// branches checks that each branch hangs on its parent.
func (t *truth) branches() {
	seen := map[wal.TimelineID]bool{}
	for i := range t.run.Log.Branches {
		b := &t.run.Log.Branches[i]
		t.count("branches")
		if seen[b.ID] {
			t.flag("branch %s is in the log twice", short(b.ID))
		}
		seen[b.ID] = true
		if b.End < b.Start {
			t.flag("log of branch %s ends at %v, before its start %v", short(b.ID), b.End, b.Start)
		}
		if err := b.Terms.Check(); err != nil {
			t.flag("branch %s: %v", short(b.ID), err)
		}
		if owner, _ := t.replay.Owner(b.ID, b.Start); owner == nil {
			t.flag("branch %s has no line of parents down to a root", short(b.ID))
		} else if p := t.replay.Branch(b.Parent); p != nil && b.Start > p.End {
			t.flag("branch %s leaves %s at %v, above the end %v", short(b.ID), short(p.ID), b.Start, p.End)
		}
	}
}

// inLog reports whether a record that ends at lsn can be of the branch's own log.
func (t *truth) inLog(branch wal.TimelineID, lsn wal.LSN) bool {
	b := t.replay.Branch(branch)
	return b != nil && lsn > b.Start && lsn <= b.End
}

func (t *truth) commitOrder() {
	last := map[wal.TimelineID]wal.LSN{}
	for i := range t.run.Log.Commits {
		c := &t.run.Log.Commits[i]
		t.count("commits in the log")
		if !t.inLog(c.Branch, c.LSN) || c.LSN <= last[c.Branch] {
			t.flag("commit of transaction %d at %v is out of the order of branch %s after %v", c.Tx, c.LSN, short(c.Branch), last[c.Branch])
		}
		last[c.Branch] = c.LSN
		if first := t.commits[c.Tx]; first != nil {
			t.flag("transaction %d is committed twice: at %v of branch %s and at %v of %s", c.Tx, first.LSN, short(first.Branch), c.LSN, short(c.Branch))
			continue
		}
		t.commits[c.Tx] = c
	}
}

func (t *truth) versions() {
	last := map[Place]*Version{}
	for i := range t.run.Log.Versions {
		v := &t.run.Log.Versions[i]
		t.count("versions in the log")
		at := Place{v.Branch, v.Page}
		b := t.replay.Branch(v.Branch)
		imported := b != nil && b.Parent.IsZero() && v.LSN == b.Start && v.Tx == 0
		if !imported && !t.inLog(v.Branch, v.LSN) {
			t.flagAt(at, "version at %v lies outside of the branch's log", v.LSN)
		}
		before := last[at]
		if before != nil && before.LSN >= v.LSN {
			t.flagAt(at, "version at %v follows the one at %v", v.LSN, before.LSN)
		}
		last[at] = v
		if v.Value == 0 {
			continue
		}
		if v.Tx == 0 && !imported {
			t.restated(v)
			continue
		}
		if first := t.values[v.Value]; first != nil {
			t.flagAt(at, "value %d is written twice: at %v and at %v", v.Value, first.LSN, v.LSN)
			continue
		}
		t.values[v.Value] = v
	}
}

// restated checks a version that no client wrote: an image of the page as it is.
func (t *truth) restated(v *Version) {
	if before := t.replay.At(v.Branch, v.Page, v.LSN-1); before.Value != v.Value {
		t.flagAt(Place{v.Branch, v.Page}, "nobody wrote value %d at %v over %d", v.Value, v.LSN, before.Value)
	}
}

func (t *truth) write(op *Op) {
	c := t.commits[op.Tx]
	switch {
	case op.Outcome == OK:
		t.count("acknowledged writes")
		t.acknowledged(op, c)
	case op.Outcome == Failed && c != nil:
		t.flag("failed, and committed at %v: %v", c.LSN, op)
	case op.Outcome == Failed:
		t.count("failed writes")
	case c != nil:
		t.count("unknown writes that happened")
	default:
		t.count("unknown writes that did not")
	}
	if c != nil && c.Branch != op.Branch {
		t.flag("committed on branch %s, asked of %s: %v", short(c.Branch), short(op.Branch), op)
	}
	for _, p := range op.Pages {
		t.pageWrite(op, c, p)
	}
}

func (t *truth) acknowledged(op *Op, c *Commit) {
	switch {
	case c == nil:
		t.flag("acknowledged, and not in the log: %v", op)
		return
	case c.LSN != op.LSN:
		t.flag("acknowledged at %v, committed at %v: %v", op.LSN, c.LSN, op)
	}
	b := t.replay.Branch(op.Branch)
	if b == nil || len(b.Terms) == 0 {
		t.skip("terms of writes to a log without a history of terms")
		return
	}
	// The term of the record's last byte: a term that begins at its end is the next.
	if before := b.Terms.UpTo(op.LSN - 1); len(before) == 0 || before.Last().Term != op.Term {
		t.flag("acknowledged in term %d, and the log of branch %s has terms %v: %v", op.Term, short(b.ID), b.Terms, op)
	}
}

// pageWrite checks one page of a transaction against the record of it, if it is there.
func (t *truth) pageWrite(op *Op, c *Commit, p PageValue) {
	at := Place{op.Branch, p.Page}
	if p.Value == 0 {
		t.flagAt(at, "history: a write of no value: %v", op)
		return
	}
	v := t.values[p.Value]
	if v == nil {
		if c != nil {
			t.flagAt(at, "value %d of a committed transaction is not in the log: %v", p.Value, op)
		}
		return
	}
	if v.Branch != op.Branch || v.Page != p.Page || v.Tx != op.Tx {
		t.flagAt(at, "value %d is in the log as transaction %d's of %v: %v", p.Value, v.Tx, Place{v.Branch, v.Page}, op)
	}
	if c == nil {
		return
	}
	if v.LSN > c.LSN {
		t.flagAt(at, "value %d is in the log at %v, above the commit at %v: %v", p.Value, v.LSN, c.LSN, op)
	}
	if p.LSN != 0 && v.LSN != p.LSN {
		t.flagAt(at, "value %d is in the log at %v, and was written at %v: %v", p.Value, v.LSN, p.LSN, op)
	}
}

func (t *truth) creation(op *Op) {
	b := t.replay.Branch(op.Child)
	switch {
	case op.Outcome == OK && b == nil:
		t.flag("branch %s was acknowledged, and is not there: %v", short(op.Child), op)
	case op.Outcome == Failed && b != nil:
		t.flag("branch %s failed, and is there: %v", short(op.Child), op)
	case b != nil && (b.Start != op.LSN || !t.sameHistory(b.Parent, op.Branch, b.Start)):
		t.flag("branch %s is of %s at %v: %v", short(op.Child), short(b.Parent), b.Start, op)
	}
	t.count("branch creations")
}

// sameHistory reports whether two branches have one past up to lsn: a branch made of
// one at an LSN that it shares with its parent is the parent's child.
func (t *truth) sameHistory(a, b wal.TimelineID, lsn wal.LSN) bool {
	ownerA, _ := t.replay.Owner(a, lsn)
	ownerB, _ := t.replay.Owner(b, lsn)
	return ownerA != nil && ownerA == ownerB
}

// phantoms finds what is in the log and was asked for by nobody.
func (t *truth) phantoms(writers map[TxID]*Op, made map[wal.TimelineID]bool) {
	for _, c := range t.run.Log.Commits {
		if writers[c.Tx] == nil {
			t.flag("commit of transaction %d at %v of branch %s was asked for by nobody", c.Tx, c.LSN, short(c.Branch))
		}
	}
	for _, v := range t.run.Log.Versions {
		if v.Tx != 0 && !asked(writers[v.Tx], v) {
			t.flagAt(Place{v.Branch, v.Page}, "value %d of transaction %d at %v was asked for by nobody", v.Value, v.Tx, v.LSN)
		}
	}
	for _, b := range t.run.Log.Branches {
		if !b.Parent.IsZero() && !made[b.ID] {
			t.flag("branch %s of %s was asked for by nobody", short(b.ID), short(b.Parent))
		}
	}
}

func asked(op *Op, v Version) bool {
	if op == nil {
		return false
	}
	for _, p := range op.Pages {
		if p.Page == v.Page && p.Value == v.Value {
			return true
		}
	}
	return false
}

// prefixes checks every sample of a committed log against the log as it is now.
func (t *truth) prefixes() {
	final := map[wal.TimelineID]map[wal.LSN]uint64{}
	for _, b := range t.run.Log.Branches {
		digests := make(map[wal.LSN]uint64, len(b.Prefixes))
		for _, p := range b.Prefixes {
			digests[p.LSN] = p.Digest
		}
		final[b.ID] = digests
	}
	for _, s := range t.run.Prefixes {
		t.count("prefixes of the log")
		b := t.replay.Branch(s.Branch)
		if b == nil || s.LSN > b.End {
			t.flag("node %d held branch %s committed up to %v at event %d, and the log ends before", s.Node, short(s.Branch), s.LSN, s.At)
			continue
		}
		digest, ok := final[s.Branch][s.LSN]
		switch {
		case !ok:
			t.flag("node %d held branch %s committed up to %v at event %d, where no record of the log ends", s.Node, short(s.Branch), s.LSN, s.At)
		case digest != s.Digest:
			t.flag("node %d held branch %s committed up to %v at event %d with digest %016x, and the log has %016x", s.Node, short(s.Branch), s.LSN, s.At, s.Digest, digest)
		}
	}
}

func (t *truth) terms() {
	type holder struct {
		node   wal.NodeID
		life   uint32
		branch wal.TimelineID
	}
	last := map[holder]TermSample{}
	for _, s := range t.run.Terms {
		t.count("terms of nodes")
		h := holder{s.Node, s.Life, s.Branch}
		if before, ok := last[h]; ok && before.Term > s.Term {
			t.flag("node %d was in term %d of branch %s at event %d, and in term %d at event %d", s.Node, before.Term, short(s.Branch), before.At, s.Term, s.At)
		}
		last[h] = s
	}
}

// wins checks that every term that a writer was told to have won is one of the log's, and
// begins where it was told: a majority has it, so that no later winner is without it.
func (t *truth) wins() {
	for _, w := range t.run.Wins {
		b := t.replay.Branch(w.Branch)
		if b == nil || len(b.Terms) == 0 {
			t.skip("terms won of a log without a history of terms")
			continue
		}
		t.count("terms won")
		if !slices.Contains(b.Terms, w.TermStart) {
			t.flag("term %d of branch %s was won at event %d, with the log committed up to its start %v, and the log has terms %v", w.Term, short(w.Branch), w.At, w.LSN, b.Terms)
		}
	}
}
