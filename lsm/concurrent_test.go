package lsm_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/lsm"
	"github.com/varvedb/varve/wal"
)

// A counting log: record i ends at 100+i and changes key i mod 5; every seventh
// of a key is an image. So what any read must find can be computed.
const countingKeys = 5

func countingVersion(i int) lsm.Version {
	text := fmt.Sprintf("D%d", i)
	if i/countingKeys%7 == 0 {
		text = fmt.Sprintf("I%d", i)
	}
	return put(i%countingKeys, wal.LSN(100+i), text)
}

func countingAnswer(k int, lsn wal.LSN) (answer string) {
	for i := int(lsn) - 100; i > 0; i-- {
		if i%countingKeys != k {
			continue
		}
		v := countingVersion(i)
		if v.Kind == lsm.Image {
			return string(v.Value) + answer
		}
		answer = "+" + string(v.Value) + answer
	}
	return answer
}

func TestReadersSeeOneHistoryWhileAllElseMoves(t *testing.T) {
	ctx := context.Background()
	b := newMemBucket()
	w := withBucket(t, b)
	s := w.openWith(w.env, lsm.Options{MemtableBytes: 3000, BlockBytes: 200, BlockCacheBytes: 5000, IndexCacheBytes: 5000, CacheBytes: 20_000})
	require.NoError(t, s.Create(ctx, timelineID(1), 100, nil))
	parent := attach(t, s, timelineID(1))
	require.NoError(t, s.Branch(ctx, timelineID(1), timelineID(2), 1100, nil))
	child := attach(t, s, timelineID(2))

	const records = 2000
	var group sync.WaitGroup
	group.Go(func() {
		for i := 1; i <= records; i++ {
			apply(t, parent, countingVersion(i))
			if i%300 == 0 {
				flush(t, parent)
			}
		}
	})
	group.Go(func() {
		require.NoError(t, child.AncestorReady(ctx, 1100))
		for i := 1001; i <= records; i++ {
			apply(t, child, countingVersion(i))
		}
	})
	reader := func(tl *lsm.Timeline, seed uint64) {
		draw := rand.New(rand.NewPCG(seed, 0))
		for done := false; !done; {
			last := tl.LastLSN()
			done = last == 100+records
			k, lsn := draw.IntN(countingKeys), 100+wal.LSN(draw.Uint64N(uint64(last)-99))
			out := make([]lsm.Chain, 1)
			err := tl.Get(ctx, []lsm.Read{{Key: key(k), LSN: lsn}}, out)
			if tl == child && errors.Is(err, lsm.ErrAncestorNotReady) {
				require.NoError(t, child.AncestorReady(ctx, lsn))
				continue
			}
			require.NoError(t, err)
			require.Equal(t, countingAnswer(k, lsn), text(out[0]), "key %d at %v", k, lsn)
		}
	}
	for seed := range uint64(2) {
		group.Go(func() { reader(parent, seed) })
		group.Go(func() { reader(child, seed) })
	}
	group.Wait()
	require.NoError(t, s.Close(ctx))
}

func TestAChildFollowsAnAncestorThatIsAttachedElsewhere(t *testing.T) {
	ctx := context.Background()
	b := newMemBucket()
	s, tl := start(t, withBucket(t, b))
	require.NoError(t, s.Branch(ctx, timelineID(1), timelineID(2), 30, nil))
	other := withBucket(t, b).openSmall()
	child := attach(t, other, timelineID(2))
	require.NoError(t, child.AncestorReady(ctx, 10))
	err := child.AncestorReady(ctx, 30)
	require.ErrorIs(t, err, lsm.ErrAncestorNotReady)
	require.ErrorContains(t, err, "is durable up to 0/A and not attached here")
	apply(t, tl, put(1, 20, "Ia"), put(1, 35, "Db"))
	flush(t, tl)
	require.NoError(t, child.AncestorReady(ctx, 30), "it reads the ancestor's index again")
	require.Equal(t, "Ia", get(t, child, 1, 30))
	require.Equal(t, []int{1}, scan(t, child, 30))
	require.NoError(t, other.Close(ctx))
	require.ErrorIs(t, child.AncestorReady(ctx, 30), lsm.ErrDetached)
	require.NoError(t, s.Close(ctx))
}

