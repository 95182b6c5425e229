package pgwal_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/pgwal"
	"github.com/varvedb/varve/wal/pgwal/pgtest"
)

const systemID = 7_000_000_000_000_000_001

// aPage makes a page of the usual layout whose hole lies between lower and upper, or
// without one if they are equal.
func aPage(lower, upper int) []byte {
	page := make([]byte, pgwal.PageSize)
	for i := range page {
		page[i] = byte(i * i >> 5)
	}
	binary.LittleEndian.PutUint16(page[12:], uint16(lower))
	binary.LittleEndian.PutUint16(page[14:], uint16(upper))
	if lower < upper {
		clear(page[lower:upper])
	}
	return page
}

// noise makes a page that no method compresses.
func noise() []byte {
	r := rand.New(rand.NewPCG(1, 2))
	page := make([]byte, pgwal.PageSize)
	for i := range page {
		page[i] = byte(r.Uint32())
	}
	return page
}

var rel = pgwal.RelFileNode{Spc: 1663, DB: 5, Rel: 16384}

func checkpointBody(redo wal.LSN) []byte {
	body := make([]byte, 88)
	le := binary.LittleEndian
	le.PutUint64(body, uint64(redo))
	le.PutUint32(body[8:], 1)
	le.PutUint32(body[12:], 1)
	le.PutUint64(body[24:], 750)
	le.PutUint32(body[32:], 24576)
	return body
}

// specs are records of every shape that the encoder makes.
func specs() []pgwal.RecordSpec {
	other := pgwal.RelFileNode{Spc: 1664, Rel: 1262}
	return []pgwal.RecordSpec{
		pgwal.ShutdownCheckpoint(checkpointBody(0x1000028)),
		pgwal.Commit(750, 800_000_000_000_000, nil, nil),
		pgwal.Commit(751, 800_000_000_000_001, []pgwal.XID{752, 753}, []pgwal.RelFileNode{rel, other}),
		pgwal.Abort(754, 800_000_000_000_002, []pgwal.XID{755}, nil),
		pgwal.FullPageImage(rel, pgwal.MainFork, 7, aPage(100, 8000), pgwal.CompressionNone),
		pgwal.FullPageImage(rel, pgwal.VMFork, 0, aPage(0, 0), pgwal.CompressionNone),
		pgwal.FullPageImage(rel, pgwal.MainFork, 8, aPage(400, 7000), pgwal.CompressionLZ4),
		pgwal.FullPageImage(rel, pgwal.InitFork, 9, aPage(0, 0), pgwal.CompressionLZ4),
		pgwal.FullPageImage(rel, pgwal.MainFork, 10, noise(), pgwal.CompressionLZ4),
		pgwal.Generic(756, pgwal.BlockChange{Rel: rel, Block: 3, Changes: []pgwal.PageChange{
			{Offset: 0, Data: []byte("front")}, {Offset: 8190, Data: []byte("ab")}}},
			pgwal.BlockChange{Rel: other, Fork: pgwal.MainFork, Block: 1}),
		{RMgr: pgwal.RMgrXLOG, Info: 0x20}, // NOOP: a header and nothing else
		{RMgr: pgwal.RMgrXLOG, Info: 0x20, XID: 9, TopXID: 8, Origin: 7, MainData: []byte("odd")},
		{RMgr: pgwal.RMgrXLOG, Info: 0x20, MainData: bytes.Repeat([]byte("long"), 5000)},
		{RMgr: pgwal.RMgrXLOG, Info: 0x20, Blocks: []pgwal.BlockSpec{
			{ID: 3, Rel: rel, Block: 1, WillInit: true, Data: []byte("data")},
			{ID: 4, Rel: rel, Block: 2, Image: aPage(24, 25), Data: []byte("more")},
			{ID: 32, Rel: other, Fork: pgwal.FSMFork, Block: 3, Image: aPage(24, 8192), Compress: pgwal.CompressionLZ4},
		}, MainData: []byte("main")},
	}
}

// positions are the places in a log where framing differs.
var positions = []struct {
	name string
	at   wal.LSN
}{
	{"start of a segment", 0x3000000},
	{"first record of a segment", 0x3000028},
	{"middle of a page", 0x3002fb8},
	{"start of a page", 0x3004000},
	{"first record of a page", 0x3004018},
	{"8 bytes before the end of a page", 0x3005ff8},
	{"24 bytes before the end of a page", 0x3005fe8},
	{"record across two pages", 0x3005f98},
	{"record across two segments", 0x3fffff0},
	{"record that ends at a page's end", 0x3006000 - 120},
	{"record that ends at a segment's end", 0x4000000 - 120},
}

