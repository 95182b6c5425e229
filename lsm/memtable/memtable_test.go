package memtable_test

import (
	"encoding/binary"
	"slices"
	"sync"
	"testing"

	"github.com/google/btree"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/varvedb/varve/lsm/kv"
	"github.com/varvedb/varve/lsm/memtable"
	"github.com/varvedb/varve/wal"
)

func key(n int) (k kv.Key) {
	binary.BigEndian.PutUint64(k[10:], uint64(n))
	return k
}

// twin is a table as a plain list.
type twin []kv.Version

func (w twin) walk(key kv.Key, ceil, floor wal.LSN) (found []kv.Version, done bool) {
	for _, v := range slices.Backward(w) {
		if v.Key != key || v.LSN > ceil || v.LSN <= floor {
			continue
		}
		found = append(found, v)
		if v.Kind != kv.Delta {
			return found, true
		}
	}
	return found, false
}

func (w twin) keys(lo, hi kv.Key, limit int) []kv.Key {
	found := []kv.Key{}
	for _, v := range w {
		if !v.Key.Less(lo) && !hi.Less(v.Key) && !slices.Contains(found, v.Key) {
			found = append(found, v.Key)
		}
	}
	slices.SortFunc(found, kv.Key.Compare)
	return found[:min(limit, len(found))]
}

func TestTableAgreesWithItsTwin(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const start = 100
		table, model := memtable.New(start), twin{}
		last, keys := wal.LSN(start), rapid.IntRange(1, 5).Draw(t, "keys")
		drawKey := func(label string) kv.Key { return key(rapid.IntRange(0, keys).Draw(t, label)) }
		insert := func(t *rapid.T) {
			var batch []kv.Version
			for range rapid.IntRange(1, 40).Draw(t, "batch") {
				last += wal.LSN(rapid.IntRange(1, 3).Draw(t, "step"))
				v := kv.Version{Key: drawKey("key"), LSN: last, Kind: kv.Delta}
				if rapid.IntRange(0, 9).Draw(t, "kind") == 0 {
					v.Kind = rapid.SampledFrom([]kv.Kind{kv.Image, kv.Tombstone}).Draw(t, "other kind")
				}
				if v.Kind != kv.Tombstone {
					v.Value = rapid.SliceOfN(rapid.Byte(), 1, 9).Draw(t, "value")
				}
				batch = append(batch, v)
			}
			table.Insert(batch)
			model = append(model, batch...)
		}
		walk := func(t *rapid.T) {
			k := drawKey("key")
			ceil := wal.LSN(rapid.Uint64Range(start, uint64(last)+1).Draw(t, "ceil"))
			floor := wal.LSN(rapid.Uint64Range(0, uint64(ceil)).Draw(t, "floor"))
			want, wantDone := model.walk(k, ceil, floor)
			got, done := table.Walk(k, ceil, floor, nil)
			require.Equal(t, want, got)
			require.Equal(t, wantDone, done)
		}
		order := func(t *rapid.T) {
			lo, hi, limit := drawKey("lo"), drawKey("hi"), rapid.IntRange(0, 4).Draw(t, "limit")
			require.Equal(t, model.keys(lo, hi, limit), table.NextKeys(lo, hi, limit, []kv.Key{}))
		}
		t.Repeat(map[string]func(*rapid.T){"insert": insert, "walk": walk, "order": order})
		require.Equal(t, len(model), table.Len())
		all := []kv.Version{}
		table.All(func(v *kv.Version) { all = append(all, *v) })
		slices.SortFunc(model, kv.Version.Compare)
		require.Equal(t, []kv.Version(model), all)
	})
}

func TestWalkFindsOldVersionsOfABusyKeyInFewSteps(t *testing.T) {
	const n = 100_000
	table := memtable.New(0)
	for i := 1; i <= n; i++ {
		table.Insert([]kv.Version{{Key: key(1), LSN: wal.LSN(i * 2), Kind: kv.Image, Value: []byte{byte(i)}}})
	}
	for i := 1; i <= n; i += 997 {
		found, done := table.Walk(key(1), wal.LSN(i*2+1), 0, nil)
		require.True(t, done)
		require.Equal(t, wal.LSN(i*2), found[0].LSN)
		require.Less(t, table.Steps(key(1), wal.LSN(i*2+1)), 64)
	}
}

