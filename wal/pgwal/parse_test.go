package pgwal_test

import (
	"bytes"
	"encoding/binary"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/pgwal"
)

// parser reads records of one operation and reports only whether it could.
type parser struct {
	rmgr  pgwal.RMgr
	op    uint8
	parse func(*pgwal.Record) error
}

func value[T any](parse func(*pgwal.Record) (T, error)) func(*pgwal.Record) error {
	return func(rec *pgwal.Record) error {
		_, err := parse(rec)
		return err
	}
}

func into[T any](parse func(*pgwal.Record, *T) error) func(*pgwal.Record) error {
	var dst T // reused, as callers on the hot path do
	return func(rec *pgwal.Record) error { return parse(rec, &dst) }
}

// parsers lists every parser of the package.
var parsers = []parser{
	{pgwal.RMgrXLOG, pgwal.OpXLOGCheckpointShutdown, value(pgwal.ParseCheckPoint)},
	{pgwal.RMgrXLOG, pgwal.OpXLOGCheckpointOnline, value(pgwal.ParseCheckPoint)},
	{pgwal.RMgrXLOG, pgwal.OpXLOGNextOID, value(pgwal.ParseNextOID)},
	{pgwal.RMgrXLOG, pgwal.OpXLOGBackupEnd, value(pgwal.ParseBackupEnd)},
	{pgwal.RMgrXLOG, pgwal.OpXLOGParameterChange, value(pgwal.ParseParameterChange)},
	{pgwal.RMgrXLOG, pgwal.OpXLOGRestorePoint, value(pgwal.ParseRestorePoint)},
	{pgwal.RMgrXLOG, pgwal.OpXLOGFPWChange, value(pgwal.ParseFPWChange)},
	{pgwal.RMgrXLOG, pgwal.OpXLOGEndOfRecovery, value(pgwal.ParseEndOfRecovery)},
	{pgwal.RMgrXLOG, pgwal.OpXLOGOverwriteContrecord, value(pgwal.ParseOverwriteContrecord)},
	{pgwal.RMgrTransaction, pgwal.OpXactCommit, into(pgwal.ParseCommit)},
	{pgwal.RMgrTransaction, pgwal.OpXactCommitPrepared, into(pgwal.ParseCommit)},
	{pgwal.RMgrTransaction, pgwal.OpXactAbort, into(pgwal.ParseAbort)},
	{pgwal.RMgrTransaction, pgwal.OpXactAbortPrepared, into(pgwal.ParseAbort)},
	{pgwal.RMgrTransaction, pgwal.OpXactPrepare, value(pgwal.ParsePrepare)},
	{pgwal.RMgrTransaction, pgwal.OpXactAssignment, value(pgwal.ParseAssignment)},
	{pgwal.RMgrTransaction, pgwal.OpXactInvalidations, value(pgwal.ParseXactInvalidations)},
	{pgwal.RMgrStorage, pgwal.OpSmgrCreate, value(pgwal.ParseSmgrCreate)},
	{pgwal.RMgrStorage, pgwal.OpSmgrTruncate, value(pgwal.ParseSmgrTruncate)},
	{pgwal.RMgrCLOG, pgwal.OpCLOGZeroPage, value(pgwal.ParseCLOGZeroPage)},
	{pgwal.RMgrCLOG, pgwal.OpCLOGTruncate, value(pgwal.ParseCLOGTruncate)},
	{pgwal.RMgrDatabase, pgwal.OpDatabaseCreateFileCopy, value(pgwal.ParseDatabaseCopy)},
	{pgwal.RMgrDatabase, pgwal.OpDatabaseCreateWALLog, value(pgwal.ParseDatabaseCreate)},
	{pgwal.RMgrDatabase, pgwal.OpDatabaseDrop, value(pgwal.ParseDatabaseDrop)},
	{pgwal.RMgrTablespace, pgwal.OpTablespaceCreate, value(pgwal.ParseTablespaceCreate)},
	{pgwal.RMgrTablespace, pgwal.OpTablespaceDrop, value(pgwal.ParseTablespaceDrop)},
	{pgwal.RMgrMultiXact, pgwal.OpMultiXactZeroOffsets, value(pgwal.ParseMultiXactZeroPage)},
	{pgwal.RMgrMultiXact, pgwal.OpMultiXactZeroMembers, value(pgwal.ParseMultiXactZeroPage)},
	{pgwal.RMgrMultiXact, pgwal.OpMultiXactCreate, into(pgwal.ParseMultiXactCreate)},
	{pgwal.RMgrMultiXact, pgwal.OpMultiXactTruncate, value(pgwal.ParseMultiXactTruncate)},
	{pgwal.RMgrRelMap, pgwal.OpRelMapUpdate, value(pgwal.ParseRelMapUpdate)},
	{pgwal.RMgrStandby, pgwal.OpStandbyLock, value(pgwal.ParseStandbyLocks)},
	{pgwal.RMgrStandby, pgwal.OpStandbyRunningXacts, value(pgwal.ParseRunningXacts)},
	{pgwal.RMgrStandby, pgwal.OpStandbyInvalidations, value(pgwal.ParseStandbyInvalidations)},
	{pgwal.RMgrHeap, pgwal.OpHeapInsert, value(pgwal.ParseHeapInsert)},
	{pgwal.RMgrHeap, pgwal.OpHeapDelete, value(pgwal.ParseHeapDelete)},
	{pgwal.RMgrHeap, pgwal.OpHeapUpdate, value(pgwal.ParseHeapUpdate)},
	{pgwal.RMgrHeap, pgwal.OpHeapHotUpdate, value(pgwal.ParseHeapUpdate)},
	{pgwal.RMgrHeap, pgwal.OpHeapTruncate, value(pgwal.ParseHeapTruncate)},
	{pgwal.RMgrHeap, pgwal.OpHeapConfirm, value(pgwal.ParseHeapConfirm)},
	{pgwal.RMgrHeap, pgwal.OpHeapLock, value(pgwal.ParseHeapLock)},
	{pgwal.RMgrHeap, pgwal.OpHeapInplace, value(pgwal.ParseHeapInplace)},
	{pgwal.RMgrHeap2, pgwal.OpHeap2Prune, value(pgwal.ParseHeapPrune)},
	{pgwal.RMgrHeap2, pgwal.OpHeap2Vacuum, value(pgwal.ParseHeapVacuum)},
	{pgwal.RMgrHeap2, pgwal.OpHeap2FreezePage, value(pgwal.ParseHeapFreezePage)},
	{pgwal.RMgrHeap2, pgwal.OpHeap2Visible, value(pgwal.ParseHeapVisible)},
	{pgwal.RMgrHeap2, pgwal.OpHeap2MultiInsert, value(pgwal.ParseHeapMultiInsert)},
	{pgwal.RMgrHeap2, pgwal.OpHeap2LockUpdated, value(pgwal.ParseHeapLock)},
	{pgwal.RMgrHeap2, pgwal.OpHeap2NewCID, value(pgwal.ParseHeapNewCID)},
	{pgwal.RMgrBtree, pgwal.OpBtreeInsertLeaf, value(pgwal.ParseBtreeInsert)},
	{pgwal.RMgrBtree, pgwal.OpBtreeInsertUpper, value(pgwal.ParseBtreeInsert)},
	{pgwal.RMgrBtree, pgwal.OpBtreeInsertMeta, value(pgwal.ParseBtreeInsert)},
	{pgwal.RMgrBtree, pgwal.OpBtreeInsertPost, value(pgwal.ParseBtreeInsert)},
	{pgwal.RMgrBtree, pgwal.OpBtreeSplitL, value(pgwal.ParseBtreeSplit)},
	{pgwal.RMgrBtree, pgwal.OpBtreeSplitR, value(pgwal.ParseBtreeSplit)},
	{pgwal.RMgrBtree, pgwal.OpBtreeDedup, value(pgwal.ParseBtreeDedup)},
	{pgwal.RMgrBtree, pgwal.OpBtreeVacuum, value(pgwal.ParseBtreeVacuum)},
	{pgwal.RMgrBtree, pgwal.OpBtreeDelete, value(pgwal.ParseBtreeDelete)},
	{pgwal.RMgrBtree, pgwal.OpBtreeMarkPageHalfDead, value(pgwal.ParseBtreeHalfDead)},
	{pgwal.RMgrBtree, pgwal.OpBtreeUnlinkPage, value(pgwal.ParseBtreeUnlink)},
	{pgwal.RMgrBtree, pgwal.OpBtreeUnlinkPageMeta, value(pgwal.ParseBtreeUnlink)},
	{pgwal.RMgrBtree, pgwal.OpBtreeNewRoot, value(pgwal.ParseBtreeNewRoot)},
	{pgwal.RMgrHash, pgwal.OpHashInitMetaPage, value(pgwal.ParseHashInitMeta)},
	{pgwal.RMgrHash, pgwal.OpHashInitBitmapPage, value(pgwal.ParseHashInitBitmap)},
	{pgwal.RMgrHash, pgwal.OpHashInsert, value(pgwal.ParseHashInsert)},
	{pgwal.RMgrHash, pgwal.OpHashAddOverflowPage, value(pgwal.ParseHashAddOverflow)},
	{pgwal.RMgrHash, pgwal.OpHashSplitAllocatePage, value(pgwal.ParseHashSplitAllocate)},
	{pgwal.RMgrHash, pgwal.OpHashSplitComplete, value(pgwal.ParseHashSplitComplete)},
	{pgwal.RMgrHash, pgwal.OpHashMovePageContents, value(pgwal.ParseHashMove)},
	{pgwal.RMgrHash, pgwal.OpHashSqueezePage, value(pgwal.ParseHashSqueeze)},
	{pgwal.RMgrHash, pgwal.OpHashDelete, value(pgwal.ParseHashDelete)},
	{pgwal.RMgrHash, pgwal.OpHashUpdateMetaPage, value(pgwal.ParseHashUpdateMeta)},
	{pgwal.RMgrHash, pgwal.OpHashVacuumOnePage, value(pgwal.ParseHashVacuumOne)},
	{pgwal.RMgrBRIN, pgwal.OpBRINCreateIndex, value(pgwal.ParseBRINCreate)},
	{pgwal.RMgrBRIN, pgwal.OpBRINInsert, value(pgwal.ParseBRINInsert)},
	{pgwal.RMgrBRIN, pgwal.OpBRINUpdate, value(pgwal.ParseBRINUpdate)},
	{pgwal.RMgrBRIN, pgwal.OpBRINSamePageUpdate, value(pgwal.ParseBRINSamePageUpdate)},
	{pgwal.RMgrBRIN, pgwal.OpBRINRevmapExtend, value(pgwal.ParseBRINRevmapExtend)},
	{pgwal.RMgrBRIN, pgwal.OpBRINDesummarize, value(pgwal.ParseBRINDesummarize)},
	{pgwal.RMgrGist, pgwal.OpGistPageUpdate, func(rec *pgwal.Record) error { _, _, err := pgwal.ParseGistUpdate(rec); return err }},
	{pgwal.RMgrGist, pgwal.OpGistDelete, value(pgwal.ParseGistDelete)},
	{pgwal.RMgrGist, pgwal.OpGistPageSplit, value(pgwal.ParseGistSplit)},
	{pgwal.RMgrGist, pgwal.OpGistPageDelete, value(pgwal.ParseGistPageDelete)},
	{pgwal.RMgrSequence, pgwal.OpSequenceLog, value(pgwal.ParseSequenceLog)},
	{pgwal.RMgrCommitTs, pgwal.OpCommitTsZeroPage, value(pgwal.ParseCommitTsZeroPage)},
	{pgwal.RMgrCommitTs, pgwal.OpCommitTsTruncate, value(pgwal.ParseCommitTsTruncate)},
	{pgwal.RMgrReplOrigin, pgwal.OpReplOriginSet, value(pgwal.ParseReplOriginSet)},
	{pgwal.RMgrReplOrigin, pgwal.OpReplOriginDrop, value(pgwal.ParseReplOriginDrop)},
	{pgwal.RMgrGeneric, pgwal.OpGenericDelta, func(rec *pgwal.Record) error {
		for i := range rec.Blocks {
			if _, err := pgwal.AppendGenericFragments(nil, rec, &rec.Blocks[i]); err != nil {
				return err
			}
		}
		return nil
	}},
	{pgwal.RMgrLogicalMsg, pgwal.OpLogicalMessage, value(pgwal.ParseLogicalMessage)},
}

