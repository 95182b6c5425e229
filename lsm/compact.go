package lsm

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/varvedb/varve/lsm/layer"
	"github.com/varvedb/varve/lsm/manifest"
	"github.com/varvedb/varve/lsm/picker"
	"github.com/varvedb/varve/lsm/remote"
	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/assert"
)

const (
	// compactPauseMin and compactPauseMax are the pauses after a merge that failed: the
	// bucket is away, or an input is damaged, which no repetition cures.
	compactPauseMin = time.Second
	compactPauseMax = time.Minute
	// flushedInputsMax bounds the layers of level 0 that one merge takes: with each it has
	// up to 3 * 256 KiB of blocks in memory (layer.Cursor), 24 MiB with all.
	flushedInputsMax = 32
)

// compactLoop merges layers and collects history as it pays, until there is nothing to do
// and none to wait for: a flush, or reads that cost, start it anew. It waits for history
// to become old.
func (t *Timeline) compactLoop(ctx context.Context) error {
	for pause := compactPauseMin; ; {
		seen := t.seenWorks()
		err := t.tidy(ctx)
		switch {
		case ctx.Err() != nil || t.failure() != nil:
			return nil
		case err == nil:
			pause = compactPauseMin
			if !t.awaitWork(ctx, seen) {
				return nil
			}
			continue
		}
		t.store.env.Trace.Event("lsm.compact.error", "timeline", t.node.id, "error", err)
		if errors.As(err, new(*branchesError)) {
			t.awaitOlder(ctx, seen, pause) // what is flushed meanwhile can be merged
		} else if t.store.env.Clock.Sleep(ctx, pause) != nil {
			return nil
		}
		pause = min(2*pause, compactPauseMax)
	}
}

// noteWork tells the compaction that there may be something to merge or to collect, and
// starts it if it is not there.
func (t *Timeline) noteWork() {
	t.mu.Lock()
	t.works++
	t.worked.Broadcast()
	start := !t.compacts && t.mayStart()
	t.compacts = t.compacts || start
	t.mu.Unlock()
	if start {
		t.start("lsm compact", t.compactLoop)
	}
}

// noteFrozen starts the task that writes memtables if there are some and it is not there.
func (t *Timeline) noteFrozen() {
	t.mu.Lock()
	start := !t.flushes && len(t.frozen) > 0 && t.mayStart()
	t.flushes = t.flushes || start
	t.mu.Unlock()
	if start {
		t.start("lsm flush", t.flushLoop)
	}
}

// mayStart reports whether a task may be started, and counts its caller among those who
// will. The caller holds t.mu.
func (t *Timeline) mayStart() bool {
	if t.failed != nil {
		return false
	}
	t.starting++
	return true
}

// start starts a task of the attachment, which is not detached before it is started.
func (t *Timeline) start(name string, task func(context.Context) error) {
	t.group.Go(name, task)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.starting--
	t.moved.Broadcast()
}

// awaitStarts returns when no more tasks will be started. The attachment has failed.
func (t *Timeline) awaitStarts(ctx context.Context) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for t.starting > 0 && t.moved.Wait(ctx) == nil {
	}
}

func (t *Timeline) seenWorks() uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.works
}

