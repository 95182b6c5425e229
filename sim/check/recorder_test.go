package check

import (
	"errors"
	"iter"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/lsm/remote"
	"github.com/varvedb/varve/wal"
)

// TestRecorder: calls and returns are in one order; what never returned is pending, and
// what its client knew of it is kept.
func TestRecorder(t *testing.T) {
	r := NewRecorder()
	a, b := r.NewClient(), r.NewClient()
	require.Equal(t, []ClientID{1, 2}, []ClientID{a, b})

	write := r.Begin(Op{Kind: Write, Client: a, Branch: mainLine, Tx: 1, Pages: []PageValue{{Page: pageA, Value: 7}}})
	read := r.Begin(Op{Kind: LatestRead, Client: b, Branch: mainLine})
	read.LSN, read.Confirmed, read.Pages = 100, true, []PageValue{{Page: pageA, Value: 1}}
	r.End(read, OK)
	require.Equal(t, Event(4), r.Tick())
	write.LSN = 220
	r.End(write, Unknown)
	refused := r.Begin(Op{Kind: HistoryRead, Client: b, Branch: mainLine, LSN: 5})
	refused.Reason = BelowHorizon
	r.End(refused, Failed)

	ops := r.Ops()
	require.Equal(t, []Op{
		{Kind: Write, Client: a, Call: 1, Return: Never, Branch: mainLine, LSN: 220, Tx: 1, Pages: []PageValue{{Page: pageA, Value: 7}}},
		{Kind: LatestRead, Client: b, Call: 2, Return: 3, Outcome: OK, Confirmed: true, Branch: mainLine, LSN: 100, Pages: []PageValue{{Page: pageA, Value: 1}}},
		{Kind: HistoryRead, Client: b, Call: 5, Return: 6, Outcome: Failed, Reason: BelowHorizon, Branch: mainLine, LSN: 5},
	}, ops)
	require.Equal(t, ops[:1], r.Pending())

	require.Panics(t, func() { r.Begin(Op{Client: a}) }, "a client that gave up goes on under another number")
	require.Panics(t, func() { r.End(read, OK) }, "an operation ends once")
	ops[1].Pages[0].Value = 99
	require.Equal(t, Value(1), r.Ops()[1].Pages[0].Value)
}

// TestVerdictIsReadable: counts merge by name, findings are bounded, and a kind that
// has no name still prints.
func TestVerdictIsReadable(t *testing.T) {
	var c Counts
	require.Equal(t, "nothing", c.String())
	c.Add("reads", 2)
	c.Merge(Counts{{"writes", 3}, {"reads", 1}})
	require.Equal(t, "3 reads, 3 writes", c.String())
	require.Equal(t, 6, c.Total())
	require.Zero(t, c.Get("snapshots"))

	r := goodRun()
	for i := range TxID(15) {
		r.Log.Commits = append(r.Log.Commits, Commit{mainLine, 700 + wal.LSN(i), 100 + i})
	}
	v := Truth(r)
	require.False(t, v.OK)
	require.Contains(t, v.String(), "truth FAILED: 2 branches, 19 commits in the log")
	require.Contains(t, v.Detail, "and 5 more")
	require.Contains(t, v.String(), v.Detail)
	require.NotContains(t, v.String(), "left out")
	require.Equal(t, "kind 77", Kind(77).String())
	require.Equal(t, "outcome 77", Outcome(77).String())
	require.Equal(t, "page 1663/5/16384 main 1 of branch c1000000", Place{child, pageB}.String())
	require.Negative(t, pageA.Compare(pageB))
}

// TestDigests: the digest of a log does not depend on how it was cut, that of a page is
// never the zero that means none.
func TestDigests(t *testing.T) {
	log := []byte("the quick brown fox")
	require.Equal(t, Extend(0, log), Extend(Extend(0, log[:5]), log[5:]))
	require.NotEqual(t, Extend(0, log), Extend(0, log[1:]))
	require.NotZero(t, PageDigest(nil))
	require.NotEqual(t, PageDigest(log), PageDigest(log[1:]))
}

