package verify_test

import (
	"encoding/binary"
	"errors"
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/pageserver/pagediff"
	"github.com/varvedb/varve/pageserver/timeline"
	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/pgwal"
)

// pageID names a page of a main or init fork.
type pageID struct {
	rel   pgwal.RelFileNode
	fork  pgwal.Fork
	block uint32
}

// sampled picks one page in eight, so that all its images fit in memory.
func (id pageID) sampled() bool {
	h := fnv.New32a()
	_ = binary.Write(h, binary.LittleEndian, []uint32{id.rel.Spc, id.rel.DB, id.rel.Rel, uint32(id.fork), id.block})
	return h.Sum32()%8 == 0
}

// moment is what a page became at the end of a record; nil: it went away.
type moment struct {
	lsn  wal.LSN
	page []byte
}

// history is the naive twin of the timeline: every image of every sampled page, in a
// map. A page's content at an LSN is the last one at or below it.
type history struct {
	moments map[pageID][]moment
	foreign map[[2]uint32]bool // databases that were copied as files: no record says what they hold
}

func (h *history) note(id pageID, lsn wal.LSN, page []byte) {
	h.moments[id] = append(h.moments[id], moment{lsn, page})
}

// forget notes that the pages that match are gone.
func (h *history) forget(lsn wal.LSN, match func(pageID) bool) {
	for id := range h.moments {
		if match(id) {
			h.note(id, lsn, nil)
		}
	}
}

func (h *history) take(t *testing.T, rec *pgwal.Record) {
	for i := range rec.Blocks {
		b := &rec.Blocks[i]
		id := pageID{b.Rel, b.Fork, b.Block}
		if !b.HasImage || b.Fork == pgwal.FSMFork || b.Fork == pgwal.VMFork || !id.sampled() {
			continue
		}
		page := make([]byte, pgwal.PageSize)
		require.NoError(t, rec.Restore(b, page))
		le := binary.LittleEndian
		if le.Uint16(page[14:]) != 0 {
			le.PutUint32(page, uint32(rec.End>>32))
			le.PutUint32(page[4:], uint32(rec.End))
		}
		// The left child whose downlink is now there no longer asks to follow right.
		update := rec.RMgr == pgwal.RMgrGist && rec.Op() == pgwal.OpGistPageUpdate && b.ID == 1
		split := rec.RMgr == pgwal.RMgrGist && rec.Op() == pgwal.OpGistPageSplit && b.ID == 0
		if update || split {
			page[8188] &^= 1 << 3
			le.PutUint32(page[8176:], uint32(rec.End>>32))
			le.PutUint32(page[8180:], uint32(rec.End))
		}
		h.note(id, rec.End, page)
	}
	h.ends(t, rec)
}

// ends notes what truncates and drops take away.
func (h *history) ends(t *testing.T, rec *pgwal.Record) {
	switch {
	case rec.RMgr == pgwal.RMgrStorage && rec.Op() == pgwal.OpSmgrTruncate:
		cut, err := pgwal.ParseSmgrTruncate(rec)
		require.NoError(t, err)
		h.forget(rec.End, func(id pageID) bool { return id.rel == cut.Rel && id.fork == pgwal.MainFork && id.block >= cut.Blocks })
	case rec.RMgr == pgwal.RMgrTransaction:
		var end pgwal.XactCompletion
		switch rec.Op() {
		case pgwal.OpXactCommit, pgwal.OpXactAbort, pgwal.OpXactCommitPrepared, pgwal.OpXactAbortPrepared:
			require.NoError(t, pgwal.ParseCommit(rec, &end))
		}
		if len(end.Rels) > 0 {
			h.forget(rec.End, func(id pageID) bool { return slices.Contains(end.Rels, id.rel) })
		}
	case rec.RMgr == pgwal.RMgrDatabase && rec.Op() == pgwal.OpDatabaseCreateFileCopy:
		copied, err := pgwal.ParseDatabaseCopy(rec)
		require.NoError(t, err)
		h.foreign[[2]uint32{copied.Tablespace, copied.DB}] = true
	case rec.RMgr == pgwal.RMgrDatabase && rec.Op() == pgwal.OpDatabaseDrop:
		dropped, err := pgwal.ParseDatabaseDrop(rec)
		require.NoError(t, err)
		h.forget(rec.End, func(id pageID) bool {
			return id.rel.DB == dropped.DB && slices.Contains(dropped.Tablespaces, id.rel.Spc)
		})
	}
}

// at returns what the page is at an LSN, and whether any record says so.
func (h *history) at(id pageID, lsn wal.LSN) (page []byte, known bool) {
	for _, m := range h.moments[id] {
		if m.lsn <= lsn {
			page, known = m.page, true
		}
	}
	return page, known
}

// history reads pages at random LSNs of the past and compares them with the twin.
func (w *world) history(t *testing.T, end wal.LSN) {
	h := &history{moments: map[pageID][]moment{}, foreign: map[[2]uint32]bool{}}
	decoder := pgwal.NewDecoder("archive", w.base.LSN)
	w.segments(t, end, func(_ wal.LSN, log []byte) {
		decoder.Feed(log)
		var rec pgwal.Record
		for {
			ok, err := decoder.Next(&rec)
			require.NoError(t, err)
			if !ok {
				return
			}
			h.take(t, &rec)
		}
	})
	ids := make([]pageID, 0, len(h.moments))
	for id := range h.moments {
		if !h.foreign[[2]uint32{id.rel.Spc, id.rel.DB}] {
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, func(a, b pageID) int { return slices.Compare(a.numbers(), b.numbers()) })
	random, compared, gone := rand.New(rand.NewPCG(7, 7)), 0, 0
	for range 20000 {
		id := ids[random.IntN(len(ids))]
		lsn := w.moment(random, h.moments[id], end)
		want, known := h.at(id, lsn)
		if !known {
			continue // it is as the import left it, or not yet there
		}
		got := [][]byte{nil}
		err := w.timeline.GetPages(t.Context(), []timeline.PageRead{{Rel: id.rel, Fork: id.fork, Block: id.block, LSN: lsn}}, got)
		if want == nil {
			gone++
			absent := errors.Is(err, timeline.ErrNoRelation) || errors.Is(err, timeline.ErrBeyondEnd)
			require.True(t, absent || err == nil && isZeroPage(got[0]), "%v at %v: %v", id, lsn, err)
			continue
		}
		compared++
		require.NoError(t, err, "%v at %v", id, lsn)
		diff := pagediff.Comparer{At: lsn}
		at, _ := diff.Compare(id.fork, id.block, got[0], want)
		require.Equal(t, -1, at, "%v at %v: first byte that differs", id, lsn)
	}
	t.Logf("%d pages, %d reads at random LSNs equal to the twin's, %d of pages gone", len(ids), compared, gone)
	require.Greater(t, compared, 5000)
	require.Greater(t, gone, 100)
}

// moment draws an LSN: any since the import, or one at or beside a change of the page.
func (w *world) moment(random *rand.Rand, moments []moment, end wal.LSN) wal.LSN {
	if random.IntN(3) == 0 {
		return w.base.LSN + wal.LSN(random.Uint64N(uint64(end-w.base.LSN)+1))
	}
	lsn := moments[random.IntN(len(moments))].lsn + wal.LSN(random.IntN(3)) - 1
	return min(max(lsn, w.base.LSN), end)
}

func (id pageID) numbers() []uint32 {
	return []uint32{id.rel.Spc, id.rel.DB, id.rel.Rel, uint32(id.fork), id.block}
}

func isZeroPage(page []byte) bool { return slices.Max(page) == 0 }
