package timeline_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand"
	"os"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/lsm"
	"github.com/varvedb/varve/pageserver/pgcontrol"
	"github.com/varvedb/varve/pageserver/pgkey"
	"github.com/varvedb/varve/pageserver/redo"
	"github.com/varvedb/varve/pageserver/timeline"
	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/env"
	"github.com/varvedb/varve/wal/pgwal"
)

func sortKeys(keys []lsm.Key) { slices.SortFunc(keys, lsm.Key.Compare) }

// The naive twin keeps every state of every page. The log is given in random cuts,
// the bucket is all that survives, twice, and reads are at random LSNs.
func TestEveryLSNReadsAsReplayed(t *testing.T) {
	w := newWorld(t, nil)
	random := rand.New(rand.NewSource(1))
	type state struct {
		lsn  wal.LSN
		page []byte
	}
	const blocks = 7
	history := map[uint32][]state{}
	latest := func(block uint32) []byte {
		if h := history[block]; len(h) > 0 {
			return slices.Clone(h[len(h)-1].page)
		}
		return nil
	}
	var lsns []wal.LSN
	for range 600 {
		block := uint32(random.Intn(blocks))
		page := latest(block)
		if page == nil || random.Intn(4) == 0 {
			page = aPage(byte(random.Int()))
			w.write(pgwal.FullPageImage(rel, pgwal.MainFork, block, page, pgwal.CompressionNone))
		} else {
			at := 100 + random.Intn(8000)
			page[at] = byte(random.Int())
			w.write(pgwal.Generic(0, pgwal.BlockChange{Rel: rel, Block: block, Changes: []pgwal.PageChange{
				{Offset: 12, Data: []byte{0xff, 0x1f}}, {Offset: uint16(at), Data: page[at : at+1]}}}))
			binary.LittleEndian.PutUint16(page[12:], 0x1fff)
		}
		history[block] = append(history[block], state{w.end, atLSN(page, w.end)})
		lsns = append(lsns, w.end)
	}
	log := w.log.Take()
	for begin := importEnd; len(log) > 0; {
		if at := len(lsns) * 2; random.Intn(at) == 0 {
			require.NoError(t, w.tl.Flush(w.ctx))
		}
		n := min(len(log), 1+random.Intn(20000))
		require.NoError(t, w.tl.Ingest(w.ctx, begin, log[:n]))
		begin, log = begin+wal.LSN(n), log[n:]
	}
	require.Equal(t, w.end, w.tl.LastLSN())
	check := func() {
		for range 2000 {
			lsn, block := lsns[random.Intn(len(lsns))]-wal.LSN(random.Intn(2)), uint32(random.Intn(blocks))
			var want []byte
			for _, s := range history[block] {
				if s.lsn <= lsn {
					want = s.page
				}
			}
			page, err := w.page(rel, pgwal.MainFork, block, lsn)
			if want == nil && err != nil {
				require.True(t, errors.Is(err, timeline.ErrBeyondEnd) || errors.Is(err, timeline.ErrNoRelation), "%v", err)
				continue
			}
			require.NoError(t, err)
			if want == nil {
				want = make([]byte, pgwal.PageSize)
			}
			require.Equal(t, want, page, "block %d at %v", block, lsn)
		}
	}
	check()
	require.NoError(t, w.tl.Flush(w.ctx))
	w.restart()
	require.Equal(t, w.end, w.tl.LastLSN())
	check()
}

func TestRestartGoesOnWhereTheBucketEnds(t *testing.T) {
	w := newWorld(t, nil)
	durable := w.ingest(create(rel, pgwal.MainFork), fpi(rel, pgwal.MainFork, 0, 1), commit(ending{XID: 800, Time: importStamp + 5}))
	require.NoError(t, w.tl.Flush(w.ctx))
	w.write(fpi(rel, pgwal.MainFork, 3, 2), commit(ending{XID: 900, Time: importStamp + 9}))
	lost := slices.Clone(w.log.Bytes())
	require.NoError(t, w.give())

	w.restart()
	require.Equal(t, durable, w.tl.LastLSN())
	require.Equal(t, durable, w.tl.NextLSN())
	require.NoError(t, w.tl.Ingest(w.ctx, durable, lost))
	require.Equal(t, w.end, w.tl.LastLSN())
	size, err := w.tl.RelSize(w.ctx, rel, pgwal.MainFork, w.end)
	require.NoError(t, err)
	require.Equal(t, uint32(4), size)
	require.Equal(t, pgkey.AppendUint64(nil, 901), w.value(pgkey.NextXID(), w.end))
	require.Equal(t, pgkey.AppendUint64(nil, 801), w.value(pgkey.NextXID(), durable))
}

func TestTruncatedThenExtendedReadsZeros(t *testing.T) {
	w := newWorld(t, nil)
	var full wal.LSN
	for block := range uint32(6) {
		full = w.ingest(fpi(rel, pgwal.MainFork, block, byte(block)))
	}
	short := w.ingest(truncate(rel, 2))
	_, err := w.page(rel, pgwal.MainFork, 2, short)
	require.ErrorIs(t, err, timeline.ErrBeyondEnd)
	long := w.ingest(fpi(rel, pgwal.MainFork, 5, 55))
	for block := uint32(2); block < 5; block++ {
		require.True(t, redo.IsZero(w.mustPage(rel, pgwal.MainFork, block, long)), "block %d", block)
		require.Equal(t, byte(block), w.mustPage(rel, pgwal.MainFork, block, full)[24])
	}
	require.Equal(t, byte(1), w.mustPage(rel, pgwal.MainFork, 1, long)[24])
	require.Equal(t, byte(55), w.mustPage(rel, pgwal.MainFork, 5, long)[24])

	w.ingest(truncate(rel, 0))
	last := w.ingest(fpi(rel, pgwal.MainFork, 3, 33))
	for block := range uint32(3) {
		require.True(t, redo.IsZero(w.mustPage(rel, pgwal.MainFork, block, last)), "block %d", block)
	}
	require.Equal(t, byte(55), w.mustPage(rel, pgwal.MainFork, 5, long)[24])
}

