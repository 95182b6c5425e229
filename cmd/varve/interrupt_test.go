package main

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/http/httputil"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/compute/control"
	"github.com/varvedb/varve/wal/pgwal/pgtest"
)

// TestInterruptedStartIsCalledOff: Ctrl-C ends the start of a Postgres, not only the
// waiting for it.
func TestInterruptedStartIsCalledOff(t *testing.T) {
	s := newStack(t)
	s.ok("up", "--safekeepers", "1")
	s.ok("branch", "create", "fix")
	at := s.ok("lsn", "main")
	before := s.state()
	processes := asJSON[control.Status](s, "status").Processes
	pageserver := processes[len(processes)-1].PID

	// Nothing starts as long as the pageserver hangs.
	thaw := func() { _ = syscall.Kill(pageserver, syscall.SIGCONT) } // it may have ended
	t.Cleanup(thaw)
	require.NoError(t, syscall.Kill(pageserver, syscall.SIGSTOP))
	s.interrupted(syscall.SIGINT, []string{"the start is called off", "`varve status`", "`varve endpoint stop fix`"}, "endpoint", "start", "fix")
	s.interrupted(syscall.SIGTERM, []string{"is called off"}, "psql", "main@"+at)
	thaw()
	// It would wait for a start that is under way.
	s.fails(control.CodeNotFound, []string{"no endpoint runs on fix"}, "endpoint", "stop", "fix")
	require.Equal(t, before, s.state())
	s.ok("endpoint", "start", "fix")
	require.Empty(t, asJSON[control.Status](s, "status").Readers)
}

// TestInterruptedWaitForAMajorityIsCalledOff: as well, once the start has come to a step.
func TestInterruptedWaitForAMajorityIsCalledOff(t *testing.T) {
	s := newStack(t)
	s.ok("up")
	s.ok("endpoint", "stop", "main")
	s.signalSafekeepers(syscall.SIGSTOP, 1, 2)
	const waits = "waiting for a majority of safekeepers: 1 of 3"
	interrupted := s.background("endpoint", "start", "main")
	awaitLine(t, interrupted.stderr, waits)
	require.NoError(t, interrupted.Process.Signal(syscall.SIGINT))
	r := interrupted.end(t)
	require.Equal(t, 130, r.code)
	require.Regexp(t, `(?m)^varve: interrupted: the start is called off; .*$`, r.stderr)
	require.Empty(t, r.stdout)
	// The next one begins when the one before has ended.
	again := s.background("endpoint", "start", "main")
	awaitLine(t, again.stderr, waits)
	require.Empty(t, s.ok("endpoint", "stop", "main"), "it has no directory yet")
	require.Equal(t, exitCodes[control.CodeConflict], again.end(t).code)
	s.signalSafekeepers(syscall.SIGCONT, 1, 2)
	require.Equal(t, s.ok("endpoint", "start", "main"), s.ok("connection-string", "main"))
}

// TestInterruptedImportGoesOn: the supervisor has what it needs, and says so.
func TestInterruptedImportGoesOn(t *testing.T) {
	server := pgtest.Init(t, pgtest.Options{})
	s := newStack(t)
	s.ok("up", "--safekeepers", "1")
	s.interrupted(syscall.SIGINT, []string{"the import goes on in the background", "`varve branch list`", "`varve branch delete theirs`"},
		"import", server.DataDir, "--branch", "theirs")
	// The supervisor has the request; when it turns to it is its own affair.
	for imported := false; !imported; {
		log, err := os.ReadFile(filepath.Join(s.dir, "log", "supervisor.log"))
		require.NoError(t, err)
		require.NotContains(t, string(log), "POST /v1/import", "the import failed")
		imported = slices.ContainsFunc(s.branches(), func(b control.Branch) bool { return b.Name == "theirs" })
	}
	s.fails(control.CodeConflict, []string{"there is a branch theirs already"}, "branch", "create", "theirs")
	require.Contains(t, s.ok("verify", "theirs", "--against", server.DataDir), "mismatches: 0")
}

