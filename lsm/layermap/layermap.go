// Package layermap answers which layers may hold a key at an LSN.
//
// A [Map] is immutable: readers keep one for a batch, writers make the next. It
// is pure: descriptions in, descriptions out.
//
// # How
//
// The first and last keys of all layers cut the keys into intervals. Over the
// intervals stands a tree of [fanout] children a node, and a layer belongs to the
// few nodes that together are its key range: one that covers everything to the
// root, one of a single interval to a leaf. Each node lists its delta layers, and
// its image layers, by the LSN at which each begins to matter ([layer.ID.Start]).
// A lookup finds the key's interval, then searches the lists of the nodes above it,
// one a level: O(log n) for n layers, whatever lies above or below. All lists are
// slices of a few arrays, so that 27,000 layers take half a megabyte, which stays in
// a processor's cache; a persistent tree of google/btree, one version a layer, took
// a hundred times that, and a lookup in it five times as long.
//
// A layer that is newer than all others is appended to a short list that is searched
// first; when that is full, or a layer belongs further down, the map is made anew.
//
// Layers of one key may not overlap in LSN, delta with delta; an image layer may
// lie anywhere.
package layermap

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/varvedb/varve/lsm/kv"
	"github.com/varvedb/varve/lsm/layer"
	"github.com/varvedb/varve/wal"
)

// recentMax bounds the layers that are searched one by one. More: slower lookups.
// Fewer: the map is made anew more often, which takes milliseconds for thousands of
// layers.
const recentMax = 16

// Item is a layer with what its owner reads it by. From a delta layer only what
// lies at or below Clip is seen; an image layer above its clip must not be added.
type Item[T any] struct {
	ID    layer.ID
	Clip  wal.LSN
	Layer T
}

// hi is the greatest LSN that may be seen of the layer.
func (it *Item[T]) hi() wal.LSN { return min(it.ID.LSNHi, it.Clip) }

// Map is a set of layers, immutable. The zero Map is empty.
type Map[T any] struct {
	items  []Item[T] // in order of Start; the trees list them
	recent []Item[T] // the same, above all items
	top    wal.LSN   // no delta layer lies above it
	bounds []kv.Key
	deltas tree
	images tree
}

// Build makes the map of the items. It fails if two delta layers overlap.
func Build[T any](items []Item[T]) (*Map[T], error) {
	m := &Map[T]{items: slices.Clone(items)}
	slices.SortStableFunc(m.items, func(a, b Item[T]) int { return cmp.Compare(a.ID.Start(), b.ID.Start()) })
	m.bounds = make([]kv.Key, 1, 2*len(items)+1)
	for i := range m.items {
		it := &m.items[i]
		m.bounds = append(m.bounds, it.ID.KeyLo)
		if after, bounded := it.ID.KeyHi.Next(); bounded {
			m.bounds = append(m.bounds, after)
		}
	}
	slices.SortFunc(m.bounds, kv.Key.Compare)
	m.bounds = slices.Compact(m.bounds)
	if err := m.fill(); err != nil {
		return nil, err
	}
	return m, nil
}

// fill makes the trees.
func (m *Map[T]) fill() error {
	deltas, images := newTreeBuilder(len(m.bounds)), newTreeBuilder(len(m.bounds))
	newest := make([]int32, len(m.bounds)) // delta layer of each interval, plus one
	for i := range m.items {
		it := &m.items[i]
		first, last := m.Locate(it.ID.KeyLo, 0), m.Locate(it.ID.KeyHi, 0)
		if it.ID.Kind == layer.Image {
			images.add(first, last, it.ID.Start(), int32(i))
			continue
		}
		for at := first; at <= last; at++ {
			if below := newest[at]; below != 0 && m.items[below-1].hi() > it.ID.LSNLo {
				return fmt.Errorf("delta layers %s and %s overlap", m.items[below-1].ID.Name(), it.ID.Name())
			}
			newest[at] = int32(i + 1)
		}
		deltas.add(first, last, it.ID.Start(), int32(i))
		m.top = max(m.top, it.hi())
	}
	m.deltas, m.images = deltas.finish(), images.finish()
	return nil
}