func TestDroppedAndMadeAgainIsEmpty(t *testing.T) {
	w := newWorld(t, nil)
	w.ingest(create(rel, pgwal.MainFork), create(rel, pgwal.InitFork), fpi(rel, pgwal.MainFork, 0, 1), fpi(rel, pgwal.MainFork, 1, 2))
	before := w.end
	dropped := w.ingest(commit(ending{XID: 740, Time: importStamp + 1, Dropped: []pgwal.RelFileNode{rel}}))
	for _, fork := range []pgwal.Fork{pgwal.MainFork, pgwal.InitFork} {
		_, err := w.tl.RelSize(w.ctx, rel, fork, dropped)
		require.ErrorIs(t, err, timeline.ErrNoRelation)
	}
	again := w.ingest(create(rel, pgwal.MainFork), fpi(rel, pgwal.MainFork, 1, 9))
	require.True(t, redo.IsZero(w.mustPage(rel, pgwal.MainFork, 0, again)))
	require.Equal(t, byte(9), w.mustPage(rel, pgwal.MainFork, 1, again)[24])
	require.Equal(t, byte(1), w.mustPage(rel, pgwal.MainFork, 0, before)[24])
	_, err := w.page(rel, pgwal.MainFork, 0, dropped)
	require.ErrorIs(t, err, timeline.ErrNoRelation)
}

// A delete on an all-visible page clears map bits although no block of the map is listed.
func TestHeapRecordClearsVisibility(t *testing.T) {
	w := newWorld(t, nil)
	vm := aPage(0xff)
	vm[25] = 0xff
	set := w.ingest(create(rel, pgwal.MainFork), fpi(rel, pgwal.MainFork, 5, 1),
		pgwal.FullPageImage(rel, pgwal.VMFork, 0, vm, pgwal.CompressionNone))
	body := []byte{0, 3, 0, 0, 1, 0, 0, pgwal.HeapDeleteAllVisibleCleared}
	cleared := w.ingest(pgwal.RecordSpec{RMgr: pgwal.RMgrHeap, Info: pgwal.OpHeapDelete, XID: 740, MainData: body,
		Blocks: []pgwal.BlockSpec{{Rel: rel, Block: 5, Image: aPage(2)}}})
	require.Equal(t, byte(0xff), w.mustPage(rel, pgwal.VMFork, 0, set)[25])
	got := w.mustPage(rel, pgwal.VMFork, 0, cleared)
	require.Equal(t, byte(0b11110011), got[25], "block 5 is the second of its byte")
	require.Equal(t, set, redo.PageLSN(got))
}

func TestVisibilityMapIsTruncatedWithItsHeap(t *testing.T) {
	w := newWorld(t, nil)
	vm := aPage(0xff)
	w.ingest(fpi(rel, pgwal.MainFork, 40000, 1), pgwal.FullPageImage(rel, pgwal.VMFork, 0, vm, pgwal.CompressionNone),
		pgwal.FullPageImage(rel, pgwal.VMFork, 1, vm, pgwal.CompressionNone))
	lsn := w.ingest(truncate(rel, 1))
	require.Equal(t, byte(0b11), w.mustPage(rel, pgwal.VMFork, 0, lsn)[24])
	size, err := w.tl.RelSize(w.ctx, rel, pgwal.VMFork, lsn)
	require.NoError(t, err)
	require.Equal(t, uint32(1), size)
}

func TestTransactionsEnd(t *testing.T) {
	w := newWorld(t, nil)
	const page = pgkey.XactsPerPage
	w.ingest(commit(ending{XID: page - 2, Time: importStamp + 1, SubXIDs: []uint32{page - 1, page, page + 1}}))
	lsn := w.ingest(abort(ending{XID: page + 2, Time: importStamp + 2}))
	require.Equal(t, byte(0b01_01_00_00), w.value(pgkey.SLRUPage(pgkey.Xact, 0), lsn)[8191])
	require.Equal(t, byte(0b00_10_01_01), w.value(pgkey.SLRUPage(pgkey.Xact, 1), lsn)[0])
	require.Equal(t, pgkey.AppendUint64(nil, page+3), w.value(pgkey.NextXID(), lsn))
	zeroed := w.ingest(words(pgwal.RMgrCLOG, pgwal.OpCLOGZeroPage, 1))
	require.True(t, redo.IsZero(w.value(pgkey.SLRUPage(pgkey.Xact, 1), zeroed)))
}

