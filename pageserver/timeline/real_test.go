package timeline_test

import (
	"context"
	"fmt"
	"math/rand"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/lsm"
	"github.com/varvedb/varve/pageserver/basebackup"
	"github.com/varvedb/varve/pageserver/pagediff"
	"github.com/varvedb/varve/pageserver/pgkey"
	"github.com/varvedb/varve/pageserver/redo"
	"github.com/varvedb/varve/pageserver/timeline"
	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/env/osenv"
	"github.com/varvedb/varve/wal/pgwal"
	"github.com/varvedb/varve/wal/pgwal/pgtest"
	"github.com/varvedb/varve/wal/segment"
)

// imposed are the settings that Varve gives a Postgres, as far as the log shows them.
var imposed = map[string]string{
	"full_page_writes": "off", "wal_log_hints": "on", "wal_level": "replica", "wal_keep_size": "20GB",
	"wal_consistency_checking": "all", "wal_compression": "lz4", "max_prepared_transactions": "10",
	"track_commit_timestamp": "on", "shared_buffers": "4MB", "lock_timeout": "20s",
}

// load has a bit of everything that a log can say.
const load = `
create extension bloom;
create table t (id int primary key, b text, p point, a int[]);
create index on t using gist (p);
create index on t using spgist (b);
create index on t using gin (a);
create index on t using brin (id);
create index on t using hash (b);
create index on t using bloom (id);
insert into t select i, repeat(md5(i::text), i % 4), point(i, i % 77), array[i, i % 10] from generate_series(1, 4000) i;
create table toasted (x text);
insert into toasted select string_agg(md5(i::text), '') from generate_series(1, 3000) i;
create unlogged table u (x int primary key);
insert into u select generate_series(1, 500);
create sequence s;
select nextval('s') from generate_series(1, 50);
vacuum (freeze) t;
update t set b = b || 'y' where id % 3 = 0;
delete from t where id % 5 = 0;
vacuum t;
delete from t where id > 1500;
vacuum t;
insert into t select i, 'again', point(1, i), array[i] from generate_series(5000, 5600) i;
create table gone as select generate_series(1, 2000) x;
truncate gone;
insert into gone select generate_series(1, 100);
drop table gone;
begin; create table never as select 1; rollback;
begin; insert into t values (7000); savepoint a; insert into t values (7001); rollback to a; insert into t values (7002); commit;
begin; select count(*) from (select id from t where id < 50 for key share) x;
savepoint b; update t set b = 'multi' where id < 50; commit;
create table held (x int);
begin; insert into held values (8000); prepare transaction 'stays';
begin; insert into t values (8001); prepare transaction 'commits'; commit prepared 'commits';
begin; insert into t values (8002); prepare transaction 'aborts'; rollback prepared 'aborts';
create database logged;
create database copied strategy file_copy;
create database dropped strategy file_copy;
drop database dropped;
cluster t using t_pkey;
checkpoint;
vacuum full pg_class;
select pg_switch_wal();
update t set b = 'last' where id % 7 = 0;
`

// cluster is a Postgres that was imported, loaded and stopped, and its log since.
type cluster struct {
	server *pgtest.Server
	tl     *timeline.Timeline
	info   *basebackup.Info
	end    wal.LSN
	log    []byte
}

