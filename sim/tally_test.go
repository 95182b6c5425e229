package sim_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/sim"
	"github.com/varvedb/varve/sim/check"
)

// TestABatchSaysWhatNeverHappened: a fault, an operation and a checker that one run has
// not, another may have; what none has is named.
func TestABatchSaysWhatNeverHappened(t *testing.T) {
	run := func(fault, operation, judged int) *sim.Result {
		return &sim.Result{
			Fired:    check.Counts{{Name: "net.reset", N: fault}, {Name: "disk.lie"}},
			Done:     check.Counts{{Name: "reads", N: operation}},
			Verdicts: []check.Verdict{{Checker: "truth", OK: true, Counts: check.Counts{{Name: "commits", N: judged}}}},
		}
	}
	var batch sim.Tally
	require.Equal(t, []string{"no run was judged"}, batch.Idle())
	batch.Add(run(0, 0, 0))
	require.Equal(t, []string{"fault net.reset never fired", "nobody did: reads", "checker truth judged nothing"}, batch.Idle())
	batch.Add(run(1, 0, 2))
	require.Equal(t, []string{"nobody did: reads"}, batch.Idle())
	batch.Add(run(0, 3, 0))
	require.Empty(t, batch.Idle())
}

// TestEveryKindOfOperationIsCounted: a run names all that clients and operators do, done
// or not.
func TestEveryKindOfOperationIsCounted(t *testing.T) {
	r := one{profile: "quiet", seed: 1}.run(t)
	for _, name := range []string{
		"sim compute failover", "sim rival computes", "sim pageserver moved", "sim everything wiped but bucket and safekeepers",
		"sim relation truncated", "sim relation dropped", "transactions committed", "latest reads, confirmed",
		"snapshots of the head, confirmed", "snapshots of the past", "reads of the past", "branches at the head", "branches of branches", "cutoffs raised",
	} {
		found := false
		for _, count := range r.Done {
			found = found || count.Name == name
		}
		require.True(t, found, name)
	}
	require.NotZero(t, r.Done.Get("transactions committed"))
}