// awaitWork reports whether there is work: noteWork was called after seen was read, or
// history has become old enough to be collected, which it waits for. Otherwise the task
// that asks is over.
func (t *Timeline) awaitWork(ctx context.Context, seen uint64) bool {
	after, ageing := t.untilOlder()
	if ageing {
		t.awaitOlder(ctx, seen, after)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.compacts = t.failed == nil && ctx.Err() == nil && (ageing || t.works != seen)
	return t.compacts
}

// awaitOlder returns after a time, or when there is work before that.
func (t *Timeline) awaitOlder(ctx context.Context, seen uint64, after time.Duration) {
	limited, cancel := t.store.env.Tasks.WithTimeout(ctx, after)
	defer cancel()
	t.mu.Lock()
	defer t.mu.Unlock()
	for t.failed == nil && t.works == seen && t.worked.Wait(limited) == nil {
	}
}

// tidy deletes what is dead and runs jobs until there is none.
func (t *Timeline) tidy(ctx context.Context) error {
	if err := t.compacting.Lock(ctx); err != nil {
		return err
	}
	defer t.compacting.Unlock()
	return t.runJobs(ctx)
}

// runJobs is tidy for who holds t.compacting.
func (t *Timeline) runJobs(ctx context.Context) error {
	if err := t.sweep(ctx); err != nil {
		return err
	}
	if err := t.sweepOrphans(ctx); err != nil {
		return err
	}
	var unlisted *branchesError
	for {
		job, ok, err := t.nextJob(ctx, unlisted == nil)
		if err == nil && !ok && unlisted != nil {
			return unlisted
		}
		if err != nil || !ok {
			return err
		}
		if err := t.runJob(ctx, job); err != nil && !t.setAside(err) && !errors.As(err, &unlisted) {
			return err
		}
	}
}

// nextJob picks a job. If that is to collect what lies below the horizon, the horizon
// is made the cutoff first. The caller holds t.compacting.
func (t *Timeline) nextJob(ctx context.Context, mayCollect bool) (work, bool, error) {
	horizon := t.horizon()
	w := t.snapshot()
	below := max(horizon, w.index.Cutoff)
	if !mayCollect {
		below = 0
	}
	job, ok := picker.Pick(w.layers, below, t.store.pickerOptions())
	if !ok {
		return work{}, false, nil
	}
	if job.Kind == picker.Collect && horizon > w.index.Cutoff {
		if err := t.raiseCutoff(ctx, horizon); err != nil {
			return work{}, false, err
		}
		w = t.snapshot()
		if job, ok = picker.Pick(w.layers, w.index.Cutoff, t.store.pickerOptions()); !ok {
			return work{}, false, nil
		}
	}
	w.job = job
	return w, true, nil
}

// work is a job and the layers that it was picked from.
type work struct {
	job     picker.Job
	index   *manifest.Index
	readers []*layer.Reader
	layers  []picker.Layer
}

// snapshot describes the timeline's layers to the picker.
func (t *Timeline) snapshot() work {
	t.store.mu.Lock()
	w := work{index: t.node.index, readers: t.node.readers}
	t.store.mu.Unlock()
	w.layers = make([]picker.Layer, len(w.readers))
	aside := t.Aside()
	for i, r := range w.readers {
		d := r.Desc()
		w.layers[i] = picker.Layer{ID: d.ID, Level: d.Level, Bytes: d.Size, Walked: r.Walked(), Settled: t.settled[d.ID],
			Aside: slices.ContainsFunc(aside, func(a Aside) bool { return a.Layer == d.ID })}
	}
	return w
}

func (s *Store) pickerOptions() picker.Options {
	return picker.Options{Flushed: s.opts.FlushedMax, InputsMax: flushedInputsMax, Fanout: s.opts.TierFanout, LayerBytes: s.opts.LayerBytes}
}

// runJob merges a job's inputs and commits what comes out. The caller holds
// t.compacting.
func (t *Timeline) runJob(ctx context.Context, w work) error {
	for {
		if err := t.tryJob(ctx, w); !errors.Is(err, errNewcomer) {
			return err
		}
		t.store.env.Trace.Cover("lsm merge again for a newcomer")
	}
}

// errNewcomer is why a merge is made anew: it may drop what a branch reads that was not
// there when the branches were listed.
var errNewcomer = errors.New("a branch has come below the cutoff")

func (t *Timeline) tryJob(ctx context.Context, w work) error {
	keep, err := t.retained(ctx, w.index)
	if errors.As(err, new(*branchesError)) && w.job.Kind != picker.Collect {
		keep, err = retained{points: []wal.LSN{w.index.Cutoff}, all: true}, nil
	}
	if err != nil {
		return err
	}
	m, err := t.merge(ctx, func() *merge {
		m := &merge{t: t, job: w.job, keep: keep, images: w.job.Kind == picker.Read, isRoot: w.index.IsRoot(), level: 1}
		if w.job.Kind == picker.Collect && w.job.LSNHi <= keep.cutoff() {
			m.level = 2
		}
		for _, i := range w.job.Inputs {
			m.inputs = append(m.inputs, w.readers[i])
		}
		return m
	})
	if err != nil {
		return fmt.Errorf("%v job of timeline %v in (%v, %v]: %w", w.job.Kind, t.node.id, w.job.LSNLo, w.job.LSNHi, err)
	}
	if err := t.commitMerge(ctx, m); errors.Is(err, errNewcomer) {
		m.discard(context.WithoutCancel(ctx))
		return err
	} else if err != nil {
		return fmt.Errorf("commit %v job of timeline %v in (%v, %v]: %w", w.job.Kind, t.node.id, w.job.LSNLo, w.job.LSNHi, err)
	}
	t.countMerge(m)
	return t.sweep(ctx)
}

// merge runs a merge that begin makes, anew if an ancestor's layers are replaced under
// it. What failed leaves nothing behind.
func (t *Timeline) merge(ctx context.Context, begin func() *merge) (*merge, error) {
	for again := 0; ; again++ {
		v, settled := t.node.state.settledView()
		m := begin()
		m.walk, m.settled = walk{view: v, counts: &counters{}}, settled
		err := m.run(ctx)
		t.counts.mergedBytes.Add(uint64(m.wrote))
		if err == nil {
			return m, nil
		}
		m.discard(context.WithoutCancel(ctx))
		if !isGone(err) || again == readAgainMax || !t.renew(ctx, v) {
			return nil, err
		}
		t.counts.again.Add(1)
	}
}

func (t *Timeline) countMerge(m *merge) {
	t.counts.merges.Add(1)
	t.counts.images.Add(uint64(m.made))
	t.counts.dropped.Add(uint64(m.dropped))
	t.store.env.Trace.Cover("lsm merge " + m.job.Kind.String())
	t.store.env.Trace.Event("lsm.merge", "timeline", t.node.id, "kind", m.job.Kind, "inputs", len(m.inputs), "outputs", len(m.outputs),
		"lo", m.job.LSNLo, "hi", m.job.LSNHi, "images", m.made, "dropped", m.dropped)
}

// commitMerge puts the outputs in the place of the inputs: one PUT of the index, in
// which the inputs are dead, then one step that shows it to readers.
func (t *Timeline) commitMerge(ctx context.Context, m *merge) error {
	if err := t.flushing.Lock(ctx); err != nil {
		return err
	}
	defer t.flushing.Unlock()
	if err := t.failure(); err != nil {
		return err
	}
	x := t.nextIndex()
	for _, r := range m.inputs {
		at, found := slices.BinarySearchFunc(x.Layers, *r.Desc(), manifest.Compare)
		assert.That(found, "only the compaction removes layers, and %s is here", r.Desc().Name())
		x.Layers = slices.Delete(x.Layers, at, at+1)
		x.Dead = append(x.Dead, r.Desc().ID)
	}
	for _, d := range m.outputs {
		x.Layers = insertLayer(x.Layers, d)
	}
	// What is dropped and for whom is one PUT: see hasMissed. Where nothing is dropped nobody
	// is missed, nor were the branches listed.
	if m.keep.cutoff() > x.Start && !m.keep.all {
		if t.newcomer {
			return errNewcomer
		}
		x.PinsGone = x.PinsGone || haveGone(x.Pins, m.keep.points)
		x.Pins = stillKept(x.Pins, m.keep.points)
	}
	if err := t.commit(ctx, x); err != nil {
		return err
	}
	for _, r := range m.inputs {
		delete(t.settled, r.Desc().ID)
	}
	for _, d := range m.outputs {
		if m.images {
			if t.settled == nil {
				t.settled = make(map[layer.ID]bool)
			}
			t.settled[d.ID] = true
		}
	}
	return t.showIndex(x)
}

// showIndex makes an index that was committed what readers see. The caller holds
// t.flushing.
func (t *Timeline) showIndex(x *manifest.Index) error {
	s := t.store
	d, err := s.draw(t.node, x)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if t.node.timeline != t {
		return ErrDetached
	}
	s.setIndex(t.node, x, d)
	return nil
}

// sweep deletes the objects of dead layers. They are never named again, so deleting
// one twice, or by a writer that was fenced since, harms nothing. The list in the index
// is cut with the next PUT that has another reason.
func (t *Timeline) sweep(ctx context.Context) error {
	dead := t.index().Dead
	t.mu.Lock()
	//varve:unordered what is deleted from a map is in no order
	for id := range t.swept {
		if !slices.Contains(dead, id) {
			delete(t.swept, id)
		}
	}
	t.mu.Unlock()
	for _, id := range dead {
		if t.swept[id] {
			continue
		}
		if err := remote.Delete(ctx, t.store.env, remote.LayerKey(t.store.opts.Tenant, id)); err != nil {
			return err
		}
		t.store.files.Forget(ctx, &id)
		t.mu.Lock()
		if t.swept == nil {
			t.swept = make(map[layer.ID]bool)
		}
		t.swept[id] = true
		t.mu.Unlock()
		t.counts.deleted.Add(1)
	}
	return nil
}

// sweepOrphans deletes layers of earlier generations that the index does not name: what
// a writer left that ended between upload and commit. No index can name them any more,
// and there will be no more of them: once is enough.
func (t *Timeline) sweepOrphans(ctx context.Context) error {
	if t.orphansSwept {
		return nil
	}
	prefix := remote.LayersPrefix(t.store.opts.Tenant, t.node.id)
	objects, err := t.store.env.Bucket.List(ctx, prefix)
	if err != nil {
		return fmt.Errorf("list layers: %w", err)
	}
	x := t.index()
	named := make(map[string]bool, len(x.Layers))
	for i := range x.Layers {
		named[x.Layers[i].Name()] = true
	}
	for _, o := range objects {
		name := o.Key[len(prefix):]
		id, err := layer.ParseName(name)
		if err != nil || named[name] || id.Generation >= t.generation {
			continue
		}
		if err := remote.Delete(ctx, t.store.env, o.Key); err != nil {
			return err
		}
		t.store.env.Trace.Cover("lsm orphan swept")
	}
	t.orphansSwept = true
	return nil
}

// Compact merges all that a running compaction would, and layers of level 0 however
// few. It returns when there is nothing left to merge.
func (t *Timeline) Compact(ctx context.Context) error {
	if err := t.compacting.Lock(ctx); err != nil {
		return err
	}
	defer t.compacting.Unlock()
	if err := t.runJobs(ctx); err != nil {
		return err
	}
	w := t.snapshot()
	job, ok := picker.FlushedAll(w.layers, t.store.pickerOptions())
	if !ok {
		return nil
	}
	w.job = job
	if err := t.runJob(ctx, w); err != nil {
		return err
	}
	return t.runJobs(ctx)
}

// isGone reports whether a read failed for an object that is not there: it may have
// been merged into another since the reader looked.
func isGone(err error) bool { return errors.Is(err, remote.ErrGone) }
