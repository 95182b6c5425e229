package goal_test

import (
	"bytes"
	"encoding/json"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/bench"
	"github.com/varvedb/varve/bench/goal"
	"github.com/varvedb/varve/bench/paired"
)

// result makes a suite's result: ours and the peer's values, a round each. The second
// round of three is disturbed.
func result(quick bool, ours, peers []float64) *bench.Result {
	r := &bench.Result{Version: bench.Version, Suite: "s", Quick: quick}
	for n := range ours {
		round := paired.Round{Number: n, Canary: paired.Canary{CopyNanos: 1, CRCNanos: 1, SyncNanos: 1, EchoNanos: 1}, Samples: []paired.Measured{
			{Case: "c", Arm: "varve", Metrics: map[string]float64{"x": ours[n]}},
			{Case: "c", Arm: "peer", Metrics: map[string]float64{"x": peers[n]}},
		}}
		if n == 1 {
			round.Canary.SyncNanos = 2
		}
		r.Rounds = append(r.Rounds, round)
	}
	return r
}

func one(t *testing.T, kind goal.Kind, op string, bound float64, peer string) []goal.Goal {
	t.Helper()
	text, err := json.Marshal([]goal.Goal{{ID: "s.g", Text: "t", Suite: "s", Case: "c", Arm: "varve", Peer: peer, Metric: "x", Op: op, Bound: bound, Kind: kind}})
	require.NoError(t, err)
	goals, err := goal.Parse(text)
	require.NoError(t, err)
	return goals
}

func TestThePessimisticQuartileIsJudged(t *testing.T) {
	r := []*bench.Result{result(false, []float64{1, 100, 3}, []float64{1, 1, 2})}
	o := goal.Judge(one(t, goal.Time, "<=", 1.3, "peer"), r)[0]
	require.Empty(t, o.Why)
	require.Equal(t, 1, o.Dropped, "the disturbed round says nothing about time")
	require.Equal(t, 1.375, o.Measured, "the upper quartile of 1 and 1.5")
	require.False(t, o.Met)
	o = goal.Judge(one(t, goal.Time, ">=", 1.1, "peer"), r)[0]
	require.Equal(t, 1.125, o.Measured)
	require.True(t, o.Met)
	o = goal.Judge(one(t, goal.Counter, "<=", 10, ""), r)[0]
	require.Equal(t, 51.5, o.Measured, "a counter of a disturbed round counts, and without a peer it is not divided")
}

func TestWhatIsNotMeasuredSaysWhy(t *testing.T) {
	why := func(g goal.Goal, r ...*bench.Result) string { return goal.Judge([]goal.Goal{g}, r)[0].Why }
	g := one(t, goal.Time, "<=", 1, "etcd")[0]
	require.Equal(t, "suite s was not run", why(g))
	r := result(false, []float64{1}, []float64{1})
	require.Equal(t, "x of varve against etcd was not measured", why(g, r))
	r.Missing = []bench.Missing{{What: "etcd", Why: "it is not built"}}
	require.Equal(t, "etcd: it is not built", why(g, r))
	require.Equal(t, "not there", why(goal.Goal{ID: "x", Text: "t", Missing: "not there"}, r))
}

// enough makes as many rounds of one value as are enough for a time, one of them disturbed.
func enough(quick bool, ours float64) []*bench.Result {
	n := bench.EnoughQuiet + 1
	return []*bench.Result{result(quick, slices.Repeat([]float64{ours}, n), slices.Repeat([]float64{1}, n))}
}

