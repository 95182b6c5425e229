package safekeeper

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/env"
	"github.com/varvedb/varve/wal/frame"
	"github.com/varvedb/varve/wal/quorum"
	"github.com/varvedb/varve/wal/walapi"
)

// reopenPause is how long a timeline whose disk failed is out of service. Shorter: a
// full disk is written to over and over. Longer: a quorum goes without this member.
const reopenPause = time.Second

// Config says which safekeeper it is.
type Config struct {
	ID     wal.NodeID
	Dir    string // its directory, relative to the root of FS; made if missing
	Listen string // address, such as unix:PATH or tcp:HOST:PORT
}

// Safekeeper is one server. Make it with [New]; it lives for one [Safekeeper.Run].
type Safekeeper struct {
	e        env.Env
	cfg      Config
	creation *env.Lock // one creation at a time

	mu        sync.Mutex
	timelines map[wal.TimelineID]*timeline
	addr      string
	err       error
	listening env.Cond
	group     env.Group
}

// New makes a safekeeper that does not run yet.
func New(e env.Env, cfg Config) *Safekeeper {
	s := &Safekeeper{e: e, cfg: cfg, creation: env.NewLock(e.Tasks), timelines: map[wal.TimelineID]*timeline{}}
	s.listening = e.Tasks.NewCond(&s.mu)
	return s
}

// Run opens what is on disk and serves until ctx ends. A timeline whose disk fails is
// opened anew while the others go on.
func (s *Safekeeper) Run(ctx context.Context) error {
	err := s.run(ctx)
	if err == nil {
		err = context.Canceled
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
	s.listening.Broadcast()
	return err
}

func (s *Safekeeper) run(ctx context.Context) error {
	for _, name := range []string{timelinesName, creatingName} {
		if err := s.e.FS.MkdirAll(ctx, s.cfg.Dir+"/"+name); err != nil {
			return fmt.Errorf("make directory of safekeeper %d: %w", s.cfg.ID, err)
		}
	}
	lock, err := s.e.FS.Lock(ctx, s.cfg.Dir+"/lock")
	if err != nil {
		return fmt.Errorf("own directory of safekeeper %d: %w", s.cfg.ID, err)
	}
	defer lock.Unlock()
	s.group = s.e.Tasks.NewGroup(ctx)
	if err := s.openAll(ctx); err != nil {
		s.group.Stop()
		// Its tasks have done nothing yet that could fail.
		_ = s.group.Wait()
		return fmt.Errorf("open safekeeper %d: %w", s.cfg.ID, err)
	}
	s.group.Go("serve", s.serve)
	return s.group.Wait()
}

func (s *Safekeeper) serve(ctx context.Context) error {
	l, err := s.e.Net.Listen(ctx, s.cfg.Listen)
	if err != nil {
		return fmt.Errorf("listen at %s: %w", s.cfg.Listen, err)
	}
	defer l.Close()
	s.mu.Lock()
	s.addr = l.Addr()
	s.listening.Broadcast()
	s.mu.Unlock()
	return walapi.Serve(ctx, s.e, l, s)
}

// Ready waits until the safekeeper listens and returns its address, or the error
// that Run ended with.
func (s *Safekeeper) Ready(ctx context.Context) (addr string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.addr == "" && s.err == nil {
		if err := s.listening.Wait(ctx); err != nil {
			return "", err
		}
	}
	return s.addr, s.err
}

// openAll opens the timelines that are on disk.
func (s *Safekeeper) openAll(ctx context.Context) error {
	names, err := s.e.FS.List(ctx, s.cfg.Dir+"/"+timelinesName)
	if err != nil {
		return err
	}
	for _, name := range names {
		id, err := wal.ParseTimelineID(name)
		if err != nil {
			return fmt.Errorf("list timelines: %w", err)
		}
		s.open(ctx, id)
	}
	return nil
}

// open opens a timeline and starts the task that keeps it; one whose creation was
// never finished is passed over.
func (s *Safekeeper) open(ctx context.Context, id wal.TimelineID) {
	t, err := openTimeline(ctx, s.e, s.cfg.ID, s.place(id), id)
	if errors.Is(err, errUnfinished) {
		return
	}
	if err != nil {
		t = newTimeline(s.e, s.place(id).dir)
		t.fail(err)
	}
	s.put(id, t)
	s.group.Go("disk of "+id.String(), func(ctx context.Context) error { return s.keep(ctx, id, t) })
}

// keep runs a timeline's disk task, and opens the timeline anew after it has failed,
// which is the same code as after a crash. It returns when ctx ends or the timeline is
// found lost.
func (s *Safekeeper) keep(ctx context.Context, id wal.TimelineID, t *timeline) error {
	for t.lost == nil {
		if t.failure() == nil {
			t.fail(t.runDisk(ctx))
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		s.e.Trace.Event("timeline out of service", "node", s.cfg.ID, "timeline", id.String(), "error", t.failure())
		if err := s.e.Clock.Sleep(ctx, reopenPause); err != nil {
			return err
		}
		next, err := openTimeline(ctx, s.e, s.cfg.ID, s.place(id), id)
		if err != nil {
			t.fail(err)
			continue
		}
		t = next
		s.put(id, t)
	}
	return nil
}

func (s *Safekeeper) put(id wal.TimelineID, t *timeline) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.timelines[id] = t
}

func (s *Safekeeper) place(id wal.TimelineID) place {
	return place{
		dir:      s.cfg.Dir + "/" + timelinesName + "/" + id.String(),
		creating: s.cfg.Dir + "/" + creatingName,
		name:     id.String(),
	}
}

// timeline returns the timeline, nil if there is none.
func (s *Safekeeper) timeline(id wal.TimelineID) *timeline {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.timelines[id]
}

// sound returns a timeline that has lost nothing and is in service.
func (s *Safekeeper) sound(id wal.TimelineID) (*timeline, error) {
	t := s.timeline(id)
	if t == nil {
		return nil, frame.Errorf(walapi.CodeNoTimeline, "safekeeper %d has no timeline %v", s.cfg.ID, id)
	}
	if t.lost != nil {
		return nil, frame.Errorf(walapi.CodeAmnesiac, "safekeeper %d has lost timeline %v: %v", s.cfg.ID, id, t.lost)
	}
	if err := t.failure(); err != nil {
		return nil, fmt.Errorf("timeline %v of safekeeper %d is %w", id, s.cfg.ID, err)
	}
	return t, nil
}

// Create implements [walapi.Server].
func (s *Safekeeper) Create(ctx context.Context, id quorum.Identity) error {
	if err := s.creation.Lock(ctx); err != nil {
		return err
	}
	defer s.creation.Unlock()
	if s.timeline(id.Timeline) == nil {
		if err := s.checkNeverMade(ctx, id); err != nil {
			return err
		}
		if err := createTimeline(ctx, s.e, s.cfg.ID, s.place(id.Timeline), id); err != nil {
			return fmt.Errorf("create timeline %v: %w", id.Timeline, err)
		}
		s.open(ctx, id.Timeline)
	}
	t, err := s.sound(id.Timeline)
	if err != nil {
		return err
	}
	if t.identity != id {
		return frame.Errorf(walapi.CodeForeign, "safekeeper %d has timeline %v as %+v, not as %+v", s.cfg.ID, id.Timeline, t.identity, id)
	}
	return nil
}

// checkNeverMade refuses to make a log that the bucket says was made: it was here, and is
// lost. The caller has looked there too, but maybe long ago.
//
// It is enough to look before making it, one creation at a time. The object is written when
// every safekeeper has said that it made the log, and nobody asks for a vote before. If it
// is written after this look, then this safekeeper said so in an earlier life, and was
// never asked: in that life there was no object yet, and in this one no log. So it has
// forgotten nothing that it promised.
func (s *Safekeeper) checkNeverMade(ctx context.Context, id quorum.Identity) error {
	key := walapi.MadeKey(id)
	_, err := s.e.Bucket.Head(ctx, key)
	if errors.Is(err, env.ErrNoObject) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look whether timeline %v was ever made: %w", id.Timeline, err)
	}
	return frame.Errorf(walapi.CodeAmnesiac, "safekeeper %d has lost timeline %v: %s says that it was made", s.cfg.ID, id.Timeline, key)
}

