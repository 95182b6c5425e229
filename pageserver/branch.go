package pageserver

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/varvedb/varve/lsm"
	"github.com/varvedb/varve/pageserver/timeline"
	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/env"
)

// openMax bounds how long a request waits for a timeline to be opened, which waits
// for its ancestors. Shorter: a branch at the head of a busy parent fails its first
// reader. Longer: nobody learns that the ancestor has stopped.
const openMax = 30 * time.Second

const (
	// healPauseMin and healPauseMax are the least and the longest pause before what
	// failed is tried again; it doubles in between. Shorter: a timeline whose bytes are
	// wrong for good reads them over and over. Longer: one whose bucket was away stays
	// behind after that is back.
	healPauseMin = 500 * time.Millisecond
	healPauseMax = 16 * time.Second
)

// existsEvery is how often the bucket is asked whether a timeline that is read is there
// still: for so long may a server that was not told answer for one that was deleted.
// Shorter: more requests. Longer: a name that is given anew may for longer be answered for
// with what had it before.
const existsEvery = 10 * time.Second

// branch is a timeline of this server and the tasks that belong to it.
type branch struct {
	env      env.Env
	store    *lsm.Store
	discover func(context.Context) error // of the server
	id       wal.TimelineID

	// What follows is the task's own.
	under     *lsm.Timeline // its attachment, nil until that succeeds
	looked    bool          // whether children were looked for since it was attached
	stoppedAt wal.LSN       // where the timeline stopped last
	healPause time.Duration // before it is resumed there again
	still     standstill    // of the safekeepers, while a branch waits for log that none gives

	mu      sync.Mutex
	changed env.Cond           // something below changed
	opened  *timeline.Timeline // nil until it is open
	failed  error              // why it is not open yet; nil while nothing has failed
	ended   error              // why the tasks ended; nil while they run
	cancel  context.CancelFunc // ends the import, then the tasks; nil before there are any
	imports bool               // it is being imported
	sources []string           // addresses of safekeepers
	asked   uint64             // counts follow
}

func (s *Server) newBranch(id wal.TimelineID, sources []string) *branch {
	b := &branch{env: s.env, store: s.store, discover: s.discover, id: id, sources: sources}
	b.changed = s.env.Tasks.NewCond(&b.mu)
	return b
}

// run opens the timeline and follows its log. It returns nil: a timeline that ends
// ends no other.
func (b *branch) run(ctx context.Context) error {
	ctx, cancel := b.env.Tasks.WithCancel(ctx)
	defer cancel()
	b.mu.Lock()
	b.cancel = cancel
	b.changed.Broadcast()
	b.mu.Unlock()
	err := b.live(ctx)
	b.end(err)
	b.env.Trace.Event("timeline ended", "timeline", b.id, "error", err)
	return nil
}

// end says why there are no tasks, or no more.
func (b *branch) end(why error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ended = why
	b.changed.Broadcast()
}

func (b *branch) live(ctx context.Context) error {
	t, err := b.open(ctx)
	if err != nil {
		return fmt.Errorf("open timeline %v: %w", b.id, err)
	}
	b.mu.Lock()
	b.opened, b.failed = t, nil
	b.changed.Broadcast()
	b.mu.Unlock()
	return b.receive(ctx, t)
}

// open attaches and opens the timeline, as often as it takes: most of what fails is a
// bucket that is away.
func (b *branch) open(ctx context.Context) (*timeline.Timeline, error) {
	for pause := healPauseMin; ; pause = min(2*pause, healPauseMax) {
		t, err := b.tryOpen(ctx)
		if err == nil || ctx.Err() != nil || isFinal(err) {
			return t, err
		}
		b.mu.Lock()
		b.failed = err
		b.changed.Broadcast()
		b.mu.Unlock()
		b.env.Trace.Event("timeline not opened", "timeline", b.id, "error", err)
		if err := b.env.Clock.Sleep(ctx, pause); err != nil {
			return nil, err
		}
	}
}

func (b *branch) tryOpen(ctx context.Context) (t *timeline.Timeline, err error) {
	if b.under == nil {
		if b.under, err = b.store.Attach(ctx, b.id); err != nil {
			return nil, err
		}
		b.looked = false
	}
	if !b.looked {
		if err := b.discover(ctx); err != nil {
			return nil, err
		}
		b.looked = true
	}
	if err := b.awaitAncestors(ctx); err != nil {
		return nil, err
	}
	return timeline.Open(ctx, b.env, b.id, b.under)
}

