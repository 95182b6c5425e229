package verify_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/lsm"
	"github.com/varvedb/varve/pageserver/basebackup"
	"github.com/varvedb/varve/pageserver/timeline"
	"github.com/varvedb/varve/pageserver/verify"
	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/env/osenv"
	"github.com/varvedb/varve/wal/pgwal/pgtest"
	"github.com/varvedb/varve/wal/segment"
)

// settings are those that Varve imposes on its computes, and what the load needs.
var settings = map[string]string{
	"full_page_writes": "off", "wal_log_hints": "on", "wal_level": "replica",
	"wal_consistency_checking": "all", "wal_compression": "lz4",
	"max_prepared_transactions": "10", "track_commit_timestamp": "on",
	"shared_buffers": "4MB", "autovacuum_naptime": "1s", "synchronous_commit": "off",
	"statement_timeout": "60s",
}

// world is a real server whose log goes into an archive, and a timeline that took in
// the directory it began as.
type world struct {
	server   *pgtest.Server
	archive  string
	base     *basebackup.Info // of the import
	store    *lsm.Store
	timeline *timeline.Timeline
	paths    []damage // of relations and files, see notePaths
}

var (
	tenant = wal.TenantID{1}
	mainID = wal.TimelineID{2}
)

func newWorld(t *testing.T) *world {
	w := &world{server: pgtest.Init(t, pgtest.Options{Conf: settings})}
	dir := t.TempDir()
	e, err := osenv.New(osenv.Config{Root: dir + "/local", Bucket: dir + "/bucket"})
	require.NoError(t, err)
	w.store, err = lsm.Open(t.Context(), e, lsm.Options{Tenant: tenant, MemtableBytes: 8 << 20})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, w.store.Close(context.WithoutCancel(t.Context()))) })

	fsys := os.DirFS(w.server.DataDir)
	w.base, err = basebackup.Inspect(fsys)
	require.NoError(t, err)
	require.NoError(t, w.store.Create(t.Context(), mainID, w.base.LSN, nil))
	under, err := w.store.Attach(t.Context(), mainID)
	require.NoError(t, err)
	_, err = basebackup.Import(t.Context(), fsys, under)
	require.NoError(t, err)
	w.timeline, err = timeline.Open(t.Context(), e, mainID, under)
	require.NoError(t, err)
	return w
}

// run starts the server with pg_receivewal on it, calls load, stops it cleanly, and
// returns the end of its log, all of which is then in the archive.
func (w *world) run(t *testing.T, load func()) wal.LSN {
	w.server.Up(t)
	w.archive = w.server.MkdirAll(t, "archive")
	w.server.Exec(t, "pg_receivewal", "-D", w.archive, "--create-slot", "-S", "archive")
	receiver := w.server.Command("pg_receivewal", "-D", w.archive, "-S", "archive", "--no-loop")
	require.NoError(t, receiver.Start())
	load()
	// A server that stops cleanly waits until its receivers have its whole log.
	w.server.Stop(t, pgtest.Fast)
	_ = receiver.Wait() // the server's end is an error to it
	info, err := basebackup.Inspect(os.DirFS(w.server.DataDir))
	require.NoError(t, err)
	return info.LSN
}

// segments yields the archive's bytes from X0 to end, a segment at a time.
func (w *world) segments(t *testing.T, end wal.LSN, fn func(begin wal.LSN, log []byte)) {
	for n := w.base.LSN.Segment(); n <= (end - 1).Segment(); n++ {
		path := filepath.Join(w.archive, segment.Name(n))
		body, err := os.ReadFile(path)
		if os.IsNotExist(err) {
			body, err = os.ReadFile(path + ".partial")
		}
		require.NoError(t, err)
		begin, stop := max(w.base.LSN, wal.SegmentStart(n)), min(end, wal.SegmentStart(n+1))
		fn(begin, body[begin.SegmentOffset():begin.SegmentOffset()+int(stop-begin)])
	}
}

func (w *world) ingest(t *testing.T, end wal.LSN) {
	w.segments(t, end, func(begin wal.LSN, log []byte) {
		const piece = 1 << 20
		for len(log) > 0 {
			n := min(piece, len(log))
			require.NoError(t, w.timeline.Ingest(t.Context(), begin, log[:n]))
			begin, log = begin+wal.LSN(n), log[n:]
		}
	})
	require.Equal(t, end, w.timeline.LastLSN())
}

