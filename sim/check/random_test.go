package check

import (
	"cmp"
	"math/rand"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/quorum"
)

// world is a system that keeps every promise, seen through a recorder: operations
// take effect at one moment between call and return. Its answers come from naive
// scans of its log, never from Replay.
type world struct {
	rng     *rand.Rand
	rec     *Recorder
	log     Log
	cutoffs map[wal.TimelineID]wal.LSN
	terms   map[wal.TimelineID]wal.Term
	tx      TxID
	value   Value
	open    []*pending
}

// pending is an operation between call and return.
type pending struct {
	op      *Op
	done    bool
	outcome Outcome
}

const worldPages = 4

func newWorld(seed int64) *world {
	w := &world{
		rng: rand.New(rand.NewSource(seed)), rec: NewRecorder(),
		cutoffs: map[wal.TimelineID]wal.LSN{}, terms: map[wal.TimelineID]wal.Term{}, value: 1000,
	}
	w.branch(mainLine, wal.TimelineID{}, 100)
	for i := range uint32(worldPages - 1) { // the last page begins empty
		w.value++
		w.log.Versions = append(w.log.Versions, Version{Branch: mainLine, Page: pageID(i), LSN: 100, Value: w.value, Digest: uint64(w.value) * 7})
	}
	return w
}

func (w *world) branch(id, parent wal.TimelineID, at wal.LSN) {
	w.terms[id] = 1
	w.log.Branches = append(w.log.Branches, Branch{ID: id, Parent: parent, Start: at, End: at, Terms: quorum.TermHistory{{Term: 0, LSN: at}, {Term: 1, LSN: at}}})
}

func (w *world) find(id wal.TimelineID) *Branch {
	i := slices.IndexFunc(w.log.Branches, func(b Branch) bool { return b.ID == id })
	if i < 0 {
		return nil
	}
	return &w.log.Branches[i]
}

// read is the naive twin of Replay.At.
func (w *world) read(id wal.TimelineID, page PageID, at wal.LSN) (found Version) {
	b := w.find(id)
	if b == nil {
		return Version{}
	}
	for _, v := range w.log.Versions {
		if v.Branch == id && v.Page == page && v.LSN <= at && v.LSN >= found.LSN {
			found = v
		}
	}
	if found.LSN == 0 {
		return w.read(b.Parent, page, min(at, b.Start))
	}
	return found
}

func (w *world) run(steps, clients int) *Run {
	for range steps {
		switch n := w.rng.Intn(3); {
		case n == 0 && len(w.open) < clients:
			w.call()
		case n == 1 && len(w.open) > 0:
			if p := w.open[w.rng.Intn(len(w.open))]; !p.done {
				w.effect(p)
			}
		case len(w.open) > 0:
			w.end(w.rng.Intn(len(w.open)))
		}
	}
	return &Run{Ops: w.rec.Ops(), Log: w.log}
}

func (w *world) call() {
	op := Op{Client: w.rec.NewClient(), Branch: w.log.Branches[w.rng.Intn(len(w.log.Branches))].ID}
	switch n := w.rng.Intn(100); {
	case n < 40:
		w.tx++
		op.Kind, op.Tx = Write, w.tx
		for _, page := range w.rng.Perm(worldPages)[:1+w.rng.Intn(2)] {
			w.value++
			op.Pages = append(op.Pages, PageValue{Page: pageID(uint32(page)), Value: w.value})
		}
	case n < 70:
		op.Kind = LatestRead
	case n < 85:
		op.Kind = HistoryRead
	case n < 95:
		op.Kind = SnapshotRead
	case n < 98:
		op.Kind = BranchCreate
		op.Child = wal.TimelineID{0xBB, byte(w.tx >> 8), byte(w.tx), byte(w.rng.Intn(256)), byte(w.rng.Intn(256))}
	default:
		op.Kind = CutoffAdvance
	}
	w.open = append(w.open, &pending{op: w.rec.Begin(op)})
}

func (w *world) effect(p *pending) {
	p.done, p.outcome = true, OK
	b := w.find(p.op.Branch)
	switch p.op.Kind {
	case Write:
		w.write(p, b)
	case LatestRead, SnapshotRead:
		w.head(p.op, b)
	case HistoryRead:
		p.op.LSN = wal.LSN(50 + w.rng.Intn(int(b.End)-49))
		w.history(p, 1)
	case BranchCreate:
		w.create(p, b)
	case CutoffAdvance:
		p.op.LSN = max(w.cutoffs[b.ID], b.Start+wal.LSN(w.rng.Intn(int(b.End-b.Start)+1)))
		w.cutoffs[b.ID] = p.op.LSN
	}
}

