package main

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/compute/control"
)

// TestHistory is what happens to the past: it is kept for a window, collected, leased, and
// left behind by branches that go their own way.
func TestHistory(t *testing.T) {
	s := newStack(t)
	s.ok("up", "--safekeepers", "1", "--history", "3d", "--history-bytes", "1MiB")
	require.Equal(t, control.Window{Seconds: 3 * 24 * 60 * 60, Bytes: 1 << 20}, asJSON[control.Status](s, "status").Window)
	s.sql("main", "CREATE TABLE t AS SELECT generate_series(1, 1000) AS a")
	noon := s.sql("main", now)

	t.Run("collect", func(t *testing.T) { testCollect(stack{t, s.dir}, noon) })
	t.Run("detach", func(t *testing.T) { testDetach(stack{t, s.dir}) })
	t.Run("reset", func(t *testing.T) { testReset(stack{t, s.dir}) })

	// What `up` was told lasts, and what it is told counts from then on. All is there
	// though the history of its beginning is not.
	main := s.branches()[1]
	require.Equal(t, "main", main.Name)
	s.ok("down")
	drawn := s.ok("inspect", "map", s.files(filepath.Join("bucket", "tenants", "*", "timelines", "root", main.Timeline.String(), "index"))[0])
	require.Contains(t, drawn, "Layers of branch main")
	require.Contains(t, drawn, "horizon "+main.Horizon.String())
	require.Equal(t, 1, strings.Count(drawn, ">branch fix<"), "the branches are found beside the index")
	s.ok("up", "--history", "forever")
	require.Equal(t, control.Window{Seconds: control.WindowForever, Bytes: 1 << 20}, asJSON[control.Status](s, "status").Window)
	require.Contains(t, s.ok("status"), "kept forever")
	require.Equal(t, "5", s.sql("main", "SELECT count(*) FROM t"))
}

// testCollect: a leased time stays readable after a collection that makes its neighbour
// unreadable, and its Postgres goes on as it was.
func testCollect(s stack, noon string) {
	s.sql("main", "UPDATE t SET a = -a") // from here on it is settled which LSN noon is
	lease := asJSON[control.Lease](s, "lease", "create", "main@"+noon, "--for", "30d")
	require.Equal(s, "main", lease.Branch)
	require.WithinDuration(s, time.Now().Add(30*24*time.Hour), lease.Until, time.Hour)
	require.Regexp(s, `(?m)^`+lease.ID+` +main +`+lease.LSN.String(), s.ok("lease", "list"))
	neighbour := s.ok("lsn", "main")
	s.sql("main", "DELETE FROM t WHERE a < -10; INSERT INTO t SELECT 7 FROM generate_series(1, 90)")
	s.sql("main", "VACUUM t")
	below := s.ok("lsn", "main")
	require.Empty(s, asJSON[[]control.Lease](s, "lease", "list", "main")[1:])

	planned := asJSON[control.Collected](s, "storage", "collect", "main", "--dry-run")
	require.Zero(s, planned.Dropped, "all of it lies in the window")
	s.ok("storage", "collect", "main", "--below", neighbour) // which writes what was taken in
	require.Contains(s, s.run("storage", "collect", "main", "--below", below, "--dry-run").stderr, "would be dropped below the horizon "+below)
	planned = asJSON[control.Collected](s, "storage", "collect", "main", "--below", below, "--dry-run")
	require.Equal(s, "0|1000", s.sql("main@"+neighbour, "SELECT count(*) FILTER (WHERE a > 0), count(*) FROM t"), "a dry run changes nothing")
	s.fails(control.CodeNotFound, []string{"below the horizon of branch main", "name a later moment"}, "storage", "collect", "main", "--below", lease.LSN.String())

	done := asJSON[control.Collected](s, "storage", "collect", "main", "--below", below)
	require.Equal(s, below, done.Horizon.String())
	require.Positive(s, done.Dropped)
	require.Equal(s, planned.Dropped, done.Dropped)
	require.Zero(s, done.Keepers[len(done.Keepers)-1].Bytes, "nothing is left to collect")
	require.Contains(s, s.ok("storage", "explain", "main"), lease.ID)
	require.Equal(s, "1000", s.sql("main@"+noon, "SELECT count(*) FROM t WHERE a > 0"), "it is leased")
	s.fails(control.CodeNotFound, []string{"below the horizon of branch main, " + below, "name an LSN from there on"}, "psql", "main@"+neighbour)
	s.fails(control.CodeNotFound, []string{"below the horizon of branch main"}, "branch", "create", "b", "--parent", "main@"+neighbour)
	s.ok("branch", "create", "leased", "--parent", "main@"+noon)
	require.Equal(s, "100", s.sql("main", "SELECT count(*) FROM t"))

	s.ok("lease", "delete", lease.ID)
	s.fails(control.CodeNotFound, []string{"there is no lease " + lease.ID}, "lease", "delete", lease.ID)
	s.fails(control.CodeNotFound, []string{"below the horizon of branch main"}, "psql", "main@"+noon)
	s.ok("storage", "collect", "main")
	require.Equal(s, "1000", s.sql("leased@"+lease.LSN.String(), "SELECT count(*) FROM t WHERE a > 0"), "its branch keeps what the lease kept")
	s.ok("branch", "delete", "leased")
}

