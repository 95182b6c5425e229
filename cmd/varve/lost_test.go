package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/compute/control"
)

// indexOf finds a branch's index object, as a file and as a key of the bucket.
func (s stack) indexOf(b control.Branch) (file, key string) {
	s.Helper()
	found, err := filepath.Glob(filepath.Join(s.dir, "bucket", "tenants", "*", "timelines", "*", b.Timeline.String(), "index"))
	require.NoError(s, err)
	require.Len(s, found, 1)
	return found[0], strings.TrimPrefix(found[0], filepath.Join(s.dir, "bucket")+"/")
}

// hide moves a file away until restore is called.
func (s stack) hide(file string) (restore func()) {
	s.Helper()
	hidden := filepath.Join(s.dir, "hidden."+filepath.Base(filepath.Dir(file)))
	require.NoError(s, os.Rename(file, hidden))
	return func() { require.NoError(s, os.Rename(hidden, file)) }
}

// TestALostIndexIsNamed: never does what was lost look as if it had never been.
func TestALostIndexIsNamed(t *testing.T) {
	s := newStack(t)
	s.ok("up", "--safekeepers", "1")
	s.sql("main", "CREATE TABLE t AS SELECT 1 AS a")
	s.ok("branch", "create", "child")
	branches := s.branches()
	child, main := branches[0], branches[1]
	childFile, _ := s.indexOf(child)
	mainFile, mainKey := s.indexOf(main)
	s.ok("down")

	// One of two: all else runs.
	restoreMain := s.hide(mainFile)
	s.failed(lastLine(s.run("up")), control.CodeFailed, "all else runs", "branch main is lost while its index is", mainKey, "restore it")
	list := s.branches()
	require.Len(t, list, 2)
	require.Equal(t, "main", list[0].Parent)
	require.Equal(t, mainKey, list[1].MissingIndex)
	require.Contains(t, list[1].Stopped, "missing from the bucket")
	s.fails(control.CodeFailed, []string{mainKey}, "branch", "create", "main")
	s.fails(control.CodeFailed, []string{mainKey}, "endpoint", "start", "main")
	s.fails(control.CodeConflict, []string{"has a child child"}, "branch", "delete", "main")
	s.ok("down")

	// All of them, and with them every trace of main's name.
	restoreChild := s.hide(childFile)
	refused := func(mentions ...string) {
		t.Helper()
		before := below(t, filepath.Join(s.dir, "bucket"))
		s.failed(lastLine(s.run("up")), control.CodeFailed, append(mentions, "begin anew with another --dir")...)
		require.Equal(t, before, below(t, filepath.Join(s.dir, "bucket")))
		s.requireGone()
	}
	refused(mainKey+" (branch main)", "(branch child)")
	state := filepath.Join(s.dir, "control.db")
	require.NoError(t, os.Rename(state, state+".old"))
	refused("timelines/*/" + main.Timeline.String() + "/index")
	require.NoError(t, os.Rename(state+".old", state))
	restoreMain()
	restoreChild()
	s.ok("up")
	require.Equal(t, "1", s.sql("main", "SELECT a FROM t"))
	s.ok("down")

	// A damaged one keeps its name.
	body, err := os.ReadFile(mainFile)
	require.NoError(t, err)
	damaged := append([]byte{}, body...)
	damaged[len(damaged)/2] ^= 1
	require.NoError(t, os.WriteFile(mainFile, damaged, 0o600))
	s.failed(lastLine(s.run("up")), control.CodeFailed, "the Postgres of branch main did not start", "corrupt", mainKey)
	require.Regexp(t, `(?m)^branch main +stopped .*`+regexp.QuoteMeta(mainKey), s.ok("status"))
	s.ok("down")
	require.NoError(t, os.WriteFile(mainFile, body, 0o600))
	s.ok("up")
	require.Equal(t, "1", s.sql("main", "SELECT a FROM t"))
}

// TestALostStateFile: the tenant in the bucket is taken up again, and no empty database
// is made beside it.
func TestALostStateFile(t *testing.T) {
	s := newStack(t)
	s.ok("up", "--safekeepers", "1")
	s.sql("main", "CREATE TABLE t AS SELECT 1 AS a")
	tenant := asJSON[control.Status](s, "status").Tenant
	s.ok("branch", "create", "dev")
	s.ok("branch", "detach", "dev")
	dev := s.branches()[0]
	require.Equal(t, "dev", dev.Name)
	s.ok("down")
	index, _ := s.indexOf(dev)
	require.NoError(t, os.Remove(index))
	require.NoError(t, os.Remove(filepath.Join(s.dir, "control.db")))
	again := s.run("up")
	require.Zero(t, again.code, again.stderr)
	require.Contains(t, again.stderr, "has lost its control.db: it goes on with tenant "+tenant.String())
	require.Equal(t, "1", s.sql("main", "SELECT a FROM t"))
	status := asJSON[control.Status](s, "status")
	require.Equal(t, tenant, status.Tenant)
	require.Len(t, status.Processes, 2, "as many safekeepers as before")
	scrub := s.run("scrub")
	require.Equal(t, exitCodes[control.CodeFailed], scrub.code, scrub.stdout)
	require.Contains(t, scrub.stderr, "1 object is corrupt or missing")
	require.Contains(t, scrub.stdout, dev.Timeline.String()+"/index", "nobody knows that dev was not deleted")
	require.NotContains(t, scrub.stdout, "leaked")
	s.ok("down")

	state := filepath.Join(s.dir, "control.db")
	require.NoError(t, os.Remove(state))
	other := filepath.Join(s.dir, "bucket", "tenants", strings.Repeat("7", 32), "logs")
	require.NoError(t, os.MkdirAll(other, 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(other, "x"), nil, 0o600))
	s.failed(lastLine(s.run("up")), control.CodeConflict, "holds 2 tenants: restore control.db")
	require.NoError(t, os.Rename(filepath.Join(s.dir, "bucket"), filepath.Join(s.dir, "elsewhere")))
	s.failed(lastLine(s.run("up")), control.CodeConflict, "holds nothing: restore control.db, name the bucket that it had with --bucket")
}