// interrupted runs a command that asks the supervisor for something by POST, and sends
// it a signal as soon as the supervisor has the request.
func (s stack) interrupted(sig syscall.Signal, mentions []string, args ...string) {
	s.Helper()
	asked := make(chan struct{})
	cmd := s.command(append(args, "--dir", s.proxy(asked))...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	require.NoError(s, cmd.Start())
	<-asked
	require.NoError(s, cmd.Process.Signal(sig))
	require.Error(s, cmd.Wait())
	require.Equal(s, 130, cmd.ProcessState.ExitCode(), stderr.String())
	require.Empty(s, stdout.String())
	lines := strings.Split(strings.TrimSpace(stderr.String()), "\n")
	last := lines[len(lines)-1]
	require.True(s, strings.HasPrefix(last, "varve: interrupted: "), stderr.String())
	for _, text := range mentions {
		require.Contains(s, last, text)
	}
}

// proxy makes a data directory whose supervisor is this one's, and closes asked once
// that has a POST.
func (s stack) proxy(asked chan<- struct{}) (dir string) {
	s.Helper()
	dir = enterableDir(s.T)
	require.NoError(s, os.Mkdir(filepath.Join(dir, "run"), 0o755))
	listener, err := net.Listen("unix", control.SocketPath(dir))
	require.NoError(s, err)
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		var dialer net.Dialer
		return dialer.DialContext(ctx, "unix", control.SocketPath(s.dir))
	}
	forward := &httputil.ReverseProxy{
		Rewrite:      func(r *httputil.ProxyRequest) { r.Out.URL.Scheme, r.Out.URL.Host = "http", "varve" },
		Transport:    &http.Transport{DialContext: dial, DisableKeepAlives: true},
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) {}, // its client is gone
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			trace := &httptrace.ClientTrace{WroteRequest: func(httptrace.WroteRequestInfo) { close(asked) }}
			r = r.WithContext(httptrace.WithClientTrace(r.Context(), trace))
		}
		forward.ServeHTTP(w, r)
	})}
	go func() { _ = server.Serve(listener) }() // until the test closes it
	s.Cleanup(func() { require.NoError(s, server.Close()) })
	return dir
}

// asleep is a statement that says so and does not end.
const asleep = "DO $$ BEGIN RAISE NOTICE 'asleep'; PERFORM pg_sleep(3600); END $$"

// TestSignalsReachPsql: requests to end are passed on to it, Ctrl-C is its own affair,
// and its end is ours.
func TestSignalsReachPsql(t *testing.T) {
	// Under nohup a hangup is ignored, by children too, unless we take it.
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	defer signal.Stop(hangups)
	s := newStack(t)
	s.ok("up", "--safekeepers", "1")
	at := s.ok("lsn", "main")
	sleeping := func(point string, args ...string) (cmd *exec.Cmd, stderr *bufio.Reader, stdout *bytes.Buffer) {
		t.Helper()
		cmd = s.command(append([]string{"psql", point, "--", "-X", "-c", asleep}, args...)...)
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		pipe, err := cmd.StderrPipe()
		require.NoError(t, err)
		stdout = &bytes.Buffer{}
		cmd.Stdout = stdout
		require.NoError(t, cmd.Start())
		stderr = bufio.NewReader(pipe)
		awaitLine(t, stderr, "NOTICE:  asleep")
		return cmd, stderr, stdout
	}
	ends := func(cmd *exec.Cmd, stderr io.Reader) (code int) {
		t.Helper()
		// Psql holds it, too: what is left behind would hang here.
		_, err := io.Copy(io.Discard, stderr)
		require.NoError(t, err)
		_ = cmd.Wait() // its code tells more
		return cmd.ProcessState.ExitCode()
	}
	for _, c := range []struct {
		point string
		sig   syscall.Signal
	}{{"main", syscall.SIGHUP}, {"main@" + at, syscall.SIGTERM}} {
		cmd, stderr, _ := sleeping(c.point)
		require.NoError(t, cmd.Process.Signal(c.sig))
		require.Equal(t, 128+int(c.sig), ends(cmd, stderr), "as the shell says it of psql")
	}
	require.Empty(t, asJSON[control.Status](s, "status").Readers, "readers are thrown away")

	// The terminal sends Ctrl-C to all of its foreground's processes.
	cmd, stderr, stdout := sleeping("main", "-c", asleep, "-c", `\echo still here`)
	require.NoError(t, syscall.Kill(-cmd.Process.Pid, syscall.SIGINT))
	awaitLine(t, stderr, "ERROR:  canceling statement due to user request")
	awaitLine(t, stderr, "NOTICE:  asleep")
	require.NoError(t, syscall.Kill(-cmd.Process.Pid, syscall.SIGINT))
	require.Zero(t, ends(cmd, stderr))
	require.Equal(t, "still here\n", stdout.String())
	script := s.command("psql", "main", "--", "-Xq", "-v", "ON_ERROR_STOP=1")
	script.Stdin = strings.NewReader("SELECT 1/0;")
	require.Equal(t, 3, finish(t, script).code, "psql's own code")
}

// awaitLine reads lines until one begins with text.
func awaitLine(t *testing.T, from *bufio.Reader, text string) {
	t.Helper()
	for {
		line, err := from.ReadString('\n')
		require.NoError(t, err, "no %q", text)
		if strings.HasPrefix(line, text) {
			return
		}
	}
}