func TestTheGateFailsForWhatTheBaselineReached(t *testing.T) {
	good := func(quick bool) []*bench.Result { return enough(quick, 1) }
	bad := func(quick bool) []*bench.Result { return enough(quick, 9) }
	for _, kind := range []goal.Kind{goal.Counter, goal.Time} {
		goals := one(t, kind, "<=", 2, "peer")
		require.Empty(t, goal.Baseline{}.Lost(goal.Judge(goals, bad(false))), "never reached, so not lost")
		base := goal.Baseline{}.Raise("abc", goal.Judge(goals, good(false)))
		require.Equal(t, map[string]float64{"s.g": 1}, base.Reached)
		require.Empty(t, base.Lost(goal.Judge(goals, good(false))))
		require.Len(t, base.Lost(goal.Judge(goals, bad(false))), 1)
		require.Equal(t, base.Reached, base.Raise("def", goal.Judge(goals, bad(false))).Reached, "a bad run lowers nothing")

		lostQuick := base.Lost(goal.Judge(goals, bad(true)))
		raisedQuick := goal.Baseline{}.Raise("abc", goal.Judge(goals, good(true))).Reached
		if kind == goal.Counter {
			require.Len(t, lostQuick, 1)
			require.Len(t, raisedQuick, 1)
		} else {
			require.Empty(t, lostQuick, "smoke says nothing about time")
			require.Empty(t, raisedQuick)
		}
	}
}

// A run of record measures all, so that what it leaves out is lost; it would pass without.
func TestTheGateFailsForWhatAFullRunLeavesOut(t *testing.T) {
	for _, kind := range []goal.Kind{goal.Counter, goal.Time} {
		goals := one(t, kind, "<=", 2, "peer")
		base := goal.Baseline{Reached: map[string]float64{"s.g": 1}}
		other := func(quick bool) []*bench.Result {
			return []*bench.Result{{Version: bench.Version, Suite: "other", Quick: quick}}
		}
		require.Len(t, base.Lost(goal.Judge(goals, nil)), 1)
		require.Len(t, base.Lost(goal.Judge(goals, other(false))), 1, "its suite was not run")
		require.Empty(t, base.Lost(goal.Judge(goals, other(true))), "smoke may leave out a suite")
		require.Empty(t, goal.Baseline{}.Lost(goal.Judge(goals, other(false))), "never reached")
		for _, quick := range []bool{false, true} {
			r := result(quick, []float64{1}, []float64{1})
			r.Rounds[0].Samples = r.Rounds[0].Samples[:1]
			require.Equal(t, !quick, len(base.Lost(goal.Judge(goals, []*bench.Result{r}))) == 1, "the peer was not there")
		}
		gone := []goal.Goal{{ID: "s.g", Text: "t", Missing: "nobody measures it any more"}}
		require.Len(t, base.Lost(goal.Judge(gone, enough(false, 1))), 1)
	}
}

func TestTooFewQuietRoundsSayNothingAboutTime(t *testing.T) {
	for kind, counts := range map[goal.Kind]bool{goal.Counter: true, goal.CPU: false, goal.Time: false} {
		goals := one(t, kind, "<=", 2, "peer")
		base := goal.Baseline{Reached: map[string]float64{"s.g": 1}}
		few := func(ours float64) []goal.Outcome {
			values, ones := slices.Repeat([]float64{ours}, bench.EnoughQuiet), slices.Repeat([]float64{1}, bench.EnoughQuiet)
			return goal.Judge(goals, []*bench.Result{result(false, values, ones)}) // One of them is disturbed.
		}
		require.Equal(t, counts, len(base.Lost(few(9))) == 1, kind)
		require.Equal(t, counts, len(goal.Baseline{}.Raise("abc", few(1)).Reached) == 1, kind)
		require.Equal(t, 9.0, few(9)[0].Measured, "it is shown")
		var out bytes.Buffer
		require.NoError(t, goal.Print(&out, append(few(9), few(1)...)))
		require.Equal(t, !counts, bytes.Contains(out.Bytes(), []byte("short by 4.5x, too few quiet rounds\n")), out.String())
		require.Equal(t, !counts, bytes.Contains(out.Bytes(), []byte("reached, too few quiet rounds\n")), out.String())

		all := result(false, []float64{9}, []float64{1})
		all.Rounds[0].Conditions.OthersShare = 1
		require.Equal(t, counts, len(base.Lost(goal.Judge(goals, []*bench.Result{all}))) == 1, "no round was quiet")
	}
}

func TestABaselineIsKept(t *testing.T) {
	path := filepath.Join(t.TempDir(), "baseline.json")
	b, err := goal.ReadBaseline(path)
	require.NoError(t, err)
	require.Empty(t, b.Reached)
	b = goal.Baseline{Commit: "abc", Reached: map[string]float64{"a.b": 1.5}}
	require.NoError(t, b.Write(path))
	again, err := goal.ReadBaseline(path)
	require.NoError(t, err)
	require.Equal(t, b, again)
}

