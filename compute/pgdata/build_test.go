package pgdata_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/compute/pgdata"
	"github.com/varvedb/varve/pageserver/basebackup"
	"github.com/varvedb/varve/pageserver/datadir"
	"github.com/varvedb/varve/wal/assert"
	"github.com/varvedb/varve/wal/pgwal"
	"github.com/varvedb/varve/wal/pgwal/pgtest"
)

// stoppedDir is a cleanly stopped data directory as the source of another.
type stoppedDir struct {
	dir   string
	files []basebackup.File
	forks []pgdata.Fork
}

// config matches what a built directory has of its own.
var config = regexp.MustCompile(`^(postgresql|pg_hba|pg_ident|postgresql\.auto)\.conf$|^postmaster\.`)

func readStoppedDir(t *testing.T, dir string) *stoppedDir {
	t.Helper()
	s := &stoppedDir{dir: dir}
	tablespaces, err := os.ReadDir(filepath.Join(dir, "pg_tblspc"))
	require.NoError(t, err)
	s.walk(t, ".")
	for _, link := range tablespaces {
		s.walk(t, filepath.Join("pg_tblspc", link.Name()))
	}
	return s
}

func (s *stoppedDir) walk(t *testing.T, below string) {
	t.Helper()
	// The slash makes a link be followed.
	root := filepath.Join(s.dir, below) + "/"
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rest, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		name := filepath.Join(below, rest)
		switch {
		case entry.IsDir():
			s.files = append(s.files, basebackup.File{Path: name, Mode: fs.ModeDir | 0o700})
		case entry.Type().IsRegular():
			return s.add(name, path)
		}
		return nil
	})
	require.NoError(t, err)
}

func (s *stoppedDir) add(name, path string) error {
	rel, fork, segment, err := datadir.ParseForkPath(name)
	if err != nil {
		body, err := os.ReadFile(path)
		if err == nil && !config.MatchString(name) {
			s.files = append(s.files, basebackup.File{Path: name, Mode: 0o600, Body: body})
		}
		return err
	}
	assert.That(segment == 0, "relation %s has one segment", rel)
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	s.forks = append(s.forks, pgdata.Fork{Rel: rel, Fork: fork, Blocks: uint32(info.Size() / pgwal.PageSize)})
	return nil
}

func (s *stoppedDir) Forks(_ context.Context, fn func(pgdata.Fork) error) error {
	for _, fork := range s.forks {
		if err := fn(fork); err != nil {
			return err
		}
	}
	return nil
}

func (s *stoppedDir) Read(_ context.Context, rel pgwal.RelFileNode, fork pgwal.Fork, first uint32, dst []byte) error {
	file, err := os.Open(filepath.Join(s.dir, datadir.SegmentPath(rel, fork, 0)))
	if err != nil {
		return err
	}
	defer file.Close()
	_, err = file.ReadAt(dst, int64(first)*pgwal.PageSize)
	return err
}

func settings(mode pgdata.Mode, socketDir string) pgdata.Settings {
	return pgdata.Settings{Mode: mode, Port: 5432, SocketDir: socketDir}
}

// source makes a stopped cluster that holds one of everything.
func source(t *testing.T) *pgtest.Server {
	t.Helper()
	s := pgtest.Start(t, pgtest.Options{Conf: map[string]string{"max_prepared_transactions": "10"}})
	space := s.MkdirAll(t, "space")
	s.SQL(t, `CREATE TABLE t AS SELECT n, repeat(n::text, 20) AS text FROM generate_series(1, 20000) n;
		CREATE INDEX ON t (n);
		CREATE UNLOGGED TABLE u (n int PRIMARY KEY);
		INSERT INTO u VALUES (1);
		CREATE TABLESPACE away LOCATION '`+space+`';
		CREATE TABLE far TABLESPACE away AS SELECT n FROM generate_series(1, 1000) n;
		VACUUM;
		BEGIN; INSERT INTO t VALUES (-1); PREPARE TRANSACTION 'later';`)
	s.Stop(t, pgtest.Fast)
	return s
}

func build(t *testing.T, s *pgtest.Server, mode pgdata.Mode) (dir string, stats pgdata.Stats) {
	t.Helper()
	account, err := pgdata.FindAccount()
	require.NoError(t, err)
	from := readStoppedDir(t, s.DataDir)
	dir = filepath.Join(s.Dir, fmt.Sprintf("built%d", mode))
	stats, err = pgdata.Build(t.Context(), dir, account, pgdata.Contents{Settings: settings(mode, s.Dir), Files: from.files, Pages: from})
	require.NoError(t, err)
	return dir, stats
}

