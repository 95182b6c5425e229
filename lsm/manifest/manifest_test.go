package manifest_test

import (
	"encoding/hex"
	"flag"
	"os"
	"slices"
	"testing"

	"github.com/google/btree"
	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/lsm/kv"
	"github.com/varvedb/varve/lsm/layer"
	"github.com/varvedb/varve/lsm/manifest"
	"github.com/varvedb/varve/wal"
)

var rewrite = flag.Bool("rewrite", false, "write golden files anew")

func sample() *manifest.Index {
	desc := func(kind layer.Kind, lo, hi wal.LSN) layer.Desc {
		return layer.Desc{
			ID:    layer.ID{Timeline: wal.TimelineID{1}, Kind: kind, KeyLo: kv.Key{1}, KeyHi: kv.Key{2}, LSNLo: lo, LSNHi: hi, Generation: 3, Number: 6},
			Level: 1, Size: 4096, CRC: 0xabcdef, IndexOffset: 3000, IndexSize: 1044, FilterSize: 80, Versions: 17, Keys: 4,
		}
	}
	return &manifest.Index{
		Head: manifest.Head{
			Timeline: wal.TimelineID{1}, Parent: wal.TimelineID{2}, BranchLSN: 0x10, Start: 0x10, Durable: 0x40, Cutoff: 0x12,
			Generation: 4, Writer: manifest.WriterID{9, 9}, Sequence: 5, PinsGone: true,
		},
		Meta:   []byte("meta"),
		Layers: []layer.Desc{desc(layer.Image, 0x20, 0x20), desc(layer.Delta, 0x10, 0x30)},
		Dead:   []layer.ID{desc(layer.Delta, 0x10, 0x20).ID},
		Leases: []manifest.Lease{{ID: manifest.LeaseID{1}, LSN: 0x13, End: 1000}, {ID: manifest.LeaseID{2}, LSN: 0x11, End: 2000}},
		Marks:  []manifest.Mark{{Time: 500, LSN: 0x20}, {Time: 600, LSN: 0x30}},
		Pins:   []wal.LSN{0x10, 0x11},
	}
}

func TestRoundTripAndGoldenBytes(t *testing.T) {
	data := sample().AppendTo(nil)
	decoded, err := manifest.Decode("index", data)
	require.NoError(t, err)
	require.Equal(t, sample(), decoded)
	head, err := manifest.DecodeHead("index", data[:manifest.HeadSize])
	require.NoError(t, err)
	require.Equal(t, sample().Head, *head)

	dump := []byte(hex.Dump(data))
	if *rewrite {
		require.NoError(t, os.WriteFile("testdata/index.hex", dump, 0o644))
	}
	golden, err := os.ReadFile("testdata/index.hex")
	require.NoError(t, err)
	require.Equal(t, string(golden), string(dump), "the format of version 6 may not change")
}

func TestEveryFlippedByteIsNoticed(t *testing.T) {
	data := sample().AppendTo(nil)
	for at := range data {
		bad := slices.Clone(data)
		bad[at] ^= 0x10
		_, err := manifest.Decode("tenants/t/index", bad)
		require.ErrorIs(t, err, wal.ErrCorruption, "byte %d", at)
		require.ErrorContains(t, err, "corruption in tenants/t/index at offset ")
		_, err = manifest.Decode("index", data[:at])
		require.ErrorIs(t, err, wal.ErrCorruption, "first %d bytes", at)
		if at < manifest.HeadSize {
			_, err = manifest.DecodeHead("tenants/t/index", bad[:manifest.HeadSize])
			require.ErrorIs(t, err, wal.ErrCorruption, "byte %d of the head", at)
			require.ErrorContains(t, err, "corruption in tenants/t/index at offset ")
			_, err = manifest.DecodeHead("index", data[:at])
			require.ErrorIs(t, err, wal.ErrCorruption, "first %d bytes of the head", at)
		}
	}
}

// resum gives bytes that were changed on purpose a good checksum.
func resum(data []byte) []byte {
	end := len(data) - 4
	sum := layer.Checksum(data[:end])
	return append(data[:end], byte(sum), byte(sum>>8), byte(sum>>16), byte(sum>>24))
}

// resumHead does so with the head, and with the object as a whole.
func resumHead(data []byte) []byte {
	resum(data[:manifest.HeadSize:manifest.HeadSize])
	return resum(data)
}

func TestUnknownVersionIsRefusedByName(t *testing.T) {
	data := sample().AppendTo(nil)
	data[8] = 5
	for _, other := range [][]byte{data, data[:100]} { // whatever its head is
		_, err := manifest.Decode("index", resum(other))
		require.EqualError(t, err, "index index has format version 5; this program knows version 6")
	}
	_, err := manifest.DecodeHead("index", resum(data[:manifest.HeadSize]))
	require.EqualError(t, err, "index index has format version 5; this program knows version 6")
}

