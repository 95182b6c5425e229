package timeline_test

import (
	"math/rand"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/pageserver/pgkey"
	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/pgwal"
)

// filler is a record of so many bytes that says nothing.
func filler(bytes int) pgwal.RecordSpec {
	return pgwal.RecordSpec{RMgr: pgwal.RMgrXLOG, Info: pgwal.OpXLOGNoop, MainData: make([]byte, bytes)}
}

func TestALookupByTimeMeetsWhatALaterOneNoted(t *testing.T) {
	for _, skipped := range []int{0, pgkey.CommitTimeChunk, 3 * pgkey.CommitTimeChunk} {
		w := newWorld(t, nil)
		w.ingest(commit(ending{XID: 800, Time: importStamp + 10}))
		head := w.ingest(filler(pgkey.CommitTimeChunk))
		prev := w.ingest(filler(skipped)) // the next commit's chunk is the head's, or a later one
		w.ingest(commit(ending{XID: 801, Time: importStamp + 20}))

		at := pgwal.Timestamp(importStamp + 15).Time()
		got, err := w.tl.LSNAt(w.ctx, at)
		require.NoError(t, err)
		require.Equal(t, prev, got)
		got, err = w.tl.LSNAtHead(w.ctx, at, head)
		require.NoError(t, err)
		require.Equal(t, head, got)
		got, err = w.tl.LSNAt(w.ctx, at)
		require.NoError(t, err)
		require.Equal(t, prev, got)
	}
}

// Lookups with heads in any order share what they note. The naive twin looks through all
// commits up to the head.
func TestLookupsByTimeOverlap(t *testing.T) {
	random := rand.New(rand.NewSource(1))
	for range 6 {
		w := newWorld(t, nil)
		type stamped struct {
			stamp     int64
			prev, end wal.LSN
		}
		commits := []stamped{{importStamp, importEnd, importEnd}}
		heads := []wal.LSN{importEnd}
		stamp := int64(importStamp)
		check := func() {
			head := heads[len(heads)-1-min(random.Intn(len(heads)), random.Intn(len(heads)))]
			at := commits[random.Intn(len(commits))].stamp + int64(random.Intn(3)) - 1
			if at < importStamp {
				return
			}
			want := head
			for _, c := range commits {
				if c.stamp > at && c.end <= head {
					want = c.prev
					break
				}
			}
			got, err := w.tl.LSNAtHead(w.ctx, pgwal.Timestamp(at).Time(), head)
			require.NoError(t, err)
			require.Equal(t, want, got, "at %d up to %v", at, head)
		}
		for i := range 60 {
			if random.Intn(2) == 0 {
				heads = append(heads, w.ingest(filler(random.Intn(2*pgkey.CommitTimeChunk))))
			}
			stamp += int64(random.Intn(10)) - 2
			c := stamped{stamp: stamp, prev: w.end}
			c.end = w.ingest(commit(ending{XID: uint32(800 + i), Time: stamp}))
			commits, heads = append(commits, c), append(heads, c.end)
			for range 10 {
				check()
			}
		}
	}
}
