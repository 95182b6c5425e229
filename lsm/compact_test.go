package lsm_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/lsm"
)

// pageRedo makes the value of a chain as large as a page is, whatever is in it.
type pageRedo struct{ textRedoWithoutFloors }

func (pageRedo) Apply(dst []byte, _ lsm.Key, c *lsm.Chain) ([]byte, error) {
	page := make([]byte, 8192)
	copy(page, c.Base)
	for i := range c.Deltas {
		copy(page[i*61%8000:], c.Deltas[i].Value)
	}
	return append(dst, page...), nil
}

// smallUpdates applies n deltas of 100 bytes each over keys, in records of their own.
func smallUpdates(t require.TestingT, tl *lsm.Timeline, n, keys int, state *uint64) {
	var batch []lsm.Version
	lsn := tl.LastLSN()
	for range n {
		*state = *state*6364136223846793005 + 1442695040888963407
		lsn += 120
		value := make([]byte, 100)
		for i := range value {
			value[i] = byte(*state >> (i % 56))
		}
		batch = append(batch, lsm.Version{Key: key(int(*state >> 33 % uint64(keys))), LSN: lsn, Kind: lsm.Delta, Value: value})
		if len(batch) == 500 {
			require.NoError(t, tl.Apply(context.Background(), lsn, batch))
			batch = batch[:0]
		}
	}
	require.NoError(t, tl.Apply(context.Background(), lsn+1, batch))
}

// compacted makes a store of pages with many small updates, with merges going on.
func compacted(t require.TestingT, opts lsm.Options, keys, updates int) (*memBucket, *lsm.Store, *lsm.Timeline) {
	ctx := context.Background()
	b := newMemBucket()
	e := hostEnv
	e.Bucket, e.FS = b, newMemFS()
	opts.Tenant, opts.Redo = tenant, pageRedo{}
	s, err := lsm.Open(ctx, e, opts)
	require.NoError(t, err)
	require.NoError(t, s.Create(ctx, timelineID(1), 10, nil))
	tl := attach(t, s, timelineID(1))
	n := -1
	require.NoError(t, tl.ImportImages(ctx, 20, func() (lsm.Key, []byte, bool, error) {
		n++
		return key(n), fmt.Appendf(make([]byte, 0, 8192), "page %d", n)[:8192], n < keys, nil
	}))
	state := uint64(1)
	smallUpdates(t, tl, updates, keys, &state)
	require.NoError(t, tl.Flush(ctx))
	require.NoError(t, tl.Compact(ctx))
	return b, s, tl
}

// TestReadsVisitOneLayerOnceAllIsMerged: at the head, after the compaction has done what
// reads pay for, a read looks into one layer, and its chain is short.
func TestReadsVisitOneLayerOnceAllIsMerged(t *testing.T) {
	ctx := context.Background()
	const keys = 300
	_, s, tl := compacted(t, lsm.Options{MemtableBytes: 200_000, LayerBytes: 1 << 20, ChainMax: 8, FlushedMax: 4}, keys, 20_000)
	reads, out := make([]lsm.Read, keys), make([]lsm.Chain, keys)
	for i := range reads {
		reads[i] = lsm.Read{Key: key(i), LSN: tl.LastLSN()}
	}
	// How many reads it takes depends on the parts that merges have made, and those go on
	// beside the reads: so until many rounds in a row were worth none. Where a few keys only lie
	// in two layers, it takes hundreds until their reads have paid for a merge.
	for merges, idle := tl.Stats().Merges, 0; idle < 600; idle++ {
		require.NoError(t, tl.Get(ctx, reads, out))
		require.NoError(t, tl.Compact(ctx))
		if now := tl.Stats().Merges; now != merges {
			merges, idle = now, 0
		}
	}
	before := tl.Stats()
	require.NoError(t, tl.Get(ctx, reads, out))
	after := tl.Stats()
	visits := float64(after.LayersVisited-before.LayersVisited) / keys
	require.LessOrEqual(t, visits, 1.05)
	deltas := 0
	for i := range out {
		deltas += len(out[i].Deltas)
	}
	require.Less(t, deltas, keys*8)
	t.Logf("%.3f layers visited and %.2f deltas a read, %d layers, %d merges, %d images", visits, float64(deltas)/keys, after.Layers, after.Merges, after.Images)
	metrics := s.Metrics()
	require.Len(t, metrics.Timelines, 1)
	require.Equal(t, tl.Stats(), metrics.Timelines[0].Stats)
	require.Positive(t, metrics.BlockCacheBytes)
	require.Positive(t, metrics.IndexCacheBytes)
	require.NoError(t, s.Close(ctx))
}

// TestMergesWriteAndKeepLittle: bytes written for each byte of log, and bytes kept, over
// ten times the history that stays readable.
func TestMergesWriteAndKeepLittle(t *testing.T) {
	ctx := context.Background()
	const keys, updates, history = 500, 60_000, 700_000
	b, s, tl := compacted(t, lsm.Options{MemtableBytes: 500_000, LayerBytes: 1 << 20, HistoryBytes: history, HistoryTime: 1}, keys, updates)
	c, err := tl.Collect(ctx, lsm.CollectOptions{Cutoff: tl.DurableLSN() - history})
	require.NoError(t, err)
	st := tl.Stats()
	logged := float64(tl.LastLSN() - 20)
	written := float64(st.FlushedBytes+st.MergedBytes) / logged
	var stored int64
	for _, k := range b.keys("/layers/") {
		stored += int64(len(b.objects[k]))
	}
	t.Logf("%.2f bytes written for each of log; %d of %d bytes of layers stored, %d of pages; %d merges, %d images, cutoff %v",
		written, stored, st.FlushedBytes+st.MergedBytes, keys*8192, st.Merges, st.Images, c.Cutoff)
	require.Less(t, written, 6.0)
	e, err := tl.Explain(ctx, 0)
	require.NoError(t, err)
	require.Zero(t, e.Garbage)
	require.Equal(t, e.Bytes, e.History+e.Current)
	require.NoError(t, s.Close(ctx))
}

// BenchmarkIngest applies small updates and writes them as sorted layers, merges off.
func BenchmarkIngest(b *testing.B) {
	ctx := context.Background()
	for _, merging := range []bool{false, true} {
		b.Run(fmt.Sprintf("merging=%v", merging), func(b *testing.B) {
			opts := lsm.Options{MemtableBytes: 16 << 20, FlushedMax: 32, TierFanout: 64}
			if merging {
				opts.FlushedMax, opts.TierFanout = 4, 4
			}
			_, s, tl := compacted(b, opts, 20_000, 0)
			state := uint64(7)
			b.ReportAllocs()
			const records = 500_000
			for b.Loop() {
				smallUpdates(b, tl, records, 20_000, &state)
				require.NoError(b, tl.Flush(ctx))
			}
			b.ReportMetric(float64(b.N)*records/b.Elapsed().Seconds(), "records/s")
			require.NoError(b, s.Close(ctx))
		})
	}
}
