package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/compute/control"
	"github.com/varvedb/varve/wal/pgwal/pgtest"
)

// TestErrorsNameTheFixAndChangeNothing: one line on standard error, the documented
// exit code, and the same state before and after.
func TestErrorsNameTheFixAndChangeNothing(t *testing.T) {
	s := newStack(t)
	url := s.ok("up", "--safekeepers", "1")
	s.ok("branch", "create", "child")
	begin := s.branches()[1].Start.String()
	taken := listen(t)
	missing := filepath.Join(s.dir, "missing")
	const (
		usage, notFound, conflict = control.CodeUsage, control.CodeNotFound, control.CodeConflict
		layout                    = "want a relation's file as PostgreSQL names it, such as base/5/16384"
	)
	for _, c := range []struct {
		args     []string
		code     control.Code
		mentions string
	}{
		{[]string{"branch", "create", "b", "--parent", "main@0/XYZ"}, usage, `"0/XYZ" is not an LSN such as 0/16B3748`},
		{[]string{"branch", "create", "b", "--parent", "main@noon"}, usage, "nor a time such as 2026-11-22T10:00:00Z"},
		{[]string{"branch", "create", "b", "--parent", "main@FF/0"}, notFound, "name an LSN up to there"},
		{[]string{"branch", "create", "b", "--parent", "main@0/28"}, notFound, "begins at " + begin + ": name an LSN from there on"},
		{[]string{"branch", "create", "b", "--parent", "main@2096-01-01T00:00:00Z"}, notFound, "lies in the future: name a time up to now"},
		{[]string{"branch", "create", "b", "--parent", "main@2001-01-01T00:00:00Z"}, notFound, "begins at " + begin + ": name a later time"},
		{[]string{"branch", "create", "b", "--parent", "nobody"}, notFound, "there is no branch nobody: see `varve branch list`"},
		{[]string{"branch", "create", "child"}, conflict, "choose another name, or delete it with `varve branch delete child`"},
		{[]string{"branch", "create", "A/b"}, usage, "want 1 to 63 of a-z"},
		{[]string{"branch", "create"}, usage, "takes NAME"},
		{[]string{"branch", "delete", "nobody"}, notFound, "`varve branch list`"},
		{[]string{"branch", "delete", "main"}, conflict, "`varve endpoint stop main`"},
		{[]string{"branch", "detach", "nobody"}, notFound, "`varve branch list`"},
		{[]string{"branch", "detach", "main"}, conflict, "has no parent: it is detached already"},
		{[]string{"branch", "reset", "nobody"}, notFound, "`varve branch list`"},
		{[]string{"branch", "reset", "main"}, conflict, "`varve branch create NAME --parent POINT`"},
		{[]string{"branch", "reset", "child", "--at", "FF/0"}, notFound, "name an LSN up to there"},
		{[]string{"branch", "reset", "child", "--at", "noon"}, usage, "nor a time such as"},
		{[]string{"lease", "create", "nobody"}, notFound, "`varve branch list`"},
		{[]string{"lease", "create", "main@FF/0"}, notFound, "name an LSN up to there"},
		{[]string{"lease", "create", "main@0/28"}, notFound, "begins at " + begin + ": name an LSN from there on"},
		{[]string{"lease", "create", "main", "--for", "soon"}, usage, "such as 12h, 7d or 2w"},
		{[]string{"lease", "create", "main", "--for", "0s"}, usage, "want a second or more"},
		{[]string{"lease", "list", "nobody"}, notFound, "`varve branch list`"},
		{[]string{"lease", "delete", "77"}, notFound, "there is no lease 77: see `varve lease list`"},
		{[]string{"storage", "collect", "nobody"}, notFound, "`varve branch list`"},
		{[]string{"storage", "collect", "main", "--below", "FF/0"}, notFound, "name an LSN up to there"},
		{[]string{"storage", "collect", "main", "--below", "0/28"}, notFound, "name an LSN from there on"},
		{[]string{"storage", "collect"}, usage, "takes BRANCH"},
		{[]string{"storage"}, usage, "explain, collect"},
		{[]string{"endpoint", "start", "nobody"}, notFound, "`varve branch list`"},
		{[]string{"endpoint", "start", "main"}, conflict, "`varve endpoint stop main`"},
		{[]string{"endpoint", "start", "child", "--port", taken}, conflict, "`varve endpoint start child --port N`"},
		{[]string{"endpoint", "start", "child", "--port", "99999"}, usage, "want 1 to 65535"},
		{[]string{"endpoint", "stop", "child"}, notFound, "no endpoint runs on child: see `varve status`"},
		{[]string{"endpoint", "stop", "nobody"}, notFound, "there is no branch nobody: see `varve branch list`"},
		{[]string{"endpoint", "stop", "main.reader-9"}, notFound, "no endpoint runs on main.reader-9: see `varve status`"},
		{[]string{"endpoint", "stop", "no body"}, usage, "want 1 to 63 of a-z"},
		{[]string{"psql", "nobody"}, notFound, "`varve branch list`"},
		{[]string{"psql", "child"}, conflict, "`varve endpoint start child`"},
		{[]string{"psql", "child@FF/0"}, notFound, "name an LSN up to there"},
		{[]string{"psql", "main@2001-01-01T00:00:00Z"}, notFound, "name a later time"},
		{[]string{"psql"}, usage, "BRANCH@LSN"},
		{[]string{"psql", "main", "-c", "SELECT 1"}, usage, "psql's own arguments come after --"},
		{[]string{"connection-string", "nobody"}, notFound, "`varve branch list`"},
		{[]string{"connection-string", "child"}, conflict, "`varve endpoint start child`"},
		{[]string{"lsn", "nobody"}, notFound, "`varve branch list`"},
		{[]string{"lsn", "main", "--at", "yesterday"}, usage, "such as 2026-11-22T10:00:00Z"},
		{[]string{"lsn", "main", "--at", "2096-01-01T00:00:00Z"}, notFound, "name a time up to now"},
		{[]string{"lsn", "main", "--at", ""}, usage, "--at is empty"},
		{[]string{"page", "get", "base/5/1259", "0", "--lsn", "FF/0"}, notFound, "name an LSN up to there"},
		{[]string{"page", "get", "base/5/1", "0"}, notFound, "pg_relation_filepath"},
		{[]string{"page", "get", "base/5/1259", "100000"}, notFound, "name one below"},
		{[]string{"page", "get", "pg_xact/0000", "0"}, usage, layout},
		{[]string{"page", "get", "base/5/1259_fsm", "0"}, usage, "name the relation's file, without _fsm"},
		{[]string{"page", "get", "base/5/1259", "0", "--raw", "-o", "json"}, usage, "--raw and -o json"},
		{[]string{"page", "get", "base/5/1259", "0", "--lsn", ""}, usage, "--lsn is empty: give it a value"},
		{[]string{"page", "get", "base/5/1259", "first"}, usage, "want a number from 0 on"},
		{[]string{"page", "get", "base/5/1259.9999999", "4294967295"}, usage, ""},
		{[]string{"scrub", "nobody"}, notFound, "`varve branch list`"},
		{[]string{"storage", "explain", "nobody"}, notFound, "`varve branch list`"},
		{[]string{"storage", "stats", "nobody"}, notFound, "`varve branch list`"},
		{[]string{"scrub", "A/b"}, usage, "want 1 to 63 of a-z"},
		{[]string{"scrub", ""}, usage, "[BRANCH] is empty"},
		{[]string{"scrub", "main", "child"}, usage, "takes [BRANCH], got 2 arguments"},
		{[]string{"verify", "main"}, usage, "--against DATADIR"},
		{[]string{"verify", "main", "--against", missing}, notFound, "name the data directory"},
		{[]string{"verify", "main", "--against", filepath.Join(s.dir, "endpoints", "main", "data")}, conflict, "pg_ctl stop"},
		{[]string{"import", missing, "--branch", "b"}, notFound, "name the data directory"},
		{[]string{"import", os.Args[0], "--branch", "b"}, usage, "is not a directory"},
		{[]string{"import", s.dir, "--branch", "b"}, conflict, "the one that holds PG_VERSION"},
		{[]string{"import", s.dir}, usage, "--branch NAME"},
		{[]string{"import", s.dir, "--branch", "A b"}, usage, "want 1 to 63 of a-z"},
		{[]string{"import", "", "--branch", "b"}, usage, "DATADIR is empty"},
		{[]string{"inspect", "wal", missing}, notFound, "safekeeper-N"},
		{[]string{"inspect", "wal", os.Args[0]}, usage, "000000010000000000000001"},
		{[]string{"inspect", "wal", s.dir}, usage, "is a directory: name a file"},
		{[]string{"inspect", "layer", s.dir}, usage, "is a directory: name a file"},
		{[]string{"inspect", "wal", "/000000010000000000000001"}, notFound, "safekeeper-N"},
		{[]string{"inspect", "layer", missing}, notFound, "DIR/bucket"},
		{[]string{"inspect", "index", missing}, notFound, "DIR/bucket"},
		{[]string{"inspect", "index", os.Args[0]}, control.CodeFailed, "is no index"},
		{[]string{"inspect", "map", os.Args[0]}, control.CodeFailed, "is no index"},
		{[]string{"inspect", "layer", os.Args[0]}, control.CodeFailed, "layer magic"},
		{[]string{"--dir", missing, "status"}, notFound, "`varve up --dir " + missing + "`"},
		{[]string{"--dir", missing, "down"}, notFound, "`varve up --dir " + missing + "`"},
		{[]string{"--dir", "", "status"}, usage, "--dir is empty: give it a value, or leave it out"},
		{[]string{"status", "--fast"}, usage, "`varve status --help`"},
		{[]string{"status", "now"}, usage, "`varve status --help`"},
		{[]string{"status", "-o", "xml"}, usage, "want table or json"},
		{[]string{"dance"}, usage, "`varve --help`"},
		{[]string{"branch", "dance"}, usage, "`varve branch --help`"},
		{[]string{"branch"}, usage, "create, list, detach, reset, delete"},
		{[]string{"help", "dance"}, usage, "`varve --help`"},
	} {
		t.Run(fmt.Sprint(c.args), func(t *testing.T) {
			s := stack{t, s.dir}
			before := s.state()
			s.fails(c.code, []string{c.mentions}, c.args...)
			require.Equal(t, before, s.state())
			require.NoDirExists(t, missing)
		})
	}
	t.Run("rights", func(t *testing.T) { testRights(stack{t, s.dir}) })
	t.Run("import", func(t *testing.T) { testImport(stack{t, s.dir}, url) })
}

