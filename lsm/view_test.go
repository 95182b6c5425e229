package lsm

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/lsm/layer"
	"github.com/varvedb/varve/lsm/layermap"
	"github.com/varvedb/varve/lsm/manifest"
	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/env"
)

// family is a store of a parent with layers, and branches of it with some of their own.
func family(t testing.TB, layers, branches int) (s *Store, parent *node) {
	s = &Store{env: env.Env{Trace: onCover(func(string) {})}, nodes: map[wal.TimelineID]*node{}, blocks: layer.NewCache(1), tails: layer.NewCache(1)}
	add := func(id byte, parent *node, x *manifest.Index) *node {
		n := &node{id: wal.TimelineID{id}, parent: parent, state: &nodeState{}}
		s.nodes[n.id] = n
		if parent != nil {
			parent.children = append(parent.children, n)
		}
		require.NoError(t, s.takeIndex(n, x))
		return n
	}
	parent = add(1, nil, parentOf(layers, 1))
	for i := range branches {
		id := wal.TimelineID{byte(2 + i)}
		at := wal.LSN(50 + i)
		x := &manifest.Index{Head: manifest.Head{Timeline: id, Parent: parent.id, BranchLSN: at, Start: at, Durable: 300}}
		x.Layers = []layer.Desc{descOf(id, 0, 1<<40, at, 200, 1), descOf(id, 0, 1<<40, 200, 300, 2)}
		add(id[0], parent, x)
	}
	return s, parent
}

// parentOf is an index of layers that lie side by side, two above one another.
func parentOf(layers int, number uint32) *manifest.Index {
	id := wal.TimelineID{1}
	x := &manifest.Index{Head: manifest.Head{Timeline: id, Start: 10, Durable: 150}}
	for i := range layers / 2 {
		lo := uint64(i) << 16
		x.Layers = append(x.Layers, descOf(id, lo, lo+0xffff, 10, 40, number), descOf(id, lo, lo+0xffff, 40, 150, number))
	}
	return x
}

func descOf(id wal.TimelineID, keyLo, keyHi uint64, lo, hi wal.LSN, number uint32) layer.Desc {
	d := layer.Desc{ID: layer.ID{Timeline: id, Kind: layer.Delta, LSNLo: lo, LSNHi: hi, Generation: 1, Number: number}, Size: 100}
	binary.BigEndian.PutUint64(d.KeyLo[10:], keyLo)
	binary.BigEndian.PutUint64(d.KeyHi[10:], keyHi)
	return d
}

// TestAParentsMergeMakesNoMapOfItsBranches: each makes its own when it is read, which is the
// map that it would have had.
func TestAParentsMergeMakesNoMapOfItsBranches(t *testing.T) {
	const branches = 64
	s, parent := family(t, 20, branches)
	grandchild := &node{id: wal.TimelineID{100}, parent: parent.children[0], state: &nodeState{}}
	grandchild.parent.children = []*node{grandchild}
	x := &manifest.Index{Head: manifest.Head{Timeline: grandchild.id, Parent: grandchild.parent.id, BranchLSN: 120, Start: 120, Durable: 200}}
	x.Layers = []layer.Desc{descOf(grandchild.id, 0, 9, 120, 200, 1)}
	require.NoError(t, s.takeIndex(grandchild, x))

	require.NoError(t, s.takeIndex(parent, parentOf(20, 2)))
	below := append(slices.Clone(parent.children), grandchild)
	require.Len(t, below, branches+1)
	for _, n := range below {
		require.Nil(t, n.flat.built.Load())
		require.Same(t, n.flat, n.state.view.Load().layers)
	}
	got := map[*node][]flatItem{}
	for _, n := range slices.Backward(below) {
		got[n] = itemsOf(n.flat.get())
	}
	for _, n := range below {
		items := n.parent.flat.get().Clipped(n.index.BranchLSN)
		for _, r := range n.readers {
			items = append(items, itemOf(r))
		}
		flat, err := layermap.Build(items)
		require.NoError(t, err)
		require.NotEmpty(t, got[n])
		require.Equal(t, itemsOf(flat), got[n])
	}
	require.Len(t, got[grandchild], 20+1+1, "its parent's and its grandparent's below the branch points, and its own")
}

// TestABranchThatHasLeftInheritsNothing: its former parent still has it for a child.
func TestABranchThatHasLeftInheritsNothing(t *testing.T) {
	s, parent := family(t, 20, 1)
	left := parent.children[0]
	x := *left.index
	x.Parent, x.BranchLSN = wal.TimelineID{}, 0
	d, err := s.draw(left, &x)
	require.NoError(t, err)
	left.parent = nil
	s.setIndex(left, &x, d)
	before := left.flat
	require.NoError(t, s.takeIndex(parent, parentOf(20, 2)))
	require.Same(t, before, left.flat)
	require.Len(t, itemsOf(left.flat.get()), 2)
}