// parseAs runs every parser made for the record's operation, and those made for all.
func parseAs(rec *pgwal.Record) error {
	for _, p := range parsers {
		if p.rmgr == rec.RMgr && p.op == rec.Op() {
			if err := p.parse(rec); err != nil {
				return err
			}
		}
	}
	_, err := pgwal.AppendVMClears(nil, rec)
	return err
}

func FuzzParsers(f *testing.F) {
	for _, p := range parsers {
		f.Add(uint8(p.rmgr), p.op, make([]byte, 88), []byte{1, 0, 2, 0, 0xAA, 0xBB})
		f.Add(uint8(p.rmgr), p.op|0x80, bytes.Repeat([]byte{1, 0, 0, 0}, 20), []byte{})
	}
	f.Fuzz(func(t *testing.T, rmgr, info uint8, main, block []byte) {
		rec := &pgwal.Record{
			RMgr: pgwal.RMgr(rmgr % 24), Info: info, MainData: main,
			Blocks: []pgwal.BlockRef{{ID: 0, Data: block}, {ID: 2, HasImage: true, Data: main}},
		}
		for _, p := range parsers {
			if p.rmgr != rec.RMgr {
				continue
			}
			if err := p.parse(rec); err != nil {
				require.ErrorIs(t, err, wal.ErrCorruption)
			}
		}
		if _, err := pgwal.AppendVMClears(nil, rec); err != nil {
			require.ErrorIs(t, err, wal.ErrCorruption)
		}
		require.NotEmpty(t, pgwal.AppendDump(nil, rec))
		pgwal.GistSplitChild(rec)
		if c, err := pgwal.ParseCheckPoint(rec); err == nil {
			requireCheckPointRoundTrip(t, c)
		}
	})
}