// TestSampleBucketNamesABadIndex: a sample is not made of an index that is not sound,
// or that lies under another's key.
func TestSampleBucketNamesABadIndex(t *testing.T) {
	indexes, bodies := goodIndexes()
	sample, err := SampleBucket(3, tenant, objectsOf(indexes, bodies))
	require.NoError(t, err)
	require.Len(t, sample.Objects, 4)
	require.Equal(t, indexes[1].Layers, sample.Indexes[1].Layers)

	body := indexes[0].AppendTo(nil)
	_, err = SampleBucket(3, tenant, one(remote.IndexKey(tenant, wal.TimelineID{}, child), body))
	require.ErrorContains(t, err, "says that it is of timeline "+mainLine.String())
	body[40]++
	_, err = SampleBucket(3, tenant, one(remote.IndexKey(tenant, wal.TimelineID{}, mainLine), body))
	require.True(t, errors.Is(err, wal.ErrCorruption), "%v", err)
}

func one(key string, body []byte) iter.Seq2[string, []byte] {
	return func(yield func(string, []byte) bool) { yield(key, body) }
}

// TestLeaksAreCounted: an object that no index names costs room, and is no failure.
func TestLeaksAreCounted(t *testing.T) {
	r := goodRun()
	r.Bucket[1].Indexes[byID(r, mainLine)].Layers = nil
	v := Bucket(r)
	require.True(t, v.OK, v.Detail)
	require.Equal(t, 1, v.Skipped.Get("layers that no index names at the end"))
}

// TestABranchOfASharedPast: a branch asked of a child at an LSN below the child's own
// beginning is its parent's; a branch point of any depth is kept and read.
func TestABranchOfASharedPast(t *testing.T) {
	r := goodRun()
	id := wal.TimelineID{0xEE}
	r.Log.Branches = append(r.Log.Branches, Branch{ID: id, Parent: mainLine, Start: 250, End: 250})
	r.add(Op{Kind: BranchCreate, Client: 9, Call: 35, Return: 36, Outcome: OK, Branch: child, LSN: 250, Child: id})
	r.add(Op{Kind: HistoryRead, Client: 9, Call: 101, Return: 102, Outcome: OK, Branch: id, LSN: 250, Pages: []PageValue{{Page: pageA, Value: 11}}})
	require.Empty(t, failed(r))
	x := NewReplay(&r.Log)
	r.Log.Branches[2].Parent = child // as another system might have it
	owner, end := NewReplay(&r.Log).Owner(id, 240)
	require.Equal(t, x.Branch(mainLine), owner)
	require.Equal(t, wal.LSN(250), end)
	require.Nil(t, x.Branch(wal.TimelineID{9}))
	owner, _ = x.Owner(wal.TimelineID{9}, 5)
	require.Nil(t, owner)
}

// TestWhatCannotBeJudgedIsSaid: it is left out by name, and not judged.
func TestWhatCannotBeJudgedIsSaid(t *testing.T) {
	r := goodRun()
	r.add(Op{Kind: LatestRead, Client: 9, Call: 101, Return: 102, Outcome: Failed, Reason: NoSuchPage, Branch: mainLine, LSN: 900, Term: 2, Pages: []PageValue{{Page: pageA}}})
	r.Replicas = append(r.Replicas, Replica{mainLine, 4, 112, 113, []byte("!")})
	require.Empty(t, failed(r))
	history, replicas := History(r), Replicas(r)
	require.Equal(t, 1, history.Skipped.Get("absent pages beyond what their term committed"))
	require.Equal(t, 3, replicas.Skipped.Get("pairs with nothing in common"))

	r.Log.Branches[0].Terms, r.Log.Branches[1].Terms = nil, nil
	truth := Truth(r)
	require.True(t, truth.OK, truth.Detail)
	require.Equal(t, 3, truth.Skipped.Get("terms of writes to a log without a history of terms"))
	require.Contains(t, Snapshots(r).Detail, "found 99", "no term ends before it")
}
