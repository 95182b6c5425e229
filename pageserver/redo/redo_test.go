package redo_test

import (
	"encoding/binary"
	"math/rand"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/lsm"
	"github.com/varvedb/varve/pageserver/pgkey"
	"github.com/varvedb/varve/pageserver/redo"
	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/pgwal"
)

var rel = pgwal.RelFileNode{Spc: 1663, DB: 5, Rel: 16384}

// apply runs one delta on a page.
func apply(t *testing.T, key lsm.Key, base, delta []byte, lsn wal.LSN) []byte {
	t.Helper()
	chain := lsm.Chain{HasBase: base != nil, Base: base, Deltas: []lsm.Version{{Key: key, LSN: lsn, Kind: lsm.Delta, Value: delta}}}
	page, err := redo.Apply(nil, key, &chain)
	require.NoError(t, err)
	require.Len(t, page, pgwal.PageSize)
	return page
}

// emptyPage is an initialised page without items and with a special space.
func emptyPage(special int) []byte {
	page := make([]byte, pgwal.PageSize)
	binary.LittleEndian.PutUint16(page[12:], 24)
	binary.LittleEndian.PutUint16(page[14:], uint16(pgwal.PageSize-special))
	binary.LittleEndian.PutUint16(page[16:], uint16(pgwal.PageSize-special))
	binary.LittleEndian.PutUint16(page[18:], pgwal.PageSize|4)
	return page
}

// decode writes one record and reads it back.
func decode(t *testing.T, spec pgwal.RecordSpec) *pgwal.Record {
	t.Helper()
	encoder := pgwal.NewEncoder(0x2000028, 0x2000000, 7)
	encoder.Append(spec)
	decoder := pgwal.NewDecoder("test", 0x2000028)
	decoder.Feed(encoder.Take())
	rec := new(pgwal.Record)
	ok, err := decoder.Next(rec)
	require.NoError(t, err)
	require.True(t, ok)
	return rec
}

func TestEmptyChainIsAPageOfZeros(t *testing.T) {
	page, err := redo.Apply([]byte("kept"), pgkey.Block(rel, pgwal.MainFork, 3), &lsm.Chain{})
	require.NoError(t, err)
	require.Equal(t, "kept", string(page[:4]))
	require.True(t, redo.IsZero(page[4:]))
	value, err := redo.Apply(nil, pgkey.CommitTime(1), &lsm.Chain{})
	require.NoError(t, err)
	require.Empty(t, value)
}

// A value that is no page grows, behind what dst holds, whether dst has room or not.
func TestValuesThatGrow(t *testing.T) {
	key := pgkey.CommitTime(1)
	for _, base := range []string{"", "one "} {
		chain := lsm.Chain{HasBase: base != "", Base: []byte(base)}
		for i, tail := range []string{"two ", "three"} {
			chain.Deltas = append(chain.Deltas, lsm.Version{Key: key, LSN: wal.LSN(i + 1), Kind: lsm.Delta, Value: redo.AppendAppend(nil, []byte(tail))})
		}
		for _, room := range []int{0, 4, 9, 100} {
			dst := append(make([]byte, 0, 5+room), "kept "...)
			value, err := redo.Apply(dst, key, &chain)
			require.NoError(t, err)
			require.Equal(t, "kept "+base+"two three", string(value))
			value, err = redo.Apply(nil, key, &chain)
			require.NoError(t, err)
			require.Equal(t, base+"two three", string(value))
		}
	}
}

func TestXactStatusTwoBitsEach(t *testing.T) {
	const page = 3
	xids := []uint32{page * pgkey.XactsPerPage, page*pgkey.XactsPerPage + 5, (page+1)*pgkey.XactsPerPage - 1}
	key := pgkey.SLRUPage(pgkey.Xact, page)
	committed := apply(t, key, nil, redo.AppendXactStatus(nil, redo.Committed, xids), 1)
	want := make([]byte, pgwal.PageSize)
	want[0], want[1], want[pgwal.PageSize-1] = 0b01, 0b01<<2, 0b01<<6
	require.Equal(t, want, committed)

	both := redo.AppendXactStatus(redo.AppendXactStatus(nil, redo.Aborted, xids[1:]), redo.Committed, xids[2:])
	want[1], want[pgwal.PageSize-1] = 0b10<<2, 0b01<<6
	require.Equal(t, want, apply(t, key, committed, both, 2))
}

