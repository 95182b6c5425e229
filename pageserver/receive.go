package pageserver

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/varvedb/varve/pageserver/timeline"
	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/frame"
	"github.com/varvedb/varve/wal/walapi"
)

const (
	// sourcePatience is how long a safekeeper may have nothing new before the next is
	// asked. Shorter: an idle timeline asks more often. Longer: pages of what was
	// committed elsewhere come later when the source is cut off.
	sourcePatience = 2 * time.Second
	// retryDelay is the pause after all safekeepers failed one after the other, and
	// between looks at an ancestor that is not attached here.
	retryDelay = 200 * time.Millisecond
	// answerMax is how much later than promised a safekeeper's answer may come.
	answerMax = 5 * time.Second
)

// errDamaged: a source's log is not what was written.
var errDamaged = errors.New("the log is damaged")

// receive takes in the timeline's log until ctx ends or the timeline stops for good.
// Sources are asked in turn. The timeline stops at damage only when all have it.
func (b *branch) receive(ctx context.Context, t *timeline.Timeline) error {
	damaged := 0 // sources in a row that have damaged log
	for failures, turn := 0, 0; ; turn++ {
		sources, asked := b.currentSources()
		if len(sources) == 0 || failures >= len(sources) {
			failures = 0
			if err := b.pause(ctx, asked); err != nil {
				return err
			}
			continue
		}
		addr := sources[turn%len(sources)]
		before := t.LastLSN()
		err := b.receiveFrom(ctx, t, addr)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if !isDamaged(err) || t.LastLSN() > before {
			damaged = 0
		}
		if isDamaged(err) {
			if damaged++; damaged >= len(sources) {
				damaged, err = 0, t.Stop(err)
			}
		}
		if errors.Is(err, timeline.ErrStopped) {
			if err := b.resume(ctx, t, err); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			failures++
			b.env.Trace.Event("log source failed", "timeline", b.id, "source", addr, "error", err)
			continue
		}
		failures = 0
		if t.LastLSN() == before {
			b.sealForgotten(ctx, t, sources)
		}
	}
}

// isDamaged reports whether a source had damaged log, or said that it has.
func isDamaged(err error) bool {
	return errors.Is(err, errDamaged) || frame.CodeOf(err) == walapi.CodeAmnesiac
}

// resume makes a stopped timeline take in log again, from the next source. It pauses
// for longer while the timeline stops again where it did before.
func (b *branch) resume(ctx context.Context, t *timeline.Timeline, stopped error) error {
	if isFinal(stopped) {
		return stopped
	}
	if at := t.LastLSN(); b.healPause == 0 || b.stoppedAt != at {
		b.healPause, b.stoppedAt = healPauseMin, at
	}
	for {
		if err := b.env.Clock.Sleep(ctx, b.healPause); err != nil {
			return err
		}
		b.healPause = min(2*b.healPause, healPauseMax)
		err := t.Resume(ctx)
		if err == nil || ctx.Err() != nil || isFinal(err) {
			return err
		}
		b.env.Trace.Event("timeline not resumed", "timeline", b.id, "error", err)
	}
}

// receiveFrom takes in log from one safekeeper until that has nothing new for
// sourcePatience, or fails.
func (b *branch) receiveFrom(ctx context.Context, t *timeline.Timeline, addr string) error {
	client, err := walapi.Dial(ctx, b.env, addr)
	if err != nil {
		return err
	}
	defer client.Close()
	// A record is taken from one source, so that this one is not blamed for another's bytes.
	t.Discard()
	begin, err := b.begin(ctx, t, client)
	if err != nil {
		return err
	}
	for {
		chunk, err := b.read(ctx, client, begin)
		if err != nil {
			return err
		}
		if len(chunk.Bytes) == 0 {
			return nil
		}
		err = t.Ingest(ctx, begin, chunk.Bytes)
		if errors.Is(err, wal.ErrCorruption) && !errors.Is(err, timeline.ErrStopped) {
			err = fmt.Errorf("%w: %w", errDamaged, err)
		}
		if err != nil {
			return err
		}
		if chunk.End() == chunk.Limit {
			if err := t.CheckWhole(ctx); err != nil {
				return err
			}
		}
		begin = t.NextLSN()
	}
}

// read reads the next piece of log. A safekeeper that does not even say that it has
// nothing new fails.
func (b *branch) read(ctx context.Context, client *walapi.Client, begin wal.LSN) (walapi.Chunk, error) {
	limited, cancel := b.env.Tasks.WithTimeout(ctx, sourcePatience+answerMax)
	defer cancel()
	return client.Read(limited, walapi.ReadRequest{Timeline: b.id, Begin: begin, Wait: sourcePatience})
}

// begin returns where to go on in a safekeeper's log. A log of the timeline's own may
// begin a little above its branch point, where a record can begin.
func (b *branch) begin(ctx context.Context, t *timeline.Timeline, client *walapi.Client) (wal.LSN, error) {
	limited, cancel := b.env.Tasks.WithTimeout(ctx, answerMax)
	defer cancel()
	status, err := client.Status(limited, b.id)
	if err != nil {
		return 0, err
	}
	next := t.NextLSN()
	if status.Start > next {
		if !t.Begins(status.Start) {
			return 0, fmt.Errorf("log of timeline %v begins at %v, want %v", b.id, status.Start, next)
		}
		return status.Start, nil
	}
	return next, nil
}