func TestPostgresRunsOnABuiltDirectory(t *testing.T) {
	s := source(t)
	old := s.DataDir
	var stats pgdata.Stats
	s.DataDir, stats = build(t, s, pgdata.ReadWrite)
	require.NoError(t, os.Rename(old, old+".away"))
	require.NoError(t, os.Rename(filepath.Join(s.Dir, "space"), filepath.Join(s.Dir, "space.away")))
	require.Greater(t, stats.Relations, 700)
	require.Greater(t, stats.Pages, int64(2500))
	s.Up(t)
	require.NotContains(t, s.Log(), "recovery")
	// Nobody answers to synchronous_standby_names here.
	s.SQL(t, `SET synchronous_commit = off; COMMIT PREPARED 'later'; INSERT INTO u VALUES (1); INSERT INTO far VALUES (0);`)
	require.Equal(t, "20001|200009999", s.SQL(t, "SELECT count(*), sum(n) FROM t"))
	require.Equal(t, "1", s.SQL(t, "SELECT count(*) FROM u"), "an unlogged relation is reset")
	require.Equal(t, "1001", s.SQL(t, "SELECT count(*) FROM far"))
	s.SQL(t, "SET synchronous_commit = off; CHECKPOINT; CREATE TABLE far2 TABLESPACE away AS SELECT 1 AS n; DROP TABLE far, far2; DROP TABLESPACE away")
}

// TestRoomInTablesIsUsed holds the free-space maps of a built directory against those
// that VACUUM left in its source, and has rows come to where others went.
func TestRoomInTablesIsUsed(t *testing.T) {
	s := pgtest.Start(t, pgtest.Options{})
	s.SQL(t, `CREATE EXTENSION pg_freespacemap;
		CREATE TABLE sparse (n int, text text) WITH (fillfactor = 10);
		INSERT INTO sparse SELECT n, repeat('x', 350) FROM generate_series(1, 9000) n;
		CREATE TABLE holes AS SELECT n, repeat('y', 100) AS text FROM generate_series(1, 20000) n;
		CREATE TABLE narrow AS SELECT FROM generate_series(1, 5000);
		DELETE FROM holes WHERE n % 3 = 0; DELETE FROM narrow WHERE ctid >= '(3,1)' AND ctid < '(4,1)';
		VACUUM sparse, holes, narrow;`)
	const maps = `SELECT c, md5(string_agg(blkno || ':' || avail, ',' ORDER BY blkno)), count(*) FROM
		(SELECT c, (pg_freespace(c)).* FROM unnest('{sparse, holes, narrow}'::regclass[]) c) m GROUP BY c ORDER BY c::text`
	before := s.SQL(t, maps)
	pages := s.SQL(t, "SELECT pg_relation_size('sparse') / 8192 > 4069, pg_relation_size('holes')")
	require.Regexp(t, `^t\|`, pages, "a map of two leaves")
	s.Stop(t, pgtest.Fast)
	s.DataDir, _ = build(t, s, pgdata.ReadWrite)
	s.Up(t)
	require.Equal(t, before, s.SQL(t, maps))
	s.SQL(t, "SET synchronous_commit = off; INSERT INTO holes SELECT n, repeat('z', 100) FROM generate_series(1, 6000) n")
	require.Equal(t, pages, s.SQL(t, "SELECT pg_relation_size('sparse') / 8192 > 4069, pg_relation_size('holes')"), "rows came to where others went")
}

func TestReadOnlyDirectoryRefusesWrites(t *testing.T) {
	s := source(t)
	s.DataDir, _ = build(t, s, pgdata.ReadOnly)
	server := s.Command("postgres", append([]string{"-D", s.DataDir}, settings(pgdata.ReadOnly, s.Dir).Args()...)...)
	log, err := server.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, server.Start())
	defer func() { require.NoError(t, server.Wait()) }()
	defer func() { require.NoError(t, server.Process.Signal(pgtest.Fast)) }()
	require.Contains(t, readUntil(t, log, "ready to accept read-only connections"), "entering standby mode")
	require.Equal(t, "20000", s.SQL(t, "SELECT count(*) FROM t"))
	for _, statement := range []string{"INSERT INTO t VALUES (0)", "CREATE TABLE x ()", "CREATE TEMP TABLE x ()", "COMMIT PREPARED 'later'"} {
		out, err := s.Command("psql", "-c", statement).CombinedOutput()
		require.Error(t, err, statement)
		require.Regexp(t, "read-only transaction|during recovery", string(out))
	}
}

