package basebackup_test

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/pageserver/basebackup"
	"github.com/varvedb/varve/pageserver/pgcontrol"
	"github.com/varvedb/varve/pageserver/pgkey"
	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/pgwal"
	"github.com/varvedb/varve/wal/pgwal/pgtest"
)

func own(t *testing.T, path string, like fs.FileInfo) {
	stat := like.Sys().(*syscall.Stat_t)
	require.NoError(t, os.Chown(path, int(stat.Uid), int(stat.Gid)))
}

const (
	load = `
create table a (id int primary key, v text);
insert into a select i, repeat('x', i % 100) from generate_series(1, 5000) i;
create unlogged table u (id int primary key);
insert into u select generate_series(1, 100);
create index on a using hash (v); create index on a using gist (point(id, id));
create sequence s; select nextval('s') from generate_series(1, 40);
vacuum freeze a;
select pg_replication_origin_create('upstream'); select pg_replication_origin_advance('upstream', '0/123456');
create database copied strategy file_copy;
create database logged strategy wal_log;`

	// Two lockers of one row make a multixact; the first is a prepared transaction.
	prepare = `
begin; select * from a where id = 1 for key share; insert into a values (10001, 'prepared'); prepare transaction 'p';
begin; select * from a where id = 1 for key share; commit;
begin; insert into a values (10002, 'rolled back'); savepoint one; insert into a values (10003, 'too'); rollback;`
)

const origins = "select external_id, remote_lsn from pg_show_replication_origin_status()"

var now = time.Unix(1700000000, 0)

// TestImportedClusterStartsWithoutReplay: in and out again, and PostgreSQL notices
// nothing but a clean shutdown.
func TestImportedClusterStartsWithoutReplay(t *testing.T) {
	server := pgtest.Start(t, pgtest.Options{Conf: map[string]string{"max_prepared_transactions": "5", "track_commit_timestamp": "on"}})
	server.SQL(t, load+prepare)
	stamp := server.SQL(t, "select max(pg_xact_commit_timestamp(xmin)) from a where id < 10000")
	server.Stop(t, pgtest.Fast)
	m, info := imported(t, server.DataDir)
	require.Equal(t, pgcontrol.ShutDown, info.Control.State)
	require.Equal(t, info.PrevRecord+120, info.LSN, "a shutdown checkpoint has 114 bytes")

	state, err := basebackup.StartState(context.Background(), m, info.LSN, info.PrevRecord, now)
	require.NoError(t, err)
	require.Equal(t, info.LSN, state.Start)
	materialise(t, server, m.forks(t), state)
	requireControl(t, server, state)
	dump := server.Exec(t, "pg_waldump", "-p", server.WALDir(), "-s", state.Record.String(), "-e", state.End.String())
	require.Contains(t, dump, "CHECKPOINT_SHUTDOWN redo "+state.Record.String())
	require.Contains(t, dump, fmt.Sprintf("prev 0/%08X,", uint64(info.PrevRecord)))

	server.Up(t)
	requireNoReplay(t, server)
	require.Equal(t, "5000|0", server.SQL(t, "select count(*), (select count(*) from u) from a"))
	require.Equal(t, stamp, server.SQL(t, "select max(pg_xact_commit_timestamp(xmin)) from a"))
	require.Equal(t, "upstream|0/123456", server.SQL(t, origins))
	require.Equal(t, "p", server.SQL(t, "select gid from pg_prepared_xacts"))
	require.Equal(t, "f", server.SQL(t, "select xmax = 0 from a where id = 1"))
	server.SQL(t, "commit prepared 'p'; insert into u select generate_series(1, 50); insert into a values (20000, 'new')")
	require.Equal(t, "prepared|50", server.SQL(t, "select v, (select count(*) from u) from a where id = 10001"))
	require.Equal(t, "0", server.SQL(t, "select count(*) from a where id in (10002, 10003)"))
	require.Equal(t, "t", server.SQL(t, "select nextval('s') > 40"))
	server.SQL(t, `create extension amcheck; \c copied
create table b (x int); \c logged
create table b (x int); checkpoint;`)
	server.Exec(t, "pg_amcheck", "--heapallindexed", "--rootdescend", "postgres")
	server.Stop(t, pgtest.Fast)
	_, err = basebackup.Inspect(os.DirFS(server.DataDir))
	require.NoError(t, err)
}

// requireNoReplay: the server's log says nothing of a recovery, nor of any trouble.
func requireNoReplay(t *testing.T, server *pgtest.Server) {
	require.Contains(t, server.Log(), "database system was shut down at 2023-11-14 22:13:20 UTC")
	for _, trouble := range []string{"redo", "replay", "automatic recovery", "not properly", "FATAL", "PANIC", "ERROR", "WARNING"} {
		require.NotContains(t, server.Log(), trouble)
	}
}