// With makes a map that has the added items too.
func (m *Map[T]) With(added ...Item[T]) (*Map[T], error) {
	next := *m
	next.recent = slices.Concat(m.recent, added)
	if len(m.bounds) == 0 || len(next.recent) > recentMax {
		return Build(slices.Concat(m.items, next.recent))
	}
	for _, it := range added {
		if it.ID.Start() < m.start() || it.ID.Kind == layer.Delta && it.ID.LSNLo < next.top {
			return Build(slices.Concat(m.items, next.recent))
		}
		if it.ID.Kind == layer.Delta {
			next.top = max(next.top, it.hi())
		}
	}
	slices.SortStableFunc(next.recent, func(a, b Item[T]) int { return cmp.Compare(a.ID.Start(), b.ID.Start()) })
	return &next, nil
}

// start is the last Start of all items.
func (m *Map[T]) start() wal.LSN {
	for _, items := range [][]Item[T]{m.recent, m.items} {
		if n := len(items); n > 0 {
			return items[n-1].ID.Start()
		}
	}
	return 0
}

// Locate returns the number of the interval that key lies in. hint is an interval to
// look at first: of a sorted batch, that of the key before.
func (m *Map[T]) Locate(key kv.Key, hint int) int {
	lo, hi := 0, len(m.bounds) // the interval is in [lo, hi)
	if hint < hi && !key.Less(m.bounds[hint]) {
		lo = hint
		if hint+1 == hi || key.Less(m.bounds[hint+1]) {
			return hint
		}
	}
	for hi-lo > 1 {
		if middle := int(uint(lo+hi) >> 1); key.Less(m.bounds[middle]) {
			hi = middle
		} else {
			lo = middle
		}
	}
	return lo
}

// Step is one layer to look into: for versions with LSN in (Floor, Ceil].
type Step[T any] struct {
	Layer T
	Image bool // an image layer of LSN Floor: nothing below it matters
	Floor wal.LSN
	Ceil  wal.LSN
}

const none = -1

// Next returns the next layer to look into for versions of key, which lies in that
// interval, with LSN at or below ceil, newest first; the search goes on with ceil =
// Step.Floor. ok is false if there is no layer.
func (m *Map[T]) Next(interval int, key kv.Key, ceil wal.LSN) (step Step[T], ok bool) {
	delta, image := m.newest(interval, key, ceil)
	if image != nil {
		step = Step[T]{Layer: image.Layer, Image: true, Floor: image.ID.LSNHi, Ceil: ceil}
	}
	if delta != nil {
		if top := min(ceil, delta.hi()); image == nil || top > step.Floor {
			step = Step[T]{Layer: delta.Layer, Floor: max(step.Floor, delta.ID.LSNLo), Ceil: top}
		}
	}
	return step, image != nil || delta != nil
}

// newest returns the newest delta and image layers of key that start at or below ceil.
func (m *Map[T]) newest(interval int, key kv.Key, ceil wal.LSN) (delta, image *Item[T]) {
	for i := len(m.recent) - 1; i >= 0; i-- {
		it := &m.recent[i]
		if it.ID.Start() > ceil || !it.ID.Covers(key) {
			continue
		}
		if it.ID.Kind == layer.Delta && delta == nil {
			delta = it
		} else if it.ID.Kind == layer.Image && image == nil {
			image = it
		}
	}
	if delta == nil {
		if i := m.deltas.newest(interval, ceil); i != none {
			delta = &m.items[i]
		}
	}
	if image == nil {
		if i := m.images.newest(interval, ceil); i != none {
			image = &m.items[i]
		}
	}
	return delta, image
}

// All visits the layers in order of Start, until visit returns false.
func (m *Map[T]) All(visit func(it *Item[T]) bool) {
	for _, items := range [2][]Item[T]{m.items, m.recent} {
		for i := range items {
			if !visit(&items[i]) {
				return
			}
		}
	}
}

// Overlapping returns the layers that may have something to say about keys in
// [lo, hi] at or below ceil.
func (m *Map[T]) Overlapping(lo, hi kv.Key, ceil wal.LSN) (layers []T) {
	m.All(func(it *Item[T]) bool {
		if it.ID.Start() > ceil {
			return false
		}
		if !hi.Less(it.ID.KeyLo) && !it.ID.KeyHi.Less(lo) {
			layers = append(layers, it.Layer)
		}
		return true
	})
	return layers
}

// Clipped returns the map's layers as seen from a branch at lsn.
func (m *Map[T]) Clipped(lsn wal.LSN) (items []Item[T]) {
	m.All(func(it *Item[T]) bool {
		if it.ID.Start() > lsn {
			return false
		}
		clipped := *it
		clipped.Clip = min(clipped.Clip, lsn)
		items = append(items, clipped)
		return true
	})
	return items
}

// Len is the number of layers.
func (m *Map[T]) Len() int { return len(m.items) + len(m.recent) }