func TestImposedSettingsCannotBeChanged(t *testing.T) {
	s := source(t)
	s.DataDir, _ = build(t, s, pgdata.ReadWrite)
	imposed := settings(pgdata.ReadWrite, s.Dir)
	// As if the user had said ALTER SYSTEM, and edited the file too.
	worse := "synchronous_standby_names = ''\nfsync = on\nwal_level = minimal\nwal_compression = off\nsynchronous_commit = off\n"
	for _, name := range []string{"postgresql.conf", "postgresql.auto.conf"} {
		file, err := os.OpenFile(filepath.Join(s.DataDir, name), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
		require.NoError(t, err)
		_, err = file.WriteString(worse)
		require.NoError(t, err)
		require.NoError(t, file.Close())
	}
	server := s.Command("postgres", append([]string{"-D", s.DataDir}, imposed.Args()...)...)
	log, err := server.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, server.Start())
	defer func() { require.NoError(t, server.Wait()) }()
	defer func() { require.NoError(t, server.Process.Signal(pgtest.Fast)) }()
	readUntil(t, log, "ready to accept connections")
	for _, setting := range imposed.Imposed() {
		require.Equal(t, setting.Value, s.SQL(t, "SHOW "+setting.Name), setting.Name)
	}
	for _, setting := range imposed.Defaults() {
		require.Equal(t, setting.Value, s.SQL(t, "SHOW "+setting.Name), setting.Name)
	}
}

// readUntil reads a server's log up to a line that holds text, and goes on reading
// what follows so that the server never waits for a reader.
func readUntil(t *testing.T, log interface{ Read([]byte) (int, error) }, text string) string {
	t.Helper()
	var seen strings.Builder
	buffer := make([]byte, 4096)
	for !strings.Contains(seen.String(), text) {
		n, err := log.Read(buffer)
		require.NoError(t, err, seen.String())
		seen.Write(buffer[:n])
	}
	go func() {
		for {
			if _, err := log.Read(buffer); err != nil {
				return
			}
		}
	}()
	return seen.String()
}

// zeros is one relation of zero pages, but for its last.
type zeros struct {
	blocks uint32
	fail   error
}

func (z zeros) Forks(_ context.Context, fn func(pgdata.Fork) error) error {
	return fn(pgdata.Fork{Rel: pgwal.RelFileNode{Spc: 1663, DB: 5, Rel: 7}, Blocks: z.blocks})
}

func (z zeros) Read(_ context.Context, _ pgwal.RelFileNode, _ pgwal.Fork, first uint32, dst []byte) error {
	clear(dst)
	if first+uint32(len(dst)/pgwal.PageSize) == z.blocks {
		dst[len(dst)-1] = 1
	}
	return z.fail
}

func TestForksAreCutIntoSegmentsWithHoles(t *testing.T) {
	const segment = 1 << 30
	for _, blocks := range []uint32{0, 1, segment / pgwal.PageSize, segment/pgwal.PageSize + 1} {
		dir := filepath.Join(t.TempDir(), "data")
		stats, err := pgdata.Build(t.Context(), dir, pgdata.Account{}, pgdata.Contents{Pages: zeros{blocks: blocks}})
		require.NoError(t, err)
		require.Equal(t, int64(blocks), stats.Pages)
		require.Equal(t, int64(max(blocks, 1)-1), stats.ZeroPages)
		var total int64
		for n := uint32(0); ; n++ {
			path := filepath.Join(dir, datadir.SegmentPath(pgwal.RelFileNode{Spc: 1663, DB: 5, Rel: 7}, pgwal.MainFork, n))
			info, err := os.Stat(path)
			require.NoError(t, err)
			total += info.Size()
			if info.Size() < segment {
				require.NoFileExists(t, fmt.Sprintf("%s.%d", strings.TrimSuffix(path, fmt.Sprintf(".%d", n)), n+1))
				break
			}
		}
		require.Equal(t, int64(blocks)*pgwal.PageSize, total)
	}
}

func TestBuildLeavesNothingWhenItFails(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	cause := errors.New("horizon")
	_, err := pgdata.Build(t.Context(), dir, pgdata.Account{}, pgdata.Contents{Pages: zeros{blocks: 1, fail: cause}})
	require.ErrorIs(t, err, cause)
	outside := []basebackup.File{{Path: "../outside/file"}, {Path: "pg_tblspc/name", Mode: fs.ModeDir | 0o700}}
	for _, file := range outside {
		_, err = pgdata.Build(t.Context(), dir, pgdata.Account{}, pgdata.Contents{Files: []basebackup.File{file}, Pages: zeros{}})
		require.Error(t, err)
	}
	entries, err := os.ReadDir(filepath.Dir(dir))
	require.NoError(t, err)
	require.Empty(t, entries)

	require.NoError(t, os.Mkdir(dir, 0o700))
	_, err = pgdata.Build(t.Context(), dir, pgdata.Account{}, pgdata.Contents{Pages: zeros{}})
	require.ErrorContains(t, err, "it is there already")
	require.DirExists(t, dir)
}