func TestAChildIsToldThatItsAncestorStopped(t *testing.T) {
	ctx := context.Background()
	b := newMemBucket()
	s, tl := start(t, withBucket(t, b))
	require.NoError(t, s.Branch(ctx, timelineID(1), timelineID(2), 30, nil))
	child := attach(t, s, timelineID(2))
	young := withBucket(t, b).openSmall()
	attach(t, young, timelineID(1))
	require.ErrorIs(t, tl.SetMeta(ctx, nil), lsm.ErrFenced)
	err := child.AncestorReady(ctx, 30)
	require.ErrorIs(t, err, lsm.ErrAncestorNotReady)
	require.ErrorIs(t, err, lsm.ErrFenced)
	require.NoError(t, young.Close(ctx))
	require.NoError(t, s.Close(ctx))
}

// BenchmarkDepth reads through ancestors: the time must not grow with depth.
func BenchmarkDepth(b *testing.B) {
	ctx := context.Background()
	for _, depth := range []int{1, 8, 64, 256} {
		b.Run(fmt.Sprintf("depth=%d", depth), func(b *testing.B) {
			w := openWorld(b, b.TempDir())
			w.env.Bucket = newMemBucket()
			s := w.open()
			require.NoError(b, s.Create(ctx, timelineID(0), 10, nil))
			tl := attach(b, s, timelineID(0))
			for i := range 100 {
				apply(b, tl, put(i, wal.LSN(11+i), "Ivalue"))
			}
			flush(b, tl)
			for i := range depth {
				at := tl.LastLSN()
				id := wal.TimelineID{0xbb, byte(i + 1), byte((i + 1) >> 8)}
				require.NoError(b, s.Branch(ctx, tl.ID(), id, at, nil))
				tl = attach(b, s, id)
				apply(b, tl, put(500, at+10, "Iown"))
				flush(b, tl)
			}
			child := tl
			reads, out := []lsm.Read{{LSN: child.LastLSN()}}, make([]lsm.Chain, 1)
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				i++
				reads[0].Key = key(i % 100)
				if err := child.Get(ctx, reads, out); err != nil || !out[0].HasBase {
					b.Fatal(err)
				}
			}
			st := child.Stats()
			b.ReportMetric(float64(st.LayersVisited)/float64(st.Reads), "layers/read")
			require.NoError(b, s.Close(ctx))
		})
	}
}

// BenchmarkGet reads chains from the memtable, and from a layer whose blocks are
// in memory.
func BenchmarkGet(b *testing.B) {
	ctx := context.Background()
	const keys = 200
	for _, deltas := range []int{0, 1, 10, 100, 1000} {
		w := openWorld(b, b.TempDir())
		w.env.Bucket = newMemBucket()
		s := w.open()
		require.NoError(b, s.Create(ctx, timelineID(0), 10, nil))
		tl := attach(b, s, timelineID(0))
		lsn := wal.LSN(10)
		for i := range deltas + 1 {
			for k := range keys {
				lsn++
				v := lsm.Version{Key: key(k), LSN: lsn, Kind: lsm.Delta, Value: make([]byte, 70)}
				if i == 0 {
					v.Kind, v.Value = lsm.Image, make([]byte, 8192)
				}
				apply(b, tl, v)
			}
		}
		for _, where := range []string{"memtable", "layer"} {
			if where == "layer" {
				require.NoError(b, tl.Flush(ctx))
			}
			b.Run(fmt.Sprintf("deltas=%d/%s", deltas, where), func(b *testing.B) {
				reads, out := []lsm.Read{{LSN: lsn}}, make([]lsm.Chain, 1)
				b.ReportAllocs()
				i := 0
				for b.Loop() {
					i++
					reads[0].Key = key(i * 31 % keys)
					if err := tl.Get(ctx, reads, out); err != nil || len(out[0].Deltas) != deltas {
						b.Fatal(err)
					}
				}
			})
		}
		require.NoError(b, s.Close(ctx))
	}
}