// requireControl lets PostgreSQL's own reader judge the control file.
func requireControl(t *testing.T, server *pgtest.Server, state *basebackup.State) {
	out := server.Exec(t, "pg_controldata", server.DataDir)
	require.NotContains(t, out, "WARNING")
	require.Contains(t, out, "Database cluster state:               shut down\n")
	require.Contains(t, out, "Latest checkpoint location:           "+state.Record.String()+"\n")
	require.Contains(t, out, "Latest checkpoint's REDO location:    "+state.Record.String()+"\n")
}

// TestSegmentsAtEveryKindOfPosition: PostgreSQL reads the record wherever it begins,
// be it across pages and segments.
func TestSegmentsAtEveryKindOfPosition(t *testing.T) {
	server := pgtest.Init(t, pgtest.Options{})
	m, info := imported(t, server.DataDir)
	segment := wal.SegmentStart(info.LSN.Segment() + 3)
	for name, at := range map[string]wal.LSN{
		"start of a segment":         segment,
		"inside a long header":       segment + 17,
		"first page":                 segment + 4000,
		"not aligned":                segment + 4001,
		"across the first pages":     segment + 8192 - 48,
		"start of a page":            segment + 3*8192,
		"inside a short header":      segment + 3*8192 + 1,
		"across pages":               segment + 4*8192 - 8,
		"last page":                  segment - 8192 + 1000,
		"across segments":            segment - 24,
		"eight bytes before the end": segment - 8,
	} {
		t.Run(name, func(t *testing.T) {
			state, err := basebackup.StartState(context.Background(), m, at, 0, now)
			require.NoError(t, err)
			require.GreaterOrEqual(t, state.Start, at)
			dir := t.TempDir()
			for _, f := range state.Segments() {
				require.NoError(t, os.WriteFile(filepath.Join(dir, filepath.Base(f.Path)), f.Body, 0o600))
			}
			out, err := exec.Command(binary(server, t, "pg_waldump"), "-p", dir, "-s", state.Record.String(), "-e", state.End.String()).CombinedOutput()
			require.NoError(t, err, string(out))
			require.Contains(t, string(out), "CHECKPOINT_SHUTDOWN redo "+state.Record.String())

			decoder := pgwal.NewDecoder("state", state.Start)
			decoder.Feed(state.WAL)
			var record pgwal.Record
			ok, err := decoder.Next(&record)
			require.NoError(t, err)
			require.True(t, ok)
			require.Equal(t, state.Record, record.LSN)
			require.Equal(t, state.End, record.End)
		})
	}
}

func binary(server *pgtest.Server, t *testing.T, name string) string {
	return server.Command(name).Path
}

// TestRefusals: each directory that cannot be imported is refused by name, with what
// to do about it, before anything is stored.
func TestRefusals(t *testing.T) {
	server := pgtest.Init(t, pgtest.Options{})
	control := func(change func(c *pgcontrol.File)) func(fstest.MapFS) {
		return func(m fstest.MapFS) {
			c, err := pgcontrol.Decode("", m["global/pg_control"].Data)
			require.NoError(t, err)
			change(c)
			m["global/pg_control"] = &fstest.MapFile{Data: c.AppendTo(nil)}
		}
	}
	add := func(name string) func(fstest.MapFS) {
		return func(m fstest.MapFS) { m[name] = &fstest.MapFile{Data: []byte("x")} }
	}
	for name, refusal := range map[string]struct {
		change func(fstest.MapFS)
		words  []string
	}{
		"empty":      {func(m fstest.MapFS) { clear(m) }, []string{"PG_VERSION", "data directory of a PostgreSQL 15"}},
		"no control": {func(m fstest.MapFS) { delete(m, "global/pg_control") }, []string{"global/pg_control", "data directory of"}},
		"version":    {func(m fstest.MapFS) { m["PG_VERSION"] = &fstest.MapFile{Data: []byte("14\n")} }, []string{"14", "pg_upgrade"}},
		"running":    {control(func(c *pgcontrol.File) { c.State = pgcontrol.InProduction }), []string{`"in production"`, "pg_ctl stop"}},
		"standby":    {control(func(c *pgcontrol.File) { c.State = pgcontrol.ShutDownInRecovery }), []string{"in recovery", "pg_ctl stop"}},
		"checksums":  {control(func(c *pgcontrol.File) { c.DataChecksumVersion = 1 }), []string{"data checksums", "pg_checksums --disable"}},
		"timeline":   {control(func(c *pgcontrol.File) { c.CheckPointCopy.TimeLine = 2 }), []string{"timeline is 2", "pg_dumpall"}},
		"segments":   {control(func(c *pgcontrol.File) { c.WALSegmentBytes = 64 << 20 }), []string{"67108864", "--wal-segsize=16"}},
		"catalog":    {control(func(c *pgcontrol.File) { c.CatalogVersion++ }), []string{"catalog version", "pg_dumpall"}},
		"blocks":     {control(func(c *pgcontrol.File) { c.BlockBytes = 4096 }), []string{"unusual sizes", "Debian"}},
		"machine":    {control(func(c *pgcontrol.File) { c.MaxAlign = 4 }), []string{"architecture", "pg_dumpall"}},
		"pid":        {add("postmaster.pid"), []string{"postmaster.pid", "pg_ctl stop"}},
		"backup":     {add("backup_label"), []string{"backup_label", "start it once"}},
		"signal":     {add("standby.signal"), []string{"standby.signal", "pg_dumpall"}},
		"recovery":   {add("recovery.signal"), []string{"recovery.signal", "finish recovery"}},
		"tablespace": {add("pg_tblspc/16400/PG_15_202209061/5/1"), []string{"pg_tblspc/16400", "DROP TABLESPACE"}},
		"no log": {func(m fstest.MapFS) { delete(m, "pg_wal/000000010000000000000001") },
			[]string{"pg_wal/000000010000000000000001", "pg_ctl stop"}},
	} {
		t.Run(name, func(t *testing.T) {
			fsys := copyOf(t, server.DataDir)
			refusal.change(fsys)
			m := &memory{}
			_, err := basebackup.Import(context.Background(), fsys, m)
			var refused *basebackup.RefusedError
			require.ErrorAs(t, err, &refused)
			for _, word := range refusal.words {
				require.Contains(t, err.Error(), word)
			}
			require.NotContains(t, err.Error(), "\n")
			require.Empty(t, m.keys)
		})
	}
}