func itemsOf(flat *flatMap) (items []flatItem) {
	flat.All(func(it *flatItem) bool {
		items = append(items, *it)
		return true
	})
	return items
}

// BenchmarkParentsMerge is what all others of the store wait for when a parent has merged.
func BenchmarkParentsMerge(b *testing.B) {
	for _, layers := range []int{100, 1000, 7000} {
		for _, branches := range []int{0, 64} {
			b.Run(fmt.Sprintf("layers=%d/branches=%d", layers, branches), func(b *testing.B) {
				s, parent := family(b, layers, branches)
				b.ReportAllocs()
				b.ResetTimer()
				for i := range b.N {
					b.StopTimer()
					x := parentOf(layers, uint32(2+i))
					d, err := s.draw(parent, x)
					if err != nil {
						b.Fatal(err)
					}
					b.StartTimer()
					s.setIndex(parent, x, d)
				}
			})
		}
	}
}

// onCover is a trace that is called at places that are rare.
type onCover func(label string)

func (onCover) Event(string, ...any)          {}
func (f onCover) Cover(label string)          { f(label) }
func (onCover) Yield(context.Context, string) {}

// TestAFallenAncestorIsNotReady: an index that landed unheard was read, and then the one that
// replaced it, by whose layers less is durable. At no moment is there a view without the
// layers that went and with the word that all is there.
func TestAFallenAncestorIsNotReady(t *testing.T) {
	for name, show := range map[string]func(s *Store, parent *node, x *manifest.Index) error{
		"read again": func(s *Store, parent *node, x *manifest.Index) error { return s.takeIndex(parent, x) },
		"attached": func(s *Store, parent *node, x *manifest.Index) error {
			return s.install(&Timeline{store: s, node: parent}, x)
		},
	} {
		t.Run(name, func(t *testing.T) {
			s, parent := family(t, 4, 1)
			child := parent.children[0]
			v, ready := child.state.settledView()
			require.True(t, ready)
			require.NoError(t, v.checkAncestors(50))
			seen := 0
			s.env.Clock = stillClock{}
			s.env.Trace = onCover(func(label string) {
				seen++
				v, ready := child.state.settledView()
				require.False(t, ready, label)
				require.ErrorIs(t, v.checkAncestors(50), ErrAncestorNotReady)
				require.NoError(t, v.checkAncestors(40))
			})
			x := parentOf(4, 1)
			x.Durable = 40
			x.Layers = slices.DeleteFunc(x.Layers, func(d layer.Desc) bool { return d.LSNHi > 40 })
			require.NoError(t, show(s, parent, x))
			require.Equal(t, 1, seen)
			_, ready = child.state.settledView()
			require.False(t, ready)
		})
	}
}

type stillClock struct{}

func (stillClock) Now() time.Duration                         { return 0 }
func (stillClock) Wall() time.Time                            { return time.Time{} }
func (stillClock) Sleep(context.Context, time.Duration) error { return nil }

// TestAnIndexIsShownWithItsMap: whoever shows an index has its map already, and where a parent's
// has changed since, one is left to be made by who reads.
func TestAnIndexIsShownWithItsMap(t *testing.T) {
	s, parent := family(t, 20, 1)
	child := parent.children[0]
	x := *child.index
	x.Layers = append(slices.Clone(x.Layers), descOf(child.id, 0, 1<<40, 300, 400, 3))
	d, err := s.draw(child, &x)
	require.NoError(t, err)
	require.NotNil(t, d.flat.built.Load())
	require.NoError(t, s.takeIndex(parent, parentOf(20, 2)))
	s.setIndex(child, &x, d)
	require.Nil(t, child.flat.built.Load(), "that of its parent's former layers is of no use")
	for _, it := range itemsOf(child.flat.get()) {
		require.Contains(t, []uint32{2, 1, 3}, it.ID.Number)
		require.False(t, it.ID.Timeline == parent.id && it.ID.Number == 1, "a layer of before the merge")
	}
	newest := descOf(child.id, 0, 1<<40, 400, 500, 5)
	more, err := s.drawMore(child, &manifest.Index{Head: x.Head, Layers: append(slices.Clone(x.Layers), newest)}, &newest)
	require.NoError(t, err)
	require.NotNil(t, more.flat.built.Load())

	before := child.flat
	again, err := s.draw(child, &x)
	require.NoError(t, err)
	require.True(t, again.same, "a lease changes no layer")
	s.setIndex(child, &x, again)
	require.Same(t, before, child.flat)

	x.Layers = append(slices.Clone(x.Layers), descOf(child.id, 0, 1<<40, 350, 450, 4))
	_, err = s.draw(child, &x)
	require.ErrorContains(t, err, "overlap")
}
