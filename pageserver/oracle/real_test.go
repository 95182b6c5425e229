package oracle_test

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/pageserver/basebackup"
	"github.com/varvedb/varve/pageserver/oracle"
	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/pgwal/pgtest"
	"github.com/varvedb/varve/wal/segment"
)

// settings are those that Varve gives a Postgres, as far as the log shows them, with
// images of everything.
var settings = map[string]string{
	"full_page_writes": "off", "wal_log_hints": "on", "wal_level": "replica", "wal_keep_size": "200GB",
	"wal_consistency_checking": "all", "wal_compression": "lz4", "max_prepared_transactions": "20",
	"track_commit_timestamp": "on", "autovacuum": "off", "synchronous_commit": "off",
	"lock_timeout": "20s", "statement_timeout": "10min",
}

// size is how much the loads do.
type size struct{ rows, indexRows, xids, scale, transactions, sessions, statements int }

var (
	small = size{rows: 2000, indexRows: 1000, xids: 1000, scale: 1, transactions: 200, sessions: 100, statements: 200}
	full  = size{rows: 100_000, indexRows: 12_000, xids: 100_000, scale: 10, transactions: 40_000, sessions: 2000, statements: 4000}
)

// server is a Postgres whose log is replayed from a base on.
type server struct {
	*pgtest.Server
	oracle *oracle.Oracle
	at     wal.LSN // replayed up to here
}

func newServer(t testing.TB, conf map[string]string) *server {
	t.Helper()
	s := initServer(t, conf)
	s.Up(t)
	return s
}

// initServer makes a server that does not run yet: its directory is the base.
func initServer(t testing.TB, conf map[string]string) *server {
	t.Helper()
	all := maps.Clone(settings)
	maps.Copy(all, conf)
	s := &server{Server: pgtest.Init(t, pgtest.Options{Conf: all})}
	base := os.DirFS(s.DataDir)
	info, err := basebackup.Inspect(base)
	require.NoError(t, err)
	s.oracle, err = oracle.New("log", info.LSN, base)
	require.NoError(t, err)
	s.at = info.LSN
	return s
}

// replay stops the server and replays what it has logged since the last time.
func (s *server) replay(t testing.TB) {
	t.Helper()
	s.Stop(t, pgtest.Fast)
	info, err := basebackup.Inspect(os.DirFS(s.DataDir))
	require.NoError(t, err)
	for s.at < info.LSN {
		n := s.at.Segment()
		body, err := os.ReadFile(filepath.Join(s.WALDir(), segment.Name(n)))
		require.NoError(t, err)
		end := min(info.LSN, wal.SegmentStart(n+1))
		require.NoError(t, s.oracle.Feed(body[s.at.SegmentOffset():s.at.SegmentOffset()+int(end-s.at)]))
		s.at = end
	}
	require.Equal(t, info.LSN, s.oracle.Position())
}

// script runs one of the scripts that make every kind of record: of this package, or
// one of those by which the decoder is compared with pg_waldump.
func (s *server) script(t testing.TB, n size, name string) {
	t.Helper()
	s.SQL(t, fmt.Sprintf("\\set space %s\n", s.MkdirAll(t, "space"))+s.scriptText(t, n, name))
}

func (s *server) scriptText(t testing.TB, n size, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", name+".sql"))
	if os.IsNotExist(err) {
		text, err = os.ReadFile(filepath.Join("..", "..", "wal", "pgwal", "testdata", "waldump", name+".sql"))
	}
	require.NoError(t, err)
	vars := fmt.Sprintf("\\set rows %d\n\\set xids %d\n", n.rows, n.xids)
	if name == "indexes" {
		vars = fmt.Sprintf("\\set rows %d\n", n.indexRows)
	}
	return vars + string(text)
}

func (s *server) bench(t testing.TB, n size) {
	t.Helper()
	s.Exec(t, "pgbench", "-i", "-q", "-s", fmt.Sprint(n.scale))
	s.Exec(t, "pgbench", "-n", "-c", "4", "-j", "1", "-t", fmt.Sprint(n.transactions))
}

// tallGin makes GIN indexes with inner pages: one of entries, whose inner pages split
// since few keys fit on a page, and one of rows, since many have the same key.
const tallGin = `
	create table common (words int[]);
	create index on common using gin (words) with (fastupdate = off);
	insert into common select '{7}' from generate_series(1, 40000);
	create table tall_words (words text[]);
	create index on tall_words using gin (words) with (fastupdate = off);
	insert into tall_words select array[(select string_agg(md5(row || ' ' || part), '') from generate_series(1, 70) part)]
		from generate_series(1, 100) row;`

// wideSPGist makes an SP-GiST index whose inner tuples have many nodes, so that they
// outgrow their pages, and one of nulls.
const wideSPGist = `
	create table wide_words (word text);
	create index on wide_words using spgist (word);
	insert into wide_words select chr(33 + row * 7 % 83) || chr(33 + row * 13 % 89) || chr(33 + row * 31 % 91) || md5(row::text)
		from generate_series(1, 15000) row;
	insert into wide_words select null from generate_series(1, 3000);`

