package control

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/compute/endpoint"
)

// childMode makes the test binary a child; its value says which.
const childMode = "CONTROL_TEST_CHILD"

func TestMain(m *testing.M) {
	switch os.Getenv(childMode) {
	case "":
		os.Exit(m.Run())
	case "serves":
		ctx, stop := ContextOfParent(context.Background())
		defer stop()
		fmt.Println("chatter")
		fmt.Println("ready unix:somewhere")
		fmt.Println("ready a second time")
		<-ctx.Done()
		fmt.Fprintln(os.Stderr, context.Cause(ctx))
		os.Exit(7)
	case "fails":
		fmt.Fprintln(os.Stderr, "varve: first words\nvarve: there is no such thing")
		os.Exit(1)
	case "silent":
		os.Exit(1)
	case "deaf":
		signal.Ignore(syscall.SIGTERM)
		fmt.Println("step one")
		fmt.Println("step two words")
		fmt.Println("ready")
		select {}
	}
}

func startChild(t *testing.T, mode string, hold *os.File) *process {
	t.Helper()
	t.Setenv(childMode, mode)
	p, err := program{binary: os.Args[0], hold: hold, killAfter: killRoleAfter}.start("child", filepath.Join(t.TempDir(), "log", "child.log"))
	require.NoError(t, err)
	t.Cleanup(p.terminate)
	return p
}

func TestProcessTellsThatItIsReady(t *testing.T) {
	p := startChild(t, "serves", nil)
	details, err := p.waitReady(t.Context())
	require.NoError(t, err)
	require.Equal(t, "unix:somewhere", details, "what it says first")
	require.True(t, p.alive())

	p.terminate()
	require.False(t, p.alive())
	require.Equal(t, syscall.SIGTERM, p.cmd.ProcessState.Sys().(syscall.WaitStatus).Signal())
	p.terminate() // is no error
}

// TestProcessTellsItsStepsAndIsKilledInTheEnd: an endpoint has as long to stop as it may
// take by its own bounds.
func TestProcessTellsItsStepsAndIsKilledInTheEnd(t *testing.T) {
	t.Setenv(childMode, "deaf")
	var steps []string
	g := program{binary: os.Args[0], killAfter: time.Millisecond, onStep: func(text string) { steps = append(steps, text) }}
	p, err := g.start("child", filepath.Join(t.TempDir(), "child.log"))
	require.NoError(t, err)
	_, err = p.waitReady(t.Context())
	require.NoError(t, err)
	require.Equal(t, []string{"one", "two words"}, steps)
	p.terminate()
	require.Equal(t, syscall.SIGKILL, p.cmd.ProcessState.Sys().(syscall.WaitStatus).Signal())

	require.Equal(t, endpoint.StopMax, (&Supervisor{}).endpointProgram(nil).killAfter)
}

func TestProcessThatIsKilledIsNotAlive(t *testing.T) {
	p := startChild(t, "serves", nil)
	_, err := p.waitReady(t.Context())
	require.NoError(t, err)
	require.NoError(t, p.cmd.Process.Kill())
	<-p.ended
	require.False(t, p.alive())
	require.Equal(t, "signal: killed", p.lastWords())
}

func TestProcessThatEndsBeforeItIsReadySaysWhy(t *testing.T) {
	_, err := startChild(t, "fails", nil).waitReady(t.Context())
	require.EqualError(t, err, "child ended before it was ready: there is no such thing")
	_, err = startChild(t, "silent", nil).waitReady(t.Context())
	require.EqualError(t, err, "child ended before it was ready: exit status 1")
}

func TestWaitForReadyEndsWithItsContext(t *testing.T) {
	p := &process{name: "child", ready: make(chan struct{}), ended: make(chan struct{})}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := p.waitReady(ctx)
	require.ErrorIs(t, err, context.Canceled)
}

func TestProgramThatIsMissing(t *testing.T) {
	_, err := program{binary: "/nowhere/varve"}.start("child", filepath.Join(t.TempDir(), "child.log"))
	require.ErrorIs(t, err, os.ErrNotExist)
	require.ErrorContains(t, err, "start child")
}

// TestChildNoticesThatItsParentIsGone: however that ends, its end of the pipe closes.
func TestChildNoticesThatItsParentIsGone(t *testing.T) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childMode+"=serves", parentEnv+"=1")
	alive, err := cmd.StdinPipe()
	require.NoError(t, err)
	words, err := os.Create(filepath.Join(t.TempDir(), "words"))
	require.NoError(t, err)
	cmd.Stderr = words
	require.NoError(t, cmd.Start())
	require.NoError(t, alive.Close())
	require.Error(t, cmd.Wait())
	require.Equal(t, 7, cmd.ProcessState.ExitCode())
	said, err := os.ReadFile(words.Name())
	require.NoError(t, err)
	require.Equal(t, ErrOrphaned.Error()+"\n", string(said))
}

func TestRoleIsStartedAgainWhenItDies(t *testing.T) {
	t.Setenv(childMode, "serves")
	g, log := program{binary: os.Args[0], killAfter: killRoleAfter}, filepath.Join(t.TempDir(), "child.log")
	ctx, cancel := context.WithCancel(t.Context())
	r, err := startRole(ctx, "child", "unix:somewhere", func() (*process, error) { return g.start("child", log) })
	require.NoError(t, err)
	first := r.status()
	require.Equal(t, Process{Name: "child", PID: first.PID, State: StateRunning, Addr: "unix:somewhere"}, first)
	require.NoError(t, syscall.Kill(first.PID, syscall.SIGKILL))
	second := r.status()
	for ; second.PID == first.PID || second.State != StateRunning; second = r.status() {
		require.NoError(t, r.awaitChange(t.Context()))
	}
	cancel()
	r.wait()
	require.Equal(t, StateFailed, r.status().State)
	require.Error(t, r.awaitChange(ctx))
}

// TestDirectoryIsHeldWhileAChildLives: the supervisor's death does not free it.
func TestDirectoryIsHeldWhileAChildLives(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(dir, "run"), 0o755))
	never := func() { require.Fail(t, "nobody holds it") }
	hold, err := holdDir(t.Context(), dir, never)
	require.NoError(t, err)
	p := startChild(t, "serves", hold)
	_, err = p.waitReady(t.Context())
	require.NoError(t, err)
	require.NoError(t, hold.Close())

	waited := 0
	ctx, cancel := context.WithCancel(t.Context())
	_, err = holdDir(ctx, dir, func() { waited++; cancel() })
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, 1, waited)

	p.terminate()
	hold, err = holdDir(t.Context(), dir, never)
	require.NoError(t, err)
	require.NoError(t, hold.Close())
}
