package check

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/lsm/kv"
	"github.com/varvedb/varve/lsm/layer"
	"github.com/varvedb/varve/lsm/manifest"
	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/pgwal"
	"github.com/varvedb/varve/wal/quorum"
)

var (
	mainLine = wal.TimelineID{0xA1}
	child    = wal.TimelineID{0xC1}
	lease    = wal.TimelineID{0x1E}
	tenant   = wal.TenantID{0x7E}
	pageA    = pageID(0)
	pageB    = pageID(1)
	pageC    = pageID(2)
)

func pageID(block uint32) PageID {
	return PageID{Rel: pgwal.RelFileNode{Spc: 1663, DB: 5, Rel: 16384}, Block: block}
}

// goodRun is a small run by hand that keeps every promise and gives every checker
// something to judge. The log, LSNs from left to right:
//
//	main   100 import A=1 B=2 | term 1: A=11@200 B=12@210 commit@220, A=13@300 commit@320 | term 2 from 500: B=14@600
//	       commit@620, image of B@650, A=15@700 aborted, end 800
//	child  leaves main at 320 | term 1: A=16@400 commit@420, end 500
func goodRun() *Run {
	return &Run{
		Ops:      goodOps(),
		Log:      goodLog(),
		Prefixes: []PrefixSample{{20, 1, mainLine, Prefix{220, 0xD220}}, {21, 2, mainLine, Prefix{220, 0xD220}}, {99, 1, mainLine, Prefix{800, 0xD800}}},
		Wins:     []Win{{20, mainLine, quorum.TermStart{Term: 1, LSN: 100}}, {50, mainLine, quorum.TermStart{Term: 2, LSN: 500}}},
		Terms:    []TermSample{{1, 1, 0, mainLine, 1}, {50, 1, 0, mainLine, 2}, {51, 1, 1, mainLine, 0}, {52, 2, 0, mainLine, 2}, {53, 2, 0, mainLine, 2}},
		Bucket:   []BucketSample{goodBucket(10), goodBucket(90)},
		Progress: []Progress{
			{What: "commits of main", Healed: time.Second, Bound: time.Minute, Goal: 7, Samples: []ProgressSample{{time.Second, 4}, {2 * time.Second, 5}, {30 * time.Second, 7}}},
			{What: "commits of child", Healed: time.Second, Bound: time.Minute, Samples: []ProgressSample{{0, 4}, {2 * time.Minute, 4}},
				Stall: &Stall{Members: []wal.NodeID{1, 2, 3}, Sound: []wal.NodeID{2}, Need: 2}},
		},
		Replicas: []Replica{
			{mainLine, 1, 100, 108, []byte("the log, and")},
			{mainLine, 2, 104, 110, []byte("log, a")},
			{mainLine, 3, 100, 106, []byte("the lobad tail")},
			{child, 3, 100, 104, []byte("another")},
		},
		Faults: []Fault{{Begin: 5, End: 9, Lane: "safekeeper 2", What: "partitioned"}, {Begin: 6, Lane: "bucket", What: "throttled"}},
	}
}

func goodLog() Log {
	return Log{
		Branches: []Branch{
			{ID: mainLine, Start: 100, End: 800, Terms: quorum.TermHistory{{Term: 0, LSN: 100}, {Term: 1, LSN: 100}, {Term: 2, LSN: 500}},
				Prefixes: []Prefix{{220, 0xD220}, {320, 0xD320}, {620, 0xD620}, {800, 0xD800}}},
			{ID: child, Parent: mainLine, Start: 320, End: 500, Terms: quorum.TermHistory{{Term: 0, LSN: 320}, {Term: 1, LSN: 320}}},
		},
		Versions: []Version{
			{mainLine, pageA, 100, 1, 0, 0xA1}, {mainLine, pageB, 100, 2, 0, 0},
			{mainLine, pageA, 200, 11, 1, 0xA11}, {mainLine, pageB, 210, 12, 1, 0},
			{mainLine, pageA, 300, 13, 2, 0},
			{mainLine, pageB, 600, 14, 3, 0}, {mainLine, pageB, 650, 14, 0, 0},
			{mainLine, pageA, 700, 15, 4, 0},
			{child, pageA, 400, 16, 6, 0},
		},
		Commits: []Commit{{mainLine, 220, 1}, {mainLine, 320, 2}, {mainLine, 620, 3}, {child, 420, 6}},
		Sizes:   []Size{{mainLine, pageA.Rel, 100, 2}},
	}
}

