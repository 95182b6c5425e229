package lsm

import (
	"context"
	"errors"
	"fmt"
	"slices"

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

	// Damage is what could not be read, once for each object, of which the first hundred, and why. A layer that is
	// named here is not counted, nor does what it has hide anything; where a value that
	// says what is dead is in one, nothing counts as dead; where it is the index of a branch,
	// what that reads counts as garbage.
	Damage []string
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
	x := &explaining{t: t}
	keep, pins, err := t.planned(ctx, &planned)
	var unlisted *branchesError
	if errors.As(err, &unlisted) {
		for _, damage := range unlisted.damage {
			x.note(damage)
		}
		keep.points, pins = pointsOf(&planned, unlisted.known)
		err = nil
	}
	if err != nil {
		return e, fmt.Errorf("explain timeline %v: %w", t.node.id, err)
	}
	inputs := w.readers // in order of LSN, as the index has them
	for again := 0; ; {
		x.e = Explanation{Timeline: t.node.id, Cutoff: planned.Cutoff, Durable: planned.Durable, LayerBytes: w.index.Bytes(), Layers: len(w.readers)}
		for _, p := range pins {
			x.e.Pins = append(x.e.Pins, PinCost{Pin: p})
		}
		v, settled := t.node.state.settledView()
		x.m = &merge{t: t, keep: keep, isRoot: w.index.IsRoot(), job: picker.Job{Kind: picker.Collect}, inputs: inputs}
		x.m.walk, x.m.settled = walk{view: v, counts: &counters{}}, settled
		err := x.run(ctx)
		if err == nil {
			x.e.Damage = x.damage
			return x.e, nil
		}
		var input *inputError
		switch {
		case isDamage(err) && errors.As(err, &input):
			x.note(err)
			inputs = slices.DeleteFunc(slices.Clone(inputs), func(r *layer.Reader) bool { return r.Desc().ID == input.id })
		case isGone(err) && again < readAgainMax && t.renew(ctx, v):
			// An ancestor's merge may have deleted a layer of the view, as of any read's.
			t.counts.again.Add(1)
			again++
		case isGone(err) && !x.settled:
			x.settled = true
		default:
			return x.e, fmt.Errorf("explain timeline %v: %w", t.node.id, err)
		}
	}
}

// damageMax bounds the objects that an explanation names. More: a longer answer; a scrub
// names all.
const damageMax = 100

// explaining is an Explain under way.
type explaining struct {
	t       *Timeline
	m       *merge
	e       Explanation
	damage  []string
	objects []string // that damage is of
	settled bool     // a layer that is gone was not replaced: it is missing
}

// note keeps what is wrong with an object, the first time.
func (x *explaining) note(err error) {
	object := err.Error()
	if wrong := new(wal.CorruptionError); errors.As(err, &wrong) {
		object = wrong.File
	}
	if !slices.Contains(x.objects, object) && len(x.objects) < damageMax {
		x.objects, x.damage = append(x.objects, object), append(x.damage, err.Error())
	}
}

func (x *explaining) run(ctx context.Context) error {
	m := x.m
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
		if err := x.key(ctx, key, items); err != nil {
			return err
		}
	}
}

// key adds what keeps the versions of one key.
func (x *explaining) key(ctx context.Context, key Key, items []item) error {
	m, e := x.m, &x.e
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
	atCutoff, err := x.met(ctx, key, items, cutoff)
	if err != nil {
		return err
	}
	metBy := make([][]bool, len(e.Pins))
	for p := range e.Pins {
		if metBy[p], err = x.met(ctx, key, items, e.Pins[p].LSN); err != nil {
			return err
		}
	}
	if m.isRoot {
		forgetBottom(items, append(metBy[:len(metBy):len(metBy)], atCutoff))
	}
	for i, met := range atCutoff {
		if met {
			e.Current += items[i].bytes()
			keepers[i] = -1
		}
	}
	for p := range e.Pins {
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

// forgetBottom takes the tombstones at the bottom of a root for what nobody meets: they
// have nothing below them to hide, and a collection drops them.
func forgetBottom(items []item, metBy [][]bool) {
	for i := range items {
		for _, met := range metBy {
			if met[i] && items[i].Kind != Tombstone {
				return
			}
			met[i] = false
		}
	}
}

// met marks the versions at or below the cutoff that a read at an LSN meets.
func (x *explaining) met(ctx context.Context, key Key, items []item, at wal.LSN) ([]bool, error) {
	marked := make([]bool, len(items))
	if len(items) == 0 || items[0].at > at {
		return marked, nil
	}
	floor, exists, err := x.m.floor(ctx, key, at)
	if isDamage(err) && (x.settled || !isGone(err)) {
		x.note(err)
		floor, exists, err = 0, true, nil // a merge takes none for dead then
	}
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
