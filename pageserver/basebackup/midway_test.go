package basebackup_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/lsm"
	"github.com/varvedb/varve/pageserver/basebackup"
	"github.com/varvedb/varve/pageserver/datadir"
	"github.com/varvedb/varve/pageserver/timeline"
	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/env/osenv"
	"github.com/varvedb/varve/wal/pgwal"
	"github.com/varvedb/varve/wal/pgwal/pgtest"
	"github.com/varvedb/varve/wal/segment"
)

// stored is a timeline of the real store that took in an import, and then log.
func stored(t *testing.T, dir string) (*timeline.Timeline, *basebackup.Info) {
	local := t.TempDir()
	e, err := osenv.New(osenv.Config{Root: local + "/local", Bucket: local + "/bucket"})
	require.NoError(t, err)
	store, err := lsm.Open(t.Context(), e, lsm.Options{Tenant: wal.TenantID{1}})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, store.Close(context.WithoutCancel(t.Context()))) })
	info, err := basebackup.Inspect(os.DirFS(dir))
	require.NoError(t, err)
	require.NoError(t, store.Create(t.Context(), wal.TimelineID{2}, info.LSN, nil))
	under, err := store.Attach(t.Context(), wal.TimelineID{2})
	require.NoError(t, err)
	_, err = basebackup.Import(t.Context(), os.DirFS(dir), under)
	require.NoError(t, err)
	tl, err := timeline.Open(t.Context(), e, wal.TimelineID{2}, under)
	require.NoError(t, err)
	return tl, info
}

// ingest feeds a directory's log to the timeline, up to the end of the record that
// ends at or above x, and returns that record's LSN and end.
func ingest(t *testing.T, tl *timeline.Timeline, walDir string, x wal.LSN) (record, end wal.LSN) {
	from := tl.LastLSN()
	decoder := pgwal.NewDecoder(walDir, from)
	var log []byte
	for n, skip := from.Segment(), from.SegmentOffset(); end < x; n, skip = n+1, 0 {
		body, err := os.ReadFile(filepath.Join(walDir, segment.Name(n)))
		require.NoError(t, err)
		log = append(log, body[skip:]...)
		decoder.Feed(body[skip:])
		for end < x {
			var rec pgwal.Record
			ok, err := decoder.Next(&rec)
			require.NoError(t, err)
			if !ok {
				break
			}
			record, end = rec.LSN, rec.End
		}
	}
	require.NoError(t, tl.Ingest(t.Context(), from, log[:end-from]))
	return record, end
}

// files are the relations of a timeline as of an LSN.
func files(t *testing.T, tl *timeline.Timeline, at wal.LSN) (files []basebackup.File) {
	require.NoError(t, tl.Relations(t.Context(), at, func(r timeline.RelationSize) error {
		reads := make([]timeline.PageRead, r.Blocks)
		pages := make([][]byte, r.Blocks)
		for i := range reads {
			reads[i] = timeline.PageRead{Rel: r.Rel, Fork: r.Fork, Block: uint32(i), LSN: at}
		}
		require.NoError(t, tl.GetPages(t.Context(), reads, pages))
		var body []byte
		for _, page := range pages {
			body = append(body, page...)
		}
		files = append(files, basebackup.File{Path: datadir.ForkPath(r.Rel, r.Fork), Mode: 0o600, Body: body})
		return nil
	}))
	return files
}

// session is a psql that stays connected, with a transaction open.
type session struct {
	t    *testing.T
	in   io.WriteCloser
	out  *bufio.Reader
	done func() error
}

func open(t *testing.T, server *pgtest.Server) *session {
	cmd := server.Command("psql", "-XqAt", "-v", "ON_ERROR_STOP=1", "-f", "-")
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	return &session{t, in, bufio.NewReader(out), cmd.Wait}
}

// run executes statements and returns when they are done.
func (s *session) run(sql string) {
	_, err := fmt.Fprintf(s.in, "%s\n\\echo done\n", sql)
	require.NoError(s.t, err)
	for line := ""; line != "done\n"; {
		line, err = s.out.ReadString('\n')
		require.NoError(s.t, err)
	}
}

