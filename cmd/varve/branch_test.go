package main

import (
	"net/url"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/compute/control"
)

// now is the time by the server's clock, which is the machine's, as RFC 3339 has it.
const now = `SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')`

// TestBranchesAndTimeTravel is a day with branches.
func TestBranchesAndTimeTravel(t *testing.T) {
	s := newStack(t)
	s.ok("up")
	s.sql("main", "CREATE TABLE t AS SELECT generate_series(1, 100) AS a")
	noon, at := s.sql("main", now), s.ok("lsn", "main")
	s.sql("main", "DELETE FROM t WHERE a > 10")

	t.Run("as of an LSN and a time", func(t *testing.T) {
		s := stack{t, s.dir}
		const count = "SELECT count(*), current_setting('transaction_read_only') FROM t"
		require.Equal(t, "10|off", s.sql("main", count))
		require.Equal(t, "100|on", s.sql("main@"+at, count))
		require.Equal(t, "100|on", s.sql("main@"+noon, count))
		refused := s.run("psql", "main@"+at, "--", "-c", "INSERT INTO t VALUES (1)")
		require.Equal(t, 1, refused.code, "psql's own exit code")
		require.Contains(t, refused.stderr, "cannot execute INSERT in a read-only transaction")
		require.Empty(t, asJSON[control.Status](s, "status").Readers)
		require.Empty(t, s.files("endpoints/main.*", "run/main.*.json"), "readers are thrown away")
	})
	t.Run("lsn", func(t *testing.T) {
		s := stack{t, s.dir}
		require.Regexp(t, "^[0-9A-F]+/[0-9A-F]+$", at)
		require.Equal(t, at, s.ok("lsn", "main", "--at", at))
		was := asJSON[control.Resolved](s, "lsn", "main", "--at", noon)
		from := asJSON[control.Resolved](s, "lsn", "main", "--at", at)
		require.GreaterOrEqual(t, was.LSN, from.LSN)
		require.Less(t, was.LSN, asJSON[control.Resolved](s, "lsn", "main").LSN, "the deletion's commit is not in it")
	})
	t.Run("branch", func(t *testing.T) {
		s := stack{t, s.dir}
		made := asJSON[control.Branch](s, "branch", "create", "fix", "--parent", "main@"+at)
		require.Equal(t, at, made.BranchLSN.String())
		s.ok("branch", "create", "noon", "--parent", "main@"+noon)
		s.ok("branch", "create", "deep", "--parent", "fix")
		require.Regexp(t, `(?m)^fix +main +`+at, s.ok("branch", "list"))
		require.Len(t, s.branches(), 4)

		s.fails(control.CodeConflict, []string{"varve endpoint start fix"}, "psql", "fix")
		started := asJSON[control.EndpointStatus](s, "endpoint", "start", "fix")
		require.Equal(t, started.URL, s.ok("connection-string", "fix"))
		require.Equal(t, "100", s.sql("fix", "SELECT count(*) FROM t"))
		s.sql("fix", "INSERT INTO t VALUES (101)")
		require.Equal(t, "10", s.sql("main", "SELECT count(*) FROM t"), "a branch's writes are its own")

		require.DirExists(t, s.ok("endpoint", "stop", "fix"))
		again := asJSON[control.EndpointStatus](s, "endpoint", "start", "fix")
		require.Equal(t, started.URL, again.URL)
		require.Greater(t, again.Term, started.Term)
		require.Equal(t, "101", s.sql("fix", "SELECT count(*) FROM t"))

		s.fails(control.CodeConflict, []string{"varve endpoint stop fix"}, "branch", "delete", "fix")
		s.ok("endpoint", "stop", "fix")
		s.fails(control.CodeConflict, []string{"has a child deep", "varve branch delete deep"}, "branch", "delete", "fix")
		for _, name := range []string{"deep", "fix", "noon"} {
			s.ok("branch", "delete", name)
		}
		require.Len(t, s.branches(), 1)
		require.Empty(t, s.files("endpoints/fix", "run/fix.json"))
	})
	t.Run("python", func(t *testing.T) { testPython(stack{t, s.dir}) })
}

// testPython runs the example program as its README says.
func testPython(s stack) {
	const python = "/usr/bin/python3"
	if err := exec.Command(python, "-c", "import psycopg2").Run(); err != nil {
		require.Empty(s, os.Getenv("CI"), "CI needs Debian's python3-psycopg2")
		s.Skip("Debian's python3-psycopg2 is missing: tools/prerequisites.sh installs it")
	}
	at, err := url.Parse(s.ok("connection-string", "main"))
	require.NoError(s, err)
	for _, notes := range []string{"1 note", "2 notes"} {
		cmd := exec.Command(python, "../../docs/examples/python/notes.py")
		cmd.Env = append(os.Environ(), "PGHOST="+at.Hostname(), "PGPORT="+at.Port(), "PGUSER="+at.User.Username(), "PGDATABASE="+strings.TrimPrefix(at.Path, "/"))
		r := finish(s.T, cmd)
		require.Zero(s, r.code, r.stderr)
		require.Regexp(s, `^PostgreSQL 15\.\d+ .*\n`+notes+`, the last one: hello from Python\n$`, r.stdout)
	}
}
