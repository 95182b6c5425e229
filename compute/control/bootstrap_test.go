package control

import (
	"context"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestInterruptedInitdbLeavesNothingBehind: not even a child that holds its output.
func TestInterruptedInitdbLeavesNothingBehind(t *testing.T) {
	// Open to PostgreSQL's user, as whom initdb runs.
	dir, err := os.MkdirTemp("", "control")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	require.NoError(t, os.Chmod(dir, 0o755))
	begun := filepath.Join(dir, "begun")
	require.NoError(t, syscall.Mkfifo(begun, 0o666))
	require.NoError(t, os.Chmod(begun, 0o666))
	script := "#!/bin/sh\nsleep 1000 &\necho begun > " + begun + "\nwait\n"
	require.NoError(t, os.WriteFile(filepath.Join(dir, "initdb"), []byte(script), 0o755))

	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	s := &Supervisor{cfg: Config{PGBin: dir}}
	go func() { ended <- s.initdb(ctx, filepath.Join(dir, "data")) }()
	_, err = os.ReadFile(begun) // until the script has written it
	require.NoError(t, err)
	cancel()
	require.Error(t, <-ended)
}
