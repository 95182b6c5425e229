package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/varvedb/varve/compute/control"
	"github.com/varvedb/varve/pageserver/pageapi"
	"github.com/varvedb/varve/pageserver/timeline"
	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/env/osenv"
	"github.com/varvedb/varve/wal/proposer"
	"github.com/varvedb/varve/wal/proposer/proptest"
	"github.com/varvedb/varve/wal/quorum"
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

// TestWhatTheStorageCannotTakeInEndsTheEndpoint: the log of a branch ends in a record of a
// resource manager that nobody knows. Nobody gets to write on where no later life could
// read, nor to branch.
func TestWhatTheStorageCannotTakeInEndsTheEndpoint(t *testing.T) {
	s := newStack(t)
	s.ok("up")
	s.sql("main", "CREATE TABLE t AS SELECT 1 AS a")
	path := s.sql("main", "SELECT pg_relation_filepath('t')")
	before := s.sql("main", now)
	s.sql("main", "INSERT INTO t VALUES (2)")
	gone := watchProcess(t, s.branches()[0].Endpoint.PID)
	s.intrude("main")
	gone()
	again := lastLine(s.run("endpoint", "start", "main"))
	s.failed(again, control.CodeFailed, "endpoint main ended before it was ready: ")
	require.Equal(t, 1, strings.Count(again.stderr, "endpoint main"), again.stderr)
	require.Contains(t, again.stderr, "branch at what is there with `varve branch create NAME --parent main@"+s.branches()[0].Ingested.String()+"`")
	onceStopped := func(r result) {
		t.Helper()
		end := s.branches()[0].Ingested.String()
		require.Equal(t, 1, strings.Count(r.stderr, "stopped at "+end+": record "), r.stderr)
		for _, text := range []string{"timeline ", "record ", "by a resource manager of an extension"} {
			require.Equal(t, 1, strings.Count(r.stderr, text), "%s in %s", text, r.stderr)
		}
	}
	onceStopped(again)
	require.Regexp(t, `(?m)^endpoint main +failed .*by a resource manager of an extension`, s.ok("status"))
	require.Regexp(t, `(?m)^branch main +stopped .*by a resource manager of an extension`, s.ok("status"))

	state := s.state()
	late := s.run("branch", "create", "late")
	s.failed(late, control.CodeConflict, "branch main cannot be read at ")
	onceStopped(late)
	page := s.run("page", "get", path, "0")
	end := s.branches()[0].Ingested.String()
	s.failed(page, control.CodeConflict, "read what is there with `--lsn "+end+"`")
	onceStopped(page)
	s.ok("page", "get", path, "0", "--lsn", end)
	at := s.run("lsn", "main", "--at", s.sql("main@"+end, now))
	s.failed(at, control.CodeConflict, "branch main cannot be read at 20", "name a time before that, or main@"+end)
	onceStopped(at)
	require.Equal(t, state, s.state())

	// Times before the stop are as good as ever.
	s.ok("branch", "create", "early", "--parent", "main@"+before)
	s.ok("endpoint", "start", "early")
	require.Equal(t, "1", s.sql("early", "SELECT a FROM t"))
	require.Equal(t, "1", s.sql("main@"+before, "SELECT a FROM t"))

	fix := regexp.MustCompile("--parent (main@[0-9A-F/]+)`").FindStringSubmatch(late.stderr)
	require.NotNil(t, fix, late.stderr)
	s.ok("branch", "create", "late", "--parent", fix[1])
	s.ok("endpoint", "start", "late")
	require.Equal(t, "1\n2", s.sql("late", "SELECT a FROM t ORDER BY a"))
}

// intrude ends the log of a branch with a record that no storage can take in.
func (s stack) intrude(branch string) {
	s.Helper()
	b := s.branches()[slices.IndexFunc(s.branches(), func(b control.Branch) bool { return b.Name == branch })]
	systemID, err := strconv.ParseUint(s.sql(branch, "SELECT system_identifier FROM pg_control_system()"), 10, 64)
	require.NoError(s, err)
	tenant, err := wal.ParseTenantID(filepath.Base(s.files("bucket/tenants/*")[0]))
	require.NoError(s, err)
	cfg := proposer.Config{ID: 1000, Identity: quorum.Identity{Tenant: tenant, Timeline: b.Timeline, SystemID: systemID, PGVersion: 15, Start: b.Start}}
	for i, socket := range s.files("run/safekeeper-*.sock") {
		cfg.Safekeepers = append(cfg.Safekeepers, proposer.Safekeeper{ID: wal.NodeID(i + 1), Addr: "unix:" + socket})
	}
	e, err := osenv.New(osenv.Config{Root: s.TempDir()})
	require.NoError(s, err)
	client, err := pageapi.Dial(s.Context(), e, "unix:"+filepath.Join(s.dir, "run", "pageserver.sock"))
	require.NoError(s, err)
	defer client.Close()
	_, err = proptest.Intrude(s.Context(), e, cfg, func(ctx context.Context, end wal.LSN) error {
		if err := client.Timeline(b.Timeline).WaitLSN(ctx, end); !errors.Is(err, timeline.ErrStoppedForGood) {
			return fmt.Errorf("the storage took it in: %w", err)
		}
		return nil
	})
	require.NoError(s, err)
}

