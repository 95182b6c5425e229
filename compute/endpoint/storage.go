package endpoint

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/varvedb/varve/compute/pgdata"
	"github.com/varvedb/varve/lsm"
	"github.com/varvedb/varve/pageserver/basebackup"
	"github.com/varvedb/varve/pageserver/pageapi"
	"github.com/varvedb/varve/pageserver/timeline"
	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/env"
	"github.com/varvedb/varve/wal/pgwal"
)

// askPause is the pause before a pageserver that did not answer, or whose timeline has
// stopped for a while, is asked again. Longer: commits that nobody can read later are
// acknowledged for longer. Shorter: a pageserver that starts is asked for nothing.
const askPause = 500 * time.Millisecond

// retakePause is the pause after a pageserver that another has fenced was told to serve
// the timeline again. Longer: the log waits for longer after a successor that died.
// Shorter: while two endpoints and two pageservers fight for a timeline, and the fenced
// endpoint does not know yet, more of their work is done twice.
const retakePause = 10 * time.Second

// startState reads everything but relation pages as of an LSN. prev is the LSN of
// the log's last record, 0 if the log begins here.
func (l *life) startState(ctx context.Context, at, prev wal.LSN) (*basebackup.State, error) {
	l.events.Step(fmt.Sprintf("waiting until the pageserver is at %v", at))
	if err := l.awaitPageserver(ctx, at); err != nil {
		return nil, fmt.Errorf("wait until the pageserver is at %v: %w", at, err)
	}
	return basebackup.StartState(ctx, l.pages, at, prev, l.e.Clock.Wall())
}

// pagesAt is a timeline of the pageserver as of one LSN.
type pagesAt struct {
	timeline *pageapi.Timeline
	at       wal.LSN
}

func (p pagesAt) Forks(ctx context.Context, fn func(pgdata.Fork) error) error {
	return p.timeline.Relations(ctx, p.at, func(size timeline.RelationSize) error {
		return fn(pgdata.Fork{Rel: size.Rel, Fork: size.Fork, Blocks: size.Blocks})
	})
}

func (p pagesAt) Read(ctx context.Context, rel pgwal.RelFileNode, fork pgwal.Fork, first uint32, dst []byte) error {
	n := len(dst) / pgwal.PageSize
	reads, pages := make([]timeline.PageRead, n), make([][]byte, n)
	for i := range reads {
		reads[i] = timeline.PageRead{Rel: rel, Fork: fork, Block: first + uint32(i), LSN: p.at}
		// Each page has its place in dst.
		pages[i] = dst[i*pgwal.PageSize : i*pgwal.PageSize : (i+1)*pgwal.PageSize]
	}
	return p.timeline.GetPages(ctx, reads, pages)
}

// ErrUnreadable is the error of an endpoint whose commits could be read by no later one,
// because the pageserver will never take in the log that they are in.
var ErrUnreadable = errors.New("the storage cannot take in what PostgreSQL writes")

// awaitUnreadable returns when the pageserver says that the timeline has stopped for
// good, or when ctx ends. A pageserver that is away, starts again, or was fenced by
// another says nothing about the timeline, nor does one that will try again.
func awaitUnreadable(ctx context.Context, e env.Env, pageserver string, id wal.TimelineID) error {
	for {
		err := askUntilStopped(ctx, e, pageserver, id)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if errors.Is(err, timeline.ErrStoppedForGood) {
			return fmt.Errorf("%w, so commits from now on would be lost; what was written before can be branched from: %w", ErrUnreadable, err)
		}
		pause := askPause
		if errors.Is(err, lsm.ErrFenced) {
			pause = retakePause
		}
		if err := e.Clock.Sleep(ctx, pause); err != nil {
			return err
		}
	}
}

// askUntilStopped waits, over a connection of its own, for what never comes.
func askUntilStopped(ctx context.Context, e env.Env, pageserver string, id wal.TimelineID) error {
	client, err := pageapi.Dial(ctx, e, pageserver)
	if err != nil {
		return err
	}
	defer client.Close()
	err = client.Timeline(id).WaitLSN(ctx, math.MaxUint64)
	if errors.Is(err, lsm.ErrFenced) {
		return errors.Join(err, client.Follow(ctx, id))
	}
	return err
}
