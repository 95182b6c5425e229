// Package layermap answers which layers may hold a key at an LSN.
//
// A [Map] is immutable: readers keep one for a batch, writers make the next. It
// is pure: descriptions in, descriptions out.
//
// # How
//
// Take the layers in order of the LSN at which each begins to matter ([layer.ID.Start]).
// After each step there is, for every key, one newest delta layer and one newest
// image layer; keys between two layer boundaries share them. That coverage is a
// B-tree from boundary key to (delta, image), and the B-tree is persistent: a
// step clones it and pays for the nodes that it changes. So a lookup is a binary
// search for the step, then a descent: O(log n) for n layers, however many
// lie above or below. A layer appended on top costs one step; one that belongs
// further down makes the steps above it anew.
//
// Layers of one key may not overlap in LSN, delta with delta; an image layer may
// lie anywhere.
package layermap

import (
	"fmt"
	"slices"
	"sort"

	"github.com/google/btree"

	"github.com/varvedb/varve/lsm/kv"
	"github.com/varvedb/varve/lsm/layer"
	"github.com/varvedb/varve/wal"
)

const btreeDegree = 16

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
	items    []Item[T] // in order of Start, then of arrival
	versions []version
	own      int // versions[own:] are not shared with the map that this one grew from
}

// version is the coverage once all layers that start at or below start are in.
type version struct {
	start    wal.LSN
	coverage *btree.BTreeG[span]
}

// span says which layers are the newest from key on, up to the next span. The
// numbers index Map.items; -1 is none.
type span struct {
	key   kv.Key
	delta int32
	image int32
}

const none = -1

// Build makes the map of the items. It fails if two delta layers overlap.
func Build[T any](items []Item[T]) (*Map[T], error) {
	m := &Map[T]{}
	if err := m.add(items); err != nil {
		return nil, err
	}
	return m, nil
}

// With makes a map that has the added items too.
func (m *Map[T]) With(added ...Item[T]) (*Map[T], error) {
	if len(m.items) > 0 && len(added) > 0 {
		last := m.items[len(m.items)-1].ID.Start()
		if slices.ContainsFunc(added, func(it Item[T]) bool { return it.ID.Start() < last }) {
			return Build(slices.Concat(m.items, added))
		}
	}
	// Appending never writes to what m sees: the slices are cut to their length,
	// and the last tree is cloned before it changes.
	next := &Map[T]{items: slices.Clip(m.items), versions: slices.Clip(m.versions), own: len(m.versions)}
	if err := next.add(added); err != nil {
		return nil, err
	}
	return next, nil
}

// add puts items on top of the map, which nobody else sees yet.
func (m *Map[T]) add(items []Item[T]) error {
	sorted := slices.Clone(items)
	slices.SortStableFunc(sorted, func(a, b Item[T]) int {
		switch {
		case a.ID.Start() < b.ID.Start():
			return -1
		case a.ID.Start() > b.ID.Start():
			return 1
		}
		return 0
	})
	for _, it := range sorted {
		if err := m.push(it); err != nil {
			return err
		}
	}
	return nil
}

func (m *Map[T]) push(it Item[T]) error {
	number := int32(len(m.items))
	m.items = append(m.items, it)
	coverage := m.topFor(it.ID.Start())
	lo, hi := it.ID.KeyLo, it.ID.KeyHi
	m.cut(coverage, lo)
	after, bounded := hi.Next()
	if bounded {
		m.cut(coverage, after)
	}
	var covered []span
	coverage.AscendGreaterOrEqual(span{key: lo}, func(s span) bool {
		if hi.Less(s.key) {
			return false
		}
		covered = append(covered, s)
		return true
	})
	for i := range covered {
		if err := m.cover(&covered[i], number); err != nil {
			return err
		}
		if i > 0 && covered[i].sameLayers(covered[i-1]) {
			coverage.Delete(covered[i])
		} else {
			coverage.ReplaceOrInsert(covered[i])
		}
	}
	return nil
}