// loads run on a server each, so that no more than one's pages are in memory.
var loads = []struct {
	name string
	conf map[string]string
	run  func(testing.TB, *server, size)
}{
	{"rows and transactions", nil, func(t testing.TB, s *server, n size) {
		s.bench(t, n)
		for _, name := range []string{"tables", "transactions", "ddl"} {
			s.script(t, n, name)
		}
	}},
	{"indexes", nil, func(t testing.TB, s *server, n size) {
		s.script(t, n, "indexes")
		s.SQL(t, tallGin+wideSPGist)
	}},
	{"rewriting, copying, emptying", nil, func(t testing.TB, s *server, n size) { s.script(t, n, "more") }},
	{"sessions, crashes, two-phase commit", map[string]string{"autovacuum": "on", "autovacuum_naptime": "1s", "autovacuum_vacuum_cost_delay": "0", "shared_buffers": "2MB"}, sessions},
	{"random statements", nil, func(t testing.TB, s *server, n size) {
		for seed := range uint64(4) {
			s.SQL(t, "DROP SCHEMA public CASCADE; CREATE SCHEMA public")
			s.SQL(t, pgtest.NewStatements(seed, false).Take(n.statements))
		}
	}},
	{"what is rare", nil, func(t testing.TB, s *server, n size) { s.script(t, n, "directed") }},
	{"logical", map[string]string{"wal_level": "logical"}, func(t testing.TB, s *server, n size) { s.script(t, small, "logical") }},
}

// sessions work on the same few rows at once, beside an eager autovacuum; in between the
// server is killed, with a transaction prepared. A checkpoint comes first: PostgreSQL's
// own check of images fails in recovery on pages that were cut off and are new again.
func sessions(t testing.TB, s *server, n size) {
	s.script(t, n, "sessions")
	file := filepath.Join(s.MkdirAll(t, "scripts"), "sessions.pgbench")
	text, err := os.ReadFile("testdata/sessions.pgbench")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(file, text, 0o644))
	for life, stop := range []syscall.Signal{pgtest.Kill, pgtest.Immediate} {
		s.Exec(t, "pgbench", "-n", "-c", "6", "-j", "1", "--max-tries", "20", "-t", fmt.Sprint(n.sessions), "-f", file)
		s.SQL(t, fmt.Sprintf("begin; insert into queue (state, t) values (50, 'kept'); update locked set n = -1 where id = %d; prepare transaction 'kept %d'; checkpoint; insert into queue (state, t) select 51, 'replayed' from generate_series(1, 500);", life+1, life))
		s.Stop(t, stop)
		s.Up(t)
		s.SQL(t, fmt.Sprintf("commit prepared 'kept %d'; vacuum (freeze) locked;", life))
	}
	s.Exec(t, "pgbench", "-n", "-c", "6", "-j", "1", "--max-tries", "20", "-t", fmt.Sprint(n.sessions), "-f", file)
}

var writeSamples = flag.Bool("write-samples", false, "write the changes that the tests of package redo read")

// TestRedoMakesPostgresPages is the proof of redo: over everything that Postgres can be
// made to log, every page of every record equals Postgres's own. With VARVE_FULL=1 it
// replays five million records. What it compared then catches bugs that are planted in
// redo: a few of the bank, all with VARVE_MUTANTS=1.
func TestRedoMakesPostgresPages(t *testing.T) {
	n, least := small, int64(100_000)
	if os.Getenv("VARVE_FULL") == "1" {
		n, least = full, 5_000_000
	}
	mutants, kept := os.Getenv("VARVE_MUTANTS") == "1", 5
	if mutants {
		kept = 2000
	}
	var all oracle.Report
	samples := sampler{map[sampled]change{}, map[sampled]change{}}
	dir := *keptIn
	if dir == "" {
		dir = t.TempDir()
	}
	records := newRecorder(dir, kept)
	for _, load := range loads {
		t.Run(load.name, func(t *testing.T) {
			s := newServer(t, load.conf)
			records.load()
			s.oracle.Made = func(c *oracle.Comparison, after []byte) {
				records.made(t, c)
				if *writeSamples {
					samples.made(c, after)
				}
			}
			load.run(t, s, n)
			s.replay(t)
			all.Add(s.oracle.Report())
		})
	}
	records.close(t)
	var text strings.Builder
	_, err := all.WriteTo(&text)
	require.NoError(t, err)
	t.Log("\n" + text.String())
	require.True(t, all.OK())
	if *writeSamples {
		samples.write(t, filepath.Join("..", "redo", "testdata", "changes.gz"))
	}
	require.Empty(t, all.Missing())
	require.GreaterOrEqual(t, all.Records, least)
	requireMutantsCaught(t, records, !mutants)
}