// isFinal reports whether what failed with err will fail again, however often it is
// tried.
func isFinal(err error) bool {
	for _, kind := range []error{lsm.ErrFenced, lsm.ErrDetached, lsm.ErrNoTimeline, timeline.ErrNotImported} {
		if errors.Is(err, kind) {
			return true
		}
	}
	return errors.Is(err, timeline.ErrStoppedForGood)
}

// readableTo refuses an LSN that the timeline will not reach as long as it is stopped.
func (b *branch) readableTo(at wal.LSN) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.opened == nil || at <= b.opened.LastLSN() {
		return nil
	}
	return b.opened.Stopped()
}

// awaitAncestors returns when the timeline can be read where it begins. An ancestor
// that is attached is waited for; one that is not yet attached here will be.
func (b *branch) awaitAncestors(ctx context.Context) error {
	for {
		err := b.under.AncestorReady(ctx, b.under.LastLSN())
		if !errors.Is(err, lsm.ErrAncestorNotReady) {
			return err
		}
		if err := b.env.Clock.Sleep(ctx, retryDelay); err != nil {
			return err
		}
	}
}

// isLost reports whether another has taken the timeline over, or its tasks have ended
// before it was attached. Where the bucket does not say, it is not.
func (b *branch) isLost(ctx context.Context) bool {
	t := b.store.Attached(b.id)
	if t == nil {
		b.mu.Lock()
		defer b.mu.Unlock()
		return b.ended != nil
	}
	err := t.Confirm(ctx)
	if err != nil {
		b.env.Trace.Event("timeline not confirmed", "timeline", b.id, "error", err)
	}
	return errors.Is(err, lsm.ErrFenced)
}

// isImported reports whether the timeline is being imported.
func (b *branch) isImported() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.imports
}

// stop ends the tasks, or the import, and waits for their end.
func (b *branch) stop(ctx context.Context) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	for b.ended == nil {
		if b.cancel != nil {
			b.cancel()
		}
		if err := b.changed.Wait(ctx); err != nil {
			return err
		}
	}
	return nil
}

// timeline returns the timeline when it is open.
func (b *branch) timeline(ctx context.Context) (*timeline.Timeline, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.opened != nil {
		return b.opened, nil // without the cost of a deadline
	}
	limited, cancel := b.env.Tasks.WithTimeout(ctx, openMax)
	defer cancel()
	for b.opened == nil {
		if err := cmp.Or(b.ended, b.failed); err != nil {
			return nil, err
		}
		if err := b.changed.Wait(limited); err != nil {
			if ctx.Err() != nil {
				return nil, err
			}
			return nil, fmt.Errorf("timeline %v waits for its ancestors: %w", b.id, lsm.ErrAncestorNotReady)
		}
	}
	return b.opened, nil
}

// standing says how far the timeline is, and why it does not go on, if so.
func (b *branch) standing() (last wal.LSN, stopped string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.opened != nil {
		last = b.opened.LastLSN()
		if err := b.opened.Stopped(); err != nil {
			return last, err.Error()
		}
	}
	switch {
	case b.ended != nil:
		stopped = b.ended.Error()
	case b.failed != nil:
		stopped = b.failed.Error()
	case b.opened == nil:
		stopped = "waits for its ancestors"
	}
	return last, stopped
}

// follow changes where the log comes from, unless sources is empty, and makes the
// task look there at once.
func (b *branch) follow(sources []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(sources) > 0 {
		b.sources = slices.Clone(sources)
	}
	b.asked++
	b.changed.Broadcast()
}

// currentSources returns the addresses, and the count of follow that they belong to.
func (b *branch) currentSources() (sources []string, asked uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.sources, b.asked
}

// pause waits for retryDelay, or until follow is called again.
func (b *branch) pause(ctx context.Context, asked uint64) error {
	limited, cancel := b.env.Tasks.WithTimeout(ctx, retryDelay)
	defer cancel()
	b.mu.Lock()
	defer b.mu.Unlock()
	for b.asked == asked {
		if err := b.changed.Wait(limited); err != nil {
			return ctx.Err()
		}
	}
	return nil
}

// timeline returns an open timeline by its id.
func (s *Server) timeline(ctx context.Context, id wal.TimelineID) (*timeline.Timeline, error) {
	b, err := s.branch(id)
	if err != nil {
		return nil, err
	}
	t, err := b.timeline(ctx)
	if err != nil {
		return nil, err
	}
	return t, t.Store().Exists(ctx, existsEvery)
}
