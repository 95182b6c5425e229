package main

import (
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/varvedb/varve/compute/control"
)

// watchProcess returns what waits until a process that runs now has ended.
func watchProcess(t *testing.T, pid int) (wait func()) {
	t.Helper()
	fd, err := unix.PidfdOpen(pid, 0)
	require.NoError(t, err)
	return func() {
		t.Helper()
		for {
			_, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, -1)
			if err != unix.EINTR {
				require.NoError(t, err)
				require.NoError(t, unix.Close(fd))
				return
			}
		}
	}
}

// TestWhatTheStorageCannotTakeInEndsTheEndpoint: a user switches off what the storage
// lives from. Nobody gets to write on where no later life could read, nor to branch.
func TestWhatTheStorageCannotTakeInEndsTheEndpoint(t *testing.T) {
	s := newStack(t)
	s.ok("up")
	s.sql("main", "CREATE TABLE t AS SELECT 1 AS a")
	gone := watchProcess(t, s.branches()[0].Endpoint.PID)
	// Whether it is answered before the endpoint ends does not matter.
	s.run("psql", "main", "--", "-c", "SET wal_consistency_checking = ''; CREATE TABLE lost (a int PRIMARY KEY); INSERT INTO lost VALUES (1)")
	gone()
	s.fails(control.CodeFailed, []string{"stopped at", "wal_consistency_checking must name"}, "endpoint", "start", "main")
	require.Regexp(t, `(?m)^endpoint main +failed .*wal_consistency_checking must name`, s.ok("status"))
	require.Regexp(t, `(?m)^branch main +stopped .*wal_consistency_checking must name`, s.ok("status"))

	before := s.state()
	late := s.run("branch", "create", "late")
	s.failed(late, control.CodeConflict, "branch main can be read up to "+s.branches()[0].Ingested.String())
	require.Equal(t, before, s.state())
	at := regexp.MustCompile("--parent (main@[0-9A-F/]+)`").FindStringSubmatch(late.stderr)
	require.NotNil(t, at, late.stderr)
	s.ok("branch", "create", "late", "--parent", at[1])
	s.ok("endpoint", "start", "late")
	require.Equal(t, "1", s.sql("late", "SELECT a FROM t"))
}
