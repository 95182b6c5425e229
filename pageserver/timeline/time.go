package timeline

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/varvedb/varve/lsm"
	"github.com/varvedb/varve/pageserver/pgkey"
	"github.com/varvedb/varve/pageserver/redo"
	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/assert"
	"github.com/varvedb/varve/wal/pgwal"
)

// errFound ends a scan that has what it looked for.
var errFound = errors.New("found")

// noteCommit indexes the time of a commit or abort, if it is later than all before.
func (t *Timeline) noteCommit(rec *pgwal.Record, stamp int64) error {
	if stamp <= t.counters.lastCommit {
		return nil
	}
	t.counters.lastCommit = stamp
	entry := pgkey.CommitTimeValue{Time: stamp, Start: rec.LSN, Prev: t.last.end}
	var value [pgkey.CommitTimeBytes]byte
	t.operation = redo.AppendAppend(t.operation[:0], entry.AppendTo(value[:0]))
	return t.batch.delta(pgkey.CommitTime(rec.LSN), t.operation)
}

// LSNAt returns where PostgreSQL's recovery_target_time would stop: the end of the
// last record before the first commit or abort stamped later than at. If there is
// none and at is not in the future, that is LastLSN.
func (t *Timeline) LSNAt(ctx context.Context, at time.Time) (wal.LSN, error) {
	if at.After(t.env.Clock.Wall()) {
		return 0, fmt.Errorf("find the LSN at %v: %w", at.Format(time.RFC3339Nano), ErrFutureTime)
	}
	return t.lsnAt(ctx, at, t.store.LastLSN())
}

// lsnAt is LSNAt in the log up to a head. Lookups overlap, each with a head of its own,
// and share t.times.
func (t *Timeline) lsnAt(ctx context.Context, at time.Time, head wal.LSN) (wal.LSN, error) {
	stamp := int64(pgwal.TimestampOf(at))
	chunk, found, err := t.firstChunkAfter(ctx, stamp, head)
	if err != nil || !found {
		return head, err
	}
	moments, err := t.moments(ctx, chunk, head)
	if err != nil {
		return 0, err
	}
	assert.That(len(moments) > 0, "a chunk of log that has commit times at a head has them")
	i := after(moments, stamp)
	if i == 0 {
		if err := t.checkBegun(ctx, at, chunk, head); err != nil {
			return 0, err
		}
	}
	return moments[i].prev, nil
}

// checkBegun refuses a time before the first one that is known: that of the checkpoint
// at which the cluster was imported. The time lies before all of a chunk.
func (t *Timeline) checkBegun(ctx context.Context, at time.Time, chunk uint64, head wal.LSN) error {
	earliest, _, err := t.chunkFrom(ctx, 0, head)
	if err != nil || earliest.chunk < chunk {
		return err
	}
	return fmt.Errorf("find the LSN at %v: %w", at.Format(time.RFC3339Nano), ErrBeforeHistory)
}

// firstChunkAfter finds the first chunk of log that has a commit time later than stamp.
// Times rise along the log, so it parts the log again and again.
func (t *Timeline) firstChunkAfter(ctx context.Context, stamp int64, head wal.LSN) (chunk uint64, found bool, err error) {
	low, high := uint64(0), uint64(head)/pgkey.CommitTimeChunk+1 // chunks [low, high)
	for low < high {
		middle := split(low, high)
		b, any, err := t.chunkFrom(ctx, middle, head)
		switch {
		case err != nil:
			return 0, false, err
		case !any || b.chunk >= high:
			high = middle
		case b.last > stamp:
			chunk, found, high = b.chunk, true, middle
		default:
			low = b.chunk + 1
		}
	}
	return chunk, found, nil
}

