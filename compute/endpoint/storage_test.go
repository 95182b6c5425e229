package endpoint

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/pageserver"
	"github.com/varvedb/varve/pageserver/pageapi"
	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/pgwal"
	"github.com/varvedb/varve/wal/pgwal/pgtest"
	"github.com/varvedb/varve/wal/quorum"
)

// branch is a timeline of the world's pageserver.
type branch struct {
	w  *world
	id quorum.Identity
}

// startPageserver starts the world's pageserver, in this process.
func (w *world) startPageserver(t *testing.T) *pageapi.Client {
	t.Helper()
	ready := make(chan string, 1)
	server := pageserver.New(w.Env, pageserver.Config{
		Tenant: testTenant, Listen: fmt.Sprintf("unix:%s/ps", w.dir),
		OpenDir: func(path string) (fs.FS, error) { return os.DirFS(path), nil },
		Ready:   func(addr string) { ready <- addr },
	})
	group := w.Tasks.NewGroup(context.WithoutCancel(t.Context()))
	group.Go("pageserver", server.Run)
	w.pageserver = <-ready
	client, err := pageapi.Dial(t.Context(), w.Env, w.pageserver)
	require.NoError(t, err)
	t.Cleanup(func() {
		_ = client.Close()
		group.Stop()
		require.NoError(t, group.Wait())
	})
	return client
}

var testTenant = wal.TenantID{1}

// importBranch imports a stopped cluster as a root timeline.
func (w *world) importBranch(t *testing.T, s *pgtest.Server) *branch {
	t.Helper()
	w.client = w.startPageserver(t)
	return w.importInto(t, s)
}

// importInto is importBranch into the pageserver that runs.
func (w *world) importInto(t *testing.T, s *pgtest.Server) *branch {
	t.Helper()
	id := quorum.Identity{Tenant: testTenant, Timeline: wal.TimelineID{2}, PGVersion: 15}
	info, err := w.client.Import(t.Context(), pageapi.ImportRequest{Timeline: id.Timeline, Path: s.DataDir})
	require.NoError(t, err)
	id.SystemID, id.Start = info.SystemID, info.LSN
	return &branch{w: w, id: id}
}

// branch makes a child of b at any LSN.
func (b *branch) branch(t *testing.T, at wal.LSN) *branch {
	t.Helper()
	child := &branch{w: b.w, id: b.id}
	b.w.children++
	child.id.Timeline[1] = b.w.children
	child.id.Start = pgwal.RecordPosition(at)
	require.NoError(t, b.w.client.Branch(t.Context(), pageapi.BranchRequest{Parent: b.id.Timeline, Child: child.id.Timeline, At: at}))
	return child
}

// run is a life in a task of its own.
type run struct {
	Ready
	stop    context.CancelFunc
	ended   chan error
	stopped wal.LSN // of the event, valid after ended
}

// start runs an endpoint of a branch until it is ready. Its socket is in s.Dir, so
// that s's programs reach it.
func (b *branch) start(t *testing.T, s *pgtest.Server, dir string, at wal.LSN) *run {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	r := &run{stop: cancel, ended: make(chan error, 1)}
	ready := make(chan Ready, 1)
	cfg := Config{
		Name: "test", Dir: filepath.Join(b.w.dir, dir), Identity: b.id, At: at,
		Pageserver: b.w.pageserver, Proposer: 100, Safekeepers: b.w.safekeepers, SocketDir: s.Dir,
	}
	events := Events{
		Ready:   func(info Ready) { ready <- info },
		Stopped: func(end wal.LSN) { r.stopped = end },
	}
	go func() { r.ended <- Run(ctx, b.w.Env, cfg, events) }()
	select {
	case r.Ready = <-ready:
	case err := <-r.ended:
		r.ended <- err
		require.NoError(t, err)
	}
	t.Cleanup(func() {
		cancel()
		<-r.ended
	})
	return r
}

// wait returns how the life ended.
func (r *run) wait() error {
	err := <-r.ended
	r.ended <- err
	return err
}
