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
// slices of a few arrays, so that 27,000 layers take less than a megabyte, which stays in
// a processor's cache, and no search has a branch that depends on what it finds. A
// persistent tree of google/btree, one version a layer, took a hundred times that, and a
// lookup in it ten times as long.
//
// A layer that is newer than all others is appended to a short list that is searched
// first; when that is full, or a layer belongs further down, the map is made anew.
//
// Layers of one key may not overlap in LSN, delta with delta; an image layer may
// lie anywhere.
package layermap

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"math/bits"
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
	slots  []slot[T] // what a lookup needs of items
	recent []Item[T] // the same, above all items
	top    wal.LSN   // no delta layer lies above it
	bounds []bound
	deltas tree
	images tree
}

// slot is the part of an Item that lookups touch: of a tenth of the size, so that more
// of them stay in a processor's cache.
type slot[T any] struct {
	hi    wal.LSN
	layer T
}

// bound is a key as three numbers that are in order as the keys are: compared without
// a branch.
type bound [3]uint64

func boundOf(k kv.Key) bound {
	return bound{binary.BigEndian.Uint64(k[0:]), binary.BigEndian.Uint64(k[8:]), uint64(binary.BigEndian.Uint16(k[16:]))}
}

// above is 1 if b lies above other, else 0.
func (b *bound) above(other *bound) uint64 {
	_, borrow := bits.Sub64(other[2], b[2], 0)
	_, borrow = bits.Sub64(other[1], b[1], borrow)
	_, borrow = bits.Sub64(other[0], b[0], borrow)
	return borrow
}

// Build makes the map of the items. It fails if two delta layers overlap.
func Build[T any](items []Item[T]) (*Map[T], error) {
	m := &Map[T]{items: slices.Clone(items)}
	slices.SortStableFunc(m.items, func(a, b Item[T]) int { return cmp.Compare(a.ID.Start(), b.ID.Start()) })
	m.bounds = make([]bound, 1, 2*len(items)+1)
	m.slots = make([]slot[T], len(items))
	for i := range m.items {
		it := &m.items[i]
		m.slots[i] = slot[T]{it.hi(), it.Layer}
		m.bounds = append(m.bounds, boundOf(it.ID.KeyLo))
		if after, bounded := it.ID.KeyHi.Next(); bounded {
			m.bounds = append(m.bounds, boundOf(after))
		}
	}
	slices.SortFunc(m.bounds, func(a, b bound) int { return int(a.above(&b)) - int(b.above(&a)) })
	m.bounds = slices.Clip(slices.Compact(m.bounds))
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
	k, at := boundOf(key), 0
	if hint < len(m.bounds) && m.bounds[hint].above(&k) == 0 {
		if at = hint; at+1 == len(m.bounds) || m.bounds[at+1].above(&k) == 1 {
			return at
		}
	}
	for n := len(m.bounds) - at; n > 1; {
		half := n >> 1
		at += half & (int(m.bounds[at+half].above(&k)) - 1)
		n -= half
	}
	return at
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
	var delta, image piece[T]
	if len(m.recent) > 0 {
		delta, image = m.newestRecent(key, ceil)
	}
	if !delta.found {
		if i, start := m.deltas.newest(interval, ceil); i != none {
			delta = piece[T]{true, start - 1, m.slots[i]}
		}
	}
	if !image.found {
		if i, start := m.images.newest(interval, ceil); i != none {
			image = piece[T]{true, start, m.slots[i]}
		}
	}
	if image.found {
		step = Step[T]{Layer: image.layer, Image: true, Floor: image.lo, Ceil: ceil}
	}
	if delta.found {
		if top := min(ceil, delta.hi); !image.found || top > step.Floor {
			step = Step[T]{Layer: delta.layer, Floor: max(step.Floor, delta.lo), Ceil: top}
		}
	}
	return step, image.found || delta.found
}

// piece is what may be seen of a layer: what lies in (lo, hi], or, of an image layer, at
// lo.
type piece[T any] struct {
	found bool
	lo    wal.LSN
	slot[T]
}

// newestRecent returns the newest of the recent delta and image layers of key that start
// at or below ceil.
func (m *Map[T]) newestRecent(key kv.Key, ceil wal.LSN) (delta, image piece[T]) {
	for i := len(m.recent) - 1; i >= 0; i-- {
		it := &m.recent[i]
		if it.ID.Start() > ceil || !it.ID.Covers(key) {
			continue
		}
		of := &delta
		if it.ID.Kind == layer.Image {
			of = &image
		}
		if !of.found {
			*of = piece[T]{true, it.ID.LSNLo, slot[T]{it.hi(), it.Layer}}
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