func (w *world) verify(t *testing.T, at wal.LSN) *verify.Report {
	report, err := verify.Verify(t.Context(), os.DirFS(w.server.DataDir), verify.OfTimeline(w.timeline, at), at)
	require.NoError(t, err)
	return report
}

func requireOK(t *testing.T, r *verify.Report) {
	var text bytes.Buffer
	_, err := r.WriteTo(&text)
	require.NoError(t, err)
	t.Log("\n" + text.String())
	require.True(t, r.OK())
	require.Contains(t, text.String(), "mismatches: 0\n")
}

// load does something of everything that the log can say.
func (w *world) load(t *testing.T) {
	s := w.server
	s.Exec(t, "pgbench", "-i", "-s", "1", "-q")
	s.SQL(t, schema)
	s.SQL(t, strings.ReplaceAll(tablespace, "DIR", s.MkdirAll(t, "space")))
	s.Exec(t, "pgbench", "-n", "-c", "2", "-t", "300")
	s.SQL(t, changes)
	s.SQL(t, databases)
	s.SQL(t, vacuums)
	s.Exec(t, "pgbench", "-n", "-c", "2", "-t", "100")
	// A transaction that stays prepared keeps everything that dies after it from
	// being removed.
	s.SQL(t, prepared)
	s.SQL(t, strings.Repeat("begin; select * from held where id = 1 for key share; savepoint s; select * from held where id = 2 for share; commit;\n", 20))
	s.SQL(t, last)
}