// listen takes a port until the test ends.
func listen(t *testing.T) (port string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, l.Close()) })
	_, port, err = net.SplitHostPort(l.Addr().String())
	require.NoError(t, err)
	return port
}

// testImport imports a directory of another PostgreSQL, once what is wrong with it is
// put right one by one.
func testImport(s stack, mainURL string) {
	server := pgtest.Init(s.T, pgtest.Options{Initdb: []string{"--data-checksums"}})
	refused := func(mentions ...string) {
		s.Helper()
		before := s.state()
		s.fails(control.CodeConflict, mentions, "import", server.DataDir, "--branch", "theirs")
		require.Equal(s, before, s.state())
	}
	refused("data checksums", "pg_checksums --disable")
	server.Exec(s, "pg_checksums", "--disable", "--pgdata", server.DataDir)

	version := filepath.Join(server.DataDir, "PG_VERSION")
	require.NoError(s, os.WriteFile(version, []byte("14\n"), 0o600))
	refused(`its major version is "14", not 15`, "pg_upgrade")
	require.NoError(s, os.WriteFile(version, []byte("15\n"), 0o600))

	server.Up(s)
	refused("not stopped cleanly", "pg_ctl stop")
	space := server.MkdirAll(s, "space")
	server.SQL(s, "CREATE TABLESPACE elsewhere LOCATION '"+space+"'; CREATE TABLE t AS SELECT generate_series(1, 1000) AS a")
	server.Stop(s, pgtest.Kill)
	refused("not stopped cleanly", "start it once before if it crashed")
	require.NoError(s, os.Remove(filepath.Join(server.DataDir, "postmaster.pid")))
	server.Up(s)
	server.Stop(s, pgtest.Fast)
	refused("tablespaces", "pg_tblspc")
	server.Up(s)
	server.SQL(s, "DROP TABLESPACE elsewhere")
	server.Stop(s, pgtest.Fast)

	s.fails(control.CodeConflict, []string{"choose another name"}, "import", server.DataDir, "--branch", "main")
	require.Contains(s, s.ok("import", server.DataDir, "--branch", "theirs"), "theirs")
	require.Contains(s, s.ok("verify", "theirs", "--against", server.DataDir), "mismatches: 0")
	s.ok("endpoint", "start", "theirs")
	require.Equal(s, "500500", s.sql("theirs", "SELECT sum(a) FROM t"))

	// A directory without a branch main comes up without a Postgres.
	s.ok("branch", "delete", "child")
	s.ok("endpoint", "stop", "main")
	s.ok("branch", "delete", "main")
	s.ok("down")
	r := s.run("up")
	require.Zero(s, r.code, r.stderr)
	require.Empty(s, r.stdout)
	require.Contains(s, r.stderr, "there is no branch main")
	s.ok("endpoint", "start", "theirs")
	require.Equal(s, "500500", s.sql("theirs", "SELECT sum(a) FROM t"))
	require.NotEqual(s, mainURL, s.ok("connection-string", "theirs"))
}

