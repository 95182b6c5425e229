package lsm

import (
	"context"
	"fmt"

	"github.com/varvedb/varve/wal"
)

// scanKeys is how many keys are taken from a table or a layer at a time.
const scanKeys = 256

// Scan calls fn for every key in [lo, hi) with something visible at the LSN, in
// order; a key whose newest version is a tombstone is skipped. All is read from
// one state of the layers. An error of fn ends the scan and is returned as it is.
func (t *Timeline) Scan(ctx context.Context, lo, hi Key, at wal.LSN, fn func(Key, Chain) error) error {
	for again := 0; ; again++ {
		v, err := t.viewFor(at)
		if err != nil {
			return err
		}
		if err := v.checkHorizon(at); err != nil {
			return err
		}
		if !lo.Less(hi) {
			return nil
		}
		from, err := t.scanFrom(ctx, v, lo, hi, at, fn)
		if err == nil || !isGone(err) || again == readAgainMax || !t.renew(ctx, v) {
			return err
		}
		if lo.Less(from) {
			lo, again = from, 0
		}
		t.counts.again.Add(1)
	}
}

// scanFrom scans one view. It returns the key to go on from if a layer is gone.
func (t *Timeline) scanFrom(ctx context.Context, v *view, lo, hi Key, at wal.LSN, fn func(Key, Chain) error) (Key, error) {
	keys := v.keys(lo, hi, at)
	w := walk{view: v, counts: &t.counts}
	for {
		key, ok, err := keys.next(ctx)
		if err != nil {
			return lo, fmt.Errorf("scan timeline %v at %v: %w", t.node.id, at, err)
		}
		if !ok || !key.Less(hi) {
			return hi, nil
		}
		lo = key
		var c Chain
		if err := w.chain(ctx, key, at, 0, &c); err != nil {
			return lo, fmt.Errorf("scan %v at %v of timeline %v: %w", key, at, t.node.id, err)
		}
		if c.Empty() {
			continue
		}
		if err := fn(key, c); err != nil {
			return lo, err
		}
		lo, _ = key.Next()
	}
}

// keySource yields the keys of one table or layer.
type keySource struct {
	more func(ctx context.Context, from Key, dst []Key) ([]Key, error)
	keys []Key // not yet yielded
	from Key   // where more goes on
	done bool  // more has nothing further
}

// keyMerge merges the keys of all sources, each key once.
type keyMerge struct {
	sources []keySource
}

// keys are all keys that may have something visible in [lo, hi] at the LSN.
func (v *view) keys(lo, hi Key, at wal.LSN) *keyMerge {
	m := &keyMerge{}
	for i := range v.tables {
		if t := v.tables[i]; t.lo < at {
			m.sources = append(m.sources, keySource{from: lo, more: func(_ context.Context, from Key, dst []Key) ([]Key, error) {
				return t.table.NextKeys(from, hi, scanKeys, dst), nil
			}})
		}
	}
	for _, r := range v.layers.get().Overlapping(lo, hi, at) {
		m.sources = append(m.sources, keySource{from: lo, more: func(ctx context.Context, from Key, dst []Key) ([]Key, error) {
			return r.NextKeys(ctx, from, hi, scanKeys, dst)
		}})
	}
	return m
}

func (m *keyMerge) next(ctx context.Context) (least Key, ok bool, err error) {
	for i := range m.sources {
		src := &m.sources[i]
		if err := src.fill(ctx); err != nil {
			return least, false, err
		}
		if len(src.keys) > 0 && (!ok || src.keys[0].Less(least)) {
			least, ok = src.keys[0], true
		}
	}
	for i := range m.sources {
		if src := &m.sources[i]; len(src.keys) > 0 && src.keys[0] == least {
			src.keys = src.keys[1:]
		}
	}
	return least, ok, nil
}

func (s *keySource) fill(ctx context.Context) (err error) {
	if len(s.keys) > 0 || s.done {
		return nil
	}
	if s.keys, err = s.more(ctx, s.from, nil); err != nil {
		return err
	}
	s.done = len(s.keys) < scanKeys
	if len(s.keys) > 0 {
		var more bool
		if s.from, more = s.keys[len(s.keys)-1].Next(); !more {
			s.done = true
		}
	}
	return nil
}