// Status implements [walapi.Server].
func (s *Safekeeper) Status(_ context.Context, id wal.TimelineID) (walapi.TimelineStatus, error) {
	t, err := s.sound(id)
	if err != nil {
		return walapi.TimelineStatus{}, err
	}
	return t.status(), nil
}

// List implements [walapi.Server].
func (s *Safekeeper) List(context.Context) ([]wal.TimelineID, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	ids := make([]wal.TimelineID, 0, len(s.timelines))
	//varve:unordered sorted below
	for id := range s.timelines {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, func(a, b wal.TimelineID) int { return bytes.Compare(a[:], b[:]) })
	return ids, nil
}

// Read implements [walapi.Server].
func (s *Safekeeper) Read(ctx context.Context, m walapi.ReadRequest) (walapi.Chunk, error) {
	t, err := s.sound(m.Timeline)
	if err != nil {
		return walapi.Chunk{}, err
	}
	return t.read(ctx, m)
}

// Session implements [walapi.Server].
func (s *Safekeeper) Session(ctx context.Context, conn *walapi.Session) error {
	group := s.e.Tasks.NewGroup(ctx)
	group.Go("send", conn.Run)
	group.Go("receive", func(ctx context.Context) error { return s.receive(ctx, conn) })
	return group.Wait()
}

// receive steps a proposer's messages into the acceptor of their timeline.
func (s *Safekeeper) receive(ctx context.Context, conn *walapi.Session) error {
	first, err := conn.Receive(ctx)
	if err != nil {
		return err
	}
	greeting, ok := first.(quorum.Greeting)
	if !ok {
		return fmt.Errorf("first message of a session: want a Greeting, got %T", first)
	}
	t := s.timeline(greeting.Timeline)
	if t == nil || t.lost != nil {
		return refuse(ctx, conn, greeting)
	}
	key := sessionKey{greeting.Proposer, greeting.Session}
	if err := t.join(key, conn); err != nil {
		return err
	}
	defer t.leave(key, conn)
	for m := first; ; {
		if m.Head().Session != greeting.Session {
			return fmt.Errorf("message of session %d on the connection of session %d", m.Head().Session, greeting.Session)
		}
		if err := t.step(ctx, key, m); err != nil {
			return err
		}
		if m, err = conn.Receive(ctx); err != nil {
			return err
		}
	}
}

// refuse answers for a timeline that is not here or not sound, until the proposer
// hangs up.
func refuse(ctx context.Context, conn *walapi.Session, greeting quorum.Greeting) error {
	head := quorum.Header{Timeline: greeting.Timeline, Session: greeting.Session}
	for {
		if !conn.Queue(quorum.Refused{Header: head, Reason: quorum.ReasonAmnesiac}) {
			return errors.New("the proposer takes no answer")
		}
		if _, err := conn.Receive(ctx); err != nil {
			return err
		}
	}
}
