package timeline

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/varvedb/varve/lsm"
	"github.com/varvedb/varve/pageserver/pgkey"
	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/assert"
	"github.com/varvedb/varve/wal/pgwal"
)

// manyKeys is how many keys one effect of a record may change as part of a batch: about 3
// MiB of versions, here and in the memtable. Smaller: more truncations flush the memtable
// and write layers of their own. Larger: more memory.
const manyKeys = 1 << 14

// allKeys are many.
const allKeys = ^uint64(0)

// effect puts what a record does to the keys of a range, in order. Values may be reused.
type effect func(ctx context.Context, put putKey) error

// largeEffect waits for the end of its record. Its keys lie at or above first.
type largeEffect struct {
	first lsm.Key
	effect
}

type putKey func(key lsm.Key, kind lsm.Kind, value []byte) error

// many takes in an effect of the current record on at most so many keys. Unless they are
// few it waits until all else of the record is known, and goes to the store key by key:
// cutting a relation of a terabyte makes 128 million versions. The ranges of a record's
// effects do not overlap.
func (t *Timeline) many(ctx context.Context, first lsm.Key, keys uint64, e effect) error {
	if keys > manyKeys {
		t.large = append(t.large, largeEffect{first, e})
		return nil
	}
	return e(ctx, func(key lsm.Key, kind lsm.Kind, value []byte) error {
		t.batch.set(key, kind, t.batch.copied(value))
		return nil
	})
}

// sendLarge gives the store what was gathered before the current record, then that alone.
func (t *Timeline) sendLarge(ctx context.Context, rec *pgwal.Record) error {
	t.batch.imageOf(pgkey.LastRecord(), pgkey.AppendUint64(nil, uint64(rec.LSN)))
	own := t.batch.takeCurrent()
	if err := t.send(ctx); err != nil {
		return err
	}
	large := t.large
	t.large = nil
	slices.SortFunc(large, func(a, b largeEffect) int { return a.first.Compare(b.first) })
	err := t.store.ApplyStream(ctx, rec.End, func(put func(*lsm.Version) error) error {
		m := ownAmong{own: own, lsn: rec.End, put: put}
		for _, e := range large {
			if err := e.effect(ctx, m.add); err != nil {
				return err
			}
		}
		return m.finish()
	})
	if err != nil {
		return fmt.Errorf("store a record of many changes that ends at %v: %w", rec.End, err)
	}
	t.last = lastRecord{start: rec.LSN, end: rec.End}
	t.batch.reset()
	t.sizes.clear()
	t.wake()
	return nil
}

// takeCurrent takes the current record's versions out of the batch, in order of keys.
func (b *batch) takeCurrent() []lsm.Version {
	own := slices.Clone(b.versions[b.first:])
	b.abandon()
	for i := range own {
		own[i].Value = bytes.Clone(own[i].Value)
	}
	slices.SortFunc(own, func(a, b lsm.Version) int { return a.Key.Compare(b.Key) })
	return own
}

// ownAmong puts the few versions of a record that are in memory among its many.
type ownAmong struct {
	own []lsm.Version
	lsn wal.LSN
	put func(*lsm.Version) error
}

func (m *ownAmong) add(key lsm.Key, kind lsm.Kind, value []byte) error {
	for len(m.own) > 0 && m.own[0].Key.Less(key) {
		if err := m.put(&m.own[0]); err != nil {
			return err
		}
		m.own = m.own[1:]
	}
	assert.That(len(m.own) == 0 || m.own[0].Key != key, "a record has one version of a key")
	return m.put(&lsm.Version{Key: key, LSN: m.lsn, Kind: kind, Value: value})
}

func (m *ownAmong) finish() error {
	for i := range m.own {
		if err := m.put(&m.own[i]); err != nil {
			return err
		}
	}
	return nil
}

// forkWalk lists the forks of a database in one tablespace, in order of their keys, a page
// of them in memory at a time.
type forkWalk struct {
	t      *Timeline
	lo, hi lsm.Key
	at     wal.LSN
	forks  []RelationSize // not yet taken
	done   bool           // none comes after forks
}

// forksAtOnce are listed at a time.
const forksAtOnce = 1024

func (t *Timeline) walkForks(spc, db uint32, at wal.LSN) *forkWalk {
	lo, hi := pgkey.SizeRange(spc, db)
	return &forkWalk{t: t, lo: lo, hi: hi, at: at}
}

// next returns the fork that comes next without taking it, nil after the last.
func (w *forkWalk) next(ctx context.Context) (*RelationSize, error) {
	if len(w.forks) == 0 && !w.done {
		if err := w.fill(ctx); err != nil {
			return nil, err
		}
	}
	if len(w.forks) == 0 {
		return nil, nil
	}
	return &w.forks[0], nil
}

// errEnough ends a scan.
var errEnough = errors.New("enough")

func (w *forkWalk) take() { w.forks = w.forks[1:] }

func (w *forkWalk) fill(ctx context.Context) error {
	w.forks = w.forks[:0:0]
	err := w.t.relations(ctx, w.lo, w.hi, w.at, func(r RelationSize) error {
		if len(w.forks) == forksAtOnce {
			return errEnough
		}
		w.forks = append(w.forks, r)
		return nil
	})
	if errors.Is(err, errEnough) {
		last := w.forks[len(w.forks)-1]
		w.lo, _ = pgkey.Size(last.Rel, last.Fork).Next()
		return nil
	}
	w.done = err == nil
	return err
}
