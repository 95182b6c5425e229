package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestASignalEndsARun(t *testing.T) {
	for _, s := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		ctx, stop := interruptible(t.Context())
		defer stop()
		require.NoError(t, ctx.Err())
		require.NoError(t, syscall.Kill(os.Getpid(), s)) // Not caught, it is the end of this test.
		<-ctx.Done()
	}
}

// A run is committed with its raw data and its pictures, and stays in the history.
func TestACommittedRunIsSmall(t *testing.T) {
	const most = 5 << 20
	total := int64(0)
	for _, dir := range []string{"bench/results/latest", "docs/figures/bench"} {
		files := 0
		require.NoError(t, filepath.WalkDir(filepath.Join("../..", dir), func(_ string, e fs.DirEntry, err error) error {
			if err != nil || e.IsDir() {
				return err
			}
			info, err := e.Info()
			if err != nil {
				return err
			}
			files++
			total += info.Size()
			return nil
		}))
		require.Positive(t, files, dir)
	}
	require.LessOrEqual(t, total, int64(most))
}