func requireCheckPointRoundTrip(t testing.TB, c pgwal.CheckPoint) {
	t.Helper()
	var again pgwal.CheckPoint
	b := c.AppendTo(nil)
	require.Len(t, b, pgwal.CheckPointSize)
	require.NoError(t, again.Decode(b))
	require.Equal(t, c, again)
}

// Every fixed-size body cut short or made longer by one byte is corruption: no
// parser reads past the end, and none overlooks bytes.
func TestParsersRefuseWrongLengths(t *testing.T) {
	sized := map[uint16]bool{} // bodies that end in bytes of any number
	for _, key := range []uint16{
		uint16(pgwal.RMgrTransaction)<<8 | pgwal.OpXactPrepare, uint16(pgwal.RMgrSequence)<<8 | pgwal.OpSequenceLog,
		uint16(pgwal.RMgrGeneric)<<8 | pgwal.OpGenericDelta, uint16(pgwal.RMgrLogicalMsg)<<8 | pgwal.OpLogicalMessage,
		uint16(pgwal.RMgrTransaction)<<8 | pgwal.OpXactCommitPrepared, uint16(pgwal.RMgrTransaction)<<8 | pgwal.OpXactAbortPrepared,
		uint16(pgwal.RMgrRelMap)<<8 | pgwal.OpRelMapUpdate,
	} {
		sized[key] = true
	}
	for _, p := range parsers {
		if sized[uint16(p.rmgr)<<8|uint16(p.op)] {
			continue
		}
		rec := &pgwal.Record{RMgr: p.rmgr, Info: p.op}
		size := -1
		for n := range 100 {
			rec.MainData = make([]byte, n)
			if p.parse(rec) == nil {
				require.Equal(t, -1, size, "%s accepts %d and %d zero bytes", rec.Kind(), size, n)
				size = n
			}
		}
		require.Positive(t, size, "%s/%s accepts no length", rec.RMgr, rec.Kind())
	}
}