// copyOf holds the files that Inspect looks at.
func copyOf(t *testing.T, dir string) fstest.MapFS {
	m := fstest.MapFS{}
	for _, name := range []string{"PG_VERSION", "global/pg_control", "pg_wal/000000010000000000000001"} {
		body, err := os.ReadFile(filepath.Join(dir, name))
		require.NoError(t, err)
		m[name] = &fstest.MapFile{Data: body}
	}
	return m
}

// TestDamageIsNotImported: what contradicts itself is corruption, named by file.
func TestDamageIsNotImported(t *testing.T) {
	server := pgtest.Init(t, pgtest.Options{})
	_, info := imported(t, server.DataDir)
	for name, change := range map[string]func(fstest.MapFS){
		"global/pg_control": func(m fstest.MapFS) { m["global/pg_control"].Data[100] ^= 1 },
		"pg_wal": func(m fstest.MapFS) {
			m["pg_wal/000000010000000000000001"].Data[info.PrevRecord.SegmentOffset()+40] ^= 1
		},
		"copy of the last checkpoint": func(m fstest.MapFS) {
			c, err := pgcontrol.Decode("", m["global/pg_control"].Data)
			require.NoError(t, err)
			c.CheckPointCopy.NextXID++
			m["global/pg_control"].Data = c.AppendTo(nil)
		},
	} {
		fsys := copyOf(t, server.DataDir)
		change(fsys)
		_, err := basebackup.Inspect(fsys)
		require.ErrorIs(t, err, wal.ErrCorruption, name)
		require.ErrorContains(t, err, name)
	}
}

// TestPageOfTheNextIDIsThere: PostgreSQL reads it as it starts, and the log has it only
// from its first id on.
func TestPageOfTheNextIDIsThere(t *testing.T) {
	server := pgtest.Init(t, pgtest.Options{})
	m, info := imported(t, server.DataDir)
	m.values[pgkey.NextXID()] = pgkey.AppendUint64(nil, 3<<32|40*pgkey.XactsPerPage)
	m.values[pgkey.NextMulti()] = pgkey.NextMultiValue{Multi: 33*pgkey.MultiOffsetsPerPage + 1, Offset: 65 * pgkey.MultiMembersPerPage}.AppendTo(nil)
	state, err := basebackup.StartState(context.Background(), m, info.LSN, 0, now)
	require.NoError(t, err)
	require.Equal(t, pgwal.FullXID(3<<32|40*pgkey.XactsPerPage), state.Control.CheckPointCopy.NextXID)
	sizes := map[string]int{}
	for _, f := range state.Files {
		sizes[f.Path] = len(f.Body) / pgwal.PageSize
	}
	require.Equal(t, 1, sizes["pg_xact/0000"])
	require.Equal(t, 40-32+1, sizes["pg_xact/0001"])
	require.Equal(t, 33-32+1, sizes["pg_multixact/offsets/0001"])
	require.Equal(t, 65-64+1, sizes["pg_multixact/members/0002"])
}