func TestTransactionIDsWrapIntoTheNextEpoch(t *testing.T) {
	w := newWorld(t, func(images map[lsm.Key][]byte) {
		images[pgkey.NextXID()] = pgkey.AppendUint64(nil, 5<<32|0xFFFFFFF0)
	})
	lsn := w.ingest(commit(ending{XID: 0xFFFFFFFF, Time: 1}))
	require.Equal(t, pgkey.AppendUint64(nil, 6<<32|3), w.value(pgkey.NextXID(), lsn))
	lsn = w.ingest(commit(ending{XID: 7, Time: 1}), commit(ending{XID: 0xFFFFFFF8, Time: 1}))
	require.Equal(t, pgkey.AppendUint64(nil, 6<<32|8), w.value(pgkey.NextXID(), lsn))
}

func TestSegmentsOfPgXactAreCut(t *testing.T) {
	w := newWorld(t, nil)
	for page := range uint32(70) {
		w.write(words(pgwal.RMgrCLOG, pgwal.OpCLOGZeroPage, page))
	}
	before := w.ingest()
	const oldest = 40 * pgkey.XactsPerPage
	lsn := w.ingest(words(pgwal.RMgrCLOG, pgwal.OpCLOGTruncate, 40, oldest, 5))
	require.Nil(t, w.value(pgkey.SLRUPage(pgkey.Xact, 31), lsn))
	require.NotNil(t, w.value(pgkey.SLRUPage(pgkey.Xact, 32), lsn), "its segment holds page 40 too")
	require.NotNil(t, w.value(pgkey.SLRUPage(pgkey.Xact, 0), before))
	require.Equal(t, pgkey.OldestValue{ID: oldest, DB: 5}.AppendTo(nil), w.value(pgkey.OldestXID(), lsn))
}

func TestMultiXactCrossesPages(t *testing.T) {
	w := newWorld(t, nil)
	const multi, offset = pgkey.MultiOffsetsPerPage - 1, 2*pgkey.MultiMembersPerPage - 1
	spec := words(pgwal.RMgrMultiXact, pgwal.OpMultiXactCreate, multi, offset, 2, 740, 0, 741, 5)
	lsn := w.ingest(spec)
	offsets := w.value(pgkey.SLRUPage(pgkey.MultiXactOffsets, 0), lsn)
	require.Equal(t, uint32(offset), binary.LittleEndian.Uint32(offsets[8188:]))
	next := w.value(pgkey.SLRUPage(pgkey.MultiXactOffsets, 1), lsn)
	require.Equal(t, uint32(offset+2), binary.LittleEndian.Uint32(next))
	members := w.value(pgkey.SLRUPage(pgkey.MultiXactMembers, 1), lsn)
	require.Equal(t, uint32(740), binary.LittleEndian.Uint32(members[408*20+4+12:]))
	members = w.value(pgkey.SLRUPage(pgkey.MultiXactMembers, 2), lsn)
	require.Equal(t, uint32(741), binary.LittleEndian.Uint32(members[4:]))
	require.Equal(t, byte(5), members[0])
	require.Equal(t, pgkey.NextMultiValue{Multi: multi + 1, Offset: offset + 2}.AppendTo(nil), w.value(pgkey.NextMulti(), lsn))
	require.Equal(t, pgkey.AppendUint64(nil, 742), w.value(pgkey.NextXID(), lsn))
}

func TestMultiXactsAreCut(t *testing.T) {
	w := newWorld(t, nil)
	for page := range uint32(100) {
		w.write(words(pgwal.RMgrMultiXact, pgwal.OpMultiXactZeroOffsets, page), words(pgwal.RMgrMultiXact, pgwal.OpMultiXactZeroMembers, page))
	}
	w.ingest()
	const oldest = 64 * pgkey.MultiOffsetsPerPage
	lsn := w.ingest(words(pgwal.RMgrMultiXact, pgwal.OpMultiXactTruncate, 5, 1, oldest, 0, 70*pgkey.MultiMembersPerPage))
	has := func(slru pgkey.SLRU, page uint32) bool { return w.value(pgkey.SLRUPage(slru, page), lsn) != nil }
	require.False(t, has(pgkey.MultiXactOffsets, 31))
	require.True(t, has(pgkey.MultiXactOffsets, 32), "the multixact before the oldest is on page 63")
	require.False(t, has(pgkey.MultiXactMembers, 63))
	require.True(t, has(pgkey.MultiXactMembers, 64))
	require.Equal(t, pgkey.OldestValue{ID: oldest, DB: 5}.AppendTo(nil), w.value(pgkey.OldestMulti(), lsn))
}

