package layer_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"math/rand"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/varvedb/varve/lsm/kv"
	"github.com/varvedb/varve/lsm/layer"
	"github.com/varvedb/varve/wal"
)

var rewrite = flag.Bool("rewrite", false, "write golden files anew")

func key(n int) (k kv.Key) {
	binary.BigEndian.PutUint64(k[10:], uint64(n))
	return k
}

// file is a layer file in memory that counts what is read of it.
type file struct {
	data  []byte
	reads int
	bytes int
}

func (f *file) ReadRange(_ context.Context, off int64, size int, sound func([]byte) error) ([]byte, error) {
	f.reads++
	f.bytes += size
	data := slices.Clone(f.data[off : off+int64(size)])
	return data, sound(data)
}

func deltaID() layer.ID {
	return layer.ID{Timeline: wal.TimelineID{1, 2, 3}, Kind: layer.Delta, LSNLo: 0x100, LSNHi: 0x1000, Generation: 7, Number: 5}
}

func imageID() layer.ID {
	return layer.ID{Timeline: wal.TimelineID{1, 2, 3}, Kind: layer.Image, LSNLo: 0x100, LSNHi: 0x100, Generation: 7}
}

func build(id layer.ID, blockBytes int, versions []kv.Version) (layer.Desc, []byte) {
	b := layer.NewBuilder(id, blockBytes)
	for _, v := range versions {
		b.Add(&v)
	}
	return b.Finish()
}

// drawVersions draws sorted versions that fit a layer.
func drawVersions(t *rapid.T, kind layer.Kind) []kv.Version {
	var versions []kv.Version
	for range rapid.IntRange(1, 60).Draw(t, "count") {
		v := kv.Version{Key: key(rapid.IntRange(0, 8).Draw(t, "key")), Kind: kv.Image}
		if kind == layer.Delta {
			v.LSN = wal.LSN(rapid.IntRange(0x101, 0x1000).Draw(t, "lsn"))
			if rapid.IntRange(0, 9).Draw(t, "kind") > 0 {
				v.Kind = kv.Delta
			} else if rapid.Bool().Draw(t, "tombstone") {
				v.Kind = kv.Tombstone
			}
		} else {
			v.Key = key(rapid.IntRange(0, 200).Draw(t, "wide key"))
			v.LSN = wal.LSN(rapid.IntRange(1, 0x100).Draw(t, "lsn"))
		}
		if v.Kind != kv.Tombstone {
			v.Value = rapid.SliceOfN(rapid.Byte(), 1, 200).Draw(t, "value")
			if rapid.Bool().Draw(t, "compressible") {
				v.Value = slices.Repeat(v.Value[:1], 500)
			}
		}
		versions = append(versions, v)
	}
	slices.SortFunc(versions, kv.Version.Compare)
	return slices.CompactFunc(versions, func(a, b kv.Version) bool {
		return a.Key == b.Key && (a.LSN == b.LSN || kind == layer.Image)
	})
}

func naiveWalk(versions []kv.Version, k kv.Key, ceil, floor wal.LSN) (found []kv.Version, done bool) {
	for _, v := range slices.Backward(versions) {
		if v.Key != k || v.LSN > ceil || v.LSN <= floor {
			continue
		}
		found = append(found, v)
		if v.Kind != kv.Delta {
			return found, true
		}
	}
	return found, false
}

func naiveKeys(versions []kv.Version, lo, hi kv.Key, limit int) []kv.Key {
	found := []kv.Key{}
	for _, v := range versions {
		if !v.Key.Less(lo) && !hi.Less(v.Key) && !slices.Contains(found, v.Key) && len(found) < limit {
			found = append(found, v.Key)
		}
	}
	return found
}

func TestReaderAgreesWithItsTwin(t *testing.T) {
	for _, id := range []layer.ID{deltaID(), imageID()} {
		t.Run(id.Kind.String(), func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) { checkReader(t, id) })
		})
	}
}

