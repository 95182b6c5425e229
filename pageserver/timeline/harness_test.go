package timeline_test

import (
	"context"
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/lsm"
	"github.com/varvedb/varve/pageserver/pgcontrol"
	"github.com/varvedb/varve/pageserver/pgkey"
	"github.com/varvedb/varve/pageserver/redo"
	"github.com/varvedb/varve/pageserver/timeline"
	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/env"
	"github.com/varvedb/varve/wal/env/osenv"
	"github.com/varvedb/varve/wal/pgwal"
)

const systemID = 7_000_000_000_000_000_007

var (
	tenant   = wal.TenantID{1}
	mainID   = wal.TimelineID{2}
	branchID = wal.TimelineID{3}

	importPrev = wal.LSN(0x2000028) // the record that the import ends with
	importEnd  = wal.LSN(0x20000A0)

	rel   = pgwal.RelFileNode{Spc: 1663, DB: 5, Rel: 16384}
	other = pgwal.RelFileNode{Spc: 1663, DB: 5, Rel: 16385}
)

// world is a timeline on a bucket of its own, and a hand that writes its log.
type world struct {
	t     *testing.T
	ctx   context.Context
	dir   string // local beside bucket
	opts  lsm.Options
	env   env.Env
	store *lsm.Store
	under *lsm.Timeline
	tl    *timeline.Timeline
	log   *pgwal.Encoder
	end   wal.LSN // of the last record written
}

// newWorld imports a cluster with counters and nothing else.
func newWorld(t *testing.T, change func(map[lsm.Key][]byte)) *world {
	t.Helper()
	return newWorldWith(t, lsm.Options{Tenant: tenant}, change)
}

func newWorldWith(t *testing.T, opts lsm.Options, change func(map[lsm.Key][]byte)) *world {
	t.Helper()
	dir := t.TempDir()
	e, err := osenv.New(osenv.Config{Root: dir + "/local", Bucket: dir + "/bucket"})
	require.NoError(t, err)
	w := &world{t: t, ctx: t.Context(), dir: dir, opts: opts, env: e, log: pgwal.NewEncoder(importEnd, importPrev, systemID), end: importEnd}
	w.open()
	require.NoError(t, w.store.Create(w.ctx, mainID, importEnd, nil))
	w.under, err = w.store.Attach(w.ctx, mainID)
	require.NoError(t, err)
	images := baseImages()
	if change != nil {
		change(images)
	}
	require.NoError(t, w.under.ImportImages(w.ctx, importEnd, ascending(images)))
	w.tl, err = timeline.Open(w.ctx, e, mainID, w.under)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, w.store.Close(context.WithoutCancel(w.ctx))) })
	return w
}

func (w *world) open() {
	w.t.Helper()
	store, err := lsm.Open(w.ctx, w.env, w.opts)
	require.NoError(w.t, err)
	w.store = store
}

// restart forgets everything but the bucket.
func (w *world) restart() {
	w.t.Helper()
	require.NoError(w.t, w.store.Close(w.ctx))
	w.open()
	var err error
	w.under, err = w.store.Attach(w.ctx, mainID)
	require.NoError(w.t, err)
	w.tl, err = timeline.Open(w.ctx, w.env, mainID, w.under)
	require.NoError(w.t, err)
}

func baseImages() map[lsm.Key][]byte {
	control := pgcontrol.File{SystemID: systemID, State: pgcontrol.ShutDown, WALLevel: 1, CheckPoint: importPrev}
	control.CheckPointCopy.Time = importTime
	first := pgkey.CommitTimeValue{Time: importStamp, Start: importPrev, Prev: importEnd}
	return map[lsm.Key][]byte{
		pgkey.Control():              control.AppendTo(nil),
		pgkey.NextXID():              pgkey.AppendUint64(nil, 735),
		pgkey.NextMulti():            pgkey.NextMultiValue{Multi: 1}.AppendTo(nil),
		pgkey.NextOID():              pgkey.AppendUint32(nil, 16384),
		pgkey.OldestXID():            pgkey.OldestValue{ID: 722, DB: 1}.AppendTo(nil),
		pgkey.OldestMulti():          pgkey.OldestValue{ID: 1, DB: 1}.AppendTo(nil),
		pgkey.CommitTsRange():        pgkey.CommitTsRangeValue{}.AppendTo(nil),
		pgkey.LastRecord():           pgkey.AppendUint64(nil, uint64(importPrev)),
		pgkey.CommitTime(importPrev): first.AppendTo(nil),
	}
}

const (
	importTime  = 1_700_000_000 // seconds since 1970
	importStamp = (importTime - 946_684_800) * 1_000_000
)