func TestCheckpointsAndSettings(t *testing.T) {
	w := newWorld(t, nil)
	online := pgwal.CheckPoint{Redo: 1, NextXID: 700, NextOID: 20000, NextMulti: 9, NextMultiOffset: 10, OldestXID: 730, OldestXIDDB: 4, OldestMulti: 1, OldestMultiDB: 1, Time: 77}
	lsn := w.ingest(pgwal.RecordSpec{RMgr: pgwal.RMgrXLOG, Info: pgwal.OpXLOGCheckpointOnline, MainData: online.AppendTo(nil)})
	require.Equal(t, pgkey.AppendUint64(nil, 735), w.value(pgkey.NextXID(), lsn), "an online checkpoint never takes back")
	require.Equal(t, pgkey.NextMultiValue{Multi: 9, Offset: 10}.AppendTo(nil), w.value(pgkey.NextMulti(), lsn))
	require.Equal(t, pgkey.OldestValue{ID: 730, DB: 4}.AppendTo(nil), w.value(pgkey.OldestXID(), lsn))
	require.Equal(t, pgkey.AppendUint32(nil, 16384), w.value(pgkey.NextOID(), lsn), "it may be from before the last NEXTOID")
	control, err := pgcontrol.Decode("control", w.value(pgkey.Control(), lsn))
	require.NoError(t, err)
	require.Equal(t, online, control.CheckPointCopy)
	require.Equal(t, uint64(systemID), control.SystemID)

	lsn = w.ingest(words(pgwal.RMgrXLOG, pgwal.OpXLOGNextOID, 28192),
		words(pgwal.RMgrXLOG, pgwal.OpXLOGParameterChange, 17, 18, 19, 20, 64, 1, 1|1<<8))
	require.Equal(t, pgkey.AppendUint32(nil, 28192), w.value(pgkey.NextOID(), lsn))
	control, err = pgcontrol.Decode("control", w.value(pgkey.Control(), lsn))
	require.NoError(t, err)
	require.Equal(t, int32(17), control.MaxConnections)
	require.Equal(t, int32(20), control.MaxPreparedXacts)
	require.True(t, control.WALLogHints)
	require.True(t, control.TrackCommitTimestamp)
	require.Equal(t, pgkey.CommitTsRangeValue{Oldest: 735, Newest: 735}.AppendTo(nil), w.value(pgkey.CommitTsRange(), lsn))

	lsn = w.ingest(commit(ending{XID: 750, Time: importStamp + 77, SubXIDs: []uint32{820}}))
	stamp := binary.LittleEndian.AppendUint64(nil, importStamp+77)
	require.Equal(t, stamp, w.value(pgkey.SLRUPage(pgkey.CommitTs, 0), lsn)[7500:7508])
	require.Equal(t, stamp, w.value(pgkey.SLRUPage(pgkey.CommitTs, 1), lsn)[10:18])
	require.Equal(t, pgkey.CommitTsRangeValue{Oldest: 735, Newest: 820}.AppendTo(nil), w.value(pgkey.CommitTsRange(), lsn))

	off := w.ingest(words(pgwal.RMgrXLOG, pgwal.OpXLOGParameterChange, 17, 18, 19, 20, 64, 1, 1))
	require.Nil(t, w.value(pgkey.SLRUPage(pgkey.CommitTs, 0), off))
	shutdown := pgwal.CheckPoint{Redo: off, NextXID: 760, NextOID: 5, OldestXID: 3, OldestMulti: 1}
	lsn = w.ingest(pgwal.ShutdownCheckpoint(shutdown.AppendTo(nil)))
	require.Equal(t, pgkey.AppendUint64(nil, 760), w.value(pgkey.NextXID(), lsn), "a shutdown is exact")
	require.Equal(t, pgkey.AppendUint32(nil, 5), w.value(pgkey.NextOID(), lsn))
}

// foreign is a resource manager of an extension, of which nothing is known here.
const foreign = pgwal.RMgr(128)

func TestMissingImageNamesItselfAndStopsOnlyThisTimeline(t *testing.T) {
	w := newWorld(t, nil)
	good := w.write(fpi(rel, pgwal.MainFork, 0, 1))
	w.write(pgwal.RecordSpec{RMgr: foreign, Blocks: []pgwal.BlockSpec{{Rel: other, Block: 4, Data: []byte("x")}}})
	w.write(fpi(rel, pgwal.MainFork, 1, 2))
	err := w.give()
	var missing *timeline.MissingImageError
	require.ErrorAs(t, err, &missing)
	require.Equal(t, mainID, missing.Timeline)
	require.Equal(t, pgkey.Block(other, pgwal.MainFork, 4), missing.Key)
	require.Equal(t, foreign, missing.RMgr)
	require.Equal(t, "UNKNOWN (0)", missing.Kind)
	require.EqualError(t, err, fmt.Sprintf("timeline %v stopped at %v: record custom128 UNKNOWN (0): a change of relation 1663/5/16385 fork main block 4 without an image, by a resource manager of an extension, which cannot be redone", mainID, good))
	require.Equal(t, good, w.tl.LastLSN(), "what came before is taken in")
	require.Equal(t, byte(1), w.mustPage(rel, pgwal.MainFork, 0, good)[24])

	require.ErrorAs(t, w.tl.Ingest(w.ctx, w.tl.NextLSN(), nil), &missing, "it stays stopped")
	require.ErrorAs(t, w.tl.WaitLSN(w.ctx, good+1), &missing, "nobody waits for what will never come")
	_, err = w.page(rel, pgwal.MainFork, 0, good+1)
	require.ErrorAs(t, err, &missing)
}

func TestHintWithoutImageChangesNothing(t *testing.T) {
	w := newWorld(t, nil)
	first := w.ingest(fpi(rel, pgwal.MainFork, 0, 1))
	lsn := w.ingest(pgwal.RecordSpec{RMgr: pgwal.RMgrXLOG, Info: pgwal.OpXLOGFPIForHint, Blocks: []pgwal.BlockSpec{{Rel: rel, Block: 0}, {ID: 1, Rel: rel, Block: 9}}})
	require.Equal(t, atLSN(aPage(1), first), w.mustPage(rel, pgwal.MainFork, 0, lsn))
	size, err := w.tl.RelSize(w.ctx, rel, pgwal.MainFork, lsn)
	require.NoError(t, err)
	require.Equal(t, uint32(1), size)
}