func (w *world) write(p *pending, b *Branch) {
	if w.rng.Intn(20) == 0 {
		w.terms[b.ID]++
		b.Terms = b.Terms.With(quorum.TermStart{Term: w.terms[b.ID], LSN: b.End})
	}
	p.op.Term = w.terms[b.ID]
	for i := range p.op.Pages {
		b.End += wal.LSN(8 + w.rng.Intn(3)*8)
		p.op.Pages[i].LSN = b.End
		v := Version{Branch: b.ID, Page: p.op.Pages[i].Page, LSN: b.End, Value: p.op.Pages[i].Value, Tx: p.op.Tx}
		w.log.Versions = append(w.log.Versions, v)
	}
	if w.rng.Intn(10) == 0 {
		p.outcome = Failed // it aborts; its pages stay as they are
		return
	}
	b.End += 8
	p.op.LSN = b.End
	w.log.Commits = append(w.log.Commits, Commit{b.ID, b.End, p.op.Tx})
	if w.rng.Intn(10) == 0 {
		last := w.read(b.ID, p.op.Pages[0].Page, b.End)
		b.End += 16 // an image of the page, or its end
		if last.Tx, last.Branch, last.LSN = 0, b.ID, b.End; w.rng.Intn(4) == 0 {
			last.Value = 0
		}
		w.log.Versions = append(w.log.Versions, last)
	}
}

// head answers a read of the newest state.
func (w *world) head(op *Op, b *Branch) {
	op.Term, op.LSN, op.Confirmed = w.terms[b.ID], b.End, w.rng.Intn(5) > 0
	pages := 1
	if op.Kind == SnapshotRead {
		pages = 3
	}
	w.fill(op, pages)
	if op.Kind == LatestRead && w.rng.Intn(4) == 0 {
		op.LSN = 0
	}
	if !op.Confirmed && w.rng.Intn(2) == 0 { // it saw what was lost with its term
		op.LSN, op.Term = b.End+800, op.Term+1000
		op.Pages[0].Value = 9_000_000
	}
}

func (w *world) fill(op *Op, pages int) {
	for _, page := range w.rng.Perm(worldPages)[:pages] {
		v := w.read(op.Branch, pageID(uint32(page)), op.LSN)
		op.Pages = append(op.Pages, PageValue{Page: pageID(uint32(page)), Value: v.Value, Digest: uint64(v.LSN)<<8 | uint64(v.Branch[1])<<1 | 1})
	}
	for i := range op.Pages {
		op.Pages[i].Digest = 0
		if v := w.read(op.Branch, op.Pages[i].Page, op.LSN); v.LSN > 100 {
			op.Pages[i].Digest = uint64(v.LSN) << 1
		}
	}
}

// kept reports whether the history of a branch at an LSN is above the cutoff.
func (w *world) kept(id wal.TimelineID, lsn wal.LSN) bool {
	pinned := false
	for {
		b := w.find(id)
		if b.Parent.IsZero() && lsn < b.Start {
			return false
		}
		if lsn > b.Start || b.Parent.IsZero() {
			return pinned || lsn >= w.cutoffs[id]
		}
		id, pinned = b.Parent, lsn == b.Start
	}
}

func (w *world) history(p *pending, pages int) {
	if !w.kept(p.op.Branch, p.op.LSN) {
		p.outcome, p.op.Reason = Failed, BelowHorizon
		return
	}
	w.fill(p.op, pages)
	if p.op.Pages[0].Value == 0 && w.rng.Intn(2) == 0 {
		p.outcome, p.op.Reason = Failed, NoSuchPage
	}
}

func (w *world) create(p *pending, b *Branch) {
	p.op.LSN, p.op.Confirmed = b.End, true
	if w.rng.Intn(2) == 0 {
		p.op.LSN, p.op.Confirmed = b.Start+wal.LSN(w.rng.Intn(int(b.End-b.Start)+1)), false
	}
	if !w.kept(b.ID, p.op.LSN) || w.find(p.op.Child) != nil || len(w.log.Branches) > 12 {
		p.outcome = Failed
		p.op.Child = wal.TimelineID{0xFF}
		return
	}
	w.branch(p.op.Child, b.ID, p.op.LSN)
}

// end returns an operation, or leaves it open for good: one that took effect or not.
func (w *world) end(i int) {
	p := w.open[i]
	if p.done || w.rng.Intn(10) == 0 {
		w.open = slices.Delete(w.open, i, i+1)
		if p.done && w.rng.Intn(12) > 0 {
			w.rec.End(p.op, p.outcome)
		}
	}
}

// TestSoundRunsPass: no checker flags a system that keeps its promises, and over the
// batch each kind of thing was judged.
func TestSoundRunsPass(t *testing.T) {
	counts := map[string]Counts{}
	for seed := range int64(300) {
		r := newWorld(seed).run(1500, 8)
		for _, v := range All(r) {
			require.True(t, v.OK, "seed %d: %v", seed, &v)
			c := counts[v.Checker]
			c.Merge(v.Counts)
			counts[v.Checker] = c
		}
	}
	require.Positive(t, counts["truth"].Get("unknown writes that happened"))
	require.Positive(t, counts["truth"].Get("unknown writes that did not"))
	require.Positive(t, counts["truth"].Get("failed writes"))
	require.Positive(t, counts["truth"].Get("branch creations"))
	require.Positive(t, counts["history"].Get("refusals below the horizon"))
	require.Positive(t, counts["history"].Get("absent pages"))
	require.Positive(t, counts["history"].Get("pages with bytes"))
	require.Positive(t, counts["real time"].Get("branches at the head"))
	require.Positive(t, counts["snapshots"].Get("confirmed at the head"))
	for _, name := range []string{"truth", "history", "real time", "snapshots", "porcupine"} {
		t.Logf("%s: %v", name, counts[name])
	}
}