func requireSpec(t testing.TB, spec pgwal.RecordSpec, r *pgwal.Record) {
	t.Helper()
	require.Equal(t, spec.RMgr, r.RMgr)
	require.Equal(t, spec.Info, r.Info)
	require.Equal(t, []any{spec.XID, spec.TopXID, spec.Origin}, []any{r.XID, r.TopXID, r.Origin})
	require.Equal(t, spec.MainData, r.MainData)
	require.Len(t, r.Blocks, len(spec.Blocks))
	for i := range spec.Blocks {
		want, got := &spec.Blocks[i], r.Block(spec.Blocks[i].ID)
		require.NotNil(t, got)
		require.Equal(t, []any{want.Rel, want.Fork, want.Block}, []any{got.Rel, got.Fork, got.Block})
		require.Equal(t, []any{want.WillInit, want.Image != nil, want.Apply}, []any{got.WillInit, got.HasImage, got.ApplyImage})
		require.Equal(t, len(want.Data), len(got.Data))
		require.True(t, bytes.Equal(want.Data, got.Data))
		if want.Image != nil {
			page := bytes.Repeat([]byte{0xEE}, pgwal.PageSize)
			require.NoError(t, r.Restore(got, page))
			require.True(t, bytes.Equal(want.Image, page), "image of block %d", want.ID)
		}
	}
}

func TestEncoderRoundTrip(t *testing.T) {
	for _, p := range positions {
		t.Run(p.name, func(t *testing.T) {
			e := pgwal.NewEncoder(p.at, p.at-64, systemID)
			var starts, ends []wal.LSN
			for _, spec := range specs() {
				start, end := e.Append(spec)
				starts, ends = append(starts, start), append(ends, end)
			}
			for _, size := range []int{1, 8, 24, 1000, len(e.Bytes())} {
				i := 0
				d := decodeAll(t, p.at, e.Bytes(), size, func(r *pgwal.Record) {
					require.Equal(t, starts[i], r.LSN)
					require.Equal(t, ends[i], r.End)
					requireSpec(t, specs()[i], r)
					i++
				})
				require.Equal(t, len(starts), i)
				require.Equal(t, p.at+wal.LSN(len(e.Bytes())), d.Position())
			}
		})
	}
}

func TestEncoderTake(t *testing.T) {
	whole, pieces := pgwal.NewEncoder(0x3000000, 0, 1), pgwal.NewEncoder(0x3000000, 0, 1)
	var taken []byte
	for _, spec := range specs() {
		whole.Append(spec)
		pieces.Append(spec)
		taken = append(taken, pieces.Take()...)
		require.Empty(t, pieces.Bytes())
	}
	require.True(t, bytes.Equal(whole.Bytes(), taken))
}

func TestSwitchFillsItsSegment(t *testing.T) {
	for _, at := range []wal.LSN{0x3000000, 0x3002fb8, 0x4000000 - 8, 0x4000000 - 24} {
		e := pgwal.NewEncoder(at, 0, systemID)
		_, end := e.Append(pgwal.RecordSpec{RMgr: pgwal.RMgrXLOG, Info: 0x40})
		require.Zero(t, end.SegmentOffset())
		next, last := e.Append(pgwal.Commit(3, 1, nil, nil))
		require.Equal(t, end+40, next)
		var got []wal.LSN
		d := decodeAll(t, at, e.Bytes(), 4096, func(r *pgwal.Record) { got = append(got, r.LSN, r.End) })
		require.Equal(t, []wal.LSN{end, next, last}, got[1:])
		require.Equal(t, last, d.Position())
	}
}

// segmentUpTo makes the bytes of at's segment below at: page headers, of which the last
// says that a record continues up to at, so that pg_waldump begins there.
func segmentUpTo(at wal.LSN) []byte {
	var log []byte
	base := wal.SegmentStart(at.Segment())
	for page := base; page < at; page += pgwal.WALPageSize {
		header := len(pgwal.AppendPageHeader(nil, page, systemID, 0))
		rest := uint32(0)
		if inPage := at - page; inPage < pgwal.WALPageSize {
			rest = uint32(inPage) - uint32(header)
		}
		log = pgwal.AppendPageHeader(log, page, systemID, rest)
		log = append(log, make([]byte, min(pgwal.WALPageSize, int(at-page))-header)...)
	}
	return log
}

func writeSegments(t testing.TB, dir string, first uint64, log []byte) {
	t.Helper()
	for n := uint64(0); n*wal.SegmentSize < uint64(len(log)); n++ {
		segment := make([]byte, wal.SegmentSize)
		copy(segment, log[n*wal.SegmentSize:])
		require.NoError(t, os.WriteFile(filepath.Join(dir, segmentName(first+n)), segment, 0o644))
	}
}

func TestEncoderIsReadByPgWaldump(t *testing.T) {
	s := pgtest.Init(t, pgtest.Options{})
	for i, p := range positions {
		t.Run(p.name, func(t *testing.T) {
			e := pgwal.NewEncoder(p.at, p.at-64, systemID)
			var end wal.LSN
			for _, spec := range specs() {
				_, end = e.Append(spec)
			}
			var want []dumped
			decodeAll(t, p.at, e.Bytes(), len(e.Bytes()), func(r *pgwal.Record) { want = append(want, asDumped(r)) })
			require.Len(t, want, len(specs()))

			dir := s.MkdirAll(t, fmt.Sprint("wal", i))
			writeSegments(t, dir, p.at.Segment(), append(segmentUpTo(p.at), e.Bytes()...))
			require.Equal(t, want, waldump(t, s, dir, want[0].LSN, end))
			require.NoError(t, os.RemoveAll(dir))
		})
	}
}