// testDetach: a branch that leaves its parent while its Postgres runs has all that it had,
// page by page, when the parent is gone.
func testDetach(s stack) {
	s.ok("branch", "create", "middle")
	s.ok("branch", "create", "dev", "--parent", "middle")
	s.ok("endpoint", "start", "dev")
	s.sql("dev", "DELETE FROM t WHERE a < 0; INSERT INTO t VALUES (1)")
	const sum = "SELECT count(*), sum(a) FROM t"
	rows := s.sql("dev", sum)
	s.fails(control.CodeConflict, []string{"`varve branch delete dev`", "`varve branch detach dev`"}, "branch", "delete", "middle")
	s.fails(control.CodeConflict, []string{"has a child dev"}, "branch", "reset", "middle")

	detached := asJSON[control.Branch](s, "branch", "detach", "dev")
	require.Empty(s, detached.Parent)
	s.fails(control.CodeConflict, []string{"has no parent"}, "branch", "detach", "dev")
	s.ok("branch", "delete", "middle")
	require.Equal(s, rows, s.sql("dev", sum))
	s.sql("dev", "INSERT INTO t VALUES (2)")
	rows = s.sql("dev", sum)
	data := s.ok("endpoint", "stop", "dev")
	require.Contains(s, s.ok("verify", "dev", "--against", data), "mismatches: 0")
	s.ok("endpoint", "start", "dev")
	require.Equal(s, rows, s.sql("dev", sum))
	s.fails(control.CodeNotFound, []string{"name an LSN from there on"}, "psql", "dev@"+(detached.Start-8).String())
	s.ok("scrub")
	s.ok("endpoint", "stop", "dev")
	s.ok("branch", "delete", "dev")
}

// testReset: a branch that is reset has what its parent has, and nothing of its own.
func testReset(s stack) {
	made := asJSON[control.Branch](s, "branch", "create", "fix")
	first := asJSON[control.EndpointStatus](s, "endpoint", "start", "fix")
	s.sql("fix", "CREATE TABLE mine AS SELECT 1 AS a; DELETE FROM t")
	s.fails(control.CodeConflict, []string{"`varve endpoint stop fix`"}, "branch", "reset", "fix")
	s.ok("endpoint", "stop", "fix")
	then := s.ok("lsn", "main")
	s.sql("main", "DELETE FROM t WHERE a > 0; INSERT INTO t SELECT generate_series(1, 4)")
	s.sql("main", "DELETE FROM t WHERE a < 0; INSERT INTO t VALUES (5)")

	reset := asJSON[control.Branch](s, "branch", "reset", "fix", "--at", then)
	require.Equal(s, then, reset.BranchLSN.String())
	reset = asJSON[control.Branch](s, "branch", "reset", "fix")
	require.Equal(s, "main", reset.Parent)
	require.Greater(s, reset.BranchLSN, made.BranchLSN)
	require.Len(s, s.branches(), 2, "nothing is left of the old timelines")
	again := asJSON[control.EndpointStatus](s, "endpoint", "start", "fix")
	require.Equal(s, first.URL, again.URL)
	const state = "SELECT count(*), to_regclass('mine') FROM t"
	require.Equal(s, "5|", s.sql("fix", state))
	require.Equal(s, "5|", s.sql("main", state))
	s.sql("fix", "INSERT INTO t VALUES (6)")
	s.ok("endpoint", "stop", "fix")
	s.ok("endpoint", "start", "fix")
	require.Equal(s, "6|", s.sql("fix", state))
	s.ok("endpoint", "stop", "fix")
}