func checkReader(t *rapid.T, id layer.ID) {
	ctx := context.Background()
	versions := drawVersions(t, id.Kind)
	desc, data := build(id, rapid.IntRange(64, 2000).Draw(t, "block bytes"), versions)
	var all []kv.Version
	checked, err := layer.Check("layer", data, func(v kv.Version) error { all = append(all, v); return nil })
	require.NoError(t, err)
	require.Equal(t, desc, checked)
	require.Equal(t, versions, all)

	from, merged := key(rapid.IntRange(0, 201).Draw(t, "from")), []kv.Version(nil)
	cursor, err := layer.NewReader(desc, "layer", &file{data: data}, layer.NewCache(0), layer.NewCache(0)).Cursor(ctx, from)
	require.NoError(t, err)
	for ; !cursor.Done(); require.NoError(t, cursor.Next(ctx)) {
		merged = append(merged, cursor.Version())
	}
	first, _ := slices.BinarySearchFunc(versions, from, func(v kv.Version, k kv.Key) int { return v.Key.Compare(k) })
	require.Equal(t, versions[first:], append([]kv.Version{}, merged...))

	cache := layer.NewCache(rapid.Int64Range(0, 40_000).Draw(t, "cache bytes"))
	r := layer.NewReader(desc, "layer", &file{data: data}, cache, cache)
	for range 30 {
		k := key(rapid.IntRange(0, 9).Draw(t, "key"))
		if id.Kind == layer.Image {
			k = key(rapid.IntRange(0, 201).Draw(t, "wide key"))
		}
		ceil := wal.LSN(rapid.IntRange(0x100, 0x1001).Draw(t, "ceil"))
		floor := wal.LSN(rapid.IntRange(0, int(ceil)).Draw(t, "floor"))
		want, wantDone := naiveWalk(versions, k, ceil, floor)
		got, done, err := r.Walk(ctx, k, ceil, floor, nil)
		require.NoError(t, err)
		require.Equal(t, want, got)
		require.Equal(t, wantDone || id.Kind == layer.Image, done)

		lo, hi, limit := key(rapid.IntRange(0, 201).Draw(t, "lo")), key(rapid.IntRange(0, 201).Draw(t, "hi")), rapid.IntRange(0, 9).Draw(t, "limit")
		keys, err := r.NextKeys(ctx, lo, hi, limit, []kv.Key{})
		require.NoError(t, err)
		require.Equal(t, naiveKeys(versions, lo, hi, limit), keys)
	}
}

// sample covers every kind of entry, a compressed and a plain block, a chain over
// several blocks and a value larger than a block.
func sample() []kv.Version {
	noise := make([]byte, 300)
	state := uint64(1)
	for i := range noise {
		state = state*6364136223846793005 + 1442695040888963407
		noise[i] = byte(state >> 56)
	}
	versions := []kv.Version{
		{Key: key(1), LSN: 0x101, Kind: kv.Image, Value: make([]byte, 400)},
		{Key: key(1), LSN: 0x150, Kind: kv.Tombstone},
		{Key: key(2), LSN: 0x101, Kind: kv.Image, Value: noise},
	}
	for i := range 12 {
		versions = append(versions, kv.Version{Key: key(3), LSN: wal.LSN(0x200 + i), Kind: kv.Delta, Value: fmt.Appendf(nil, "change number %d of key three", i)})
	}
	return append(versions, kv.Version{Key: key(9), LSN: 0x1000, Kind: kv.Image, Value: []byte("last")})
}

const sampleBlock = 128

func TestEveryFlippedByteIsNoticed(t *testing.T) {
	ctx := context.Background()
	desc, data := build(deltaID(), sampleBlock, sample())
	for at := range data {
		for _, flip := range []byte{0x01, 0x80} {
			bad := slices.Clone(data)
			bad[at] ^= flip
			_, err := layer.Check("layer", bad, func(kv.Version) error { return nil })
			require.ErrorIs(t, err, wal.ErrCorruption, "byte %d", at)
			require.ErrorContains(t, err, "corruption in layer at offset ")

			r := layer.NewReader(desc, "layer", &file{data: bad}, layer.NewCache(0), layer.NewCache(0))
			for k := range 10 {
				want, _ := naiveWalk(sample(), key(k), 0x1000, 0)
				got, _, err := r.Walk(ctx, key(k), 0x1000, 0, nil)
				if err == nil {
					require.Equal(t, want, got, "byte %d", at)
				} else {
					require.ErrorIs(t, err, wal.ErrCorruption, "byte %d", at)
				}
			}
		}
	}
}