func TestMultiXactOffsetAndMembers(t *testing.T) {
	offsets := apply(t, pgkey.SLRUPage(pgkey.MultiXactOffsets, 1), nil, redo.AppendMultiOffset(nil, 2048+7, 0x01020304), 1)
	require.Equal(t, []byte{4, 3, 2, 1}, offsets[7*4:8*4])

	// The naive twin keeps members in a map and lays the page out at the end.
	random := rand.New(rand.NewSource(1))
	first := uint32(2*pgkey.MultiMembersPerPage + 6)
	var members []pgwal.MultiXactMember
	want := make([]byte, pgwal.PageSize)
	for i := range uint32(11) {
		m := pgwal.MultiXactMember{XID: random.Uint32(), Status: pgwal.MultiXactStatus(random.Intn(6))}
		members = append(members, m)
		at := 6 + i
		want[at/4*20+at%4] = byte(m.Status)
		binary.LittleEndian.PutUint32(want[at/4*20+4+at%4*4:], m.XID)
	}
	require.Equal(t, want, apply(t, pgkey.SLRUPage(pgkey.MultiXactMembers, 2), nil, redo.AppendMultiMembers(nil, first, members), 1))
}

func TestCommitTs(t *testing.T) {
	page := apply(t, pgkey.SLRUPage(pgkey.CommitTs, 0), nil, redo.AppendCommitTs(nil, 0x0102, 9, []uint32{4, 818}), 1)
	entry := []byte{2, 1, 0, 0, 0, 0, 0, 0, 9, 0}
	require.Equal(t, entry, page[40:50])
	require.Equal(t, entry, page[8180:8190])
	clear(page[40:50])
	clear(page[8180:8190])
	require.True(t, redo.IsZero(page), "nothing else changed")
}

func TestVMClearTakesOnlyTheBlocksBits(t *testing.T) {
	full := emptyPage(0)
	for i := 24; i < len(full); i++ {
		full[i] = 0xff
	}
	block := uint32(32672 + 4*10 + 2) // of map page 1, byte 10, bits 4 and 5
	key := pgkey.Block(rel, pgwal.VMFork, 1)
	got := apply(t, key, full, redo.AppendVMClear(nil, block, pgwal.VMAllFrozen), 99)
	require.Equal(t, byte(0b11011111), got[24+10])
	got = apply(t, key, full, redo.AppendVMClear(nil, block, pgwal.VMAllFrozen|pgwal.VMAllVisible), 99)
	require.Equal(t, byte(0b11001111), got[24+10])
	require.Equal(t, byte(0xff), got[24+9])
	require.Equal(t, byte(0xff), got[24+11])
	require.Equal(t, redo.PageLSN(full), redo.PageLSN(got), "clearing bits does not move pd_lsn")
	require.Equal(t, emptyPage(0), apply(t, key, nil, redo.AppendVMClear(nil, block, pgwal.VMAllFrozen), 99),
		"a map page that is not there yet is made")
}

func TestVMTruncateClearsWhatLiesBehind(t *testing.T) {
	full := emptyPage(0)
	for i := 24; i < len(full); i++ {
		full[i] = 0xff
	}
	got := apply(t, pgkey.Block(rel, pgwal.VMFork, 0), full, redo.AppendVMTruncate(nil, 9), 99)
	want := emptyPage(0)
	want[24], want[25], want[26] = 0xff, 0xff, 0b11
	require.Equal(t, want, got)
}

func TestGenericIsWhatPostgreSQLsRedoDoes(t *testing.T) {
	base := emptyPage(8)
	base[5000] = 1 // in the hole
	rec := decode(t, pgwal.Generic(3, pgwal.BlockChange{Rel: rel, Block: 1, Changes: []pgwal.PageChange{
		{Offset: 12, Data: []byte{30, 0}}, {Offset: 24, Data: []byte("abcdef")}}}))
	got := apply(t, pgkey.Block(rel, pgwal.MainFork, 1), base, redo.AppendGeneric(nil, rec.Blocks[0].Data), rec.End)
	want := emptyPage(8)
	want[12] = 30
	copy(want[24:], "abcdef")
	redo.SetPageLSN(want, rec.End)
	require.Equal(t, want, got)
}

func TestImageMovesTheLSNUnlessThePageIsNew(t *testing.T) {
	page := emptyPage(0)
	page[24] = 7
	rec := decode(t, pgwal.FullPageImage(rel, pgwal.MainFork, 1, page, pgwal.CompressionLZ4))
	got := make([]byte, pgwal.PageSize)
	require.NoError(t, redo.Image(rec, &rec.Blocks[0], got))
	redo.SetPageLSN(page, rec.End)
	require.Equal(t, page, got)
	require.Equal(t, rec.End, redo.PageLSN(got))

	rec = decode(t, pgwal.FullPageImage(rel, pgwal.MainFork, 1, make([]byte, pgwal.PageSize), pgwal.CompressionNone))
	require.NoError(t, redo.Image(rec, &rec.Blocks[0], got))
	require.True(t, redo.IsZero(got))
}

