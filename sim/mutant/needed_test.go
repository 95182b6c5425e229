package mutant

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// needed names, for a checker with its twin, if another would notice the same by its own
// way, a mutant that nobody else finds. That the others are needed is shown by the
// histories made by hand in package check, each of which one checker alone flags.
var needed = []struct {
	off    []string
	mutant string
}{
	{[]string{"history", "snapshots"}, "image-keeps-its-lsn"},
	{[]string{Phases, "liveness"}, "mark-before-sync"},
	{[]string{"truth", "replicas"}, "commits-below-start"},
	{[]string{"liveness"}, "scan-drops-layers"},
	{[]string{"branches"}, "leases-end-early"},
}

// TestWithoutACheckerAMutantEscapes: with a checker and its twins off, a mutant escapes that is
// found with them, over twice as many seeds and ten at least.
func TestWithoutACheckerAMutantEscapes(t *testing.T) {
	if os.Getenv("VARVE_FULL") == "" {
		t.Skip("takes minutes: VARVE_FULL=1 runs it")
	}
	ctx := context.Background()
	abs, err := filepath.Abs(root)
	require.NoError(t, err)
	all, err := Load("bank")
	require.NoError(t, err)
	for _, n := range needed {
		i := slices.IndexFunc(all, func(m *Mutant) bool { return m.Name == n.mutant })
		require.GreaterOrEqual(t, i, 0, "%s is in the bank", n.mutant)
		m := all[i]
		b := &Bench{Root: abs, Work: t.TempDir(), First: 1, CPU: HuntCPU}
		program, err := b.Build(ctx, m)
		require.NoError(t, err)
		found := &Trial{Mutant: m}
		require.NoError(t, b.hunt(ctx, found, program))
		require.True(t, found.Killed, "%s survives", m.Name)
		b.Off, b.CPU, b.Seeds = n.off, 0, max(10, 2*found.Seeds)
		escaped := &Trial{Mutant: m}
		require.NoError(t, b.hunt(ctx, escaped, program))
		require.False(t, escaped.Killed, "%s, without %v, is found by %v at seed %d", m.Name, n.off, escaped.By, escaped.Seed)
		t.Logf("%s: found by %v at seed %d; without %v it escapes %d seeds", m.Name, found.By, found.Seed, n.off, escaped.Seeds)
	}
}