// testRights runs commands as a user who may not.
func testRights(s stack) {
	if os.Geteuid() != 0 {
		s.Skip("only root can be somebody else")
	}
	binary := filepath.Join(enterableDir(s.T), "varve")
	body, err := os.ReadFile(os.Args[0])
	require.NoError(s, err)
	require.NoError(s, os.WriteFile(binary, body, 0o755))
	as := func(uid uint32, args ...string) result {
		cmd := s.command(args...)
		cmd.Path, cmd.Args[0], cmd.Dir = binary, binary, "/"
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
		return finish(s.T, cmd)
	}
	const nobody = 65534
	before := s.state()
	s.failed(as(nobody, "status"), control.CodeFailed, "you may not talk to the varve in "+s.dir, "run this as the user")
	s.failed(as(nobody, "verify", "main", "--against", filepath.Join(s.dir, "endpoints", "main", "data")), control.CodeFailed, "may not be read", "as the owner")
	locked := enterableDir(s.T)
	s.failed(as(nobody, "up", "--dir", filepath.Join(locked, "new")), control.CodeFailed, "permission denied", "with --dir")
	require.Empty(s, below(s.T, locked)[1:])

	if low, err := os.ReadFile("/proc/sys/net/ipv4/ip_unprivileged_port_start"); err == nil && string(low) != "0\n" {
		s.failed(as(0, "endpoint", "start", "child", "--port", "1"), control.CodeFailed, "port 1 is for root only", "`varve endpoint start child --port N`")
		s.failed(as(0, "up", "--dir", filepath.Join(locked, "new"), "--port", "1"), control.CodeFailed, "port 1 is for root only", "`varve up --port N`")
	}

	require.NoError(s, os.Chmod(locked, 0o700))
	s.failed(as(0, "up", "--dir", filepath.Join(locked, "new")), control.CodeFailed, "PostgreSQL may not enter "+locked, "chmod a+x")
	require.Empty(s, below(s.T, locked)[1:])
	require.Equal(s, before, s.state())
}