// TestStartInTheMiddle starts PostgreSQL at an LSN in the middle of its life, from a
// timeline that ingested the log: with transactions open, one prepared, a multixact,
// an unlogged table and dropped relations.
func TestStartInTheMiddle(t *testing.T) {
	server := pgtest.Init(t, pgtest.Options{Conf: map[string]string{
		"max_prepared_transactions": "5", "track_commit_timestamp": "on", "wal_keep_size": "10GB", "full_page_writes": "off",
		"wal_log_hints": "on", "wal_consistency_checking": "all", "wal_compression": "lz4", "autovacuum": "off",
	}})
	tl, _ := stored(t, server.DataDir)
	server.Up(t)
	server.SQL(t, load+prepare)
	server.SQL(t, "checkpoint; insert into a values (15000, 'after the checkpoint'); drop database copied; create table later (x int); drop table later")
	holder := open(t, server)
	holder.run("begin; insert into a values (17000, 'open'); savepoint s; update a set v = 'open' where id = 2; delete from a where id = 3; create table opened (x int); insert into opened values (1);")
	locker := open(t, server)
	locker.run("begin; select id from a where id = 4 for share; select txid_current();")
	second := open(t, server)
	second.run("begin; select id from a where id = 4 for share; insert into a values (17001, 'open too');")
	server.SQL(t, "insert into a values (15001, 'the last at X')")
	x, err := wal.ParseLSN(server.SQL(t, "select pg_current_wal_flush_lsn()"))
	require.NoError(t, err)
	for _, s := range []*session{holder, locker, second} {
		s.run("commit;")
		require.NoError(t, s.in.Close())
		require.NoError(t, s.done())
	}
	server.SQL(t, "commit prepared 'p'; select pg_replication_origin_advance('upstream', '0/FFFFFF'); delete from a; drop table u; drop sequence s; vacuum a")
	server.Stop(t, pgtest.Fast)

	prev, end := ingest(t, tl, server.WALDir(), x)
	require.Equal(t, x, end)
	known, err := tl.PrevRecord(t.Context(), end)
	require.NoError(t, err)
	require.Equal(t, prev, known)
	state, err := basebackup.StartState(t.Context(), tl, end, prev, now)
	require.NoError(t, err)
	materialise(t, server, files(t, tl, end), state)
	requireControl(t, server, state)

	server.Up(t)
	requireNoReplay(t, server)
	require.Equal(t, "15000\n15001", server.SQL(t, "select id from a where id > 10000 order by id"))
	require.Equal(t, "5002|0|0", server.SQL(t, "select count(*), count(*) filter (where v = 'open'), (select count(*) from u) from a"))
	require.Equal(t, "0", server.SQL(t, "select count(*) from pg_class where relname in ('opened', 'later')"))
	require.Equal(t, "upstream|0/123456", server.SQL(t, origins))
	require.Equal(t, "p", server.SQL(t, "select gid from pg_prepared_xacts"))
	// The lockers are gone, so nothing blocks these; the prepared one still locks row 1.
	server.SQL(t, "set lock_timeout = '5s'; update a set v = 'mine' where id in (2, 3, 4)")
	require.Equal(t, "1", server.SQL(t, "select count(*) from a where id = 1 and id not in (select id from a where id = 1 for update skip locked)"))
	server.SQL(t, "commit prepared 'p'; insert into u select generate_series(1, 50); select nextval('s'); create table anew (x int); checkpoint; vacuum freeze a")
	require.Equal(t, "prepared|50", server.SQL(t, "select v, (select count(*) from u) from a where id = 10001"))
	require.Equal(t, "logged\npostgres", server.SQL(t, "select datname from pg_database where not datistemplate order by 1"))
	server.SQL(t, "create extension amcheck")
	server.Exec(t, "pg_amcheck", "--heapallindexed", "--rootdescend", "postgres")
	server.Stop(t, pgtest.Fast)
	require.NotContains(t, server.Log(), "PANIC")
}
