package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/compute/control"
)

// actAsVarve makes the test binary the command itself, so that tests run the real
// thing with all its processes.
const actAsVarve = "VARVE_TEST_ACT_AS_COMMAND"

func TestMain(m *testing.M) {
	if os.Getenv(actAsVarve) != "" {
		os.Exit(run())
	}
	os.Exit(m.Run())
}

// result is what a command left.
type result struct {
	stdout, stderr string
	code           int
}

// stack is a data directory and the varve on it.
type stack struct {
	*testing.T
	dir string
}

// newStack makes a data directory that PostgreSQL's user may enter. What runs in it
// when the test ends is stopped.
func newStack(t *testing.T) stack {
	t.Helper()
	parent := enterableDir(t)
	s := stack{T: t, dir: filepath.Join(parent, "d")}
	t.Cleanup(func() {
		if r := s.run("down"); r.code != exitCodes[control.CodeNotFound] { // nothing runs
			require.Zero(t, r.code, "varve down: %s", r.stderr)
		}
		if t.Failed() {
			logs, _ := filepath.Glob(filepath.Join(s.dir, "log", "*"))
			for _, log := range logs {
				body, _ := os.ReadFile(log)
				t.Logf("%s:\n%s", log, body[max(0, len(body)-2000):])
			}
		}
	})
	return s
}

// enterableDir is t.TempDir for other users as well, and short enough for sockets.
func enterableDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "varve")
	require.NoError(t, err)
	require.NoError(t, os.Chmod(dir, 0o755))
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	return dir
}

func (s stack) command(args ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), actAsVarve+"=1", "VARVE_DIR="+s.dir, "PGTZ=UTC")
	return cmd
}

func (s stack) run(args ...string) result { return finish(s.T, s.command(args...)) }

// finish runs a command to its end.
func finish(t *testing.T, cmd *exec.Cmd) result {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		require.NoError(t, err)
	}
	return result{stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()}
}

// ok runs a command that must succeed and returns its standard output, trimmed.
func (s stack) ok(args ...string) string {
	s.Helper()
	r := s.run(args...)
	require.Zero(s, r.code, "varve %v: %s%s", args, r.stdout, r.stderr)
	return strings.TrimSpace(r.stdout)
}

// fails runs a command that must fail: one line on standard error, nothing on
// standard output.
func (s stack) fails(code control.Code, mentions []string, args ...string) {
	s.Helper()
	s.failed(s.run(args...), code, mentions...)
}

func (s stack) failed(r result, code control.Code, mentions ...string) {
	s.Helper()
	require.Equal(s, exitCodes[code], r.code, "%s%s", r.stdout, r.stderr)
	require.Empty(s, r.stdout)
	require.Equal(s, 1, strings.Count(r.stderr, "\n"), r.stderr)
	require.True(s, strings.HasPrefix(r.stderr, "varve: "), r.stderr)
	for _, text := range mentions {
		require.Contains(s, r.stderr, text)
	}
}

// sql runs a statement on a branch, or at a point, and returns its rows.
func (s stack) sql(point, text string) string {
	s.Helper()
	return s.ok("psql", point, "--", "-XqAt", "-v", "ON_ERROR_STOP=1", "-c", text)
}

// asJSON runs a command with -o json and reads what it prints.
func asJSON[T any](s stack, args ...string) (value T) {
	s.Helper()
	out := s.ok(append(args, "-o", "json")...)
	require.NoError(s, json.Unmarshal([]byte(out), &value), out)
	return value
}

func (s stack) branches() []control.Branch {
	s.Helper()
	return asJSON[[]control.Branch](s, "branch", "list")
}

// state is what an error must not change: the branches and their endpoints, and the
// names of the bucket's indexes, layers and logs.
func (s stack) state() (state []string) {
	s.Helper()
	for _, b := range s.branches() {
		running := ""
		if b.Endpoint != nil {
			running = b.Endpoint.State + b.Endpoint.URL
		}
		state = append(state, strings.Join([]string{b.Name, b.Timeline.String(), b.Parent, b.BranchLSN.String(), running}, " "))
	}
	return append(state, s.files("bucket", "endpoints/*", "run/*")...)
}

// files lists the files of the data directory whose paths, or whose beginnings, match.
func (s stack) files(patterns ...string) (names []string) {
	s.Helper()
	for _, pattern := range patterns {
		tops, err := filepath.Glob(filepath.Join(s.dir, pattern))
		require.NoError(s, err)
		for _, top := range tops {
			names = append(names, top)
			if pattern == "bucket" {
				names = append(names, below(s.T, top)...)
			}
		}
	}
	return names
}

func below(t *testing.T, top string) (names []string) {
	t.Helper()
	require.NoError(t, filepath.WalkDir(top, func(path string, _ os.DirEntry, err error) error {
		names = append(names, path)
		return err
	}))
	return names
}

// requireGone checks that no process of varve's has the directory any more: they all
// hold its lock.
func (s stack) requireGone() {
	s.Helper()
	lock, err := os.Open(filepath.Join(s.dir, "run", "lock"))
	require.NoError(s, err)
	defer lock.Close()
	require.NoError(s, syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB), "some process still runs")
}