// TestUpRefusesBeforeItMakesAnything: what can be known is checked first.
func TestUpRefusesBeforeItMakesAnything(t *testing.T) {
	s := newStack(t)
	fake := enterableDir(t)
	require.NoError(t, os.WriteFile(filepath.Join(fake, "postgres"), []byte("#!/bin/sh\necho 'postgres (PostgreSQL) 14.20'\n"), 0o755))
	long := filepath.Join(s.dir, fmt.Sprintf("%0100d", 0))
	up := func(env string, args ...string) *exec.Cmd {
		cmd := s.command(append([]string{"up"}, args...)...)
		cmd.Env = append(cmd.Env, env)
		return cmd
	}
	for _, c := range []struct {
		cmd      *exec.Cmd
		code     control.Code
		mentions string
	}{
		{up("", "--safekeepers", "2"), control.CodeUsage, "want 1, 3 or 5"},
		{up("", "--port", "-1"), control.CodeUsage, "want 1 to 65535"},
		{up("", "--history", "0s"), control.CodeUsage, "such as 12h, 7d or 2w, or forever"},
		{up("", "--history-bytes", "0"), control.CodeUsage, "such as 64MiB or 2GiB"},
		{up("", "--index-cache", "900TiB"), control.CodeUsage, "--index-cache 989560464998400: want 1 to 1099511627776 bytes, which is 1TiB"},
		{up("", "--index-cache", "0"), control.CodeUsage, "such as 64MiB or 2GiB"},
		{up("", "--dir", ""), control.CodeUsage, "--dir is empty"},
		{up("", "--dir", os.Args[0]), control.CodeUsage, os.Args[0] + " is not a directory: choose another"},
		{up("", "--dir", filepath.Join(os.Args[0], "d")), control.CodeUsage, os.Args[0] + " is not a directory: choose another"},
		{up("", "--port", listen(t)), control.CodeConflict, "choose another with `varve up --port N`"},
		{up("", "--dir", long), control.CodeUsage, "choose a shorter --dir"},
		{up("VARVE_PG_BIN=/nowhere"), control.CodeFailed, "install Debian's postgresql-15, or set VARVE_PG_BIN"},
		{up("VARVE_PG_BIN=" + fake), control.CodeFailed, "want PostgreSQL 15, got 14.20: set VARVE_PG_BIN"},
	} {
		s.failed(finish(t, c.cmd), c.code, c.mentions)
		require.NoDirExists(t, s.dir)
	}
	s.fails(control.CodeUsage, []string{"want 1, 3 or 5"}, "up", "--foreground", "--safekeepers", "2")
	require.NoDirExists(t, s.dir)
}