// An image attached for checking is content on the image route, and is not on the native one.
func TestImageForCheckingIsContentOnlyWithoutNativeRedo(t *testing.T) {
	w := newWorld(t, nil)
	w.ingest(fpi(rel, pgwal.MainFork, 0, 1), fpi(rel, pgwal.MainFork, 1, 1))
	other := w.ingest(pgwal.RecordSpec{RMgr: foreign, MainData: []byte{1, 0},
		Blocks: []pgwal.BlockSpec{{Rel: rel, Block: 0, Image: aPage(2), Data: []byte("x")}}})
	require.Equal(t, atLSN(aPage(2), other), w.mustPage(rel, pgwal.MainFork, 0, other))
	generic := w.ingest(pgwal.RecordSpec{RMgr: pgwal.RMgrGeneric,
		Blocks: []pgwal.BlockSpec{{Rel: rel, Block: 1, Image: aPage(66), Data: []byte{24, 0, 1, 0, 3}}}})
	require.Equal(t, atLSN(aPage(3), generic), w.mustPage(rel, pgwal.MainFork, 1, generic))
}

// What a record says may make no sense on its page. Only who reads that page from there
// on learns of it, by name.
func TestARecordThatMakesNoSenseStopsItsPageAlone(t *testing.T) {
	w := newWorld(t, nil)
	good := w.ingest(fpi(rel, pgwal.MainFork, 0, 1), fpi(rel, pgwal.MainFork, 1, 2))
	insert := func(n uint8, block pgwal.BlockSpec) pgwal.RecordSpec {
		block.Rel, block.Data = rel, []byte{1, 0, 0, 8, 24, 0, 'x'}
		return pgwal.RecordSpec{RMgr: pgwal.RMgrHeap, Info: pgwal.OpHeapInsert, MainData: []byte{n, 0, 0}, Blocks: []pgwal.BlockSpec{block}}
	}
	bad := w.ingest(insert(200, pgwal.BlockSpec{Block: 1}))
	start := insert(9, pgwal.BlockSpec{Block: 2, WillInit: true})
	start.Info |= pgwal.InfoInitPage
	last := w.ingest(start, fpi(rel, pgwal.MainFork, 3, 3))
	for _, block := range []uint32{1, 2} {
		_, err := w.page(rel, pgwal.MainFork, block, last)
		require.ErrorIs(t, err, wal.ErrCorruption)
		require.ErrorContains(t, err, mainID.String())
		require.ErrorContains(t, err, fmt.Sprintf("relation %v fork main block %d", rel, block))
	}
	_, err := w.page(rel, pgwal.MainFork, 1, bad)
	require.ErrorContains(t, err, "at "+bad.String()+": apply Heap INSERT: ")
	w.mustPage(rel, pgwal.MainFork, 1, good)
	w.mustPage(rel, pgwal.MainFork, 0, last)
	w.mustPage(rel, pgwal.MainFork, 3, last)
	healed := w.ingest(fpi(rel, pgwal.MainFork, 1, 4))
	w.mustPage(rel, pgwal.MainFork, 1, healed)
}

// What is stored of a native record does not depend on whether it has an image for checks.
func TestWhatIsStoredDoesNotDependOnImagesForChecks(t *testing.T) {
	plain := pgwal.RecordSpec{RMgr: pgwal.RMgrHeap, Info: pgwal.OpHeapInsert, XID: 9, MainData: []byte{1, 0, 0},
		Blocks: []pgwal.BlockSpec{{Rel: rel, Data: []byte{1, 0, 0, 8, 24, 0, 'x'}}}}
	checked := plain
	checked.Blocks = []pgwal.BlockSpec{plain.Blocks[0]}
	checked.Blocks[0].Image = aPage(99)
	var pages [2][]byte
	for i, spec := range []pgwal.RecordSpec{plain, checked} {
		w := newWorld(t, nil)
		w.ingest(fpi(rel, pgwal.MainFork, 0, 0))
		pages[i] = w.mustPage(rel, pgwal.MainFork, 0, w.ingest(spec))
	}
	require.Equal(t, pages[0][8:], pages[1][8:], "but for the LSN: the record is longer")
	require.NotEqual(t, aPage(99)[8:], pages[1][8:])
}