func goodOps() []Op {
	ab := func(a, b Value) []PageValue { return []PageValue{{Page: pageA, Value: a}, {Page: pageB, Value: b}} }
	a := func(v Value) []PageValue { return []PageValue{{Page: pageA, Value: v}} }
	b := func(v Value) []PageValue { return []PageValue{{Page: pageB, Value: v}} }
	return []Op{
		{Kind: Write, Client: 1, Call: 1, Return: 10, Outcome: OK, Branch: mainLine, LSN: 220, Term: 1, Tx: 1,
			Pages: []PageValue{{Page: pageA, Value: 11, LSN: 200}, {Page: pageB, Value: 12, LSN: 210}}},
		{Kind: LatestRead, Client: 2, Call: 2, Return: 11, Outcome: OK, Confirmed: true, Branch: mainLine, LSN: 100, Term: 1, Pages: a(1)},
		{Kind: Write, Client: 1, Call: 12, Return: Never, Branch: mainLine, Term: 1, Tx: 2, Pages: a(13)},
		{Kind: LatestRead, Client: 3, Call: 13, Return: 20, Outcome: OK, Confirmed: true, Branch: mainLine, LSN: 320, Term: 1, Pages: a(13)},
		{Kind: BranchCreate, Client: 3, Call: 21, Return: 25, Outcome: OK, Confirmed: true, Branch: mainLine, LSN: 320, Child: child},
		{Kind: Write, Client: 4, Call: 26, Return: 30, Outcome: OK, Branch: child, LSN: 420, Term: 1, Tx: 6, Pages: a(16)},
		{Kind: LatestRead, Client: 2, Call: 31, Return: 32, Outcome: OK, Branch: mainLine, LSN: 900, Term: 1, Pages: a(77)},
		{Kind: LatestRead, Client: 2, Call: 33, Return: 34, Outcome: OK, Branch: mainLine, LSN: 450, Term: 1, Pages: a(13)},
		{Kind: Write, Client: 5, Call: 40, Return: 50, Outcome: OK, Branch: mainLine, LSN: 620, Term: 2, Tx: 3, Pages: b(14)},
		{Kind: Write, Client: 5, Call: 51, Return: 60, Outcome: Failed, Branch: mainLine, Term: 2, Tx: 4, Pages: a(15)},
		{Kind: Write, Client: 6, Call: 52, Return: Never, Branch: mainLine, Term: 2, Tx: 5, Pages: b(17)},
		{Kind: LatestRead, Client: 5, Call: 61, Return: 62, Outcome: OK, Confirmed: true, Branch: mainLine, Term: 2, Pages: a(15)},
		{Kind: LatestRead, Client: 5, Call: 63, Return: 64, Outcome: OK, Confirmed: true, Branch: child, LSN: 420, Term: 1, Pages: a(16)},
		{Kind: SnapshotRead, Client: 5, Call: 65, Return: 66, Outcome: OK, Confirmed: true, Branch: mainLine, LSN: 800, Term: 2, Pages: ab(15, 14)},
		{Kind: SnapshotRead, Client: 5, Call: 67, Return: 68, Outcome: OK, Branch: mainLine, LSN: 220, Pages: ab(11, 12)},
		{Kind: SnapshotRead, Client: 5, Call: 69, Return: 70, Outcome: OK, Branch: mainLine, LSN: 750, Term: 1, Pages: ab(15, 99)},
		{Kind: HistoryRead, Client: 7, Call: 71, Return: 72, Outcome: OK, Branch: mainLine, LSN: 250, Pages: []PageValue{{Page: pageA, Value: 11, Digest: 0xA11}}},
		{Kind: HistoryRead, Client: 7, Call: 73, Return: 74, Outcome: OK, Branch: child, LSN: 200, Pages: []PageValue{{Page: pageA, Value: 11, Digest: 0xA11}}},
		{Kind: HistoryRead, Client: 7, Call: 75, Return: 76, Outcome: OK, Branch: child, LSN: 450, Pages: b(12)},
		{Kind: HistoryRead, Client: 7, Call: 77, Return: 78, Outcome: Failed, Reason: NoSuchPage, Branch: mainLine, LSN: 450, Pages: []PageValue{{Page: pageC}}},
		{Kind: CutoffAdvance, Client: 8, Call: 80, Return: 84, Outcome: OK, Branch: mainLine, LSN: 400},
		{Kind: HistoryRead, Client: 7, Call: 81, Return: 82, Outcome: OK, Branch: mainLine, LSN: 300, Pages: a(13)},
		{Kind: HistoryRead, Client: 7, Call: 83, Return: 85, Outcome: Failed, Reason: BelowHorizon, Branch: mainLine, LSN: 300, Pages: a(0)},
		{Kind: HistoryRead, Client: 7, Call: 86, Return: 87, Outcome: OK, Branch: child, LSN: 320, Pages: a(13)},
		{Kind: HistoryRead, Client: 7, Call: 88, Return: 89, Outcome: Failed, Reason: BelowHorizon, Branch: mainLine, LSN: 50, Pages: a(0)},
		{Kind: HistoryRead, Client: 7, Call: 90, Return: 91, Outcome: Failed, Branch: mainLine, LSN: 5000, Pages: a(0)},
		{Kind: HistoryRead, Client: 7, Call: 92, Return: Never, Branch: mainLine, LSN: 5000, Pages: a(0)},
		{Kind: BranchDelete, Client: 8, Call: 93, Return: 94, Outcome: Failed, Reason: HasChildren, Branch: mainLine},
		{Kind: LeaseGrant, Client: 8, Call: 95, Return: 96, Outcome: OK, Branch: mainLine, LSN: 450, Child: lease},
		{Kind: HistoryRead, Client: 10, Call: 97, Return: 98, Outcome: OK, Confirmed: true, Branch: mainLine, LSN: 450, Pages: a(13)},
		{Kind: LeaseRelease, Client: 8, Call: 99, Return: 100, Outcome: OK, Branch: mainLine, LSN: 450, Child: lease},
	}
}