// TestUpOnATakenPort: the port that a directory had before.
func TestUpOnATakenPort(t *testing.T) {
	s := newStack(t)
	url := s.ok("up", "--safekeepers", "1")
	before := s.state()
	s.ok("down")
	_, port, err := net.SplitHostPort(url[len("postgresql://postgres@") : len(url)-len("/postgres")])
	require.NoError(t, err)
	l, err := net.Listen("tcp", "127.0.0.1:"+port)
	require.NoError(t, err)
	stateFile, err := os.ReadFile(filepath.Join(s.dir, "control.db"))
	require.NoError(t, err)
	s.fails(control.CodeConflict, []string{"port " + port + " is in use", "`varve up --port N`"}, "up")
	s.requireGone()
	stateFileAfter, err := os.ReadFile(filepath.Join(s.dir, "control.db"))
	require.NoError(t, err)
	require.Equal(t, stateFile, stateFileAfter, "not even the state file was written")
	require.NoError(t, l.Close())
	require.Equal(t, url, s.ok("up"))
	require.Equal(t, before, s.state())
}

// TestVersion: what a bug report begins with.
func TestVersion(t *testing.T) {
	r := stack{T: t, dir: t.TempDir()}.run("--version")
	require.Zero(t, r.code, r.stderr)
	require.Regexp(t, `^varve version \S+\n$`, r.stdout)
}

// TestExitCodes are those that docs/CLI.md promises to scripts.
func TestExitCodes(t *testing.T) {
	require.Equal(t, map[control.Code]int{
		control.CodeFailed: 1, control.CodeUsage: 2, control.CodeNotFound: 3, control.CodeConflict: 4, control.CodeTimeout: 5,
	}, exitCodes)
}