func TestTheTableNamesGoalMeasureAndVerdict(t *testing.T) {
	goals := append(one(t, goal.Time, "<=", 1.5, "peer"), goal.Goal{ID: "s.later", Text: "t", Missing: "no such thing"})
	var out bytes.Buffer
	outcomes := goal.Judge(goals, []*bench.Result{result(false, []float64{3}, []float64{1})})
	require.NoError(t, goal.Print(&out, outcomes))
	require.Regexp(t, `s\.g +time +s c: x / peer +<= 1\.5 +3 +3 +1 +short by 2x`, out.String())
	require.Contains(t, out.String(), "not built")
	require.Contains(t, out.String(), "s.later: no such thing")
}

func TestWhatIsJudgedByNobodyIsCountedApart(t *testing.T) {
	goals := append(one(t, goal.Time, "<=", 1.5, "peer"), goal.Goal{ID: "s.later", Text: "t", Missing: "no such thing"})
	few := func(ours float64) []*bench.Result {
		return []*bench.Result{result(false, []float64{ours}, []float64{1})}
	}
	for _, ours := range []float64{1, 3} {
		tally := goal.Count(goal.Judge(goals, few(ours)))
		require.Equal(t, goal.Tally{Goals: 2, Unjudged: 1, Unknown: 1}, tally, "reached or missed, a time of one round is neither")
		require.Equal(t, "2 goals: 0 reached, 0 missed, 1 judged by nobody (too few quiet rounds), 1 not measured", tally.String())
	}
	require.Equal(t, goal.Tally{Goals: 2, Missed: 1, Unknown: 1}, goal.Count(goal.Judge(goals, enough(false, 3))))
	tally := goal.Count(goal.Judge(goals, enough(false, 1)))
	require.Equal(t, goal.Tally{Goals: 2, Reached: 1, Unknown: 1}, tally)
	require.Equal(t, "2 goals: 1 reached, 0 missed, 1 not measured", tally.String())
	counter := goal.Judge(one(t, goal.Counter, "<=", 1.5, "peer"), few(3))
	require.Equal(t, goal.Tally{Goals: 1, Missed: 1}, goal.Count(counter), "a counter is judged of any round")
}

func TestRatiosThatMovedAreMarked(t *testing.T) {
	older := []*bench.Result{result(false, []float64{1}, []float64{1})}
	newer := []*bench.Result{result(false, []float64{2}, []float64{1})}
	changes := goal.Compare(older, newer)
	require.Len(t, changes, 1)
	require.True(t, changes[0].Moved())
	var out bytes.Buffer
	require.NoError(t, goal.PrintChanges(&out, changes))
	require.Regexp(t, `\* +s +c +x: varve/peer +1 \(1\.\.1\) +2 \(2\.\.2\) +2`, out.String())
	require.False(t, goal.Compare(older, older)[0].Moved())
}

func TestTheGoalsAreSound(t *testing.T) {
	goals, err := goal.All()
	require.NoError(t, err)
	letters := map[byte]int{}
	for _, g := range goals {
		letters[g.ID[0]]++
	}
	for letter := byte('a'); letter <= 'k'; letter++ {
		require.GreaterOrEqual(t, letters[letter], 5, "goals of %c", letter)
	}
	for name, bad := range map[string]string{
		"kind":  `[{"id":"x","text":"t","suite":"s","case":"c","arm":"a","metric":"m","op":"<=","kind":"guess"}]`,
		"op":    `[{"id":"x","text":"t","suite":"s","case":"c","arm":"a","metric":"m","op":"==","kind":"time"}]`,
		"twice": `[{"id":"x","text":"t","missing":"y"},{"id":"x","text":"t","missing":"y"}]`,
		"what":  `[{"id":"x","text":"t","op":"<=","kind":"time"}]`,
		"text":  `[{"id":"x"}]`,
	} {
		_, err := goal.Parse([]byte(bad))
		require.Error(t, err, name)
	}
}