// background is a command that runs while others do.
type background struct {
	*exec.Cmd
	stdin          io.WriteCloser
	stdout, stderr *bufio.Reader
}

func (s stack) background(args ...string) background {
	s.Helper()
	b := background{Cmd: s.command(args...)}
	stdout, err := b.StdoutPipe()
	require.NoError(s, err)
	stderr, err := b.StderrPipe()
	require.NoError(s, err)
	b.stdin, err = b.StdinPipe()
	require.NoError(s, err)
	b.stdout, b.stderr = bufio.NewReader(stdout), bufio.NewReader(stderr)
	require.NoError(s, b.Start())
	s.Cleanup(func() { _ = b.Process.Kill() })
	return b
}

// end returns what the command still had to say, and its exit code.
func (b background) end(t *testing.T) result {
	t.Helper()
	require.NoError(t, b.stdin.Close())
	var rest [2]bytes.Buffer
	for i, r := range []*bufio.Reader{b.stdout, b.stderr} {
		_, err := rest[i].ReadFrom(r)
		require.NoError(t, err)
	}
	_ = b.Wait() // its code says how it ended
	return result{rest[0].String(), rest[1].String(), b.ProcessState.ExitCode()}
}

// lastLine is a result without the steps that a command tells before it fails.
func lastLine(r result) result {
	lines := strings.SplitAfter(r.stderr, "\n")
	r.stderr = strings.Join(lines[max(0, len(lines)-2):], "")
	return r
}

// signalSafekeepers sends a signal to safekeepers by number.
func (s stack) signalSafekeepers(signal syscall.Signal, numbers ...int) {
	s.Helper()
	processes := asJSON[control.Status](s, "status").Processes
	for _, n := range numbers {
		require.NoError(s, syscall.Kill(processes[n-1].PID, signal))
	}
}

// TestStartWithoutAMajorityCanBeSeenAndStopped: two of three safekeepers hang.
func TestStartWithoutAMajorityCanBeSeenAndStopped(t *testing.T) {
	s := newStack(t)
	s.ok("up")
	s.sql("main", "CREATE TABLE t AS SELECT 1 AS a")
	s.ok("endpoint", "stop", "main")
	s.signalSafekeepers(syscall.SIGSTOP, 1, 3)
	start := s.background("endpoint", "start", "main")
	for line := ""; !strings.HasPrefix(line, "waiting for a majority of safekeepers: 1 of 3 safekeepers answer (safekeeper 1 does not answer, safekeeper 3 does not answer)"); {
		var err error
		line, err = start.stderr.ReadString('\n')
		require.NoError(t, err, line)
	}
	require.Regexp(t, `(?m)^endpoint main +starting +- +waiting for a majority of safekeepers: 1 of 3`, s.ok("status"))
	require.Regexp(t, `(?m)^safekeeper-1 +unreachable +\d+ `, s.ok("status"))
	require.Regexp(t, `(?m)^safekeeper-2 +running +\d+ +unix:`, s.ok("status"))
	s.fails(control.CodeConflict, []string{"it is starting"}, "psql", "main")
	s.ok("endpoint", "stop", "main")
	s.failed(lastLine(start.end(t)), control.CodeConflict, "endpoint main was stopped while it started")

	// What the storage has needs no majority.
	s.ok("branch", "create", "saved", "--parent", "main@"+s.branches()[0].Ingested.String())

	s.signalSafekeepers(syscall.SIGCONT, 1, 3)
	s.ok("endpoint", "start", "main")
	require.Equal(t, "1", s.sql("main", "SELECT a FROM t"))
}

// TestBranchThatIsReadIsNotDeleted: its reader ends first.
func TestBranchThatIsReadIsNotDeleted(t *testing.T) {
	s := newStack(t)
	s.ok("up")
	at := s.ok("lsn", "main")
	s.ok("branch", "create", "read")
	reader := s.background("psql", "read@"+at, "--", "-XqAt")
	_, err := io.WriteString(reader.stdin, "SELECT 'it runs';\n")
	require.NoError(t, err)
	line, err := reader.stdout.ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "it runs\n", line)
	id := asJSON[control.Status](s, "status").Readers[0].ID
	s.fails(control.CodeConflict, []string{id, "varve endpoint stop " + id}, "branch", "delete", "read")
	require.Zero(t, reader.end(t).code)
	s.ok("branch", "delete", "read")
	require.Len(t, s.branches(), 1)
}

// TestAReaderEndsWithItsCommand, even with one that is killed and cannot say so.
func TestAReaderEndsWithItsCommand(t *testing.T) {
	s := newStack(t)
	s.ok("up", "--safekeepers", "1")
	reader := s.background("psql", "main@"+s.ok("lsn", "main"), "--", "-XqAt")
	_, err := io.WriteString(reader.stdin, "SELECT 'it runs';\n")
	require.NoError(t, err)
	line, err := reader.stdout.ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "it runs\n", line)
	status := asJSON[control.Status](s, "status").Readers[0]
	gone := watchProcess(t, status.PID)
	require.NoError(t, reader.Process.Kill())
	gone()
	// Stopping it waits until it is gone from the list, or finds it gone.
	s.run("endpoint", "stop", status.ID)
	require.Empty(t, asJSON[control.Status](s, "status").Readers)
	require.NoDirExists(t, filepath.Dir(status.DataDir))
}
