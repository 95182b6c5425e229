package endpoint

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/proposer"
)

// How long the parts of a life may take. Whoever runs an endpoint in a process of its
// own lets it have StopMax before it kills the process.
const (
	// majorityTimeout is how long a start waits for a majority of the safekeepers at
	// each of its steps. Shorter: a machine that boots slowly has no endpoint. Longer:
	// a person waits to be told what is missing.
	majorityTimeout = time.Minute
	// stallTimeout is how long a start waits for a pageserver that takes in nothing.
	stallTimeout = 2 * time.Minute
	// stopTimeout is how long an ordinary shutdown may take: a checkpoint without fsync,
	// and the quorum's acknowledgement of it. After that PostgreSQL is killed, which
	// loses nothing that was acknowledged.
	stopTimeout = time.Minute
	// StopMax bounds the time from the end of Run's context to that of Run: the shutdown,
	// the killing of a PostgreSQL that did not follow it and of its children, and the
	// removal of its directory.
	StopMax = stopTimeout + quitTimeout + 2*goneTimeout + removeTimeout
	// removeTimeout is how long the removal of a directory may take.
	removeTimeout = 20 * time.Second

	// quietTime is how long a start waits for a majority without a word.
	quietTime = time.Second
)

// ErrNoMajority is the error of a start that has waited in vain for safekeepers, and of
// a stop whose last records no majority has acknowledged.
var ErrNoMajority = errors.New("no majority of the safekeepers answers")

// errTooLong is the cause of the end of a wait that has a bound.
var errTooLong = errors.New("it takes too long")

// withMajority runs a step of the start that waits for the quorum, tells who is missing
// while it waits, and gives up when that takes too long.
func (w *writer) withMajority(ctx context.Context, step func(ctx context.Context) error) error {
	limited, cancel := context.WithTimeoutCause(ctx, w.cfg.majorityTimeout, errTooLong)
	defer cancel()
	watching, stop := context.WithCancel(limited)
	told := make(chan struct{})
	go func() { w.tellMissing(watching); close(told) }()
	err := step(limited)
	stop()
	<-told
	if err != nil && ctx.Err() == nil && context.Cause(limited) == errTooLong {
		now := w.proposer.Presence()
		return fmt.Errorf("%w within %v: %v: %s", ErrNoMajority, w.cfg.majorityTimeout, now, majorityFix(now))
	}
	return err
}

// majorityFix says what to do for want of a majority.
func majorityFix(now proposer.Presence) string {
	if now.Members-now.Lost < now.Majority {
		return "a majority has lost the log for good, so that this branch is never written again: branch at what the storage has, up to the INGESTED of `varve branch list`, with `varve branch create NAME --parent BRANCH@LSN`"
	}
	return "see `varve status`, and start the safekeepers that are missing"
}

// tellMissing tells, after a moment, how much of the quorum there is, and again when
// that changes.
func (w *writer) tellMissing(ctx context.Context) {
	timer := time.NewTimer(w.cfg.quietTime)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
		return
	}
	var err error
	for now := w.proposer.Presence(); err == nil; now, err = w.proposer.AwaitPresence(ctx, now) {
		w.events.Step(fmt.Sprintf("waiting for a majority of safekeepers: %v", now))
	}
}

// awaitPageserver waits until the pageserver has taken in the log up to an LSN. It may
// have far to go, but it must go on.
func (l *life) awaitPageserver(ctx context.Context, at wal.LSN) error {
	for last := wal.InvalidLSN; ; {
		limited, cancel := context.WithTimeoutCause(ctx, l.cfg.stallTimeout, errTooLong)
		err := l.pages.WaitLSN(limited, at)
		stalled := err != nil && ctx.Err() == nil && context.Cause(limited) == errTooLong
		cancel()
		if !stalled {
			return err
		}
		now, err := l.pages.Position(ctx)
		if err != nil {
			return err
		}
		if now.Last <= last {
			return fmt.Errorf("the pageserver stays at %v for %v: see `varve status`", now.Last, l.cfg.stallTimeout)
		}
		last = now.Last
	}
}