func TestDatabaseIsCopiedAndDropped(t *testing.T) {
	w := newWorld(t, func(images map[lsm.Key][]byte) {
		images[pgkey.Database(1663, 5)] = []byte("15\n")
		images[pgkey.RelMap(1663, 5)] = make([]byte, pgwal.RelMapSize)
	})
	w.ingest(fpi(rel, pgwal.MainFork, 0, 1), fpi(rel, pgwal.MainFork, 2, 3), fpi(rel, pgwal.InitFork, 0, 4), truncate(other, 0), create(other, pgwal.MainFork))
	left := pgwal.RelFileNode{Spc: 1663, DB: 99, Rel: 50000} // of a copy that was begun and crashed
	copied := w.ingest(fpi(left, pgwal.MainFork, 0, 1), words(pgwal.RMgrDatabase, pgwal.OpDatabaseCreateFileCopy, 99, 1663, 5, 1663))
	w.ingest(fpi(rel, pgwal.MainFork, 0, 77))
	twin := pgwal.RelFileNode{Spc: 1663, DB: 99, Rel: rel.Rel}
	require.Equal(t, byte(1), w.mustPage(twin, pgwal.MainFork, 0, w.end)[24])
	require.True(t, redo.IsZero(w.mustPage(twin, pgwal.MainFork, 1, w.end)))
	require.Equal(t, byte(3), w.mustPage(twin, pgwal.MainFork, 2, w.end)[24])
	require.Equal(t, byte(4), w.mustPage(twin, pgwal.InitFork, 0, w.end)[24])
	require.Equal(t, "15\n", string(w.value(pgkey.Database(1663, 99), w.end)))
	require.Len(t, w.value(pgkey.RelMap(1663, 99), w.end), pgwal.RelMapSize)
	names := func(lsn wal.LSN) (sizes []timeline.RelationSize) {
		require.NoError(t, w.tl.DatabaseRelations(w.ctx, 1663, 99, lsn, func(r timeline.RelationSize) error {
			sizes = append(sizes, r)
			return nil
		}))
		return sizes
	}
	require.Equal(t, []timeline.RelationSize{
		{Rel: twin, Fork: pgwal.MainFork, Blocks: 3}, {Rel: twin, Fork: pgwal.InitFork, Blocks: 1},
		{Rel: pgwal.RelFileNode{Spc: 1663, DB: 99, Rel: other.Rel}, Fork: pgwal.MainFork}}, names(w.end))

	dropped := w.ingest(fpi(left, pgwal.MainFork, 0, 1), words(pgwal.RMgrDatabase, pgwal.OpDatabaseDrop, 99, 1, 1663))
	require.Empty(t, names(dropped))
	require.Len(t, names(copied), 3)
	require.Nil(t, w.value(pgkey.Database(1663, 99), dropped))
	// The same numbers again: nothing of the first life shows.
	w.ingest(words(pgwal.RMgrDatabase, pgwal.OpDatabaseCreateWALLog, 99, 1663))
	again := w.ingest(fpi(twin, pgwal.MainFork, 2, 9))
	require.True(t, redo.IsZero(w.mustPage(twin, pgwal.MainFork, 0, again)))
	require.Equal(t, "15\n", string(w.value(pgkey.Database(1663, 99), again)))
}

func TestTimesFindLSNs(t *testing.T) {
	w := newWorld(t, nil)
	type stamped struct {
		stamp int64
		prev  wal.LSN // end of the record before
	}
	random := rand.New(rand.NewSource(2))
	var commits []stamped
	stamp := int64(importStamp)
	for i := range 400 {
		w.write(fpi(rel, pgwal.MainFork, uint32(i), byte(i)))
		if i == 200 { // a stretch of log without commits
			w.write(pgwal.RecordSpec{RMgr: pgwal.RMgrXLOG, Info: pgwal.OpXLOGSwitch}, fpi(rel, pgwal.MainFork, 1, 1))
		}
		stamp += int64(random.Intn(3_000_000)) - 500_000 // now and then a clock steps back
		if i == 199 {
			stamp -= 100_000_000 // and far, at the end of a chunk
		}
		commits = append(commits, stamped{stamp, w.end})
		w.write(commit(ending{XID: uint32(800 + i), Time: stamp}))
	}
	w.ingest()
	check := func() {
		for range 300 {
			at := commits[random.Intn(len(commits))].stamp + int64(random.Intn(3)) - 1
			want := w.end
			for _, c := range commits {
				if c.stamp > at {
					want = c.prev
					break
				}
			}
			got, err := w.tl.LSNAt(w.ctx, pgwal.Timestamp(at).Time())
			if at < importStamp {
				require.ErrorIs(t, err, timeline.ErrBeforeHistory)
				continue
			}
			require.NoError(t, err)
			require.Equal(t, want, got, "at %d", at)
		}
	}
	check()
	require.NoError(t, w.tl.Flush(w.ctx))
	w.restart()
	check()
	commits = append(commits, stamped{stamp - 50_000_000, w.end})
	w.ingest(commit(ending{XID: 2000, Time: stamp - 50_000_000}))
	times, err := pgkey.DecodeCommitTimes(w.value(pgkey.CommitTime(w.end), w.end))
	require.NoError(t, err)
	require.NotEqual(t, stamp-50_000_000, times[len(times)-1].Time, "it is not later than all before")
	check()
	for i := range 30 { // what was looked up grows
		stamp += 1_000_000
		commits = append(commits, stamped{stamp, w.end})
		w.ingest(commit(ending{XID: uint32(2001 + i), Time: stamp}))
		got, err := w.tl.LSNAt(w.ctx, pgwal.Timestamp(stamp-1).Time())
		require.NoError(t, err)
		require.Equal(t, commits[len(commits)-1].prev, got)
	}
	check()
	before := w.tl.Store().Stats().Reads
	check()
	require.Equal(t, before, w.tl.Store().Stats().Reads, "what was read before is not read again")
	got, err := w.tl.LSNAt(w.ctx, pgwal.Timestamp(importStamp).Time())
	require.NoError(t, err)
	require.GreaterOrEqual(t, got, importEnd)
	_, err = w.tl.LSNAt(w.ctx, pgwal.Timestamp(importStamp-1).Time())
	require.ErrorIs(t, err, timeline.ErrBeforeHistory)
	_, err = w.tl.LSNAt(w.ctx, w.env.Clock.Wall().Add(time.Hour))
	require.ErrorIs(t, err, timeline.ErrFutureTime)
}

func TestPrevRecordIsKnownAtTheHead(t *testing.T) {
	w := newWorld(t, nil)
	prev, err := w.tl.PrevRecord(w.ctx, importEnd)
	require.NoError(t, err)
	require.Equal(t, importPrev, prev)
	w.write(fpi(rel, pgwal.MainFork, 0, 1))
	start, end := w.log.Append(fpi(rel, pgwal.MainFork, 1, 1))
	require.NoError(t, w.give())
	prev, err = w.tl.PrevRecord(w.ctx, end)
	require.NoError(t, err)
	require.Equal(t, start, prev)
	prev, err = w.tl.PrevRecord(w.ctx, start)
	require.NoError(t, err)
	require.Zero(t, prev)
}

