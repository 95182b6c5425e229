package paths_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/bench/cluster"
	"github.com/varvedb/varve/lsm"
	"github.com/varvedb/varve/pageserver/pgkey"
	"github.com/varvedb/varve/pageserver/redo"
	"github.com/varvedb/varve/pageserver/timeline"
	"github.com/varvedb/varve/sim"
	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/pgwal"
	"github.com/varvedb/varve/wal/segment"
)

// shortDir is a directory whose path leaves room for a socket's name.
func shortDir(b *testing.B) string {
	dir, err := os.MkdirTemp("", "b")
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, os.RemoveAll(dir)) })
	return dir
}

// pages makes a relation of 500 pages, each updated so often.
func pages(b *testing.B, deltas int) *cluster.Pages {
	store := lsm.Options{BlockCacheBytes: 256 << 20, MemtableBytes: 256 << 20}
	p, err := cluster.NewPages(b.Context(), cluster.PagesConfig{Dir: shortDir(b), Blocks: 500, Seed: 1, Store: store})
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, p.Close(context.WithoutCancel(b.Context()))) })
	_, err = p.Update(b.Context(), deltas*p.Blocks, 100, func(i int) int { return i % p.Blocks })
	require.NoError(b, err)
	require.NoError(b, p.Timeline.Flush(b.Context()))
	return p
}

func BenchmarkCommit(b *testing.B) {
	keepers, err := cluster.StartSafekeepers(b.Context(), shortDir(b), 3)
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, keepers.Stop()) })
	w, err := keepers.NewWriter(b.Context(), wal.TimelineID{2})
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, w.Stop()) })
	for _, size := range []int{64, 8192, 128 << 10} {
		b.Run(fmt.Sprintf("bytes=%d", size), func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(size))
			record := cluster.Message(size)
			for b.Loop() {
				require.NoError(b, w.Commit(b.Context(), record))
			}
		})
	}
}

// log is a megabyte of updates.
func log(b *testing.B, p *cluster.Pages) (start wal.LSN, bytes []byte, records int) {
	start = p.End()
	for int(p.End()-start) < 1<<20 {
		p.Encode(uint32(records%p.Blocks), 100)
		records++
	}
	return start, p.Pending(), records
}

func BenchmarkDecode(b *testing.B) {
	start, bytes, records := log(b, pages(b, 0))
	b.SetBytes(int64(len(bytes)))
	b.ReportAllocs()
	for b.Loop() {
		d, n := pgwal.NewDecoder("log", start), 0
		d.Feed(bytes)
		var record pgwal.Record
		for {
			ok, err := d.Next(&record)
			if err != nil {
				b.Fatal(err)
			}
			if !ok {
				break
			}
			n++
		}
		require.Equal(b, records, n)
	}
}

// BenchmarkIngest takes in a megabyte of updates each time, and flushes it.
func BenchmarkIngest(b *testing.B) {
	p := pages(b, 0)
	b.ReportAllocs()
	records := 0
	for b.Loop() {
		_, bytes, n := log(b, p)
		records += n
		b.SetBytes(int64(len(bytes)))
		require.NoError(b, p.Timeline.Ingest(b.Context(), p.Timeline.NextLSN(), bytes))
		require.NoError(b, p.Timeline.Flush(b.Context()))
	}
	b.ReportMetric(float64(records)/b.Elapsed().Seconds(), "records/s")
}

func BenchmarkGetPage(b *testing.B) {
	for _, deltas := range []int{0, 10, 100} {
		b.Run(fmt.Sprintf("deltas=%d", deltas), func(b *testing.B) {
			read(b, pages(b, deltas), 1)
		})
	}
}

// read reads pages in turns, a batch at a time.
func read(b *testing.B, p *cluster.Pages, batch int) {
	reads, dst := make([]timeline.PageRead, batch), make([][]byte, batch)
	b.SetBytes(int64(batch) * pgwal.PageSize)
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		for i := range reads {
			reads[i] = cluster.Read(n%p.Blocks, p.End())
			n++
		}
		require.NoError(b, p.Timeline.GetPages(b.Context(), reads, dst))
	}
}

// BenchmarkWire asks a pageserver over a unix socket.
func BenchmarkWire(b *testing.B) {
	p := pages(b, 1)
	end, blocks := p.End(), p.Blocks
	require.NoError(b, p.Close(b.Context()))
	server, err := cluster.StartPageserver(b.Context(), p.World.Env, shortDir(b)+"/ps", lsm.Options{BlockCacheBytes: 256 << 20}, nil)
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, server.Stop()) })
	tl := server.Client.Timeline(cluster.Main)
	require.NoError(b, tl.WaitLSN(b.Context(), end))
	for _, batch := range []int{1, 32} {
		b.Run(fmt.Sprintf("batch=%d", batch), func(b *testing.B) {
			reads, dst, n := make([]timeline.PageRead, batch), make([][]byte, batch), 0
			b.SetBytes(int64(batch) * pgwal.PageSize)
			b.ReportAllocs()
			for b.Loop() {
				for i := range reads {
					reads[i] = cluster.Read(n%blocks, end)
					n++
				}
				require.NoError(b, tl.GetPages(b.Context(), reads, dst))
			}
		})
	}
}

