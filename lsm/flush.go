package lsm

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/varvedb/varve/lsm/layer"
	"github.com/varvedb/varve/lsm/manifest"
	"github.com/varvedb/varve/lsm/memtable"
	"github.com/varvedb/varve/lsm/remote"
	"github.com/varvedb/varve/wal"
)

// flushPause is how long the flush task rests after a failure that its own
// retries did not cure.
const flushPause = time.Second

// flushLoop writes memtables that are frozen until there are none.
func (t *Timeline) flushLoop(ctx context.Context) error {
	for t.hasFrozen() {
		err := t.flushFrozen(ctx)
		if err == nil {
			continue
		}
		t.store.env.Trace.Event("lsm.flush.error", "timeline", t.node.id, "error", err)
		if t.store.env.Clock.Sleep(ctx, flushPause) != nil {
			return nil
		}
	}
	return nil
}

// hasFrozen reports whether there are memtables to write. If there are none, or the
// attachment has ended, the task that asks is over.
func (t *Timeline) hasFrozen() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.flushes = t.failed == nil && len(t.frozen) > 0
	return t.flushes
}

// Flush writes all that was applied before it was called to the bucket: when it
// returns nil, DurableLSN has reached what LastLSN was.
func (t *Timeline) Flush(ctx context.Context) error {
	target := t.LastLSN()
	for t.DurableLSN() < target {
		if err := t.freezeUpTo(ctx, target); err != nil {
			return err
		}
		if err := t.flushFrozen(ctx); err != nil {
			t.noteFrozen()
			return err
		}
	}
	return t.failure()
}

func (t *Timeline) failure() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.failed
}

// freezeUpTo freezes the active memtable if target lies in it and there is room;
// if there is none, the next flush makes some.
func (t *Timeline) freezeUpTo(_ context.Context, target wal.LSN) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.failed != nil {
		return t.failed
	}
	if target > t.active.Lo() && len(t.frozen) < t.store.opts.FrozenMax {
		t.freeze()
	}
	return nil
}

// flushFrozen writes the memtables that are frozen now, oldest first.
func (t *Timeline) flushFrozen(ctx context.Context) error {
	if err := t.flushing.Lock(ctx); err != nil {
		return err
	}
	defer t.flushing.Unlock()
	for {
		t.mu.Lock()
		failed, frozen := t.failed, t.frozen
		t.mu.Unlock()
		if failed != nil || len(frozen) == 0 {
			return failed
		}
		if err := t.flushOne(ctx, frozen[0]); err != nil {
			return fmt.Errorf("flush timeline %v up to %v: %w", t.node.id, frozen[0].hi, err)
		}
		t.noteWork()
	}
}

// flushOne makes the oldest frozen memtable a layer. The layer object is in the
// bucket before the index that names it, and the memtable is dropped in the same
// step that shows the layer to readers. The caller holds t.flushing.
func (t *Timeline) flushOne(ctx context.Context, f frozenTable) error {
	x := t.nextIndex()
	x.Durable = f.hi
	t.mark(x)
	var desc *layer.Desc
	if f.table.Len() > 0 {
		id := layer.ID{Timeline: t.node.id, Kind: layer.Delta, LSNLo: f.table.Lo(), LSNHi: f.hi, Generation: x.Generation, Number: f.number}
		var built layer.Desc
		var data []byte
		err := t.store.env.Tasks.Offload(ctx, func() { built, data = buildDelta(id, f.table, t.store.opts.BlockBytes) })
		if err != nil {
			return err
		}
		if err := t.upload(ctx, &built, data); err != nil {
			return err
		}
		desc = &built
		x.Layers = insertLayer(x.Layers, built)
	}
	if err := t.commit(ctx, x); err != nil {
		return err
	}
	return t.show(x, desc)
}

func buildDelta(id layer.ID, table *memtable.Table, blockBytes int) (layer.Desc, []byte) {
	b := layer.NewBuilder(id, blockBytes)
	b.Reserve(table.Bytes()) // what is not written of it is never touched
	table.All(b.Add)
	return b.Finish()
}