func loadedCluster(t *testing.T) *cluster {
	t.Helper()
	server := pgtest.Init(t, pgtest.Options{Conf: imposed})
	server.Up(t) // Some settings are logged at the first start only.
	server.Stop(t, pgtest.Fast)
	dir := t.TempDir()
	e, err := osenv.New(osenv.Config{Root: dir + "/local", Bucket: dir + "/bucket"})
	require.NoError(t, err)
	store, err := lsm.Open(t.Context(), e, lsm.Options{Tenant: tenant})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, store.Close(context.WithoutCancel(t.Context()))) })
	info, err := basebackup.Inspect(os.DirFS(server.DataDir))
	require.NoError(t, err)
	require.NoError(t, store.Create(t.Context(), mainID, info.LSN, nil))
	under, err := store.Attach(t.Context(), mainID)
	require.NoError(t, err)
	_, err = basebackup.Import(t.Context(), os.DirFS(server.DataDir), under)
	require.NoError(t, err)
	c := &cluster{server: server, info: info}
	c.tl, err = timeline.Open(t.Context(), e, mainID, under)
	require.NoError(t, err)
	server.Up(t)
	server.SQL(t, load)
	server.Stop(t, pgtest.Fast)
	stopped, err := basebackup.Inspect(os.DirFS(server.DataDir))
	require.NoError(t, err)
	c.end = stopped.LSN
	for n := info.LSN.Segment(); wal.SegmentStart(n) < c.end; n++ {
		body, err := os.ReadFile(filepath.Join(server.WALDir(), segment.Name(n)))
		require.NoError(t, err)
		c.log = append(c.log, body...)
	}
	start := wal.SegmentStart(info.LSN.Segment())
	c.log = c.log[info.LSN-start : c.end-start]
	return c
}

type block struct {
	rel   pgwal.RelFileNode
	fork  pgwal.Fork
	block uint32
}

// state is a block from an LSN on: a page, or nothing.
type state struct {
	lsn  wal.LSN
	page []byte
}

// twin replays the log the naive way: it keeps every page of every record.
type twin struct {
	t      *testing.T
	blocks map[block][]state
	known  []block // keys of blocks, in order of appearance
	ends   []wal.LSN
	kinds  map[string]int
}

func (w *twin) set(b block, lsn wal.LSN, page []byte) {
	if w.blocks[b] == nil {
		w.known = append(w.known, b)
	}
	w.blocks[b] = append(w.blocks[b], state{lsn, page})
}

// end says that blocks of relations are gone from lsn on.
func (w *twin) end(lsn wal.LSN, gone func(block) bool) {
	for _, b := range w.known {
		if gone(b) {
			w.set(b, lsn, nil)
		}
	}
}

func (w *twin) replay(rec *pgwal.Record) {
	t := w.t
	w.ends = append(w.ends, rec.End)
	w.kinds[rec.RMgr.String()+" "+rec.Kind()]++
	for i := range rec.Blocks {
		ref := &rec.Blocks[i]
		if locked := pgwal.HashLockedBucket(rec); locked != nil && ref.ID == locked.ID {
			continue
		}
		if ref.Fork == pgwal.FSMFork || !ref.HasImage {
			require.True(t, ref.Fork == pgwal.FSMFork || rec.Kind() == "FPI_FOR_HINT", "%v %s at %v", rec.RMgr, rec.Kind(), rec.LSN)
			continue
		}
		page := make([]byte, pgwal.PageSize)
		require.NoError(t, redo.Image(rec, ref, page))
		w.set(block{ref.Rel, ref.Fork, ref.Block}, rec.End, page)
	}
	clears, err := pgwal.AppendVMClears(nil, rec)
	require.NoError(t, err)
	for _, c := range clears {
		b := block{c.Rel, pgwal.VMFork, c.Block / 32672}
		if h := w.blocks[b]; len(h) > 0 && h[len(h)-1].page != nil {
			page := slices.Clone(h[len(h)-1].page)
			at := c.Block % 32672
			page[24+at/4] &^= c.Bits << (at % 4 * 2)
			w.set(b, rec.End, page)
		}
	}
	w.relations(rec)
}