// cover makes the item the newest of its kind in the span.
func (m *Map[T]) cover(s *span, number int32) error {
	it := &m.items[number]
	if it.ID.Kind == layer.Image {
		s.image = number
		return nil
	}
	if s.delta != none && m.items[s.delta].hi() > it.ID.LSNLo {
		return fmt.Errorf("delta layers %s and %s overlap", m.items[s.delta].ID.Name(), it.ID.Name())
	}
	s.delta = number
	return nil
}

func (s span) sameLayers(other span) bool { return s.delta == other.delta && s.image == other.image }

// topFor returns a tree for the layers up to start, which may be changed.
func (m *Map[T]) topFor(start wal.LSN) *btree.BTreeG[span] {
	if len(m.versions) == 0 {
		first := btree.NewG(btreeDegree, func(a, b span) bool { return a.key.Less(b.key) })
		first.ReplaceOrInsert(span{delta: none, image: none})
		m.versions = append(m.versions, version{start, first})
		return first
	}
	last := len(m.versions) - 1
	top := m.versions[last]
	if top.start == start && last >= m.own {
		return top.coverage
	}
	next := version{start, top.coverage.Clone()}
	if top.start == start {
		m.versions, m.own = slices.Clip(m.versions[:last]), last
	}
	m.versions = append(m.versions, next)
	return next.coverage
}

// cut makes a span begin at key.
func (m *Map[T]) cut(coverage *btree.BTreeG[span], key kv.Key) {
	s := spanAt(coverage, key)
	if s.key != key {
		s.key = key
		coverage.ReplaceOrInsert(s)
	}
}

func spanAt(coverage *btree.BTreeG[span], key kv.Key) (found span) {
	coverage.DescendLessOrEqual(span{key: key}, func(s span) bool {
		found = s
		return false
	})
	return found
}

// Step is one layer to look into: for versions with LSN in (Floor, Ceil].
type Step[T any] struct {
	Layer T
	Image bool // an image layer of LSN Floor: nothing below it matters
	Floor wal.LSN
	Ceil  wal.LSN
}

// Next returns the next layer to look into for versions of key with LSN at or
// below ceil, newest first; the search goes on with ceil = Step.Floor. ok is
// false if there is no layer.
func (m *Map[T]) Next(key kv.Key, ceil wal.LSN) (step Step[T], ok bool) {
	i := sort.Search(len(m.versions), func(i int) bool { return m.versions[i].start > ceil }) - 1
	if i < 0 {
		return step, false
	}
	s := spanAt(m.versions[i].coverage, key)
	if s.image != none {
		it := &m.items[s.image]
		step = Step[T]{Layer: it.Layer, Image: true, Floor: it.ID.LSNHi, Ceil: ceil}
	}
	if s.delta != none {
		it := &m.items[s.delta]
		if top := min(ceil, it.hi()); s.image == none || top > step.Floor {
			step = Step[T]{Layer: it.Layer, Floor: max(step.Floor, it.ID.LSNLo), Ceil: top}
		}
	}
	return step, s.image != none || s.delta != none
}

// Overlapping returns the layers that may have something to say about keys in
// [lo, hi] at or below ceil.
func (m *Map[T]) Overlapping(lo, hi kv.Key, ceil wal.LSN) (layers []T) {
	for i := range m.items {
		it := &m.items[i]
		if it.ID.Start() > ceil {
			break
		}
		if !hi.Less(it.ID.KeyLo) && !it.ID.KeyHi.Less(lo) {
			layers = append(layers, it.Layer)
		}
	}
	return layers
}

// Clipped returns the map's layers as seen from a branch at lsn.
func (m *Map[T]) Clipped(lsn wal.LSN) (items []Item[T]) {
	for _, it := range m.items {
		if it.ID.Start() > lsn {
			break
		}
		it.Clip = min(it.Clip, lsn)
		items = append(items, it)
	}
	return items
}

// Len is the number of layers.
func (m *Map[T]) Len() int { return len(m.items) }
