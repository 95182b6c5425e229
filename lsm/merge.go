package lsm

import (
	"context"
	"fmt"
	"slices"

	"github.com/varvedb/varve/lsm/kv"
	"github.com/varvedb/varve/lsm/layer"
	"github.com/varvedb/varve/lsm/picker"
	"github.com/varvedb/varve/lsm/remote"
	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/assert"
)

// keyBytesMax bounds the values of one key that a merge has in memory, in bytes. Those of a key
// with more are read twice: what is kept is decided by LSNs and kinds alone, and then it is
// read again.
const keyBytesMax = 16 << 20

// merge makes new layers of a job's inputs. It streams: in memory are some blocks of
// each input that has the current key in its range (layer.Cursor), the values of one key
// up to keyBytesMax, what says of each of its versions where it is, and the layer that is
// being built, up to Options.LayerBytes and what is kept of one key more.
type merge struct {
	t       *Timeline
	job     picker.Job
	inputs  []*layer.Reader // in order of LSN
	clips   []wal.LSN       // of inputs: what lies above is not seen; nil if all is
	images  bool            // make an image of every chain
	flatten bool            // what comes out is delta layers only
	keep    retained
	isRoot  bool // nothing lies below what is collected
	level   uint8
	walk    walk
	settled bool            // what the ancestors have is in the view of walk
	large   bool            // the current key's values are not in memory
	cursors []*layer.Cursor // of inputs that are begun and not ended, else nil; delta layers rise in LSN for each key
	ended   []*layer.Cursor // with the current key
	waiting []int           // inputs that are not begun, by their first keys

	out     output
	outputs []layer.Desc
	dropped int64 // bytes of versions
	made    int   // images
	wrote   int64 // bytes of layers
	one     [1]item
	count   int // of versions that were put
}

// retained is the LSNs at or below the cutoff at which somebody reads, rising; the
// last is the cutoff itself, from which on all is read.
type retained struct {
	points []wal.LSN
	all    bool // who reads below the cutoff is not known: nothing is dropped
}

func (k *retained) cutoff() wal.LSN { return k.points[len(k.points)-1] }

// output is the layers under construction: one for delta layers, and one for each LSN
// of the image layers that go in.
type output struct {
	deltas *layer.Builder
	images []imageOutput
	guard  int // of job.Guards: the next one above the last key
}

type imageOutput struct {
	at      wal.LSN
	builder *layer.Builder
}

// item is a version of the current key, or what an image layer says of it. Its value is not
// there if the merge has too many of them.
type item struct {
	kv.Version
	at    wal.LSN // where reads meet it: the version's LSN, or the image layer's
	input int     // that it is from
	size  int     // of the value
	image bool    // from an image layer
	made  bool    // the value was made by the merge
	keep  bool
}

// bytes is what a version counts for where it is told what is kept and what was dropped.
func (it *item) bytes() int64 { return int64(len(it.Key)+it.size) + 8 }

// run merges, uploading each layer when it is full.
func (m *merge) run(ctx context.Context) error {
	m.await()
	var items []item
	for {
		key, ok := m.leastKey()
		if !ok {
			break
		}
		if err := m.cut(ctx, key); err != nil {
			return err
		}
		var err error
		if items, err = m.gather(ctx, key, items[:0]); err != nil {
			return err
		}
		if err := m.reduce(ctx, key, items); err != nil {
			return err
		}
		if !m.large {
			m.emit(items)
		} else if err := m.readAgain(ctx, key, items); err != nil {
			return err
		}
	}
	m.settle()
	return m.finish(ctx)
}

// await lays out the inputs, none of which is begun.
func (m *merge) await() {
	m.cursors = make([]*layer.Cursor, len(m.inputs))
	m.waiting = make([]int, len(m.inputs))
	for i := range m.waiting {
		m.waiting[i] = i
	}
	slices.SortStableFunc(m.waiting, func(a, b int) int { return m.inputs[a].Desc().KeyLo.Compare(m.inputs[b].Desc().KeyLo) })
}

func (m *merge) leastKey() (least Key, ok bool) {
	if len(m.waiting) > 0 {
		least, ok = m.inputs[m.waiting[0]].Desc().KeyLo, true
	}
	for _, c := range m.cursors {
		if c != nil && (!ok || c.Version().Key.Less(least)) {
			least, ok = c.Version().Key, true
		}
	}
	return least, ok
}

// begin opens the inputs that key is the first of.
func (m *merge) begin(ctx context.Context, key Key) error {
	for ; len(m.waiting) > 0; m.waiting = m.waiting[1:] {
		i := m.waiting[0]
		if desc := m.inputs[i].Desc(); key.Less(desc.KeyLo) {
			return nil
		} else if c, err := m.inputs[i].Cursor(ctx, Key{}); err != nil {
			return &inputError{desc.ID, err}
		} else {
			m.cursors[i] = c
		}
	}
	return nil
}