func TestBranchHasALogOfItsOwn(t *testing.T) {
	w := newWorld(t, nil)
	at := w.ingest(fpi(rel, pgwal.MainFork, 0, 1), fpi(rel, pgwal.MainFork, 1, 1))
	w.ingest(fpi(rel, pgwal.MainFork, 0, 2))
	require.NoError(t, w.store.Branch(w.ctx, mainID, branchID, at, nil))
	under, err := w.store.Attach(w.ctx, branchID)
	require.NoError(t, err)
	child, err := timeline.Open(w.ctx, w.env, branchID, under)
	require.NoError(t, err)
	log := pgwal.NewEncoder(at, 0, systemID)
	_, end := log.Append(fpi(rel, pgwal.MainFork, 0, 3))
	require.NoError(t, child.Ingest(w.ctx, at, log.Take()))
	pages := make([][]byte, 2)
	require.NoError(t, child.GetPages(w.ctx, []timeline.PageRead{{Rel: rel, LSN: end}, {Rel: rel, Block: 1, LSN: end}}, pages))
	require.Equal(t, byte(3), pages[0][24])
	require.Equal(t, byte(1), pages[1][24])
	require.Equal(t, byte(2), w.mustPage(rel, pgwal.MainFork, 0, w.end)[24])
}

// No record begins at an odd LSN, so a branch made there has a log that begins above
// it, and whoever starts that log first reads there.
func TestBranchIsReadableWhereItsLogBegins(t *testing.T) {
	w := newWorld(t, nil)
	at := w.ingest(fpi(rel, pgwal.MainFork, 0, 1)) - 1
	require.NoError(t, w.store.Branch(w.ctx, mainID, branchID, at, nil))
	under, err := w.store.Attach(w.ctx, branchID)
	require.NoError(t, err)
	child, err := timeline.Open(w.ctx, w.env, branchID, under)
	require.NoError(t, err)
	require.Equal(t, at+1, child.LastLSN())
	_, err = child.RelSize(w.ctx, rel, pgwal.MainFork, at+1)
	require.ErrorIs(t, err, timeline.ErrNoRelation, "the parent's record that ends there is not the branch's")
	log := pgwal.NewEncoder(at+1, 0, systemID)
	_, end := log.Append(fpi(rel, pgwal.MainFork, 1, 3))
	require.NoError(t, child.Ingest(w.ctx, at+1, log.Take()))
	size, err := child.RelSize(w.ctx, rel, pgwal.MainFork, end)
	require.NoError(t, err)
	require.Equal(t, uint32(2), size)
}

// Some records of hash indexes list a bucket's first page only for replay to lock it.
// PostgreSQL has not locked it then: an insert may be logged between the moment when
// the image is taken and the record's own place in the log.
func TestImageOfALockedHashBucketChangesNothing(t *testing.T) {
	image := func(block uint32, content byte) pgwal.BlockSpec {
		return fpi(rel, pgwal.MainFork, block, content).Blocks[0]
	}
	for _, op := range []uint8{pgwal.OpHashMovePageContents, pgwal.OpHashSqueezePage, pgwal.OpHashDelete} {
		w := newWorld(t, nil)
		inserted := w.ingest(fpi(rel, pgwal.MainFork, 0, 2), fpi(rel, pgwal.MainFork, 1, 2))
		bucket, overflow := image(0, 1), image(1, 3)
		overflow.ID = 1
		lsn := w.ingest(pgwal.RecordSpec{RMgr: pgwal.RMgrHash, Info: op, Blocks: []pgwal.BlockSpec{bucket, overflow}})
		require.Equal(t, w.mustPage(rel, pgwal.MainFork, 0, inserted), w.mustPage(rel, pgwal.MainFork, 0, lsn))
		require.Equal(t, byte(3), w.mustPage(rel, pgwal.MainFork, 1, lsn)[24])
	}
}

func TestIngestRefusesAGap(t *testing.T) {
	w := newWorld(t, nil)
	w.write(fpi(rel, pgwal.MainFork, 0, 1))
	log := w.log.Take()
	require.Error(t, w.tl.Ingest(w.ctx, importEnd+8, log[8:]))
	require.NoError(t, w.tl.Ingest(w.ctx, importEnd, log), "it was no reason to stop")
}

func TestReadsAheadOfTheLogWait(t *testing.T) {
	w := newWorld(t, nil)
	w.write(fpi(rel, pgwal.MainFork, 0, 8))
	group := w.env.Tasks.NewGroup(w.ctx)
	var page []byte
	group.Go("read", func(context.Context) (err error) {
		page, err = w.page(rel, pgwal.MainFork, 0, w.end)
		return err
	})
	require.NoError(t, w.give())
	require.NoError(t, group.Wait())
	require.Equal(t, byte(8), page[24])
}

func TestFlippedBitInTheLogIsRejected(t *testing.T) {
	w := newWorld(t, nil)
	w.write(fpi(rel, pgwal.MainFork, 0, 1))
	log := w.log.Take()
	log[len(log)/2] ^= 4
	require.ErrorIs(t, w.tl.Ingest(w.ctx, importEnd, log), wal.ErrCorruption)
	require.NoError(t, w.tl.Stopped())
	require.Equal(t, importEnd, w.tl.NextLSN())
}