// chunkFrom finds the first chunk at or above one that has commit times.
func (t *Timeline) chunkFrom(ctx context.Context, from uint64, head wal.LSN) (b bound, any bool, err error) {
	b, any = t.times.bound(from)
	switch {
	case any && holds(b.chunk, b.head, head):
	case any: // what lies below the chunk is as it was
		moments, err := t.moments(ctx, b.chunk, head)
		if err != nil {
			return b, false, err
		}
		if len(moments) == 0 {
			// It was noted at a later head, and all that it is about lies above this one.
			assert.That(head < b.head, "a chunk of log that had commit times has them")
			return bound{}, false, nil
		}
		b = bound{b.chunk, moments[len(moments)-1].time, head}
		t.times.note(from, b)
	default:
		chunk, values, err := t.firstChunk(ctx, from, uint64(head)/pgkey.CommitTimeChunk+1, head)
		if err != nil || values == nil {
			return b, false, err
		}
		b = bound{chunk, values[len(values)-1].Time, head}
		t.times.note(from, b)
		t.times.keep(chunk, head, values)
	}
	return b, true, nil
}

// moments returns the commit times of a chunk up to a head, none if it has none there.
func (t *Timeline) moments(ctx context.Context, chunk uint64, head wal.LSN) ([]moment, error) {
	if moments := t.times.moments(chunk, head); moments != nil {
		return moments, nil
	}
	found, values, err := t.firstChunk(ctx, chunk, chunk+1, head)
	if err != nil || values == nil {
		return nil, err
	}
	assert.That(found == chunk, "a chunk of log has its commit times under its own key")
	return t.times.keep(chunk, head, values), nil
}

// firstChunk returns the first chunk in [low, high) that has commit times, and them.
func (t *Timeline) firstChunk(ctx context.Context, low, high uint64, head wal.LSN) (chunk uint64, times []pgkey.CommitTimeValue, err error) {
	err = t.chunks(ctx, low, high, head, func(c uint64, entries []pgkey.CommitTimeValue) error {
		chunk, times = c, entries
		return errFound
	})
	if errors.Is(err, errFound) {
		err = nil
	}
	return chunk, times, err
}

// lastCommitTime returns the latest commit time at or below lsn, 0 if there is none.
// It looks ever further back: a busy log has one in its last chunk.
func (t *Timeline) lastCommitTime(ctx context.Context, lsn wal.LSN) (last int64, err error) {
	high := uint64(lsn)/pgkey.CommitTimeChunk + 1
	for width := uint64(1); high > 0 && last == 0; width *= 2 {
		low := high - min(width, high)
		err := t.chunks(ctx, low, high, lsn, func(_ uint64, entries []pgkey.CommitTimeValue) error {
			last = entries[len(entries)-1].Time
			return nil
		})
		if err != nil {
			return 0, err
		}
		high = low
	}
	return last, nil
}

// chunks calls fn with the commit times of each chunk in [low, high) that has some.
func (t *Timeline) chunks(ctx context.Context, low, high uint64, at wal.LSN, fn func(chunk uint64, times []pgkey.CommitTimeValue) error) error {
	lo := pgkey.CommitTime(wal.LSN(low * pgkey.CommitTimeChunk))
	hi := pgkey.CommitTime(wal.LSN(high * pgkey.CommitTimeChunk))
	return t.store.Scan(ctx, lo, hi, at, func(key lsm.Key, chain lsm.Chain) error {
		parsed, err := pgkey.ParseKey(key)
		if err != nil {
			return err
		}
		value, err := redo.Apply(nil, key, &chain)
		if err != nil {
			return err
		}
		times, err := pgkey.DecodeCommitTimes(value)
		if err != nil || len(times) == 0 {
			return err
		}
		return fn(parsed.Chunk, times)
	})
}

// PrevRecord returns the start of the record that ends at lsn: the xl_prev of a
// record appended there. It is known where a batch ended, so always at LastLSN, and 0
// elsewhere and at the beginning of a log.
func (t *Timeline) PrevRecord(ctx context.Context, lsn wal.LSN) (wal.LSN, error) {
	var chains [1]lsm.Chain
	if err := t.store.Get(ctx, []lsm.Read{{Key: pgkey.LastRecord(), LSN: lsn}}, chains[:]); err != nil {
		return 0, fmt.Errorf("read the record before %v: %w", lsn, err)
	}
	if !chains[0].HasBase || chains[0].BaseLSN != lsn {
		return 0, nil
	}
	start, err := pgkey.DecodeUint64(chains[0].Base)
	return wal.LSN(start), err
}