// TestNonsenseUnderGoodChecksums: whatever the bytes say, what reads them refuses them or
// finds versions that belong there.
func TestNonsenseUnderGoodChecksums(t *testing.T) {
	ctx := context.Background()
	desc, data := build(deltaID(), sampleBlock, sample())
	refused := map[string]bool{}
	for at := 92; at < len(data); at++ {
		for _, flip := range []byte{0x01, 0x02, 0x10, 0x80, 0xff} {
			bad := slices.Clone(data)
			bad[at] ^= flip
			layer.Reseal(bad)
			last := kv.Version{}
			_, err := layer.Check("layer", bad, func(v kv.Version) error {
				require.Negative(t, last.Compare(v), "byte %d", at)
				last = v
				return nil
			})
			var corruption *wal.CorruptionError
			if errors.As(err, &corruption) {
				refused[corruption.What] = true
			}
			r := layer.NewReader(desc, "layer", &file{data: bad}, layer.NewCache(0), layer.NewCache(0))
			for k := range 10 {
				_, _, _ = r.Walk(ctx, key(k), 0x1000, 0, nil) // it does not fall
			}
		}
	}
	for _, what := range []string{"columns of a data block", "first version of key 0", "LSN of version 1", "end of value 0", "end of the last value", "kind of version 0"} {
		require.True(t, refused[what], "%s is looked at: %v", what, refused)
	}
}

func TestASoundBlockInTheWrongPlaceIsCorruption(t *testing.T) {
	_, data := build(deltaID(), sampleBlock, sample())
	other := deltaID()
	other.Generation++
	_, twin := build(other, sampleBlock, sample())
	require.Len(t, twin, len(data))
	mixed := slices.Concat(data[:92], twin[92:])
	_, err := layer.Check("layer", mixed, func(kv.Version) error { return nil })
	require.ErrorIs(t, err, wal.ErrCorruption)

	// Two blocks of one file that change places.
	var versions []kv.Version
	for k := range 3 {
		versions = append(versions, kv.Version{Key: key(k), LSN: 0x101, Kind: kv.Image, Value: make([]byte, 100)})
	}
	desc, data := build(deltaID(), 64, versions)
	size := (int(desc.IndexOffset) - int(desc.FilterSize) - 92) / 3
	swapped := slices.Concat(data[:92], data[92+size:92+2*size], data[92:92+size], data[92+2*size:])
	r := layer.NewReader(desc, "layer", &file{data: swapped}, layer.NewCache(0), layer.NewCache(0))
	_, _, err = r.Walk(context.Background(), key(0), 0x1000, 0, nil)
	require.ErrorIs(t, err, wal.ErrCorruption)
	require.ErrorContains(t, err, "corruption in layer at offset 92: block checksum")

	for _, short := range []int{0, 50, 92, 100, len(data) - 1} {
		_, err := layer.Check("layer", data[:short], func(kv.Version) error { return nil })
		require.ErrorIs(t, err, wal.ErrCorruption, "first %d bytes", short)
	}
}

// golden bytes pin format version 4: a store of today must be read for ever.
func TestGoldenBytes(t *testing.T) {
	image := []kv.Version{{Key: key(4), LSN: 0x90, Kind: kv.Image, Value: make([]byte, 300)}, {Key: key(5), LSN: 0x100, Kind: kv.Image, Value: []byte("five")}}
	for _, c := range []struct {
		id       layer.ID
		versions []kv.Version
	}{{deltaID(), sample()}, {imageID(), image}} {
		desc, data := build(c.id, sampleBlock, c.versions)
		name := "testdata/" + c.id.Kind.String() + ".hex"
		if *rewrite {
			require.NoError(t, os.WriteFile(name, []byte(hex.Dump(data)), 0o644))
		}
		dump, err := os.ReadFile(name)
		require.NoError(t, err)
		require.Equal(t, string(dump), hex.Dump(data), "what is written is what version 4 is")

		var read []kv.Version
		checked, err := layer.Check(name, undump(t, string(dump)), func(v kv.Version) error { read = append(read, v); return nil })
		require.NoError(t, err)
		require.Equal(t, desc, checked)
		require.Equal(t, c.versions, read)
	}
}