const (
	schema = `
create extension bloom;
create table items (id int primary key, k int, t text, a int[], p point, r int4range) with (fillfactor = 80);
insert into items select i, i % 97, md5(i::text), array[i % 7, i % 11], point(i % 100, i / 100), int4range(i, i + 10) from generate_series(1, 6000) i;
create index on items (k); create index on items (t text_pattern_ops);
create index items_hash on items using hash (t);
create index items_gin on items using gin (a);
create index items_gist on items using gist (p);
create index items_spgist on items using spgist (p);
create index items_range on items using spgist (r);
create index items_brin on items using brin (id) with (pages_per_range = 2, autosummarize = on);
create index items_bloom on items using bloom (id, k);
create unlogged table scratch (id int primary key, t text); insert into scratch select i, 'x' from generate_series(1, 500) i;
create index on scratch using gist (point(id, id)); create index on scratch using gin (string_to_array(t, ''));
create index on scratch using spgist (t); create index on scratch using hash (t); create index on scratch using brin (id);
create temp table gone as select 1 x;
create table held (id int primary key, t text); insert into held select i, 'x' from generate_series(1, 10) i;
create table wide (id int, t text); alter table wide alter t set storage external;
insert into wide select i, repeat(md5(i::text), 400) from generate_series(1, 50) i;
create sequence counted; select nextval('counted') from generate_series(1, 45);
create sequence cached cache 10; select nextval('cached'), setval('cached', 1000), nextval('cached');
create materialized view seen as select k, count(*) from items group by k;
create table parted (id int) partition by range (id); create table part1 partition of parted for values from (0) to (10);
insert into parted values (1);`

	tablespace = `
create tablespace space location 'DIR';
create table spaced (id int primary key) tablespace space;
insert into spaced select generate_series(1, 1000);`

	changes = `
insert into items select i, i % 97, md5(i::text), array[i % 7, i % 13], point(i % 100, i / 100), int4range(i, i + 10) from generate_series(6001, 9000) i;
update items set k = k + 1 where id % 5 = 0;
update items set t = t || 'x', p = point(-id, id) where id % 9 = 0;
delete from items where id % 4 = 0;
begin; insert into items select i, 0, 'rolled back' from generate_series(20000, 20500) i; savepoint a; delete from items where id < 100; rollback to a; savepoint b; update items set k = 7 where id < 50; release b; commit;
begin; delete from wide; create table never (x int); insert into never select generate_series(1, 1000); rollback;
set enable_seqscan = off; set enable_bitmapscan = off;
select count(*) from items where k = 4; select count(*) from items where t = 'x'; select id from items where k between 1 and 90 order by k limit 5000 offset 4000;
insert into items values (1, 1) on conflict (id) do update set k = excluded.k + 1;
insert into items values (100001, 1) on conflict do nothing;
refresh materialized view seen; truncate part1; insert into parted values (2);
create table cut as select * from items; truncate cut; insert into cut select * from items limit 100;
alter table wide add column n int default 5; alter table wide alter id type bigint;
select pg_logical_emit_message(true, 'hello', 'world'); select txid_current(); select pg_switch_wal();
drop table cut;`

	// What a prepared transaction locks, the rest of the load leaves alone.
	prepared = `
begin; select * from held where id = 1 for key share; insert into held values (30001, 1); savepoint p; insert into held values (30002, 2); prepare transaction 'kept';
begin; select * from held where id in (2, 3) for key share; create table two (x int); insert into two values (1); prepare transaction 'committed';
begin; insert into held values (30003, 3); create table three (x int); prepare transaction 'aborted';
begin; select * from held where id in (1, 2, 3) for key share; commit;
commit prepared 'committed'; rollback prepared 'aborted';
begin; select * from held where id = 1 for key share; rollback;`

	databases = `
create database seed;
\c seed
create table here (id int primary key, t text); insert into here select i, md5(i::text) from generate_series(1, 500) i;
create unlogged table there (id int primary key); insert into there values (1); vacuum here;
create sequence seq; select nextval('seq');
\c postgres
create database filed template seed strategy file_copy;
create database logged template seed strategy wal_log;
create database dropped template template0 strategy file_copy;
create database spaced tablespace space template seed strategy wal_log;
create database filed_spaced tablespace space template seed strategy file_copy;
\c filed
update here set t = 'x' where id < 50; create table more as select * from here;
\c logged
update here set t = 'x' where id < 50; vacuum full pg_class; reindex system logged;
\c postgres
drop database dropped; drop database seed;
alter database filed set tablespace space;`

	vacuums = `
vacuum (freeze, analyze); delete from items where id > 5000; vacuum items; vacuum full seen; cluster items using items_pkey; reindex table items;
delete from spaced where id > 100; vacuum spaced; update pg_class set relname = relname where false;
delete from items where id % 3 = 0; vacuum (index_cleanup on) items; select brin_summarize_new_values('items_brin'); select gin_clean_pending_list('items_gin');
insert into items select i, i % 97, md5(i::text), array[i % 7, i % 13], point(i % 100, i / 100), int4range(i, i + 10) from generate_series(5001, 7000) i;
update items set k = 3 where id = 2;
delete from items where id between 100 and 400;
set enable_seqscan = off; set enable_bitmapscan = off;
select count(*) from items where k = 4; select count(*) from items where id between 90 and 410; select id from items where t = md5('150');
select count(*) from (select id from items order by p <-> point(0, 0) limit 500) x;`

	last = `
select count(*) from items; select count(*) from pgbench_accounts; select nextval('counted') from generate_series(1, 3);
begin; delete from items where id between 3000 and 3010; checkpoint; rollback;
select count(*) from items where id between 2990 and 3020;`
)

// TestRealLoad is the truth meter's proof: a real server's log, taken by pg_receivewal
// into a file archive and ingested from there on an imported base, gives every page
// and file that the server's directory holds.
func TestRealLoad(t *testing.T) {
	w := newWorld(t)
	end := w.run(t, func() { w.load(t); w.notePaths(t) })
	w.ingest(t, end)
	requireOK(t, w.verify(t, end))
	t.Run("every LSN since the import is readable", func(t *testing.T) { w.history(t, end) })
	t.Run("one byte flipped in each kind of file", func(t *testing.T) { w.flips(t, end) })
}

// flips damages one byte of each kind of file in turn; each is reported, as that file.
func (w *world) flips(t *testing.T, end wal.LSN) {
	for _, kind := range w.kinds(t) {
		path := filepath.Join(w.server.DataDir, kind.file)
		body, err := os.ReadFile(path)
		require.NoError(t, err)
		damaged := slices.Clone(body)
		damaged[kind.at] ^= 0x04
		require.NoError(t, os.WriteFile(path, damaged, 0o600))
		report := w.verify(t, end)
		require.NoError(t, os.WriteFile(path, body, 0o600))
		require.Equal(t, int64(1), report.Mismatched, "%s: %v", kind.name, report.Mismatches)
		require.Equal(t, kind.file, report.Mismatches[0].File, kind.name)
		t.Logf("%s: %v", kind.name, report.Mismatches[0])
	}
	require.True(t, w.verify(t, end).OK())
}

