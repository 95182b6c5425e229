package pageserver

import (
	"context"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"sync"

	"github.com/varvedb/varve/lsm"
	"github.com/varvedb/varve/lsm/remote"
	"github.com/varvedb/varve/pageserver/pageapi"
	"github.com/varvedb/varve/pageserver/timeline"
	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/env"
	"github.com/varvedb/varve/wal/frame"
)

// Config says what a pageserver serves, and where.
type Config struct {
	Tenant      wal.TenantID
	Listen      string   // address, as env.Net has them
	Safekeepers []string // addresses, of all; their ids count from 1; those of a timeline until a Follow names others

	// OpenDir opens a directory that is to be imported. Nil refuses imports.
	OpenDir func(path string) (fs.FS, error)
	// Ready is called once, with the address that is listened on. It may be nil.
	Ready func(addr string)
	// Store tunes the layered store; its Tenant and Redo are overridden.
	Store lsm.Options
}

// Server is a pageserver. Make it with [New], and call Run once.
type Server struct {
	env   env.Env
	cfg   Config
	calls *remote.Counted // of env's bucket
	store *lsm.Store
	group env.Group

	// admin is held while branches are made and attached, and while it is decided that a
	// timeline is deleted.
	admin *env.Lock

	mu       sync.Mutex
	branches map[wal.TimelineID]*branch
}

// New makes a server.
func New(e env.Env, cfg Config) *Server {
	cfg.Store.Tenant, cfg.Store.Redo = cfg.Tenant, timeline.Redo{}
	bucket, calls := remote.Count(e.Bucket)
	e.Bucket = bucket
	return &Server{env: e, cfg: cfg, calls: calls, admin: env.NewLock(e.Tasks), branches: map[wal.TimelineID]*branch{}}
}

// Run serves until ctx ends, and returns its error. It fails at once if the bucket
// cannot be read, or is no store for conditional writes ([remote.ErrUnfit]), or the
// address cannot be listened on.
func (s *Server) Run(ctx context.Context) (err error) {
	if err := remote.Probe(ctx, s.env.Bucket, s.cfg.Tenant); err != nil {
		return fmt.Errorf("start pageserver: %w", err)
	}
	if s.store, err = lsm.Open(ctx, s.env, s.cfg.Store); err != nil {
		return fmt.Errorf("start pageserver: %w", err)
	}
	defer func() {
		if closed := s.store.Close(context.WithoutCancel(ctx)); err == nil {
			err = closed
		}
	}()
	s.group = s.env.Tasks.NewGroup(ctx)
	defer func() {
		s.group.Stop()
		// Branches end with the server's stop; what else befell them was traced.
		_ = s.group.Wait()
	}()
	if err := s.discover(ctx); err != nil {
		return fmt.Errorf("start pageserver: %w", err)
	}
	listener, err := s.env.Net.Listen(ctx, s.cfg.Listen)
	if err != nil {
		return fmt.Errorf("start pageserver: %w", err)
	}
	if s.cfg.Ready != nil {
		s.cfg.Ready(listener.Addr())
	}
	return frame.Serve(ctx, s.env, listener, pageapi.Service, func(ctx context.Context, c *frame.Conn) error {
		return frame.ServeRequests(ctx, s.env, c, s.handle)
	})
}

// discover attaches the timelines that the bucket has and this server does not keep.
// One that cannot be attached keeps none of the others from it: its own task goes on
// trying. Who makes a branch looks at the parent's generation afterwards, so the
// children of a timeline are looked for when it is attached, and again until there are
// no more.
func (s *Server) discover(ctx context.Context) error {
	if err := s.admin.Lock(ctx); err != nil {
		return err
	}
	defer s.admin.Unlock()
	for {
		ids, err := s.store.Timelines(ctx)
		if err != nil {
			return err
		}
		ids = slices.DeleteFunc(ids, s.keeps)
		if len(ids) == 0 {
			return nil
		}
		for _, id := range ids {
			b := s.newBranch(id, s.cfg.Safekeepers)
			b.looked = true // the next listing does
			s.attach(ctx, b)
		}
	}
}

// attach attaches a timeline and starts its tasks, which go on trying if that failed.
// The caller holds admin.
func (s *Server) attach(ctx context.Context, b *branch) {
	b.under, b.failed = s.store.Attach(ctx, b.id)
	s.start(b)
}

// start starts the tasks of a timeline.
func (s *Server) start(b *branch) {
	s.mu.Lock()
	s.branches[b.id] = b
	s.mu.Unlock()
	// The tasks of a timeline are a group of their own, so that it can be stopped alone.
	s.group.Go("timeline", b.run)
}

// serve makes a timeline and its ancestors this server's: those that it does not keep,
// because others made them, and those that another has taken over.
func (s *Server) serve(ctx context.Context, id wal.TimelineID) error {
	if err := s.admin.Lock(ctx); err != nil {
		return err
	}
	defer s.admin.Unlock()
	line, err := s.store.Lineage(ctx, id)
	if err != nil {
		return err
	}
	for _, id := range line {
		b, unknown := s.branch(id)
		switch {
		case unknown != nil:
			s.env.Trace.Cover("pageserver serves a branch that another made")
			s.attach(ctx, s.newBranch(id, s.cfg.Safekeepers))
		case b.isLost(ctx):
			s.env.Trace.Cover("pageserver takes a lost timeline back")
			if err := s.retake(ctx, b); err != nil {
				return err
			}
		}
	}
	return nil
}

// retake attaches a timeline anew.
func (s *Server) retake(ctx context.Context, b *branch) error {
	if err := b.stop(ctx); err != nil {
		return err
	}
	if t := s.store.Attached(b.id); t != nil {
		if err := t.Detach(ctx); err != nil {
			return err
		}
	}
	sources, _ := b.currentSources()
	s.attach(ctx, s.newBranch(b.id, sources))
	return nil
}

func (s *Server) keeps(id wal.TimelineID) bool {
	_, err := s.branch(id)
	return err == nil
}

// branch returns a timeline that this server keeps.
func (s *Server) branch(id wal.TimelineID) (*branch, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if b := s.branches[id]; b != nil {
		return b, nil
	}
	return nil, fmt.Errorf("%w: %v", lsm.ErrNoTimeline, id)
}

// Timelines names the timelines that this server keeps, in order.
func (s *Server) Timelines() []wal.TimelineID {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.SortedFunc(maps.Keys(s.branches), func(a, b wal.TimelineID) int { return slices.Compare(a[:], b[:]) })
}

// handle answers one request.
func (s *Server) handle(ctx context.Context, request frame.Frame) (frame.Frame, error) {
	if request.Type == pageapi.TypeGetPages {
		f, err := s.getPages(ctx, request.Payload)
		return f, pageapi.ToWire(err)
	}
	serve, known := handlers[request.Type]
	if !known {
		return frame.Frame{}, frame.Errorf(frame.CodeBadFrame, "unknown request type %d", request.Type)
	}
	payload, err := serve(s, ctx, request.Payload)
	if err != nil {
		return frame.Frame{}, pageapi.ToWire(err)
	}
	return frame.Frame{Type: request.Type, Payload: payload}, nil
}