func layerOf(id wal.TimelineID, first byte, lo, hi wal.LSN, body string) layer.Desc {
	return layer.Desc{
		ID:   layer.ID{Timeline: id, Kind: layer.Delta, KeyLo: kv.Key{first}, KeyHi: kv.Key{first, 1}, LSNLo: lo, LSNHi: hi, Generation: 1},
		Size: int64(len(body)), CRC: layer.Checksum([]byte(body)), IndexOffset: 2, IndexSize: 1, FilterSize: 1,
	}
}

func goodIndexes() (indexes []manifest.Index, bodies []string) {
	bodies = []string{"layer of main", "layer of child"}
	return []manifest.Index{
		{Head: manifest.Head{Timeline: mainLine, Start: 100, Durable: 600, Cutoff: 100, Generation: 3}, Layers: []layer.Desc{layerOf(mainLine, 1, 100, 600, bodies[0])}},
		{Head: manifest.Head{Timeline: child, Parent: mainLine, BranchLSN: 320, Start: 320, Durable: 420, Generation: 1}, Layers: []layer.Desc{layerOf(child, 1, 320, 420, bodies[1])}},
	}, bodies
}

func goodBucket(at Event) BucketSample {
	indexes, bodies := goodIndexes()
	s, err := SampleBucket(at, tenant, objectsOf(indexes, bodies))
	if err != nil {
		panic(err)
	}
	return s
}

