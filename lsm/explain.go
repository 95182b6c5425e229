package lsm

import (
	"context"
	"fmt"

	"github.com/varvedb/varve/lsm/layer"
	"github.com/varvedb/varve/lsm/picker"
	"github.com/varvedb/varve/lsm/remote"
	"github.com/varvedb/varve/wal"
)

// Explanation says what a timeline's own bytes in the bucket are kept for. Bytes of
// versions are those of keys and values as they were written, before compression.
type Explanation struct {
	Timeline wal.TimelineID
	Cutoff   wal.LSN
	Durable  wal.LSN

	LayerBytes int64 // objects of layers
	Layers     int
	Versions   int64
	Bytes      int64 // of all versions

	History int64     // of those above the cutoff: what the horizon keeps
	Current int64     // of those that a read at the cutoff meets
	Pins    []PinCost // of those below that branches and leases keep
	Garbage int64     // of those that nobody can read
}

// PinCost is what a branch or a lease keeps that neither history nor current state does.
type PinCost struct {
	Pin
	Bytes int64 // that a read at its LSN meets
	Only  int64 // of those, that no other pin keeps: what would go with it
}

// Explain reads all of the timeline's own layers and says what keeps each byte; or, unless
// cutoff is zero, what would after a collection up to there, of which Garbage is what it
// drops. A cutoff below the timeline's counts as that. What is in memtables is not counted.
// It changes nothing.
func (t *Timeline) Explain(ctx context.Context, cutoff wal.LSN) (e Explanation, err error) {
	if err := t.compacting.Lock(ctx); err != nil {
		return e, err
	}
	defer t.compacting.Unlock()
	w := t.snapshot()
	planned := *w.index
	if cutoff != 0 {
		planned.Cutoff, planned.Leases = max(planned.Cutoff, min(cutoff, planned.Durable)), t.notEnded(planned.Leases)
	}
	keep, pins, err := t.planned(ctx, &planned)
	if err != nil {
		return e, fmt.Errorf("explain timeline %v: %w", t.node.id, err)
	}
	for again := 0; ; again++ {
		e = Explanation{Timeline: t.node.id, Cutoff: planned.Cutoff, Durable: planned.Durable, LayerBytes: w.index.Bytes(), Layers: len(w.readers)}
		for _, p := range pins {
			e.Pins = append(e.Pins, PinCost{Pin: p})
		}
		v, settled := t.node.state.settledView()
		m := &merge{t: t, keep: keep, whole: true, job: picker.Job{Kind: picker.Collect}}
		m.walk, m.settled = walk{view: v, counts: &counters{}}, settled
		err := t.explain(ctx, w, m, &e)
		if err == nil {
			return e, nil
		}
		// An ancestor's merge may have deleted a layer of the view, as of any read's.
		if !isGone(err) || again == readAgainMax || !t.renew(ctx, v) {
			return e, fmt.Errorf("explain timeline %v: %w", t.node.id, err)
		}
		t.counts.again.Add(1)
	}
}

func (t *Timeline) explain(ctx context.Context, w work, m *merge, e *Explanation) error {
	m.inputs = w.readers // in order of LSN, as the index has them
	m.await()
	var items []item
	for {
		key, ok := m.leastKey()
		if !ok {
			return nil
		}
		var err error
		if items, err = m.gather(ctx, key, items[:0]); err != nil {
			return err
		}
		if err := m.explainKey(ctx, key, items, e); err != nil {
			return err
		}
	}
}

// explainKey adds what keeps the versions of one key.
func (m *merge) explainKey(ctx context.Context, key Key, items []item, e *Explanation) error {
	cutoff := m.keep.cutoff()
	keepers := make([]int, len(items)) // pins that keep it; -1: it is kept without any
	for i := range items {
		e.Versions++
		e.Bytes += items[i].bytes()
		if items[i].at > cutoff {
			e.History += items[i].bytes()
			keepers[i] = -1
		}
	}
	marked, err := m.met(ctx, key, items, cutoff)
	if err != nil {
		return err
	}
	for i, met := range marked {
		if met {
			e.Current += items[i].bytes()
			keepers[i] = -1
		}
	}
	metBy := make([][]bool, len(e.Pins))
	for p := range e.Pins {
		if metBy[p], err = m.met(ctx, key, items, e.Pins[p].LSN); err != nil {
			return err
		}
		for i, met := range metBy[p] {
			if met && keepers[i] >= 0 {
				keepers[i]++
				e.Pins[p].Bytes += items[i].bytes()
			}
		}
	}
	for i := range items {
		if keepers[i] == 0 {
			e.Garbage += items[i].bytes()
		}
		for p := range e.Pins {
			if keepers[i] == 1 && metBy[p][i] {
				e.Pins[p].Only += items[i].bytes()
			}
		}
	}
	return nil
}

// met marks the versions at or below the cutoff that a read at an LSN meets.
func (m *merge) met(ctx context.Context, key Key, items []item, at wal.LSN) ([]bool, error) {
	marked := make([]bool, len(items))
	if len(items) == 0 || items[0].at > at {
		return marked, nil
	}
	floor, exists, err := m.floor(ctx, key, at)
	if err != nil || !exists {
		return marked, err
	}
	for i := range items {
		items[i].keep = false
	}
	markReadable(items, at, floor)
	for i := range items {
		marked[i] = items[i].keep
	}
	return marked, nil
}

// LayerInfo describes a layer in the bucket.
type LayerInfo struct {
	layer.Desc
	Object string // its key
	Clip   wal.LSN
}

// Layers lists the layers that a timeline's reads may look into, its own and, up to
// Clip, those of its ancestors, in order of LSN: what a map of keys by LSN is drawn of.
func (t *Timeline) Layers() (infos []LayerInfo) {
	flat := t.node.state.view.Load().layers.get()
	flat.All(func(it *flatItem) bool {
		infos = append(infos, LayerInfo{*it.Layer.Desc(), remote.LayerKey(t.store.opts.Tenant, it.ID), min(it.Clip, it.ID.LSNHi)})
		return true
	})
	return infos
}