// damage is a byte to flip.
type damage struct {
	name, file string
	at         int64
}

// relations are the names under which the load's relations are damaged, and what to
// ask for their paths.
const relations = `
select name, pg_relation_filepath(rel::regclass) || fork from (values
('heap', 'items', ''), ('visibility map', 'pgbench_tellers', '_vm'), ('btree', 'items_pkey', ''), ('hash', 'items_hash', ''),
('gin', 'items_gin', ''), ('gist', 'items_gist', ''), ('spgist', 'items_spgist', ''), ('brin', 'items_brin', ''), ('bloom', 'items_bloom', ''),
('sequence', 'counted', ''), ('materialised view', 'seen', ''), ('init fork', 'scratch_pkey', '_init'), ('tablespace', 'spaced', ''),
('shared catalogue', 'pg_database', ''), ('mapped catalogue', 'pg_class', ''),
('toast', (select reltoastrelid::regclass::text from pg_class where relname = 'wide'), '')) v (name, rel, fork)`

// notePaths asks the running server where things are.
func (w *world) notePaths(t *testing.T) {
	for line := range strings.Lines(w.server.SQL(t, relations)) {
		name, path, found := strings.Cut(strings.TrimSpace(line), "|")
		require.True(t, found)
		w.paths = append(w.paths, damage{name: name, file: path})
	}
	oid := w.server.SQL(t, "select oid from pg_database where datname = 'logged'")
	path := w.server.SQL(t, "\\c logged\nselect pg_relation_filepath('here')")
	w.paths = append(w.paths, damage{name: "copied database", file: path},
		damage{name: "version", file: "base/" + oid + "/PG_VERSION"},
		damage{name: "relation map", file: "base/" + oid + "/pg_filenode.map", at: 20},
		damage{name: "shared relation map", file: "global/pg_filenode.map", at: 300})
}

// kinds adds where in each file the byte is: the first tuple of a relation's last
// page, or something live of the rest.
func (w *world) kinds(t *testing.T) []damage {
	info, err := basebackup.Inspect(os.DirFS(w.server.DataDir))
	require.NoError(t, err)
	c := &info.Control.CheckPointCopy
	prepared, err := basebackup.TwoPhaseFiles(os.DirFS(w.server.DataDir))
	require.NoError(t, err)
	require.Len(t, prepared, 1)
	multi, member, xid := c.NextMulti-1, c.NextMultiOffset-1, c.NewestCommitTsXID
	kinds := []damage{
		{"control file", "global/pg_control", 100},
		{"prepared transaction", fmt.Sprintf("pg_twophase/%08X", prepared[0]), 50},
		{"status", "pg_xact/0000", int64(c.NextXID/4 - 1)},
		{"multixact offset", "pg_multixact/offsets/0000", int64(multi) * 4},
		{"multixact member", "pg_multixact/members/0000", int64(member/4*20 + 4 + member%4*4)},
		{"commit time", "pg_commit_ts/0000", int64(xid/819*8192 + xid%819*10)},
	}
	for _, d := range w.paths {
		if d.at == 0 && d.name != "version" {
			d.at = firstTuple(t, filepath.Join(w.server.DataDir, d.file), d.name)
		}
		kinds = append(kinds, d)
	}
	return kinds
}

// firstTuple finds a byte that matters in the last page that has any: where pd_upper
// points to, or right after the header on pages without tuples.
func firstTuple(t *testing.T, path, name string) int64 {
	body, err := os.ReadFile(path)
	require.NoError(t, err)
	for at := len(body) - 8192; at >= 0; at -= 8192 {
		upper := int(binary.LittleEndian.Uint16(body[at+14:]))
		switch {
		case name == "gin" && body[at+8190]&(1<<2) != 0:
			// A deleted page of the pending list: what it holds matters to nobody.
		case name == "visibility map" || name == "init fork":
			return int64(at) + 24
		case upper > 0 && upper < int(binary.LittleEndian.Uint16(body[at+16:])):
			return int64(at + upper)
		case name == "bloom" && upper > 0:
			return int64(at) + 24
		}
	}
	t.Fatalf("%s (%s) has no tuple", name, path)
	return 0
}