// BenchmarkRedo makes one page with 61 updates.
func BenchmarkRedo(b *testing.B) {
	p := pages(b, 61)
	key, chains := pgkey.Block(cluster.Rel, pgwal.MainFork, 0), make([]lsm.Chain, 1)
	require.NoError(b, p.Under.Get(b.Context(), []lsm.Read{{Key: key, LSN: p.End()}}, chains))
	require.Len(b, chains[0].Deltas, 61)
	page := make([]byte, 0, pgwal.PageSize)
	b.ReportAllocs()
	for b.Loop() {
		var err error
		page, err = redo.Apply(page[:0], key, &chains[0])
		require.NoError(b, err)
	}
}

func BenchmarkBranch(b *testing.B) {
	p := pages(b, 1)
	b.ReportAllocs()
	n := uint64(1000)
	for b.Loop() {
		var id wal.TimelineID
		binary.BigEndian.PutUint64(id[:], n)
		n++
		require.NoError(b, p.Store.Branch(b.Context(), cluster.Main, id, p.End(), nil))
	}
}

// BenchmarkAttach attaches branches that nobody writes to; B/op is what an idle one takes
// at first.
func BenchmarkAttach(b *testing.B) {
	p := pages(b, 1)
	b.ReportAllocs()
	n := uint64(1000)
	for b.Loop() {
		b.StopTimer()
		var id wal.TimelineID
		binary.BigEndian.PutUint64(id[:], n)
		n++
		require.NoError(b, p.Store.Branch(b.Context(), cluster.Main, id, p.End(), nil))
		b.StartTimer()
		_, err := p.Store.Attach(b.Context(), id)
		require.NoError(b, err)
	}
}

// BenchmarkLSNAt looks moments up among ten thousand commits.
func BenchmarkLSNAt(b *testing.B) {
	p := pages(b, 0)
	for n := range 10_000 {
		p.Commit(int64(n+1) * 1000)
	}
	require.NoError(b, p.Ingest(b.Context()))
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		n = (n + 7919) % 9000
		_, err := p.Timeline.LSNAt(b.Context(), p.Began().Add(time.Duration(n+1)*time.Millisecond))
		require.NoError(b, err)
	}
}

// BenchmarkNode appends 8 KiB durably to one segmented log.
func BenchmarkNode(b *testing.B) {
	w, err := cluster.NewWorld(shortDir(b))
	require.NoError(b, err)
	cfg := segment.Config{Dir: "log", Start: wal.SegmentStart(3), SystemID: cluster.SystemID}
	require.NoError(b, segment.Create(b.Context(), w.FS, cfg))
	log, err := segment.Open(b.Context(), w.FS, cfg, cfg.Start)
	require.NoError(b, err)
	b.Cleanup(log.Close)
	encoder, record := pgwal.NewEncoder(cfg.Start, 0, cluster.SystemID), cluster.Message(8192-64)
	b.SetBytes(8192)
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		_, end := encoder.Append(record)
		piece := encoder.Take()
		b.StartTimer()
		require.NoError(b, log.Write(b.Context(), log.End(), piece))
		require.NoError(b, log.Sync(b.Context(), end))
	}
}

// BenchmarkSimulation runs one quiet seed from its beginning to its judgement.
func BenchmarkSimulation(b *testing.B) {
	events := uint64(0)
	for b.Loop() {
		opts, err := sim.Draw(1, "quiet")
		require.NoError(b, err)
		opts.Storm = 20 * time.Second
		r := sim.Run(opts, sim.Play{})
		require.True(b, r.OK(), r.Failure())
		events += r.Events
	}
	b.ReportMetric(float64(events)/b.Elapsed().Seconds(), "events/s")
}

// BenchmarkStore puts a hundred thousand versions of random keys into the store, and
// flushes them into a layer.
func BenchmarkStore(b *testing.B) {
	const versions, each = 100_000, 1000
	for b.Loop() {
		b.StopTimer()
		w, err := cluster.NewWorld(shortDir(b))
		require.NoError(b, err)
		store, err := lsm.Open(b.Context(), w.Env, lsm.Options{Tenant: cluster.Tenant})
		require.NoError(b, err)
		require.NoError(b, store.Create(b.Context(), cluster.Main, 8, nil))
		t, err := store.Attach(b.Context(), cluster.Main)
		require.NoError(b, err)
		rng, value := rand.New(rand.NewPCG(1, 1)), make([]byte, 150)
		b.StartTimer()
		lsn := wal.LSN(8)
		for range versions / each {
			var batch []lsm.Version
			for range each {
				lsn += 8
				key := pgkey.Block(cluster.Rel, pgwal.MainFork, rng.Uint32N(20_000))
				batch = append(batch, lsm.Version{Key: key, LSN: lsn, Kind: lsm.Delta, Value: value})
			}
			require.NoError(b, t.Apply(b.Context(), lsn, batch))
		}
		require.NoError(b, t.Flush(b.Context()))
		b.StopTimer()
		require.NoError(b, store.Close(b.Context()))
		b.StartTimer()
	}
	b.ReportMetric(float64(b.N*versions)/b.Elapsed().Seconds(), "versions/s")
}