// PostgreSQL's own consistency check masks what this is about, so nothing else sees it.
func TestGistLeftChildIsFinishedAlthoughItHasAnImage(t *testing.T) {
	child := emptyPage(16)
	special := child[pgwal.PageSize-16:]
	binary.LittleEndian.PutUint16(special[12:], 1|1<<3) // leaf, follow right
	binary.LittleEndian.PutUint16(special[14:], 0xFF81)
	for _, c := range []struct {
		info uint8
		id   uint8 // of the left child
	}{{pgwal.OpGistPageUpdate, 1}, {pgwal.OpGistPageSplit, 0}} {
		rec := decode(t, pgwal.RecordSpec{RMgr: pgwal.RMgrGist, Info: c.info, Blocks: []pgwal.BlockSpec{
			{ID: 0, Rel: rel, Block: 10, Image: child}, {ID: 1, Rel: rel, Block: 11, Image: child}}})
		for i := range rec.Blocks {
			got := make([]byte, pgwal.PageSize)
			require.NoError(t, redo.Image(rec, &rec.Blocks[i], got))
			want := append([]byte(nil), child...)
			redo.SetPageLSN(want, rec.End)
			if rec.Blocks[i].ID == c.id {
				redo.SetPageLSN(want[pgwal.PageSize-16:], rec.End)
				binary.LittleEndian.PutUint16(want[pgwal.PageSize-4:], 1)
			}
			require.Equal(t, want, got, "%s block %d", rec.Kind(), i)
		}
	}
}

func TestBadDeltasAreCorrupt(t *testing.T) {
	key := pgkey.Block(rel, pgwal.VMFork, 0)
	for name, delta := range map[string][]byte{
		"cut header":   {1, 0},
		"cut body":     {2, 5, 0, 0, 0, 1},
		"unknown":      {99, 0, 0, 0, 0},
		"other page":   redo.AppendVMClear(nil, 40000, 3),
		"new page":     redo.AppendGeneric(nil, []byte{0, 0, 0, 0}),
		"wrong length": {2, 1, 0, 0, 0, 1},
	} {
		chain := lsm.Chain{Deltas: []lsm.Version{{Key: key, LSN: 1, Kind: lsm.Delta, Value: delta}}}
		_, err := redo.Apply(nil, key, &chain)
		require.ErrorIs(t, err, wal.ErrCorruption, name)
	}
}

func FuzzApply(f *testing.F) {
	f.Add(uint8(1), redo.AppendXactStatus(nil, redo.Committed, []uint32{1, 2}))
	f.Add(uint8(2), redo.AppendMultiOffset(nil, 1, 2))
	f.Add(uint8(3), redo.AppendMultiMembers(nil, 1, []pgwal.MultiXactMember{{XID: 3, Status: 1}}))
	f.Add(uint8(4), redo.AppendCommitTs(nil, 5, 6, []uint32{7}))
	f.Add(uint8(0), redo.AppendVMTruncate(redo.AppendVMClear(nil, 3, 3), 2))
	f.Add(uint8(0), redo.AppendGeneric(nil, []byte{12, 0, 1, 0, 24}))
	insert := pgwal.Record{RMgr: pgwal.RMgrHeap, Info: pgwal.OpHeapInsert | pgwal.InfoInitPage, MainData: []byte{1, 0, 0}, Blocks: []pgwal.BlockRef{{WillInit: true}}}
	f.Add(uint8(0), redo.AppendRecord(nil, &insert, &pgwal.BlockRef{WillInit: true, Data: []byte{1, 0, 0, 0, 24, 0}}))
	f.Fuzz(func(t *testing.T, slru uint8, delta []byte) {
		key := pgkey.Block(rel, pgwal.VMFork, 0)
		if slru != 0 {
			key = pgkey.SLRUPage(pgkey.SLRU(slru), 0)
		}
		chain := lsm.Chain{HasBase: true, Base: emptyPage(0), Deltas: []lsm.Version{{Key: key, LSN: 1, Kind: lsm.Delta, Value: delta}}}
		page, err := redo.Apply(nil, key, &chain)
		if err == nil && len(page) < pgwal.PageSize {
			t.Fatalf("a page of %d bytes", len(page))
		}
	})
}