// gather takes the versions of key from all inputs, in order of where reads meet them, and
// those of one input in its order. Values of the key before are not valid any more.
func (m *merge) gather(ctx context.Context, key Key, items []item) ([]item, error) {
	m.settle()
	if err := m.begin(ctx, key); err != nil {
		return nil, err
	}
	bytes, mixed := 0, false
	m.large = false
	for i, c := range m.cursors {
		if c == nil {
			continue
		}
		desc := m.inputs[i].Desc()
		for !c.Done() && c.Version().Key == key {
			it := item{Version: c.Version(), at: c.Version().LSN, input: i, size: len(c.Version().Value)}
			if m.clips != nil && desc.Kind == layer.Delta && it.LSN > m.clips[i] {
				if err := c.Next(ctx); err != nil {
					return nil, &inputError{desc.ID, err}
				}
				continue
			}
			if desc.Kind == layer.Image {
				it.at, it.image, mixed = desc.LSNHi, true, true
			}
			if bytes += it.size; bytes > m.t.store.keyBytesMax && !m.large {
				for k := range items {
					items[k].Value = nil
				}
				m.large = true
			}
			if m.large {
				it.Value = nil
			}
			items = append(items, it)
			if err := c.Next(ctx); err != nil {
				return nil, &inputError{desc.ID, err}
			}
		}
		if c.Done() {
			m.cursors[i] = nil
			m.ended = append(m.ended, c)
		}
	}
	if mixed {
		slices.SortStableFunc(items, func(a, b item) int {
			switch {
			case a.at < b.at || a.at == b.at && !a.image && b.image:
				return -1
			case a.at == b.at && a.image == b.image:
				return 0
			}
			return 1
		})
	}
	return items, nil
}

// settle lets the inputs use the memory of values again: those of the current key were emitted.
func (m *merge) settle() {
	for _, c := range m.ended {
		c.Settle()
	}
	m.ended = m.ended[:0]
	for _, c := range m.cursors {
		if c != nil {
			c.Settle()
		}
	}
}

// reduce marks what is to be kept, and makes an image of a long chain.
func (m *merge) reduce(ctx context.Context, key Key, items []item) error {
	if len(items) == 0 {
		return nil
	}
	if err := m.makeImage(ctx, key, items); err != nil {
		return err
	}
	cutoff := m.keep.cutoff()
	for i := range items {
		items[i].keep = m.keep.all || items[i].at > cutoff
	}
	if m.keep.all {
		return nil
	}
	for _, point := range m.keep.points {
		if items[0].at > point {
			continue
		}
		floor, exists, err := m.floor(ctx, key, point)
		if isDamage(err) {
			// What says which versions are dead cannot be read: none is taken for dead.
			floor, exists, err = 0, true, nil
		}
		if err != nil {
			return err
		}
		if exists {
			markReadable(items, point, floor)
		}
	}
	if m.job.Kind == picker.Collect && m.isRoot {
		dropTombstones(items)
	}
	for i := range items {
		if !items[i].keep {
			m.dropped += items[i].bytes()
		}
	}
	return nil
}

// dropTombstones drops those that have nothing below them to hide.
func dropTombstones(items []item) {
	for i := range items {
		if items[i].keep && items[i].Kind != Tombstone {
			return
		}
		items[i].keep = false
	}
}

// markReadable keeps what a read at an LSN meets: down to the first that is no delta.
func markReadable(items []item, at, floor wal.LSN) {
	for i := len(items) - 1; i >= 0; i-- {
		it := &items[i]
		if it.at > at {
			continue
		}
		if it.LSN <= floor {
			return
		}
		it.keep = true
		if it.Kind != Delta {
			return
		}
	}
}

// floor is Redo's, read in the merge's view. It must not be asked of a view that lacks what
// an ancestor is known to have: there a key that lives may be one that never was.
func (m *merge) floor(ctx context.Context, key Key, at wal.LSN) (floor wal.LSN, exists bool, err error) {
	if m.t.store.opts.Redo == nil || !m.settled {
		return 0, true, nil
	}
	return m.t.store.opts.Redo.Floor(ctx, key, at, func(ctx context.Context, other Key) (c Chain, err error) {
		err = m.walk.chain(ctx, other, at, 0, &c)
		return c, err
	})
}

// makeImage puts the value in place of the newest version, if that ends a chain that is
// long.
func (m *merge) makeImage(ctx context.Context, key Key, items []item) error {
	newest := &items[len(items)-1]
	redo := m.t.store.opts.Redo
	if redo == nil || newest.Kind != Delta || !m.isLong(items) || !m.settled {
		return nil
	}
	// Reads above the newest version have the floor of the cutoff, if they may ask at all.
	at := max(newest.LSN, m.keep.cutoff())
	floor, exists, err := m.floor(ctx, key, at)
	if isDamage(err) {
		return nil // the chain stays as it is
	}
	if err != nil || !exists || newest.LSN <= floor {
		return err
	}
	var c Chain
	if err := m.walk.chain(ctx, key, newest.LSN, floor, &c); isDamage(err) {
		return nil
	} else if err != nil {
		return err
	}
	value, err := redo.Apply(nil, key, &c)
	if isDamage(err) {
		return nil // whoever reads it is told
	} else if err != nil {
		return fmt.Errorf("make image of %v at %v: %w", key, newest.LSN, err)
	}
	newest.Kind, newest.Value = Image, value
	newest.size, newest.made = len(value), true
	m.made++
	return nil
}