// awayBucket fails every read while it is away.
type awayBucket struct {
	env.Bucket
	away atomic.Bool
}

var errAway = errors.New("the bucket is away")

func (b *awayBucket) GetRange(ctx context.Context, key string, off, size int64) ([]byte, error) {
	if b.away.Load() {
		return nil, errAway
	}
	return b.Bucket.GetRange(ctx, key, off, size)
}

func TestIngestGoesOnAfterTheBucketWasAway(t *testing.T) {
	w := newWorldWith(t, lsm.Options{Tenant: tenant, BlockBytes: 64}, nil)
	first := w.ingest(fpi(rel, pgwal.MainFork, 0, 1), fpi(other, pgwal.MainFork, 3, 1))
	require.NoError(t, w.tl.Flush(w.ctx))
	bucket := &awayBucket{Bucket: w.env.Bucket}
	w.env.Bucket = bucket
	require.NoError(t, os.RemoveAll(w.dir+"/local"))
	w.restart()

	bucket.away.Store(true)
	log := w.log
	log.Append(fpi(rel, pgwal.MainFork, 1, 2))
	_, last := log.Append(fpi(other, pgwal.MainFork, 4, 2))
	bytes := log.Take()
	require.ErrorIs(t, w.tl.Ingest(w.ctx, w.tl.NextLSN(), bytes), errAway)
	require.Equal(t, first, w.tl.LastLSN())
	require.ErrorIs(t, w.tl.WaitLSN(w.ctx, last), errAway)

	bucket.away.Store(false)
	require.NoError(t, w.tl.Resume(w.ctx))
	require.ErrorIs(t, w.tl.Stopped(), errAway, "until it has taken in more")
	require.NoError(t, w.tl.Ingest(w.ctx, w.tl.NextLSN(), bytes))
	require.NoError(t, w.tl.Stopped())
	require.NoError(t, w.tl.WaitLSN(w.ctx, last))
	require.Equal(t, byte(2), w.mustPage(rel, pgwal.MainFork, 1, last)[24])
	require.Equal(t, byte(1), w.mustPage(other, pgwal.MainFork, 3, last)[24])
	size, err := w.tl.RelSize(w.ctx, other, pgwal.MainFork, last)
	require.NoError(t, err)
	require.Equal(t, uint32(5), size)
}

// TestWhatTheStoreDidNotTakeIsGatheredOnce: what failed is tried again before a timeline stops, and the
// store, which asserts that it gets each version once, may take it then.
func TestWhatTheStoreDidNotTakeIsGatheredOnce(t *testing.T) {
	w := newWorld(t, nil)
	tl := w.tl
	w.restart() // the store of before is closed
	w.log.Append(pgwal.RecordSpec{RMgr: pgwal.RMgrXLOG, Info: pgwal.OpXLOGNoop})
	require.Error(t, tl.Ingest(w.ctx, tl.NextLSN(), w.log.Take()))
	require.Zero(t, tl.Unsent(pgkey.LastRecord()))
}

func TestSoundBytesReplaceDamagedOnes(t *testing.T) {
	w := newWorld(t, nil)
	first := w.write(fpi(rel, pgwal.MainFork, 0, 1))
	last := w.write(fpi(rel, pgwal.MainFork, 1, 2), fpi(rel, pgwal.MainFork, 0, 3))
	log := w.log.Take()
	damaged := slices.Clone(log)
	damaged[first-importEnd+40] ^= 4
	require.ErrorIs(t, w.tl.Ingest(w.ctx, importEnd, damaged), wal.ErrCorruption)
	require.Equal(t, first, w.tl.LastLSN())
	require.NoError(t, w.tl.Stopped())
	require.Equal(t, first, w.tl.NextLSN())
	require.NoError(t, w.tl.Ingest(w.ctx, first, log[first-importEnd:]))
	require.NoError(t, w.tl.WaitLSN(w.ctx, last))
	require.Equal(t, byte(1), w.mustPage(rel, pgwal.MainFork, 0, first)[24], "what the last sound record did")
	require.Equal(t, byte(3), w.mustPage(rel, pgwal.MainFork, 0, last)[24])
}

// A record whose length is too great looks like one that is not all here yet. At the
// end of an idle log nobody would ever know.
func TestALengthThatIsTooGreatIsFoundAtTheEndOfTheLog(t *testing.T) {
	w := newWorld(t, nil)
	first := w.write(fpi(rel, pgwal.MainFork, 0, 1))
	last := w.write(fpi(rel, pgwal.MainFork, 1, 2))
	log := w.log.Take()
	damaged := slices.Clone(log)
	damaged[first-importEnd+1] ^= 4 // of xl_tot_len
	require.NoError(t, w.tl.Ingest(w.ctx, importEnd, damaged))
	require.Equal(t, first, w.tl.LastLSN())
	require.ErrorIs(t, w.tl.CheckWhole(w.ctx), wal.ErrCorruption)
	require.ErrorIs(t, w.tl.Stopped(), timeline.ErrStopped)
	require.NoError(t, w.tl.Resume(w.ctx))
	require.NoError(t, w.tl.Ingest(w.ctx, first, log[first-importEnd:]))
	require.NoError(t, w.tl.CheckWhole(w.ctx))
	require.Equal(t, byte(2), w.mustPage(rel, pgwal.MainFork, 1, last)[24])
}
