package main

import (
	"bufio"
	"encoding/json"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"go.etcd.io/bbolt"
	"golang.org/x/sys/unix"

	"github.com/varvedb/varve/compute/control"
)

func TestUpAndDown(t *testing.T) {
	s := newStack(t)

	first := s.run("up")
	require.Zero(t, first.code, first.stderr)
	require.Regexp(t, `^postgresql://postgres@127\.0\.0\.1:\d+/postgres\n$`, first.stdout)
	require.Contains(t, first.stderr, "making an empty database")
	require.Equal(t, strings.TrimSpace(first.stdout), s.ok("connection-string", "main"))

	s.fails(control.CodeConflict, []string{"varve runs in " + s.dir + " already", "varve down"}, "up")
	s.fails(control.CodeConflict, []string{"varve runs in " + s.dir + " already"}, "up", "--foreground")

	status := s.ok("status")
	for _, name := range []string{"safekeeper-1", "safekeeper-3", "pageserver", "endpoint main"} {
		require.Regexp(t, name+` +running +\d+ +\S`, status)
	}
	s.sql("main", "CREATE TABLE t AS SELECT 1 AS a")

	// A client that is connected does not keep anything from stopping.
	conn, err := pgx.Connect(t.Context(), strings.TrimSpace(first.stdout))
	require.NoError(t, err)
	_, err = conn.Exec(t.Context(), "BEGIN; INSERT INTO t VALUES (2)")
	require.NoError(t, err)
	s.ok("down")
	s.requireGone()
	require.Error(t, conn.Ping(t.Context()))

	s.fails(control.CodeNotFound, []string{"no varve runs in " + s.dir, "varve up"}, "status")
	s.fails(control.CodeNotFound, []string{"varve up"}, "down")

	again := asJSON[control.EndpointStatus](s, "up")
	require.Equal(t, strings.TrimSpace(first.stdout), again.URL, "the port is kept")
	require.Equal(t, "1", s.sql("main", "SELECT * FROM t"), "and the data, without what was not committed")
}

func TestKilledVarveComesUpAgain(t *testing.T) {
	s := newStack(t)
	s.ok("up")
	s.sql("main", "CREATE TABLE t AS SELECT 1 AS a")

	// The supervisor alone: its children notice, and the next one waits for them.
	status := asJSON[control.Status](s, "status")
	kill(t, status.PID)
	s.ok("up")
	s.sql("main", "INSERT INTO t VALUES (2)")

	// Everything at once, as when the machine goes down.
	status = asJSON[control.Status](s, "status")
	pids := []int{status.Branches[0].Endpoint.PID, status.PID}
	for _, p := range status.Processes {
		pids = append(pids, p.PID)
	}
	require.NoError(t, syscall.Kill(status.PID, syscall.SIGSTOP), "it shall start nothing again")
	kill(t, pids...)
	s.ok("up")
	require.Equal(t, "1\n2", s.sql("main", "SELECT a FROM t ORDER BY a"))

	// After a reboot the files of dead processes are there, and their process ids are
	// other processes'.
	s.ok("down")
	s.requireGone()
	dead, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(s.dir, "run", "control.sock")})
	require.NoError(t, err)
	dead.SetUnlinkOnClose(false)
	require.NoError(t, dead.Close())
	at, err := url.Parse(status.Branches[0].Endpoint.URL)
	require.NoError(t, err)
	lock := filepath.Join(s.dir, "run", "pg", ".s.PGSQL."+at.Port()+".lock")
	require.NoError(t, os.WriteFile(lock, []byte("1\n/elsewhere\n"), 0o600))
	s.ok("up")
	require.Equal(t, "2", s.sql("main", "SELECT count(*) FROM t"))
}

// kill kills processes and returns when they have ended. Who reaps them is another
// matter. All are there when it begins; one that ends because of another's death, before
// its own turn, is as dead.
func kill(t *testing.T, pids ...int) {
	t.Helper()
	fds := make([]int, len(pids))
	for i, pid := range pids {
		fd, err := unix.PidfdOpen(pid, 0)
		require.NoError(t, err, "process %d", pid)
		defer unix.Close(fd)
		fds[i] = fd
	}
	for _, fd := range fds {
		if err := unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0); err != unix.ESRCH {
			require.NoError(t, err)
		}
		_, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, -1)
		for err == unix.EINTR {
			_, err = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, -1)
		}
		require.NoError(t, err)
	}
}

func TestForegroundEndsWithCtrlC(t *testing.T) {
	s := newStack(t)
	cmd := s.command("up", "--foreground", "--safekeepers", "1")
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	line, err := bufio.NewReader(stdout).ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, strings.TrimSpace(line), s.ok("connection-string", "main"))
	require.NotContains(t, s.ok("status"), "safekeeper-2")

	require.NoError(t, cmd.Process.Signal(os.Interrupt))
	require.NoError(t, cmd.Wait())
	s.requireGone()

	// The one who waits for it in the foreground of `up` may interrupt as well.
	interrupted := s.command("up")
	stderr, err := interrupted.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, interrupted.Start())
	told := bufio.NewReader(stderr)
	_, err = told.ReadString('\n')
	require.NoError(t, err)
	require.NoError(t, interrupted.Process.Signal(os.Interrupt))
	for last := ""; err == nil; last, err = told.ReadString('\n') {
		line = last + line
	}
	require.Error(t, interrupted.Wait())
	require.Contains(t, line, "interrupted: everything is stopped again")
	s.requireGone()

}

// A first start that was interrupted after the import began leaves a branch that is
// not whole.
func TestInterruptedFirstStartBeginsAgain(t *testing.T) {
	s := newStack(t)
	before := s.timelineOfMain()
	s.ok("down")
	s.editProject(func(p map[string]any) { p["bootstrapping"] = true })
	require.NotEqual(t, before, s.timelineOfMain(), "it is made again")
	require.Len(t, s.branches(), 1)
	s.sql("main", "SELECT 1")
}

// timelineOfMain brings varve up, if it is not, and says what main's timeline is.
func (s stack) timelineOfMain() string {
	s.Helper()
	s.ok("up")
	return s.branches()[0].Timeline.String()
}

// editProject changes what the state file, of a stopped varve, says of the project.
func (s stack) editProject(edit func(map[string]any)) {
	s.Helper()
	db, err := bbolt.Open(filepath.Join(s.dir, "control.db"), 0o600, nil)
	require.NoError(s, err)
	defer db.Close()
	require.NoError(s, db.Update(func(tx *bbolt.Tx) error {
		bucket, project := tx.Bucket([]byte("project")), map[string]any{}
		if err := json.Unmarshal(bucket.Get([]byte("project")), &project); err != nil {
			return err
		}
		edit(project)
		body, err := json.Marshal(project)
		if err != nil {
			return err
		}
		return bucket.Put([]byte("project"), body)
	}))
}