// isLong reports whether the newest version ends a chain of Options.ChainMax deltas, or
// of any if images are to be made.
func (m *merge) isLong(items []item) bool {
	if m.images {
		return true
	}
	if len(items) < m.t.store.opts.ChainMax {
		return false
	}
	for i := range m.t.store.opts.ChainMax {
		if items[len(items)-1-i].Kind != Delta {
			return false
		}
	}
	return true
}

// emit adds what is kept of one key.
func (m *merge) emit(items []item) {
	for i := range items {
		it := &items[i]
		switch {
		case !it.keep:
		case it.image && !m.flatten:
			m.imageBuilder(it.at).Add(&it.Version)
		default:
			if m.out.deltas == nil {
				m.out.deltas = m.newBuilder(layer.Delta, m.job.LSNLo, m.job.LSNHi)
			}
			m.out.deltas.Add(&it.Version)
		}
	}
}

// readAgain adds what is kept of a key whose values are not in memory.
func (m *merge) readAgain(ctx context.Context, key Key, items []item) error {
	cursors := make([]*layer.Cursor, len(m.inputs))
	for k := range items {
		it := &items[k]
		c, err := cursors[it.input], error(nil)
		if c == nil {
			c, err = m.inputs[it.input].Cursor(ctx, key)
			cursors[it.input] = c
		} else {
			err = c.Next(ctx)
		}
		if err != nil {
			return &inputError{m.inputs[it.input].Desc().ID, err}
		}
		assert.That(!c.Done() && c.Version().Key == key && c.Version().LSN == it.LSN, "layer %v has key %v at %v when it is read again", m.inputs[it.input].Desc().ID, key, it.LSN)
		if !it.made {
			it.Value = c.Version().Value
		}
		m.emit(items[k : k+1])
		it.Value = nil
	}
	return nil
}

func (m *merge) imageBuilder(at wal.LSN) *layer.Builder {
	for _, o := range m.out.images {
		if o.at == at {
			return o.builder
		}
	}
	m.out.images = append(m.out.images, imageOutput{at, m.newBuilder(layer.Image, at, at)})
	return m.out.images[len(m.out.images)-1].builder
}

func (m *merge) newBuilder(kind layer.Kind, lo, hi wal.LSN) *layer.Builder {
	id := layer.ID{Timeline: m.t.node.id, Kind: kind, LSNLo: lo, LSNHi: hi, Generation: m.t.generation, Number: m.t.nextNumber()}
	return layer.NewBuilder(id, m.t.store.opts.BlockBytes)
}

// cut finishes the layers that key shall not be in: those that are full, and all where
// a guard lies between the last key and this one.
func (m *merge) cut(ctx context.Context, key Key) error {
	passed := false
	for m.out.guard < len(m.job.Guards) && !key.Less(m.job.Guards[m.out.guard]) {
		m.out.guard++
		passed = true
	}
	most := m.t.store.opts.LayerBytes
	if d := m.out.deltas; d != nil && (passed || d.Size() >= most) {
		m.out.deltas = nil
		if err := m.upload(ctx, d); err != nil {
			return err
		}
	}
	for i := 0; i < len(m.out.images); i++ {
		if b := m.out.images[i].builder; passed || b.Size() >= most {
			m.out.images = slices.Delete(m.out.images, i, i+1)
			i--
			if err := m.upload(ctx, b); err != nil {
				return err
			}
		}
	}
	return nil
}

func (m *merge) upload(ctx context.Context, b *layer.Builder) error {
	var desc layer.Desc
	var data []byte
	if err := m.t.store.env.Tasks.Offload(ctx, func() { desc, data = b.Finish() }); err != nil {
		return err
	}
	desc.Level = m.level
	m.outputs = append(m.outputs, desc)
	if err := remote.PutLayer(ctx, m.t.store.env, remote.LayerKey(m.t.store.opts.Tenant, desc.ID), &desc, data); err != nil {
		return err
	}
	m.t.store.files.Put(ctx, &desc, data)
	m.wrote += desc.Size
	return nil
}

func (m *merge) finish(ctx context.Context) error {
	if d := m.out.deltas; d != nil {
		if err := m.upload(ctx, d); err != nil {
			return err
		}
	}
	for _, o := range m.out.images {
		if err := m.upload(ctx, o.builder); err != nil {
			return err
		}
	}
	m.out = output{}
	return nil
}

// discard deletes the layers of a merge that failed before its commit was tried: no
// index can name them. What is not deleted now is swept at the next attachment.
func (m *merge) discard(ctx context.Context) {
	for i := range m.outputs {
		key := remote.LayerKey(m.t.store.opts.Tenant, m.outputs[i].ID)
		if err := m.t.store.env.Bucket.Delete(ctx, key); err != nil {
			m.t.store.env.Trace.Event("lsm.merge.leak", "layer", key, "error", err)
			return
		}
		m.t.store.files.Forget(ctx, &m.outputs[i].ID)
	}
}
