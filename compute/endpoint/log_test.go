package endpoint

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/pageserver/pageapi"
	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/env"
	"github.com/varvedb/varve/wal/env/osenv"
	"github.com/varvedb/varve/wal/frame"
	"github.com/varvedb/varve/wal/proposer"
	"github.com/varvedb/varve/wal/quorum"
	"github.com/varvedb/varve/wal/safekeeper"
	"github.com/varvedb/varve/wal/walapi"
)

// world is a directory with a bucket and running safekeepers.
type world struct {
	env.Env
	dir         string
	safekeepers []proposer.Safekeeper
	groups      []env.Group
	pageserver  string // address
	client      *pageapi.Client
	children    byte // branches made so far
}

// newWorld starts n safekeepers in dir, in this process, on unix sockets.
func newWorld(t *testing.T, n int) *world {
	t.Helper()
	// Short, for sockets, and open to user postgres.
	dir, err := os.MkdirTemp("", "ep")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	require.NoError(t, os.Chmod(dir, 0o755))
	e, err := osenv.New(osenv.Config{Root: filepath.Join(dir, "root"), Bucket: filepath.Join(dir, "bucket")})
	require.NoError(t, err)
	w := &world{Env: e, dir: dir}
	for i := range n {
		id := wal.NodeID(i + 1)
		w.safekeepers = append(w.safekeepers, proposer.Safekeeper{ID: id, Addr: fmt.Sprintf("unix:%s/sk%d", dir, id)})
		w.groups = append(w.groups, nil)
		w.startSafekeeper(t, i)
	}
	t.Cleanup(func() {
		for i := range w.groups {
			w.stopSafekeeper(t, i)
		}
	})
	return w
}

func (w *world) startSafekeeper(t *testing.T, i int) {
	t.Helper()
	id := w.safekeepers[i].ID
	s := safekeeper.New(w.Env, safekeeper.Config{ID: id, Dir: w.safekeeperDir(i), Listen: w.safekeepers[i].Addr})
	w.groups[i] = w.Tasks.NewGroup(context.WithoutCancel(t.Context()))
	// The context of a test ends before what it started is cleaned up.
	w.groups[i].Go("safekeeper", s.Run)
	_, err := s.Ready(t.Context())
	require.NoError(t, err)
}

func (w *world) safekeeperDir(i int) string { return fmt.Sprintf("safekeeper%d", i+1) }

func (w *world) stopSafekeeper(t *testing.T, i int) {
	t.Helper()
	if w.groups[i] != nil {
		w.groups[i].Stop()
		require.NoError(t, w.groups[i].Wait())
		w.groups[i] = nil
	}
}

func testIdentity() quorum.Identity {
	return quorum.Identity{Tenant: wal.TenantID{1}, Timeline: wal.TimelineID{2}, SystemID: 3, PGVersion: 15, Start: 0x1500000}
}

func TestLogIsMadeOnceAndNeverAgain(t *testing.T) {
	w := newWorld(t, 3)
	id := testIdentity()
	w.stopSafekeeper(t, 2)
	require.ErrorContains(t, EnsureLog(t.Context(), w.Env, id, w.safekeepers), "make the log on safekeeper 3, which the first start needs")
	w.startSafekeeper(t, 2)
	require.NoError(t, EnsureLog(t.Context(), w.Env, id, w.safekeepers))
	w.stopSafekeeper(t, 2)
	require.NoError(t, EnsureLog(t.Context(), w.Env, id, w.safekeepers), "a later start needs nobody")

	// A safekeeper that lost everything is not given an empty log.
	require.NoError(t, os.RemoveAll(filepath.Join(w.dir, "root", w.safekeeperDir(2))))
	w.startSafekeeper(t, 2)
	require.NoError(t, EnsureLog(t.Context(), w.Env, id, w.safekeepers))
	client, err := walapi.Dial(t.Context(), w.Env, w.safekeepers[2].Addr)
	require.NoError(t, err)
	_, err = client.Status(t.Context(), id.Timeline)
	require.Equal(t, frame.Code(walapi.CodeNoTimeline), frame.CodeOf(err))
	require.NoError(t, client.Close())

	id.Start += 8
	require.ErrorContains(t, EnsureLog(t.Context(), w.Env, id, w.safekeepers), "the log was made as")
}

// slowReader is a bucket whose first answer that there is no object is late: meanwhile
// happens.
type slowReader struct {
	env.Bucket
	meanwhile func()
}

func (b *slowReader) Get(ctx context.Context, key string) ([]byte, env.ETag, error) {
	body, tag, err := b.Bucket.Get(ctx, key)
	if meanwhile := b.meanwhile; meanwhile != nil {
		b.meanwhile = nil
		meanwhile()
	}
	return body, tag, err
}

// TestSlowFirstStartGivesNobodyAnEmptyLog: while it has looked and found no log, another
// first start makes the log, and a safekeeper loses it.
func TestSlowFirstStartGivesNobodyAnEmptyLog(t *testing.T) {
	w := newWorld(t, 3)
	id := testIdentity()
	slow := w.Env
	slow.Bucket = &slowReader{Bucket: w.Bucket, meanwhile: func() {
		require.NoError(t, EnsureLog(t.Context(), w.Env, id, w.safekeepers))
		w.stopSafekeeper(t, 2)
		require.NoError(t, os.RemoveAll(filepath.Join(w.dir, "root", w.safekeeperDir(2))))
		w.startSafekeeper(t, 2)
	}}
	require.NoError(t, EnsureLog(t.Context(), slow, id, w.safekeepers), "the log is there, by the quicker one")
	client, err := walapi.Dial(t.Context(), w.Env, w.safekeepers[2].Addr)
	require.NoError(t, err)
	_, err = client.Status(t.Context(), id.Timeline)
	require.Equal(t, frame.Code(walapi.CodeNoTimeline), frame.CodeOf(err))
	require.NoError(t, client.Close())
}