func TestCheckPointDecode(t *testing.T) {
	c := pgwal.CheckPoint{
		Redo: 0x0102030405060708, TimeLine: 1, PrevTimeLine: 2, FullPageWrites: true, NextXID: 3<<32 | 4, NextOID: 5, NextMulti: 6,
		NextMultiOffset: 7, OldestXID: 8, OldestXIDDB: 9, OldestMulti: 10, OldestMultiDB: 11, Time: 12, OldestCommitTsXID: 13,
		NewestCommitTsXID: 14, OldestActiveXID: 15,
	}
	requireCheckPointRoundTrip(t, c)
	b := c.AppendTo(nil)
	b[16] = 2
	require.ErrorIs(t, c.Decode(b), wal.ErrCorruption, "full_page_writes is neither true nor false")
}

func TestTimestamps(t *testing.T) {
	at := time.Date(2026, 11, 23, 1, 2, 3, 456789000, time.UTC)
	require.Equal(t, at, pgwal.TimestampOf(at).Time())
	require.Equal(t, time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC), pgwal.Timestamp(0).Time())
}

func TestVMClears(t *testing.T) {
	const both = pgwal.VMAllVisible | pgwal.VMAllFrozen
	newRel, oldRel := pgwal.RelFileNode{Spc: 1663, DB: 5, Rel: 100}, pgwal.RelFileNode{Spc: 1663, DB: 5, Rel: 100}
	update := func(flags uint8) []byte { return []byte{0, 0, 0, 0, 1, 0, 0, flags, 0, 0, 0, 0, 2, 0} }
	lock := []byte{9, 0, 0, 0, 1, 0, 0, pgwal.HeapLockAllFrozenCleared}
	insert := []byte{1, 0, pgwal.HeapInsertAllVisibleCleared}
	one := []pgwal.BlockRef{{ID: 0, Rel: newRel, Block: 7}}
	two := []pgwal.BlockRef{{ID: 0, Rel: newRel, Block: 7}, {ID: 1, Rel: oldRel, Block: 8}}
	at := func(block uint32, bits uint8) pgwal.VMClear {
		return pgwal.VMClear{Rel: newRel, Block: block, Bits: bits}
	}
	for name, c := range map[string]struct {
		rec  pgwal.Record
		want []pgwal.VMClear
	}{
		"insert":             {pgwal.Record{RMgr: pgwal.RMgrHeap, MainData: insert, Blocks: one}, []pgwal.VMClear{at(7, both)}},
		"insert, not set":    {pgwal.Record{RMgr: pgwal.RMgrHeap, MainData: []byte{1, 0, 8}, Blocks: one}, nil},
		"insert, new page":   {pgwal.Record{RMgr: pgwal.RMgrHeap, Info: pgwal.InfoInitPage, MainData: insert, Blocks: one}, []pgwal.VMClear{at(7, both)}},
		"delete":             {pgwal.Record{RMgr: pgwal.RMgrHeap, Info: pgwal.OpHeapDelete, MainData: []byte{9, 0, 0, 0, 1, 0, 0, pgwal.HeapDeleteAllVisibleCleared}, Blocks: one}, []pgwal.VMClear{at(7, both)}},
		"update, same page":  {pgwal.Record{RMgr: pgwal.RMgrHeap, Info: pgwal.OpHeapHotUpdate, MainData: update(pgwal.HeapUpdateOldAllVisibleCleared), Blocks: one}, []pgwal.VMClear{at(7, both)}},
		"update, old page":   {pgwal.Record{RMgr: pgwal.RMgrHeap, Info: pgwal.OpHeapUpdate, MainData: update(pgwal.HeapUpdateOldAllVisibleCleared), Blocks: two}, []pgwal.VMClear{at(8, both)}},
		"update, new page":   {pgwal.Record{RMgr: pgwal.RMgrHeap, Info: pgwal.OpHeapUpdate, MainData: update(pgwal.HeapUpdateNewAllVisibleCleared), Blocks: two}, []pgwal.VMClear{at(7, both)}},
		"update, both pages": {pgwal.Record{RMgr: pgwal.RMgrHeap, Info: pgwal.OpHeapUpdate, MainData: update(3), Blocks: two}, []pgwal.VMClear{at(8, both), at(7, both)}},
		"lock":               {pgwal.Record{RMgr: pgwal.RMgrHeap, Info: pgwal.OpHeapLock, MainData: lock, Blocks: one}, []pgwal.VMClear{at(7, pgwal.VMAllFrozen)}},
		"lock updated":       {pgwal.Record{RMgr: pgwal.RMgrHeap2, Info: pgwal.OpHeap2LockUpdated, MainData: lock, Blocks: one}, []pgwal.VMClear{at(7, pgwal.VMAllFrozen)}},
		"multi-insert":       {pgwal.Record{RMgr: pgwal.RMgrHeap2, Info: pgwal.OpHeap2MultiInsert, MainData: []byte{1, 0, 1, 0, 4, 0}, Blocks: one}, []pgwal.VMClear{at(7, both)}},
		"visible":            {pgwal.Record{RMgr: pgwal.RMgrHeap2, Info: pgwal.OpHeap2Visible, MainData: []byte{0, 0, 0, 0, 3}, Blocks: two}, nil},
		"btree":              {pgwal.Record{RMgr: pgwal.RMgrBtree, MainData: insert, Blocks: one}, nil},
	} {
		got, err := pgwal.AppendVMClears(nil, &c.rec)
		require.NoError(t, err, name)
		require.Equal(t, c.want, got, name)
	}
	_, err := pgwal.AppendVMClears(nil, &pgwal.Record{RMgr: pgwal.RMgrHeap, MainData: insert})
	require.ErrorIs(t, err, wal.ErrCorruption, "no block to clear bits for")
}

