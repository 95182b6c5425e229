package layermap_test

import (
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/varvedb/varve/lsm/kv"
	"github.com/varvedb/varve/lsm/layer"
	"github.com/varvedb/varve/lsm/layermap"
	"github.com/varvedb/varve/wal"
)

func key(n int) (k kv.Key) {
	if n < 0 {
		return kv.MaxKey
	}
	binary.BigEndian.PutUint64(k[10:], uint64(n))
	return k
}

// twin looks at every layer, every time.
type twin []layermap.Item[int]

func (w twin) next(k kv.Key, ceil wal.LSN) (step layermap.Step[int], ok bool) {
	var image, delta *layermap.Item[int]
	for i := range w {
		it := &w[i]
		switch {
		case it.ID.Start() > ceil || !it.ID.Covers(k):
		case it.ID.Kind == layer.Image && (image == nil || it.ID.LSNHi >= image.ID.LSNHi):
			image = it
		case it.ID.Kind == layer.Delta && (delta == nil || it.ID.LSNLo > delta.ID.LSNLo):
			delta = it
		}
	}
	if image == nil && delta == nil {
		return step, false
	}
	if delta == nil || image != nil && image.ID.LSNHi >= min(ceil, delta.ID.LSNHi, delta.Clip) {
		return layermap.Step[int]{Layer: image.Layer, Image: true, Floor: image.ID.LSNHi, Ceil: ceil}, true
	}
	step = layermap.Step[int]{Layer: delta.Layer, Floor: delta.ID.LSNLo, Ceil: min(ceil, delta.ID.LSNHi, delta.Clip)}
	if image != nil {
		step.Floor = max(step.Floor, image.ID.LSNHi)
	}
	return step, true
}

func (w twin) overlaps(it layermap.Item[int]) bool {
	for _, other := range w {
		if it.ID.Kind == layer.Delta && other.ID.Kind == layer.Delta &&
			!it.ID.KeyHi.Less(other.ID.KeyLo) && !other.ID.KeyHi.Less(it.ID.KeyLo) &&
			it.ID.LSNLo < min(other.ID.LSNHi, other.Clip) && other.ID.LSNLo < min(it.ID.LSNHi, it.Clip) {
			return true
		}
	}
	return false
}

func drawItem(t *rapid.T, handle int) layermap.Item[int] {
	lo, lsn := rapid.IntRange(0, 12).Draw(t, "key lo"), wal.LSN(rapid.IntRange(1, 40).Draw(t, "lsn"))
	it := layermap.Item[int]{Layer: handle, Clip: ^wal.LSN(0)}
	it.ID = layer.ID{Kind: layer.Delta, KeyLo: key(lo), KeyHi: key(lo + rapid.IntRange(0, 6).Draw(t, "keys")), LSNLo: lsn}
	if rapid.IntRange(0, 5).Draw(t, "to the last key") == 0 {
		it.ID.KeyHi = kv.MaxKey
	}
	if rapid.Bool().Draw(t, "image") {
		it.ID.Kind, it.ID.LSNHi = layer.Image, lsn
		return it
	}
	it.ID.LSNHi = lsn + wal.LSN(rapid.IntRange(1, 8).Draw(t, "lsns"))
	if rapid.IntRange(0, 3).Draw(t, "clipped") == 0 {
		it.Clip = lsn + 1
	}
	return it
}

func TestMapAgreesWithItsTwin(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m, model := &layermap.Map[int]{}, twin{}
		type past struct {
			m     *layermap.Map[int]
			model twin
		}
		var history []past
		for range rapid.IntRange(1, 8).Draw(t, "steps") {
			history = append(history, past{m, model})
			var added []layermap.Item[int]
			for range rapid.IntRange(1, 4).Draw(t, "added") {
				it := drawItem(t, len(model))
				if model.overlaps(it) {
					_, err := m.With(append(added, it)...)
					require.ErrorContains(t, err, "overlap")
					continue
				}
				added, model = append(added, it), append(model[:len(model):len(model)], it)
			}
			var err error
			m, err = m.With(added...)
			require.NoError(t, err)
		}
		// Every map ever made still answers as it did.
		for _, p := range append(history, past{m, model}) {
			require.Equal(t, len(p.model), p.m.Len())
			for _, n := range []int{0, 1, 3, 6, 9, 13, 18, -1} {
				for ceil := range wal.LSN(52) {
					want, wantOK := p.model.next(key(n), ceil)
					got, ok := p.m.Next(p.m.Locate(key(n), max(n, 0)%2), key(n), ceil)
					require.Equal(t, wantOK, ok)
					if want.Image {
						// Of two image layers at one LSN either may answer.
						require.True(t, p.model[got.Layer].ID.Covers(key(n)))
						got.Layer = want.Layer
					}
					require.Equal(t, want, got, "key %d at %d", n, ceil)
				}
			}
		}
	})
}

