package lsm

import (
	"context"
	"fmt"

	"github.com/varvedb/varve/lsm/kv"
	"github.com/varvedb/varve/lsm/manifest"
	"github.com/varvedb/varve/lsm/memtable"
	"github.com/varvedb/varve/lsm/picker"
	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/assert"
)

// ApplyStream is Apply for one record, ending at end, that changes more than memory shall
// hold: versions calls put with each of its versions, all with end for LSN, in order of
// strictly ascending keys; what put was given may be reused. They become layers as they
// come, of which one of Options.LayerBytes at most is in memory, past the memtable, which
// is flushed before. One index PUT makes all of them readable and durable at once. After
// an error none is, unless the outcome of the PUT is unknown; the record may be applied
// again in either case.
func (t *Timeline) ApplyStream(ctx context.Context, end wal.LSN, versions func(put func(*Version) error) error) error {
	if err := t.Flush(ctx); err != nil {
		return err
	}
	checkOrder(t.LastLSN(), end, nil)
	m := t.streamed(end)
	err := versions(func(v *Version) error { return m.put(ctx, v) })
	if err == nil {
		err = m.finish(ctx)
	}
	if err != nil {
		m.discard(context.WithoutCancel(ctx))
		return fmt.Errorf("apply a stream to timeline %v at %v: %w", t.node.id, end, err)
	}
	if err := t.commitStream(ctx, m); err != nil {
		return fmt.Errorf("commit a stream to timeline %v at %v: %w", t.node.id, end, err)
	}
	t.store.env.Trace.Event("lsm.stream", "timeline", t.node.id, "lo", m.job.LSNLo, "hi", end, "layers", len(m.outputs), "versions", m.count, "bytes", m.wrote)
	t.noteWork()
	return nil
}

// streamed is a merge that has no inputs but what is put into it. Its layers are cut by key,
// so they are of level 1: a read looks into one of them at most.
func (t *Timeline) streamed(end wal.LSN) *merge {
	x := t.index()
	layers := make([]picker.Layer, len(x.Layers))
	for i := range x.Layers {
		layers[i] = picker.Layer{ID: x.Layers[i].ID, Level: x.Layers[i].Level, Bytes: x.Layers[i].Size}
	}
	guards := picker.Guards(layers, t.store.pickerOptions())
	return &merge{t: t, level: 1, job: picker.Job{LSNLo: t.LastLSN(), LSNHi: end, Guards: guards}}
}

func (m *merge) put(ctx context.Context, v *Version) error {
	if size := len(v.Value); size > kv.ValueBytesMax {
		return fmt.Errorf("value of %v of %d bytes is larger than %d", v.Key, size, kv.ValueBytesMax)
	}
	assert.That(v.LSN == m.job.LSNHi, "a version of a record that ends at %v has that LSN, not %v", m.job.LSNHi, v.LSN)
	if err := m.cut(ctx, v.Key); err != nil {
		return err
	}
	m.one[0] = item{Version: *v, keep: true}
	m.emit(m.one[:])
	m.count++
	return nil
}

// commitStream commits the layers and what they make durable.
func (t *Timeline) commitStream(ctx context.Context, m *merge) error {
	if err := t.flushing.Lock(ctx); err != nil {
		return err
	}
	defer t.flushing.Unlock()
	if err := t.failure(); err != nil {
		return err
	}
	x := t.nextIndex()
	x.Durable = m.job.LSNHi
	t.mark(x)
	for _, d := range m.outputs {
		x.Layers = insertLayer(x.Layers, d)
	}
	if err := t.commit(ctx, x); err != nil {
		return err
	}
	t.counts.flushes.Add(uint64(len(m.outputs)))
	t.counts.flushedBytes.Add(uint64(m.wrote))
	t.counts.versions.Add(uint64(m.count))
	t.store.env.Trace.Cover("lsm stream applied")
	return t.beginAnew(x, m.job.LSNLo)
}

// beginAnew shows what was written beside the memtables, which are empty: they go on where
// it ends. The caller holds t.flushing; last is where the timeline ended before.
func (t *Timeline) beginAnew(x *manifest.Index, last wal.LSN) error {
	s := t.store
	d, err := s.draw(t.node, x)
	if err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if t.node.timeline != t {
		return ErrDetached
	}
	assert.That(t.LastLSN() == last && t.active.Len() == 0 && len(t.frozen) == 0, "nothing is applied beside what is shown: the timeline ends at %v, as it does at %v", last, t.LastLSN())
	t.active = memtable.New(x.Durable)
	t.node.tables = t.tableRefs()
	s.setIndex(t.node, x, d)
	s.showLast(t.node, x.Durable)
	t.moved.Broadcast()
	return nil
}