func ascending(images map[lsm.Key][]byte) func() (lsm.Key, []byte, bool, error) {
	keys := make([]lsm.Key, 0, len(images))
	for key := range images {
		keys = append(keys, key)
	}
	sortKeys(keys)
	return func() (lsm.Key, []byte, bool, error) {
		if len(keys) == 0 {
			return lsm.Key{}, nil, false, nil
		}
		key := keys[0]
		keys = keys[1:]
		return key, images[key], true, nil
	}
}

// write appends records to the log, without giving them to the timeline.
func (w *world) write(specs ...pgwal.RecordSpec) wal.LSN {
	for _, spec := range specs {
		_, w.end = w.log.Append(spec)
	}
	return w.end
}

// ingest gives the timeline what was written, and returns the end of the last record.
func (w *world) ingest(specs ...pgwal.RecordSpec) wal.LSN {
	w.t.Helper()
	w.write(specs...)
	require.NoError(w.t, w.give())
	require.Equal(w.t, w.end, w.tl.LastLSN())
	return w.end
}

func (w *world) give() error { return w.tl.Ingest(w.ctx, w.tl.NextLSN(), w.log.Take()) }

func (w *world) page(rel pgwal.RelFileNode, fork pgwal.Fork, block uint32, lsn wal.LSN) ([]byte, error) {
	pages := make([][]byte, 1)
	err := w.tl.GetPages(w.ctx, []timeline.PageRead{{Rel: rel, Fork: fork, Block: block, LSN: lsn}}, pages)
	return pages[0], err
}

func (w *world) mustPage(rel pgwal.RelFileNode, fork pgwal.Fork, block uint32, lsn wal.LSN) []byte {
	w.t.Helper()
	page, err := w.page(rel, fork, block, lsn)
	require.NoError(w.t, err)
	return page
}

func (w *world) value(key lsm.Key, lsn wal.LSN) []byte {
	w.t.Helper()
	value, ok, err := w.tl.Value(w.ctx, key, lsn)
	require.NoError(w.t, err)
	if !ok {
		return nil
	}
	return value
}

// aPage is an initialised page that holds one byte.
func aPage(content byte) []byte {
	page := make([]byte, pgwal.PageSize)
	binary.LittleEndian.PutUint16(page[12:], 25)
	binary.LittleEndian.PutUint16(page[14:], 8192)
	binary.LittleEndian.PutUint16(page[16:], 8192)
	binary.LittleEndian.PutUint16(page[18:], 8192|4)
	page[24] = content
	return page
}

// atLSN is the page with its pd_lsn set.
func atLSN(page []byte, lsn wal.LSN) []byte {
	redo.SetPageLSN(page, lsn)
	return page
}

func fpi(rel pgwal.RelFileNode, fork pgwal.Fork, block uint32, content byte) pgwal.RecordSpec {
	return pgwal.FullPageImage(rel, fork, block, aPage(content), pgwal.CompressionLZ4)
}

// body makes a record of a manager from 32-bit words.
func words(rmgr pgwal.RMgr, info uint8, words ...uint32) pgwal.RecordSpec {
	var body []byte
	for _, word := range words {
		body = binary.LittleEndian.AppendUint32(body, word)
	}
	return pgwal.RecordSpec{RMgr: rmgr, Info: info, MainData: body}
}

func create(rel pgwal.RelFileNode, fork pgwal.Fork) pgwal.RecordSpec {
	return words(pgwal.RMgrStorage, pgwal.OpSmgrCreate, rel.Spc, rel.DB, rel.Rel, uint32(fork))
}

func truncate(rel pgwal.RelFileNode, blocks uint32) pgwal.RecordSpec {
	return words(pgwal.RMgrStorage, pgwal.OpSmgrTruncate, blocks, rel.Spc, rel.DB, rel.Rel, 7)
}

// ending is the end of a transaction.
type ending struct {
	XID     uint32
	Time    int64 // microseconds since 2000
	SubXIDs []uint32
	Dropped []pgwal.RelFileNode
}

func commit(e ending) pgwal.RecordSpec { return e.spec(pgwal.OpXactCommit) }
func abort(e ending) pgwal.RecordSpec  { return e.spec(pgwal.OpXactAbort) }

func (e ending) spec(op uint8) pgwal.RecordSpec {
	body := binary.LittleEndian.AppendUint64(nil, uint64(e.Time))
	body = binary.LittleEndian.AppendUint32(body, pgwal.XactHasSubXIDs|pgwal.XactHasRels)
	body = binary.LittleEndian.AppendUint32(body, uint32(len(e.SubXIDs)))
	for _, xid := range e.SubXIDs {
		body = binary.LittleEndian.AppendUint32(body, xid)
	}
	body = binary.LittleEndian.AppendUint32(body, uint32(len(e.Dropped)))
	for _, rel := range e.Dropped {
		body = append(body, words(0, 0, rel.Spc, rel.DB, rel.Rel).MainData...)
	}
	return pgwal.RecordSpec{RMgr: pgwal.RMgrTransaction, Info: op | pgwal.InfoXactHasInfo, XID: e.XID, MainData: body}
}