// undump reads what hex.Dump writes.
func undump(t *testing.T, dump string) (data []byte) {
	for line := range strings.Lines(dump) {
		fields := strings.Fields(line[min(8, len(line)):])
		for _, field := range fields[:min(16, len(fields))] {
			if strings.HasPrefix(field, "|") {
				break
			}
			b, err := hex.DecodeString(field)
			require.NoError(t, err)
			data = append(data, b...)
		}
	}
	return data
}

func FuzzCheck(f *testing.F) {
	_, delta := build(deltaID(), sampleBlock, sample())
	f.Add(delta)
	_, image := build(imageID(), sampleBlock, []kv.Version{{Key: key(4), LSN: 0x90, Kind: kv.Image, Value: make([]byte, 300)}})
	f.Add(image)
	f.Fuzz(func(t *testing.T, data []byte) {
		layer.Reseal(data)
		b := layer.NewBuilder(headerID(data), sampleBlock)
		desc, err := layer.Check("layer", data, func(v kv.Version) error { b.Add(&v); return nil })
		if err != nil {
			return
		}
		again, _ := b.Finish()
		require.Equal(t, desc.ID, again.ID)
		require.Equal(t, desc.Versions, again.Versions)
	})
}

// headerID is the identity in data's header, if it has a possible one.
func headerID(data []byte) layer.ID {
	id, err := layer.DecodeHeader("layer", data)
	if err != nil {
		return deltaID()
	}
	return id
}

func FuzzParseName(f *testing.F) {
	id := deltaID()
	f.Add(id.Name())
	f.Fuzz(func(t *testing.T, name string) {
		if id, err := layer.ParseName(name); err == nil {
			require.Equal(t, name, id.Name())
		}
	})
}

func BenchmarkWalk(b *testing.B) {
	for _, deltas := range []int{0, 1, 10, 100, 1000} {
		var versions []kv.Version
		for k := range 200 {
			versions = append(versions, kv.Version{Key: key(k), LSN: 0x101, Kind: kv.Image, Value: make([]byte, 8192)})
			for i := range deltas {
				versions = append(versions, kv.Version{Key: key(k), LSN: wal.LSN(0x102 + i), Kind: kv.Delta, Value: make([]byte, 70)})
			}
		}
		desc, data := build(deltaID(), 16<<10, versions)
		for _, cacheBytes := range []int64{1 << 30, 0} {
			b.Run(fmt.Sprintf("deltas=%d/cache=%d", deltas, cacheBytes>>20), func(b *testing.B) {
				r := layer.NewReader(desc, "layer", inPlace(data), layer.NewCache(cacheBytes), layer.NewCache(cacheBytes))
				var dst []kv.Version
				b.ReportAllocs()
				i := 0
				for b.Loop() {
					i++
					var err error
					if dst, _, err = r.Walk(context.Background(), key(i*31%200), 0x1000, 0, dst[:0]); err != nil || len(dst) != deltas+1 {
						b.Fatal(err, len(dst))
					}
				}
			})
		}
	}
}

// inPlace is a layer file in memory, read without a copy.
type inPlace []byte

func (f inPlace) ReadRange(_ context.Context, off int64, size int, sound func([]byte) error) ([]byte, error) {
	data := f[off : off+int64(size)]
	return data, sound(data)
}

func TestUnknownVersionIsRefusedByName(t *testing.T) {
	id := deltaID()
	id.KeyHi = key(1)
	header := id.AppendTo(nil)
	header[8] = 3
	binary.LittleEndian.PutUint32(header[88:], layer.Checksum(header[:88]))
	_, err := layer.DecodeHeader("layer", header)
	require.EqualError(t, err, "layer layer has format version 3; this program knows version 4")
}

func TestOneReadPerBlockAndLittleMoreForAChain(t *testing.T) {
	ctx := context.Background()
	var versions []kv.Version
	for k := range 100 {
		for i := range 80 {
			versions = append(versions, kv.Version{Key: key(k), LSN: wal.LSN(0x101 + i), Kind: kv.Delta, Value: make([]byte, 60)})
		}
	}
	desc, data := build(deltaID(), 1024, versions)
	source := &file{data: data}
	r := layer.NewReader(desc, "layer", source, layer.NewCache(1<<20), layer.NewCache(1<<20))
	chain, _, err := r.Walk(ctx, key(50), 0x1000, 0, nil)
	require.NoError(t, err)
	require.Len(t, chain, 80)
	require.Equal(t, 3, source.reads, "filter and index, newest block, the rest of the chain in one read")
	_, _, err = r.Walk(ctx, key(50), 0x1000, 0, nil)
	require.NoError(t, err)
	require.Equal(t, 3, source.reads, "the second time all is cached")
	require.Less(t, source.bytes, len(data)/4)
}