func insertLayer(layers []layer.Desc, desc layer.Desc) []layer.Desc {
	at, _ := slices.BinarySearchFunc(layers, desc, manifest.Compare)
	return slices.Insert(layers, at, desc)
}

// upload writes a layer to the bucket and keeps a copy of it here.
func (t *Timeline) upload(ctx context.Context, desc *layer.Desc, data []byte) error {
	key := remote.LayerKey(t.store.opts.Tenant, desc.ID)
	if err := remote.PutLayer(ctx, t.store.env, key, desc, data); err != nil {
		return err
	}
	t.store.files.Put(ctx, desc, data)
	return nil
}

// nextIndex is the index as this attachment wrote it last, to be changed. It names no
// dead layer whose object is deleted. The caller holds t.flushing.
func (t *Timeline) nextIndex() *manifest.Index {
	x := *t.index()
	x.Layers = slices.Clone(x.Layers)
	t.mu.Lock()
	defer t.mu.Unlock()
	dead := x.Dead
	x.Dead = nil
	for _, id := range dead {
		if !t.swept[id] {
			x.Dead = append(x.Dead, id)
		}
	}
	return &x
}

// commit replaces the index object. The caller holds t.flushing. After a failure
// of unknown outcome the object may be ahead of what this store shows; the next
// commit, which has a higher sequence, finds that out and replaces it. Who changes what
// others act upon at once must end the attachment instead: see commitLeave.
func (t *Timeline) commit(ctx context.Context, x *manifest.Index) error {
	t.sequence++
	x.Writer, x.Sequence = t.writer, t.sequence
	tag, err := t.node.object.Replace(ctx, x, t.tag)
	if errors.Is(err, remote.ErrTaken) {
		err = fmt.Errorf("%w: %w", ErrFenced, err)
		t.fail(err)
		t.store.env.Trace.Event("lsm.fenced", "timeline", t.node.id, "error", err)
	}
	if err != nil {
		return err
	}
	t.tag = tag
	return nil
}

// show is exchange, and tells of the layer.
func (t *Timeline) show(x *manifest.Index, desc *layer.Desc) error {
	if err := t.exchange(x, desc); err != nil || desc == nil {
		return err
	}
	t.store.env.Trace.Event("lsm.flush", "timeline", t.node.id, "lo", desc.LSNLo, "hi", desc.LSNHi, "versions", desc.Versions, "bytes", desc.Size)
	return nil
}

// exchange drops the oldest frozen memtable and shows the layer in its place.
func (t *Timeline) exchange(x *manifest.Index, desc *layer.Desc) (err error) {
	s := t.store
	var d drawing
	if desc != nil {
		if d, err = s.drawMore(t.node, x, desc); err != nil {
			return err
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if t.node.timeline != t {
		return ErrDetached
	}
	t.frozen = slices.Delete(slices.Clone(t.frozen), 0, 1)
	t.node.tables = t.tableRefs()
	t.moved.Broadcast()
	if desc == nil {
		t.node.index = x
		s.publishAll(t.node)
		return nil
	}
	t.counts.flushes.Add(1)
	t.counts.flushedBytes.Add(uint64(desc.Size))
	s.addLayer(t.node, x, desc, d)
	return nil
}

// SetMeta replaces the caller's bytes in the index. They are durable when it
// returns nil.
func (t *Timeline) SetMeta(ctx context.Context, meta []byte) error {
	if len(meta) > manifest.MetaBytesMax {
		return fmt.Errorf("meta of %d bytes is larger than %d", len(meta), manifest.MetaBytesMax)
	}
	if err := t.flushing.Lock(ctx); err != nil {
		return err
	}
	defer t.flushing.Unlock()
	if err := t.failure(); err != nil {
		return err
	}
	x := t.nextIndex()
	x.Meta = slices.Clone(meta)
	if err := t.commit(ctx, x); err != nil {
		return fmt.Errorf("set meta of timeline %v: %w", t.node.id, err)
	}
	s := t.store
	s.mu.Lock()
	defer s.mu.Unlock()
	if t.node.timeline == t {
		t.node.index = x
	}
	return nil
}