func (w *twin) relations(rec *pgwal.Record) {
	t := w.t
	switch {
	case rec.RMgr == pgwal.RMgrStorage && rec.Op() == pgwal.OpSmgrTruncate:
		c, err := pgwal.ParseSmgrTruncate(rec)
		require.NoError(t, err)
		w.end(rec.End, func(b block) bool { return b.rel == c.Rel && (b.fork != pgwal.MainFork || b.block >= c.Blocks) })
	case rec.RMgr == pgwal.RMgrTransaction && (rec.Op() == pgwal.OpXactCommit || rec.Op() == pgwal.OpXactAbort):
		var x pgwal.XactCompletion
		require.NoError(t, pgwal.ParseCommit(rec, &x))
		w.end(rec.End, func(b block) bool { return slices.Contains(x.Rels, b.rel) })
	case rec.RMgr == pgwal.RMgrDatabase && rec.Op() == pgwal.OpDatabaseDrop:
		d, err := pgwal.ParseDatabaseDrop(rec)
		require.NoError(t, err)
		w.end(rec.End, func(b block) bool { return b.rel.DB == d.DB })
	}
}

// at is the block's page as of an LSN, nil if there is none.
func (w *twin) at(b block, lsn wal.LSN) (page []byte, known bool) {
	for _, s := range w.blocks[b] {
		if s.lsn <= lsn {
			page, known = s.page, true
		}
	}
	return page, known
}

// What PostgreSQL logged, replayed by the naive twin, is what is read at any LSN; and
// at the end what stands in the files of the stopped cluster. Package verify compares
// every page with the files; here it is the files that have no pages.
func TestRealLogIsReadableAtEveryLSN(t *testing.T) {
	c := loadedCluster(t)
	w := &twin{t: t, blocks: map[block][]state{}, kinds: map[string]int{}}
	decoder := pgwal.NewDecoder("log", c.info.LSN)
	decoder.Feed(c.log)
	var rec pgwal.Record
	for {
		ok, err := decoder.Next(&rec)
		require.NoError(t, err)
		if !ok {
			break
		}
		w.replay(&rec)
	}
	require.Equal(t, c.end, decoder.Position())
	for _, kind := range []string{"Generic Generic", "MultiXact CREATE_ID", "Transaction PREPARE", "Transaction COMMIT_PREPARED",
		"Transaction ABORT_PREPARED", "Database CREATE_FILE_COPY", "Database CREATE_WAL_LOG", "Database DROP", "Storage TRUNCATE",
		"Gist PAGE_SPLIT", "Gist PAGE_UPDATE", "Heap2 VISIBLE", "RelMap UPDATE", "XLOG FPI", "XLOG SWITCH"} {
		require.NotZero(t, w.kinds[kind], "the load makes no %s: %v", kind, w.kinds)
	}

	random := rand.New(rand.NewSource(3))
	for begin, log := c.info.LSN, c.log; len(log) > 0; {
		n := min(len(log), 1+random.Intn(1<<20))
		require.NoError(t, c.tl.Ingest(t.Context(), begin, log[:n]))
		begin, log = begin+wal.LSN(n), log[n:]
	}
	require.Equal(t, c.end, c.tl.LastLSN())
	t.Logf("%d records of %d kinds, %d MB of log, %d blocks", len(w.ends), len(w.kinds), len(c.log)>>20, len(w.known))

	checked, pages := 0, make([][]byte, 1)
	check := func(b block, lsn wal.LSN) {
		want, known := w.at(b, lsn)
		if !known {
			return // as imported; the twin has not seen it
		}
		checked++
		err := c.tl.GetPages(t.Context(), []timeline.PageRead{{Rel: b.rel, Fork: b.fork, Block: b.block, LSN: lsn}}, pages)
		if want == nil {
			require.True(t, err != nil || redo.IsZero(pages[0]) || b.fork == pgwal.VMFork, "%v at %v is gone", b, lsn)
			return
		}
		require.NoError(t, err, "%v at %v", b, lsn)
		diff := pagediff.Comparer{At: lsn}
		if at, kind := diff.Compare(b.fork, b.block, pages[0], want); at >= 0 {
			require.Fail(t, "the page differs", "%v at %v: byte %d, %s", b, lsn, at, pagediff.Field(want, kind, at))
		}
	}
	for range 20_000 {
		check(w.known[random.Intn(len(w.known))], w.ends[random.Intn(len(w.ends))]-wal.LSN(random.Intn(2)))
	}
	for _, b := range w.known {
		check(b, c.end)
	}
	require.Greater(t, checked, 5_000)
	c.checkFiles(t)
	t.Logf("%d pages at random LSNs equal a naive replay's", checked)
}

