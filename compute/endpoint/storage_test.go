package endpoint

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/compute/pgdata"
	"github.com/varvedb/varve/lsm"
	"github.com/varvedb/varve/pageserver/basebackup"
	"github.com/varvedb/varve/pageserver/timeline"
	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/env"
	"github.com/varvedb/varve/wal/pgwal"
	"github.com/varvedb/varve/wal/pgwal/pgtest"
	"github.com/varvedb/varve/wal/proposer"
	"github.com/varvedb/varve/wal/quorum"
	"github.com/varvedb/varve/wal/walapi"
)

// branch is a timeline in the bucket, served in this process.
type branch struct {
	w        *world
	id       quorum.Identity
	timeline *timeline.Timeline
	follower env.Group // nil until Follow
}

// importBranch imports a stopped cluster as a root timeline.
func importBranch(t *testing.T, w *world, s *pgtest.Server) *branch {
	t.Helper()
	ctx := t.Context()
	cluster := os.DirFS(s.DataDir)
	info, err := basebackup.Inspect(cluster)
	require.NoError(t, err)
	id := quorum.Identity{Tenant: wal.TenantID{1}, Timeline: wal.TimelineID{2}, SystemID: info.SystemID, PGVersion: 15, Start: info.LSN}
	store, err := lsm.Open(ctx, w.Env, lsm.Options{Tenant: id.Tenant})
	require.NoError(t, err)
	require.NoError(t, store.Create(ctx, id.Timeline, info.LSN, nil))
	layers, err := store.Attach(ctx, id.Timeline)
	require.NoError(t, err)
	_, err = basebackup.Import(ctx, cluster, layers)
	require.NoError(t, err)
	b := &branch{w: w, id: id}
	b.timeline, err = timeline.Open(ctx, w.Env, id.Timeline, layers)
	require.NoError(t, err)
	t.Cleanup(func() {
		if b.follower != nil {
			b.follower.Stop()
			require.NoError(t, b.follower.Wait())
		}
		// The test's own context has ended.
		require.NoError(t, store.Close(context.Background()))
	})
	return b
}

func (b *branch) Follow(ctx context.Context) error {
	if b.follower == nil {
		b.follower = b.w.Tasks.NewGroup(context.WithoutCancel(ctx))
		b.follower.Go("follow", b.follow)
	}
	return nil
}

// follow ingests what is committed, from one safekeeper after another.
func (b *branch) follow(ctx context.Context) error {
	for i := 0; ; i++ {
		err := b.followFrom(ctx, b.w.safekeepers[i%len(b.w.safekeepers)])
		if ctx.Err() != nil || b.timeline.Stopped() != nil {
			return err
		}
		if err := b.w.Clock.Sleep(ctx, time.Millisecond); err != nil {
			return err
		}
	}
}

func (b *branch) followFrom(ctx context.Context, s proposer.Safekeeper) error {
	client, err := walapi.Dial(ctx, b.w.Env, s.Addr)
	if err != nil {
		return err
	}
	defer client.Close()
	for {
		chunk, err := client.Read(ctx, walapi.ReadRequest{Timeline: b.id.Timeline, Begin: b.timeline.NextLSN(), Wait: time.Second})
		if err != nil {
			return err
		}
		if err := b.timeline.Ingest(ctx, chunk.Begin, chunk.Bytes); err != nil {
			return err
		}
	}
}

func (b *branch) StartState(ctx context.Context, at, prev wal.LSN) (*basebackup.State, error) {
	return basebackup.StartState(ctx, b.timeline, at, prev, time.Now())
}

func (b *branch) Forks(ctx context.Context, at wal.LSN, fn func(pgdata.Fork) error) error {
	return b.timeline.Relations(ctx, at, func(size timeline.RelationSize) error {
		return fn(pgdata.Fork{Rel: size.Rel, Fork: size.Fork, Blocks: size.Blocks})
	})
}

func (b *branch) ReadPages(ctx context.Context, at wal.LSN, rel pgwal.RelFileNode, fork pgwal.Fork, first uint32, dst []byte) error {
	var reads []timeline.PageRead
	var pages [][]byte
	for i := 0; i < len(dst); i += pgwal.PageSize {
		reads = append(reads, timeline.PageRead{Rel: rel, Fork: fork, Block: first + uint32(len(reads)), LSN: at})
		pages = append(pages, dst[i:i:i+pgwal.PageSize])
	}
	return b.timeline.GetPages(ctx, reads, pages)
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
		Proposer: 100, Safekeepers: b.w.safekeepers, SocketDir: s.Dir,
	}
	events := Events{
		Ready:   func(info Ready) { ready <- info },
		Stopped: func(end wal.LSN) { r.stopped = end },
	}
	go func() { r.ended <- Run(ctx, b.w.Env, b, cfg, events) }()
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
