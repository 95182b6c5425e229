package mutant

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

const (
	quickMutants = 10
	quickControl = 10
)

// TestQuickMutantsAreKilled tries the mutants that are found within a few seeds: each
// is found by one who was expected to, its seed passes without it, and its control
// survives. It is what varve-sim mutants --quick does.
func TestQuickMutantsAreKilled(t *testing.T) {
	if testing.Short() {
		t.Skip("builds ten programs")
	}
	ctx := context.Background()
	abs, err := filepath.Abs(root)
	require.NoError(t, err)
	b := &Bench{Root: abs, Work: t.TempDir(), First: 1, CPU: HuntCPU, ControlMin: quickControl}
	all, err := Load("bank")
	require.NoError(t, err)
	plain, err := b.Build(ctx, nil)
	require.NoError(t, err)
	for _, m := range all {
		if !m.Quick {
			continue
		}
		trial, err := b.Try(ctx, m, plain)
		require.NoError(t, err)
		require.True(t, trial.Killed, "%s survives %d seeds", m.Name, trial.Seeds)
		require.Empty(t, trial.Wrong, m.Name)
		require.True(t, trial.Expected(), "%s was found by %v, expected by %v: %s", m.Name, trial.By, m.FoundBy, trial.Says)
		t.Logf("%s: seed %d, by %v, control %d", m.Name, trial.Seed, trial.By, trial.Control)
	}
}