func TestNameRoundTrip(t *testing.T) {
	for _, id := range []layer.ID{deltaID(), imageID()} {
		id.KeyHi = kv.MaxKey
		name := id.Name()
		parsed, err := layer.ParseName(name)
		require.NoError(t, err)
		parsed.Timeline = id.Timeline
		require.Equal(t, id, parsed)
		for _, bad := range []string{"", "x", name + "x", name[1:], name[:len(name)-1]} {
			_, err := layer.ParseName(bad)
			require.Error(t, err, "%q", bad)
		}
	}
}

func TestCacheStaysWithinItsBytesAndKeepsWhatIsUsed(t *testing.T) {
	var versions []kv.Version
	for k := range 2000 {
		versions = append(versions, kv.Version{Key: key(k), LSN: 0x101, Kind: kv.Image, Value: make([]byte, 1000)})
	}
	desc, data := build(deltaID(), 1024, versions)
	const cacheBytes = 1 << 20
	source, cache := &file{data: data}, layer.NewCache(cacheBytes)
	r := layer.NewReader(desc, "layer", source, cache, cache)
	for k := range 2000 {
		for _, want := range []int{7, k} {
			_, done, err := r.Walk(context.Background(), key(want), 0x1000, 0, nil)
			require.NoError(t, err)
			require.True(t, done)
		}
		require.LessOrEqual(t, cache.Bytes(), int64(cacheBytes))
	}
	reads := source.reads
	_, _, err := r.Walk(context.Background(), key(7), 0x1000, 0, nil)
	require.NoError(t, err)
	require.Equal(t, reads, source.reads, "a block used all the time stays")
}

func TestAbsentKeysCostNoRead(t *testing.T) {
	const keys = 20_000
	var versions []kv.Version
	for k := range keys {
		versions = append(versions, kv.Version{Key: key(2 * k), LSN: 0x101, Kind: kv.Image, Value: []byte("value")})
	}
	desc, data := build(deltaID(), 1024, versions)
	source := &file{data: data}
	r := layer.NewReader(desc, "layer", source, layer.NewCache(64<<20), layer.NewCache(64<<20))
	require.False(t, r.Skips(key(1)), "nothing is in memory yet")
	passed := 0
	for k := range keys {
		before := source.reads
		found, _, err := r.Walk(context.Background(), key(2*k+1), 0x1000, 0, nil)
		require.NoError(t, err)
		require.Empty(t, found)
		if k > 0 && r.Skips(key(2*k+1)) {
			require.Equal(t, before, source.reads)
		} else {
			passed++
		}
		require.False(t, r.Skips(key(2*k)), "what is there gets through")
	}
	require.Less(t, passed, keys/50)
	require.Less(t, int(desc.FilterSize), keys*10/8+128)
}

// Where nothing compresses few blocks are tried, and soon after something does all are
// compressed again.
func TestCompressionIsGivenUpForAWhile(t *testing.T) {
	random, text := rand.New(rand.NewSource(1)), bytes.Repeat([]byte("varve "), 40)
	var versions []kv.Version
	for k := range 4000 {
		value := make([]byte, 240)
		if random.Read(value); k >= 2000 {
			value = text
		}
		versions = append(versions, kv.Version{Key: key(k), LSN: 0x101, Kind: kv.Delta, Value: value})
	}
	desc, data := build(deltaID(), 512, versions)
	_, half := build(deltaID(), 512, versions[2000:])
	r := layer.NewReader(desc, "layer", &file{data: data}, layer.NewCache(1<<20), layer.NewCache(1<<20))
	c, err := r.Cursor(t.Context(), kv.Key{})
	require.NoError(t, err)
	for _, want := range versions {
		require.Equal(t, want, c.Version())
		require.NoError(t, c.Next(t.Context()))
	}
	require.True(t, c.Done())
	// Some blocks of text were stored as they are before one was tried, and no more.
	_, first := build(deltaID(), 512, versions[:2000])
	require.Less(t, len(data), len(first)+len(half)+16<<10)
}