func TestGistSplitChild(t *testing.T) {
	blocks := []pgwal.BlockRef{{ID: 0, Block: 10}, {ID: 1, Block: 11}}
	split := &pgwal.Record{RMgr: pgwal.RMgrGist, Info: pgwal.OpGistPageSplit, Blocks: blocks}
	require.Equal(t, uint32(10), pgwal.GistSplitChild(split).Block)
	split.Blocks = blocks[1:]
	require.Nil(t, pgwal.GistSplitChild(split))
	update := &pgwal.Record{RMgr: pgwal.RMgrGist, Info: pgwal.OpGistPageUpdate, Blocks: blocks}
	require.Equal(t, uint32(11), pgwal.GistSplitChild(update).Block)
	update.Blocks = blocks[:1]
	require.Nil(t, pgwal.GistSplitChild(update))
	require.Nil(t, pgwal.GistSplitChild(&pgwal.Record{RMgr: pgwal.RMgrGist, Info: pgwal.OpGistPageDelete, Blocks: blocks}))
	require.Nil(t, pgwal.GistSplitChild(&pgwal.Record{RMgr: pgwal.RMgrHeap, Blocks: blocks}))
}

func TestGenericFragments(t *testing.T) {
	data := binary.LittleEndian.AppendUint16(nil, pgwal.PageSize-2)
	data = append(data, 2, 0, 0xAA, 0xBB)
	rec := &pgwal.Record{RMgr: pgwal.RMgrGeneric}
	got, err := pgwal.AppendGenericFragments(nil, rec, &pgwal.BlockRef{Data: data})
	require.NoError(t, err)
	require.Equal(t, []pgwal.GenericFragment{{Offset: pgwal.PageSize - 2, Bytes: []byte{0xAA, 0xBB}}}, got)
	data[0]++
	_, err = pgwal.AppendGenericFragments(nil, rec, &pgwal.BlockRef{Data: data})
	require.ErrorIs(t, err, wal.ErrCorruption)
	_, err = pgwal.AppendGenericFragments(nil, rec, &pgwal.BlockRef{Data: data[:5]})
	require.ErrorIs(t, err, wal.ErrCorruption)
}

func TestKindNames(t *testing.T) {
	require.Equal(t, "INSERT+INIT", pgwal.KindName(pgwal.RMgrHeap, pgwal.OpHeapInsert|pgwal.InfoInitPage))
	require.Equal(t, "COMMIT", pgwal.KindName(pgwal.RMgrTransaction, pgwal.OpXactCommit|pgwal.InfoXactHasInfo))
	require.Equal(t, "FPI", pgwal.KindName(pgwal.RMgrXLOG, pgwal.OpXLOGFPI|1), "the low bits are no part of the kind")
	require.Equal(t, "UNKNOWN (f0)", pgwal.KindName(pgwal.RMgrXLOG, 0xFF))
	require.Equal(t, "UNKNOWN (0)", pgwal.KindName(200, 0))
}
