package lsm_test

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/lsm"
	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/env/osenv"
	"github.com/varvedb/varve/wal/env/s3/s3test"
)

// TestStoreOnS3 runs two owners, branches and restarts from nothing on a real S3 server.
func TestStoreOnS3(t *testing.T) {
	ctx := t.Context()
	location := s3test.Start(t).Location("store")
	// Each owner has a machine of its own: nothing but the bucket is shared.
	machine := func() *world {
		dir := t.TempDir()
		e, err := osenv.New(osenv.Config{Root: filepath.Join(dir, "local"), Bucket: location})
		require.NoError(t, err)
		return &world{t: t, dir: dir, env: e}
	}
	oldStore, old := start(t, machine())
	apply(t, old, put(1, 20, "Ia"), put(2, 21, "Ib"))
	flush(t, old)
	require.NoError(t, oldStore.Branch(ctx, timelineID(1), timelineID(2), 20, nil))
	apply(t, old, put(1, 30, "Dc"))

	youngStore := machine().openSmall()
	young := attach(t, youngStore, timelineID(1))
	require.ErrorIs(t, old.Flush(ctx), lsm.ErrFenced, "the server refused the older owner's index")
	require.ErrorIs(t, youngStore.Create(ctx, timelineID(1), 10, nil), lsm.ErrTimelineExists)
	apply(t, young, put(1, 30, "Dd"))
	flush(t, young)
	require.NoError(t, oldStore.Close(ctx))
	require.NoError(t, youngStore.Close(ctx))

	last := machine().openSmall()
	require.Equal(t, "Ia+Dd", get(t, attach(t, last, timelineID(1)), 1, 30))
	branch := attach(t, last, timelineID(2))
	require.Equal(t, "Ia", get(t, branch, 1, 20))
	require.Equal(t, "", get(t, branch, 2, 20), "what the parent wrote later")
	require.Equal(t, wal.LSN(20), branch.LastLSN())
	require.NoError(t, last.Close(ctx))
}