// failed runs all checkers and returns the names of those that failed.
func failed(r *Run) (names []string) {
	for _, v := range All(r) {
		if !v.OK {
			names = append(names, v.Checker)
		}
	}
	return names
}

// TestTheGoodRunPasses: every checker accepts it, and judged something of it.
func TestTheGoodRunPasses(t *testing.T) {
	for _, v := range All(goodRun()) {
		require.True(t, v.OK, "%v", &v)
		require.Positive(t, v.Checked(), v.Checker)
		require.Empty(t, v.Detail)
		t.Log(&v)
	}
	truth := Truth(goodRun())
	require.Equal(t, "2 branches, 4 commits in the log, 9 versions in the log, 3 acknowledged writes, 1 unknown writes that happened, "+
		"1 branch creations, 1 failed writes, 1 unknown writes that did not, 3 prefixes of the log, 5 terms of nodes, 2 terms won", truth.Counts.String())
}

// TestAnEmptyRunIsSeenToBeEmpty: no checker fails, none says that it judged anything.
func TestAnEmptyRunIsSeenToBeEmpty(t *testing.T) {
	for _, v := range All(&Run{}) {
		require.True(t, v.OK, "%v", &v)
		require.Zero(t, v.Checked(), v.Checker)
	}
}

// TestWhatMayHappenToBranchesPasses: histories that are unusual, and right.
func TestWhatMayHappenToBranchesPasses(t *testing.T) {
	deleted := func(outcome Outcome) func(*Run) {
		return func(r *Run) {
			i := byID(r, child)
			r.Bucket[1].Indexes = slices.Delete(r.Bucket[1].Indexes, i, i+1)
			r.add(Op{Kind: BranchDelete, Client: 9, Call: 85, Return: 86, Outcome: outcome, Branch: child})
			r.op(93).Branch = wal.TimelineID{} // nobody asks
			r.op(93).Reason = OtherReason
		}
	}
	below := func(branch wal.TimelineID, lsn wal.LSN) Op {
		return Op{Kind: HistoryRead, Client: 9, Call: 103, Return: 104, Outcome: Failed, Reason: BelowHorizon, Branch: branch, LSN: lsn}
	}
	for name, change := range map[string]func(*Run){
		"a branch is deleted":       deleted(OK),
		"it may have been deleted":  deleted(Unknown),
		"a deletion did not happen": func(r *Run) { r.add(Op{Kind: BranchDelete, Client: 9, Call: 85, Return: Never, Branch: child}) },
		"a deleted branch does not answer": func(r *Run) {
			r.add(Op{Kind: BranchDelete, Client: 9, Call: 101, Return: 102, Outcome: OK, Branch: child})
			r.add(Op{Kind: HistoryRead, Client: 9, Call: 103, Return: 104, Outcome: Failed, Reason: NoSuchBranch, Confirmed: true, Branch: child, LSN: 450})
		},
		"a branch is detached, and what lies below it is gone for it": func(r *Run) {
			x := &r.Bucket[1].Indexes[byID(r, child)]
			x.Parent, x.BranchLSN = wal.TimelineID{}, 0
			r.add(Op{Kind: BranchDetach, Client: 9, Call: 80, Return: 89, Outcome: OK, Branch: child})
			r.op(93).Branch, r.op(93).Reason = wal.TimelineID{}, OtherReason
			r.add(below(child, 319))
		},
		"a lease is over": func(r *Run) {
			r.add(Op{Kind: CutoffAdvance, Client: 9, Call: 101, Return: Never, Branch: mainLine, LSN: 500})
			r.add(below(mainLine, 450))
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := goodRun()
			change(r)
			for _, v := range All(r) {
				require.True(t, v.OK, "%v", &v)
			}
		})
	}
}