func TestInsertRefusesWhatDoesNotAscend(t *testing.T) {
	table := memtable.New(10)
	v := kv.Version{Key: key(1), LSN: 11, Kind: kv.Image}
	table.Insert([]kv.Version{v})
	require.Panics(t, func() { table.Insert([]kv.Version{v}) }, "two versions of one key at one LSN")
	require.Panics(t, func() { table.Insert([]kv.Version{{Key: key(2), LSN: 10, Kind: kv.Image}}) }, "at the table's low LSN")
	require.Panics(t, func() { table.Insert([]kv.Version{{Key: key(2), LSN: 12}}) }, "no kind")
}

// benchVersions are records of 60 bytes over many pages, as of small updates.
func benchVersions(n int) []kv.Version {
	versions, value := make([]kv.Version, n), make([]byte, 60)
	state := uint64(1)
	for i := range versions {
		state = state*6364136223846793005 + 1442695040888963407
		versions[i] = kv.Version{Key: key(int(state >> 33 % 100_000)), LSN: wal.LSN(i + 1), Kind: kv.Delta, Value: value}
	}
	return versions
}

const benchBatch = 500_000

func BenchmarkInsert(b *testing.B) {
	versions := benchVersions(benchBatch)
	b.ReportAllocs()
	for b.Loop() {
		table := memtable.New(0)
		for i := 0; i < len(versions); i += 100 {
			table.Insert(versions[i : i+100])
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/benchBatch, "ns/version")
}

func BenchmarkAll(b *testing.B) {
	table := memtable.New(0)
	table.Insert(benchVersions(benchBatch))
	for b.Loop() {
		sum := 0
		table.All(func(v *kv.Version) { sum += len(v.Value) + int(v.Value[0]) })
		require.Equal(b, benchBatch*60, sum)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/benchBatch, "ns/version")
}

func BenchmarkInsertIntoBTree(b *testing.B) {
	versions := benchVersions(benchBatch)
	b.ReportAllocs()
	for b.Loop() {
		tree := btree.NewG(32, func(a, b kv.Version) bool { return a.Compare(b) < 0 })
		for i := range versions {
			v := versions[i]
			v.Value = slices.Clone(v.Value)
			tree.ReplaceOrInsert(v)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/benchBatch, "ns/version")
}

// TestAnEmptyTableIsSmall: there is one for every idle timeline.
func TestAnEmptyTableIsSmall(t *testing.T) {
	kept := make([]*memtable.Table, 0, 1)
	bytes := testing.Benchmark(func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			kept = append(kept[:0], memtable.New(1))
		}
	}).AllocedBytesPerOp()
	require.Less(t, bytes, int64(4096))
}

// TestScansOfALargeTableLetWritersIn: they put keys in order some at a time, several scans
// at once too, while more keys come.
func TestScansOfALargeTableLetWritersIn(t *testing.T) {
	const first, more = 20_000, 5000
	table := memtable.New(0)
	insert := func(n int) {
		table.Insert([]kv.Version{{Key: key(n * 7919 % (first + more)), LSN: wal.LSN(n + 1), Kind: kv.Image, Value: []byte{1}}})
	}
	for n := range first {
		insert(n)
	}
	all := func() []kv.Key { return table.NextKeys(key(0), key(first+more), first+more, nil) }
	var tasks sync.WaitGroup
	for range 3 {
		tasks.Go(func() {
			keys := all()
			assert.GreaterOrEqual(t, len(keys), first)
			assert.True(t, slices.IsSortedFunc(keys, kv.Key.Compare))
		})
	}
	for n := first; n < first+more; n++ {
		insert(n)
	}
	tasks.Wait()
	require.Len(t, all(), first+more)
}