func TestOverlappingNamesEveryLayerThatMatters(t *testing.T) {
	item := func(handle, lo, hi int, lsnLo, lsnHi wal.LSN) layermap.Item[int] {
		return layermap.Item[int]{Layer: handle, Clip: ^wal.LSN(0), ID: layer.ID{Kind: layer.Delta, KeyLo: key(lo), KeyHi: key(hi), LSNLo: lsnLo, LSNHi: lsnHi}}
	}
	m, err := layermap.Build([]layermap.Item[int]{item(3, 0, 9, 30, 40), item(1, 0, 4, 10, 20), item(2, 5, 9, 10, 20)})
	require.NoError(t, err)
	require.Equal(t, []int{1, 2, 3}, m.Overlapping(key(0), key(9), 31))
	require.Equal(t, []int{1, 2}, m.Overlapping(key(4), key(5), 30))
	require.Equal(t, []int{2}, m.Overlapping(key(5), key(5), 11))
	require.Empty(t, m.Overlapping(key(0), key(9), 10))
}

// manyLayers has the shape of a store after compaction: rows of key partitions
// with layers across all keys on top.
func manyLayers(n int) (items []layermap.Item[int]) {
	const partitions = 100
	lsn := wal.LSN(1)
	for len(items) < n {
		if len(items)/partitions%2 == 0 {
			for p := range partitions {
				items = append(items, layermap.Item[int]{Layer: len(items), Clip: ^wal.LSN(0),
					ID: layer.ID{Kind: layer.Delta, KeyLo: key(p * 1000), KeyHi: key(p*1000 + 999), LSNLo: lsn, LSNHi: lsn + 10}})
			}
		} else {
			for range partitions {
				items = append(items, layermap.Item[int]{Layer: len(items), Clip: ^wal.LSN(0),
					ID: layer.ID{Kind: layer.Delta, KeyHi: key(100_000), LSNLo: lsn, LSNHi: lsn + 10}})
				lsn += 10
			}
			lsn -= 10
		}
		lsn += 10
	}
	return items
}

func BenchmarkNext(b *testing.B) {
	for _, n := range []int{100, 1000, 27_000} {
		b.Run(fmt.Sprintf("layers=%d", n), func(b *testing.B) {
			items := manyLayers(n)
			m, err := layermap.Build(items)
			require.NoError(b, err)
			top := items[len(items)-1].ID.LSNHi
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				i++
				k := key(i * 7919 % 100_000)
				m.Next(m.Locate(k, 0), k, wal.LSN(i*104729)%top+1)
			}
		})
	}
}

// BenchmarkNextOfBatch looks up the pages of sorted batches of 32.
func BenchmarkNextOfBatch(b *testing.B) {
	items := manyLayers(27_000)
	m, err := layermap.Build(items)
	require.NoError(b, err)
	top := items[len(items)-1].ID.LSNHi
	b.ReportAllocs()
	i, at := 0, 0
	for b.Loop() {
		i++
		k := key((i/32*7919 + i%32) % 100_000)
		at = m.Locate(k, at)
		m.Next(at, k, top)
	}
}

// BenchmarkBuild makes the map anew, as after a merge, and appends to it, as after a
// flush.
func BenchmarkBuild(b *testing.B) {
	items := manyLayers(27_000)
	b.Run("anew", func(b *testing.B) {
		for b.Loop() {
			if _, err := layermap.Build(items); err != nil {
				b.Fatal(err)
			}
		}
	})
	last := len(items) - 1
	m, err := layermap.Build(items[:last])
	require.NoError(b, err)
	b.Run("append", func(b *testing.B) {
		for b.Loop() {
			if _, err := m.With(items[last]); err != nil {
				b.Fatal(err)
			}
		}
	})
}