// TestSpoiledRunsFail: one random thing that is wrong in a large sound run is seen, by
// the checker whose business it is.
func TestSpoiledRunsFail(t *testing.T) {
	acked := func(op Op) bool { return op.Outcome == OK }
	afterACommit := func(r *Run, op Op) bool {
		return op.Kind == LatestRead && op.Confirmed && acked(op) && slices.ContainsFunc(r.Ops, func(w Op) bool {
			return w.Kind == Write && w.Branch == op.Branch && w.Return < op.Call && acked(w)
		})
	}
	spoils := []struct {
		name, checker string
		fits          func(*Run, Op) bool
		spoil         func(*Run, *Op)
	}{
		{"an acknowledged commit is not in the log", "truth", func(_ *Run, op Op) bool { return op.Kind == Write && acked(op) }, func(r *Run, op *Op) {
			r.Log.Commits = slices.DeleteFunc(r.Log.Commits, func(c Commit) bool { return c.Tx == op.Tx })
		}},
		{"a page of it is not in the log", "truth", func(_ *Run, op Op) bool { return op.Kind == Write && acked(op) }, func(r *Run, op *Op) {
			r.Log.Versions = slices.DeleteFunc(r.Log.Versions, func(v Version) bool { return v.Value == op.Pages[0].Value && v.Tx == op.Tx })
		}},
		{"another value at an LSN", "history", func(_ *Run, op Op) bool { return op.Kind == HistoryRead && acked(op) }, func(_ *Run, op *Op) { op.Pages[0].Value++ }},
		{"other bytes at an LSN", "history", func(_ *Run, op Op) bool { return op.Kind == HistoryRead && acked(op) }, func(r *Run, op *Op) {
			again := *op
			again.Pages = slices.Clone(op.Pages)
			again.Pages[0].Digest = 0xBAD
			op.Pages[0].Digest = 0xBAD2
			r.Ops = append(r.Ops, again)
		}},
		{"an old head", "real time", afterACommit, func(_ *Run, op *Op) { op.LSN = 100 }},
		{"another value in a snapshot", "snapshots", func(_ *Run, op Op) bool { return op.Kind == SnapshotRead && op.Confirmed && acked(op) }, func(_ *Run, op *Op) { op.Pages[2].Value++ }},
		{"another value of a register", "porcupine", func(_ *Run, op Op) bool { return op.Kind == LatestRead && op.Confirmed && acked(op) }, func(_ *Run, op *Op) { op.Pages[0].Value = 8_000_000 }},
	}
	for _, s := range spoils {
		t.Run(s.name, func(t *testing.T) {
			for seed := range int64(30) {
				w := newWorld(seed)
				r := w.run(1500, 8)
				var fitting []int
				for i, op := range r.Ops {
					if s.fits(r, op) {
						fitting = append(fitting, i)
					}
				}
				require.NotEmpty(t, fitting)
				s.spoil(r, &r.Ops[fitting[w.rng.Intn(len(fitting))]])
				require.Contains(t, failed(r), s.checker, "seed %d", seed)
			}
		})
	}
}

// TestReplayEqualsANaiveScan: every page at every LSN of every branch.
func TestReplayEqualsANaiveScan(t *testing.T) {
	for seed := range int64(20) {
		w := newWorld(seed)
		w.run(400, 8)
		x := NewReplay(&w.log)
		for _, b := range w.log.Branches {
			for page := range uint32(worldPages) {
				for lsn := wal.LSN(90); lsn <= b.End+1; lsn++ {
					require.Equal(t, w.read(b.ID, pageID(page), lsn), x.At(b.ID, pageID(page), lsn), "seed %d, %v at %v", seed, Place{b.ID, pageID(page)}, lsn)
				}
			}
		}
	}
}

// TestDisordersEqualAComparisonOfAllPairs: the suffix minimum is right.
func TestDisordersEqualAComparisonOfAllPairs(t *testing.T) {
	rng := rand.New(rand.NewSource(1))
	flagged := 0
	for range 5000 {
		points := make([]point, 1+rng.Intn(8))
		for i := range points {
			call := Event(rng.Intn(40))
			points[i] = point{uint64(rng.Intn(8)), call, call + 1 + Event(rng.Intn(20)), &Op{Client: ClientID(i)}}
		}
		var want, got []ClientID
		for _, p := range points {
			if slices.ContainsFunc(points, func(q point) bool { return q.key > p.key && q.ret < p.call }) {
				want = append(want, p.op.Client)
			}
		}
		for _, d := range disorders(slices.Clone(points)) {
			got = append(got, d.second.Client)
			first, second := points[d.first.Client], points[d.second.Client]
			require.Greater(t, first.key, second.key)
			require.Less(t, first.ret, second.call)
		}
		slices.SortFunc(got, cmp.Compare[ClientID])
		require.Equal(t, want, got)
		flagged += len(want)
	}
	require.Positive(t, flagged)
}