func TestImpossibleIndexIsRefused(t *testing.T) {
	for name, change := range map[string]func(*manifest.Index){
		"no id":                func(x *manifest.Index) { x.Timeline = wal.TimelineID{} },
		"own parent":           func(x *manifest.Index) { x.Parent = x.Timeline },
		"root with branch LSN": func(x *manifest.Index) { x.Parent = wal.TimelineID{} },
		"durable below start":  func(x *manifest.Index) { x.Start, x.BranchLSN = 0x50, 0x50 },
		"layer above durable":  func(x *manifest.Index) { x.Durable = 0x2f },
		"layers out of order":  func(x *manifest.Index) { slices.Reverse(x.Layers) },
		"same layer twice":     func(x *manifest.Index) { x.Layers[1] = x.Layers[0] },
		"foreign layer":        func(x *manifest.Index) { x.Layers[0].Timeline = wal.TimelineID{7} },
		"large meta":           func(x *manifest.Index) { x.Meta = make([]byte, manifest.MetaBytesMax+1) },
		"unknown level":        func(x *manifest.Index) { x.Layers[0].Level = 3 },
		"a dead layer lives":   func(x *manifest.Index) { x.Dead[0] = x.Layers[1].ID },
		"foreign dead layer":   func(x *manifest.Index) { x.Dead[0].Timeline = wal.TimelineID{7} },
		"leases out of order":  func(x *manifest.Index) { slices.Reverse(x.Leases) },
		"marks out of order":   func(x *manifest.Index) { slices.Reverse(x.Marks) },
		"pins out of order":    func(x *manifest.Index) { slices.Reverse(x.Pins) },
		"too many leases":      func(x *manifest.Index) { x.Leases = make([]manifest.Lease, manifest.LeasesMax+1) },
		"no filter":            func(x *manifest.Index) { x.Layers[0].FilterSize = 0 },
		"unknown state":        func(x *manifest.Index) { x.State = manifest.Doomed + 1 },
		"index past the end":   func(x *manifest.Index) { x.Layers[0].IndexSize = 2000 },
	} {
		x := sample()
		change(x)
		require.Error(t, x.Validate(), name)
		require.Panics(t, func() { x.AppendTo(nil) }, name)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(sample().AppendTo(nil))
	small := sample()
	small.Layers, small.Meta = nil, nil
	f.Add(small.AppendTo(nil))
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) < manifest.HeadSize+4 {
			return
		}
		data = resumHead(slices.Clone(data))
		head, headErr := manifest.DecodeHead("index", data[:manifest.HeadSize])
		x, err := manifest.Decode("index", data)
		if err == nil {
			require.NoError(t, headErr)
			require.Equal(t, x.Head, *head)
			require.Equal(t, data, x.AppendTo(nil))
		}
		if headErr == nil {
			whole := manifest.Index{Head: *head}
			require.Equal(t, data[:104], whole.AppendTo(nil)[:104], "but for the sizes of what follows")
		}
	})
}

// BenchmarkOneLayerMore is what it costs to have the index of many layers with one more, kept
// as a sorted slice and as a B-tree, up to the object's bytes.
func BenchmarkOneLayerMore(b *testing.B) {
	const layers = 27_000
	x := &manifest.Index{Head: manifest.Head{Timeline: wal.TimelineID{1}, Durable: 1, Generation: 1}}
	tree := btree.NewG(32, func(a, b layer.Desc) bool { return manifest.Compare(a, b) < 0 })
	for i := range layers {
		key := kv.Key{byte(i >> 8), byte(i)}
		x.Layers = append(x.Layers, layer.Desc{ID: layer.ID{Timeline: wal.TimelineID{1}, Kind: layer.Delta, KeyLo: key, KeyHi: key, LSNHi: 1, Generation: 1, Number: uint32(i)}, Size: 4096, IndexOffset: 3000, IndexSize: 900, FilterSize: 80, Versions: 17, Keys: 4})
		tree.ReplaceOrInsert(x.Layers[i])
	}
	more := x.Layers[layers/2]
	more.Number = layers
	b.Run("slice", func(b *testing.B) {
		for b.Loop() {
			next := *x
			at, _ := slices.BinarySearchFunc(x.Layers, more, manifest.Compare)
			next.Layers = slices.Insert(slices.Clone(x.Layers), at, more)
		}
	})
	b.Run("btree", func(b *testing.B) {
		for b.Loop() {
			next := tree.Clone()
			next.ReplaceOrInsert(more)
		}
	})
	b.Run("btree in order", func(b *testing.B) {
		ordered := make([]layer.Desc, 0, layers)
		for b.Loop() {
			ordered = ordered[:0]
			tree.Ascend(func(d layer.Desc) bool {
				ordered = append(ordered, d)
				return true
			})
		}
	})
	b.Run("encode", func(b *testing.B) {
		for b.Loop() {
			x.AppendTo(nil)
		}
	})
}