// checkFiles compares what is not a relation with the files of the stopped cluster.
func (c *cluster) checkFiles(t *testing.T) {
	value := func(key lsm.Key) []byte {
		v, ok, err := c.tl.Value(t.Context(), key, c.end)
		require.NoError(t, err)
		require.True(t, ok, pgkey.Describe(key))
		return v
	}
	file := func(name string) []byte {
		b, err := os.ReadFile(filepath.Join(c.server.DataDir, name))
		require.NoError(t, err)
		return b
	}
	prepared, err := basebackup.TwoPhaseFiles(os.DirFS(c.server.DataDir))
	require.NoError(t, err)
	require.Len(t, prepared, 1)
	lo, hi := pgkey.TwoPhases()
	require.NoError(t, c.tl.Values(t.Context(), lo, hi, c.end, func(key lsm.Key, v []byte) error {
		require.Equal(t, pgkey.TwoPhase(prepared[0]), key)
		require.Equal(t, file(fmt.Sprintf("pg_twophase/%08X", prepared[0])), v)
		return nil
	}))
	for _, slru := range pgkey.SLRUs {
		pages := file(slru.String() + "/0000")
		for n := uint32(0); n*pgwal.PageSize < uint32(len(pages)); n++ {
			require.Equal(t, pages[n*pgwal.PageSize:(n+1)*pgwal.PageSize], value(pgkey.SLRUPage(slru, n)), "%v page %d", slru, n)
		}
	}
	require.Equal(t, file("global/pg_filenode.map"), value(pgkey.RelMap(1664, 0)))
	require.Equal(t, file("base/5/pg_filenode.map"), value(pgkey.RelMap(1663, 5)))
	require.Equal(t, "15\n", string(value(pgkey.Database(1663, 5))))

	stopped, err := basebackup.Inspect(os.DirFS(c.server.DataDir))
	require.NoError(t, err)
	last := stopped.Control.CheckPointCopy
	require.Equal(t, pgkey.AppendUint64(nil, uint64(last.NextXID)), value(pgkey.NextXID()))
	require.Equal(t, pgkey.NextMultiValue{Multi: last.NextMulti, Offset: last.NextMultiOffset}.AppendTo(nil), value(pgkey.NextMulti()))
	require.Equal(t, pgkey.AppendUint32(nil, last.NextOID), value(pgkey.NextOID()))
	require.Equal(t, pgkey.CommitTsRangeValue{Oldest: last.OldestCommitTsXID, Newest: last.NewestCommitTsXID}.AppendTo(nil), value(pgkey.CommitTsRange()))
	prev, err := c.tl.PrevRecord(t.Context(), c.end)
	require.NoError(t, err)
	require.Equal(t, stopped.PrevRecord, prev)
	c.checkRelations(t)
}

// checkRelations: every file of a permanent relation is known, with its size up to
// pages of zeros at its end, and nothing else is.
func (c *cluster) checkRelations(t *testing.T) {
	seen := 0
	err := c.tl.Relations(t.Context(), c.end, func(r timeline.RelationSize) error {
		path := filepath.Join(c.server.DataDir, string(r.Rel.AppendPath(nil, r.Fork)))
		stat, err := os.Stat(path)
		require.NoError(t, err, "%v %v does not exist", r.Rel, r.Fork)
		require.LessOrEqual(t, int64(r.Blocks)*pgwal.PageSize, stat.Size(), "%s", path)
		seen++
		return nil
	})
	require.NoError(t, err)
	require.Greater(t, seen, 1000, "three databases and their copies")
}
