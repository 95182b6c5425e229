package control

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/lsm"
	"github.com/varvedb/varve/pageserver"
	"github.com/varvedb/varve/pageserver/pageapi"
	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/env"
	"github.com/varvedb/varve/wal/env/osenv"
	"github.com/varvedb/varve/wal/pgwal/pgtest"
)

// TestABranchWhoseAttachmentEndedIsDetachedAllTheSame: by its own detach, of which nobody
// knows whether it landed, or by another's attachment, as here.
func TestABranchWhoseAttachmentEndedIsDetachedAllTheSame(t *testing.T) {
	postgres := pgtest.Init(t, pgtest.Options{})
	dir, ctx := t.TempDir(), t.Context()
	e, err := osenv.New(osenv.Config{Root: filepath.Join(dir, "local"), Bucket: filepath.Join(dir, "bucket")})
	require.NoError(t, err)
	tenant, root, branch := wal.TenantID{1}, wal.TimelineID{2}, wal.TimelineID{3}
	ready := env.NewMailbox[string](e.Tasks, 1)
	server := pageserver.New(e, pageserver.Config{
		Tenant: tenant, Listen: "tcp:127.0.0.1:0", OpenDir: OpenDir, Ready: func(addr string) { ready.TryPut(addr) },
	})
	group := e.Tasks.NewGroup(ctx)
	group.Go("pageserver", server.Run)
	addr, err := ready.Take(ctx)
	require.NoError(t, err)
	s := &storage{env: e, role: &role{addr: addr}}
	t.Cleanup(func() {
		s.close()
		group.Stop()
		_ = group.Wait() // it ends because it is told to
	})
	client, err := s.connect(ctx)
	require.NoError(t, err)
	imported, err := client.Import(ctx, pageapi.ImportRequest{Timeline: root, Path: postgres.DataDir, Meta: []byte("main")})
	require.NoError(t, err)
	require.NoError(t, s.branch(ctx, root, branch, imported.LSN, []byte("dev")))
	require.NoError(t, s.awaitLSN(ctx, branch, imported.LSN))

	other, err := lsm.Open(ctx, e, lsm.Options{Tenant: tenant, CacheDir: "other"})
	require.NoError(t, err)
	_, err = other.Attach(ctx, branch)
	require.NoError(t, err)
	require.NoError(t, other.Close(ctx))

	require.NoError(t, s.detach(ctx, branch))
	infos, err := s.timelines(ctx)
	require.NoError(t, err)
	require.Len(t, infos, 2)
	require.Equal(t, branch, infos[1].ID)
	require.True(t, infos[1].Parent.IsZero())
	require.Empty(t, infos[1].Stopped, "it is served again")
	require.NoError(t, s.delete(ctx, root), "nothing hangs from it")
	require.NoError(t, s.detach(ctx, branch), "once is enough")
	require.ErrorIs(t, s.detach(ctx, wal.TimelineID{9}), lsm.ErrNoTimeline)
}
