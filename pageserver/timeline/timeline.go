package timeline

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/varvedb/varve/lsm"
	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/env"
	"github.com/varvedb/varve/wal/pgwal"
)

// waitMax bounds how long a read waits for the log. Shorter: a compute that starts
// behind a long backlog fails. Longer: a mistyped LSN hangs its caller.
const waitMax = 30 * time.Second

// Timeline is one branch. Make it with [Open].
type Timeline struct {
	env   env.Env
	id    wal.TimelineID
	store *lsm.Timeline
	times timeIndex

	mu       sync.Mutex
	progress env.Cond // LastLSN rose, or stopped was set
	stopped  *StoppedError

	known knownSizes

	// What follows belongs to the task that ingests.
	halted    bool // stopped, and not resumed since
	decoder   *pgwal.Decoder
	next      wal.LSN // of the next byte that Ingest takes
	record    pgwal.Record
	batch     *batch
	large     []largeEffect // of the current record
	operation []byte        // scratch for one operation of package redo
	sizes     *sizeCache
	counters  counters
	last      lastRecord

	// Scratch for what records say.
	clears     []pgwal.VMClear
	completion pgwal.XactCompletion
	xids       []uint32
	multi      pgwal.MultiXactCreate
}

// lastRecord is the record taken in last.
type lastRecord struct {
	start wal.LSN // 0 if it is not known
	end   wal.LSN
}

// Open makes a Timeline of an attached one that holds a cluster. A branch may have
// been made where no record can begin: it is the same up to where one can, which is
// where a log of its own begins.
func Open(ctx context.Context, e env.Env, id wal.TimelineID, store *lsm.Timeline) (*Timeline, error) {
	t := &Timeline{env: e, id: id, store: store, batch: newBatch(), sizes: newSizeCache()}
	t.progress = e.Tasks.NewCond(&t.mu)
	if begin := pgwal.RecordPosition(store.LastLSN()); begin > store.LastLSN() {
		if err := store.Apply(ctx, begin, nil); err != nil {
			return nil, fmt.Errorf("open timeline %v at %v: %w", id, begin, err)
		}
	}
	if err := t.load(ctx); err != nil {
		return nil, fmt.Errorf("open timeline %v at %v: %w", id, store.LastLSN(), err)
	}
	return t, nil
}

// load makes the ingesting task's state that of what is stored.
func (t *Timeline) load(ctx context.Context) error {
	at := t.store.LastLSN()
	t.counters = counters{}
	if err := t.loadCounters(ctx, at); err != nil {
		return err
	}
	start, err := t.PrevRecord(ctx, at)
	if err != nil {
		return err
	}
	t.last = lastRecord{start: start, end: at}
	t.next = at
	return nil
}

// Resume lets Ingest go on after a stop whose cause may have passed: the bucket was
// away, or the sources of the log had bad bytes. The next bytes begin at NextLSN. The
// timeline counts as stopped until it has taken in more. Only the ingesting task
// resumes.
func (t *Timeline) Resume(ctx context.Context) error {
	t.batch.reset()
	t.large = nil
	t.sizes.clear()
	t.decoder = nil
	if err := t.load(ctx); err != nil {
		return fmt.Errorf("resume timeline %v at %v: %w", t.id, t.store.LastLSN(), err)
	}
	t.halted = false
	return nil
}

// ID names the timeline.
func (t *Timeline) ID() wal.TimelineID { return t.id }

// LastLSN is the end of the last record taken in.
func (t *Timeline) LastLSN() wal.LSN { return t.store.LastLSN() }

// DurableLSN: everything at or below it is in the bucket.
func (t *Timeline) DurableLSN() wal.LSN { return t.store.DurableLSN() }

// Store is the timeline's layers: what is kept of its history, and why.
func (t *Timeline) Store() *lsm.Timeline { return t.store }

// NextLSN is where the bytes of the next Ingest begin. Only the ingesting task asks.
func (t *Timeline) NextLSN() wal.LSN { return t.next }

// Flush makes everything taken in durable in the bucket.
func (t *Timeline) Flush(ctx context.Context) error {
	if err := t.store.Flush(ctx); err != nil {
		return fmt.Errorf("flush timeline %v: %w", t.id, err)
	}
	return nil
}

// Stopped returns why the timeline takes in no more log, or nil. A resumed one has
// stopped until it has taken in more.
func (t *Timeline) Stopped() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.stopped == nil {
		return nil
	}
	return t.stopped
}

// WaitLSN returns when everything up to lsn has been taken in, with the context's
// error if that ends first, or with a StoppedError if nothing more is taken in.
func (t *Timeline) WaitLSN(ctx context.Context, lsn wal.LSN) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	for t.store.LastLSN() < lsn {
		if t.stopped != nil {
			return t.stopped
		}
		if err := t.progress.Wait(ctx); err != nil {
			return fmt.Errorf("wait for %v on timeline %v, now at %v: %w", lsn, t.id, t.store.LastLSN(), err)
		}
	}
	return nil
}

// await waits until this timeline and its ancestors can be read at lsn, at most waitMax.
func (t *Timeline) await(ctx context.Context, lsn wal.LSN) error {
	if t.store.Readable(lsn) {
		return nil // without the cost of a deadline
	}
	bounded, cancel := t.env.Tasks.WithTimeout(ctx, waitMax)
	defer cancel()
	err := t.WaitLSN(bounded, lsn)
	if err == nil {
		err = t.store.AncestorReady(bounded, lsn)
	}
	if err != nil && bounded.Err() != nil && ctx.Err() == nil {
		return fmt.Errorf("timeline %v did not reach %v in %v, it is at %v: %w", t.id, lsn, waitMax, t.store.LastLSN(), lsm.ErrFutureLSN)
	}
	return err
}

// Stop ends ingest until Resume, and tells those who wait for log the cause: that is
// for when no source has sound bytes. Only the ingesting task stops.
func (t *Timeline) Stop(cause error) error { return t.stop(cause) }

// stop ends ingest until Resume.
func (t *Timeline) stop(cause error) error {
	t.halted = true
	t.mu.Lock()
	defer t.mu.Unlock()
	t.stopped = &StoppedError{Timeline: t.id, At: t.store.LastLSN(), Cause: cause}
	t.progress.Broadcast()
	t.env.Trace.Event("timeline stopped", "timeline", t.id, "at", t.stopped.At, "cause", cause)
	return t.stopped
}

// wake tells those who wait that LastLSN rose.
func (t *Timeline) wake() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.stopped = nil
	t.progress.Broadcast()
}
