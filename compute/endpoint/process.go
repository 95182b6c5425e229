package endpoint

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/varvedb/varve/compute/pgdata"
)

const (
	// quitTimeout is how long an immediate shutdown may take. PostgreSQL itself kills
	// children that have not left after 5 s.
	quitTimeout = 10 * time.Second
	// goneTimeout is how long killed processes may take to leave.
	goneTimeout = 10 * time.Second
)

// process is a running PostgreSQL.
type process struct {
	cmd     *exec.Cmd
	dataDir string
	log     *serverLog
	exited  chan struct{} // closed when the postmaster has ended and state is set
	gone    chan struct{} // closed when every process that holds the log has left
	err     error         // of Wait
}

// launch starts PostgreSQL on a data directory. Its log goes to the file logPath.
func launch(bin pgdata.Binaries, account pgdata.Account, dataDir, logPath string, settings pgdata.Settings) (*process, error) {
	file, err := os.OpenFile(logPath, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open PostgreSQL's log: %w", err)
	}
	reader, writer, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("make pipe for PostgreSQL's log: %w", err), file.Close())
	}
	cmd := exec.Command(bin.Path("postgres"), append([]string{"-D", dataDir}, settings.Args()...)...)
	cmd.Dir = dataDir
	cmd.Env = serverEnvironment()
	cmd.Stdout, cmd.Stderr = writer, writer
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Credential: account.Credential(),
		Setpgid:    true,
		// The postmaster takes its children along on SIGQUIT; on SIGKILL they would leave late.
		Pdeathsig: syscall.SIGQUIT,
	}
	p := &process{cmd: cmd, dataDir: dataDir, log: newServerLog(file), exited: make(chan struct{}), gone: make(chan struct{})}
	err = p.start()
	// Once the children hold the only writing ends, the log's end says that they are gone.
	err = errors.Join(err, writer.Close())
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start postgres: %w", err), reader.Close(), file.Close())
	}
	go p.follow(reader, file)
	return p, nil
}

// start starts the postmaster from a thread that lives as long as it does: the
// kernel sends the parent's death signal when the starting thread ends.
func (p *process) start() error {
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := p.cmd.Start()
		started <- err
		if err == nil {
			p.err = p.cmd.Wait()
			close(p.exited)
		}
	}()
	return <-started
}

func (p *process) follow(reader io.ReadCloser, file io.Closer) {
	defer close(p.gone)
	p.log.follow(reader)
	// The log was written unbuffered; there is nothing left to lose.
	_, _ = reader.Close(), file.Close()
}

// serverEnvironment is ours without what would change a PostgreSQL server, or let its
// users into the bucket.
func serverEnvironment() []string {
	var kept []string
	for _, variable := range os.Environ() {
		name, _, _ := strings.Cut(variable, "=")
		if !strings.HasPrefix(name, "PG") && !strings.HasPrefix(name, "AWS_") && !strings.HasPrefix(name, "LC_") && name != "LANG" && name != "TZ" {
			kept = append(kept, variable)
		}
	}
	return kept
}

// waitReady waits until PostgreSQL accepts connections.
func (p *process) waitReady(ctx context.Context) error {
	select {
	case <-p.log.ready:
		return nil
	case <-p.exited:
		return p.exit()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// ExitError says how PostgreSQL ended when it should not have.
type ExitError struct {
	Signal    syscall.Signal // that ended it; 0: none
	Code      int            // exit code, if no signal ended it
	LastWords string         // its last complaints, from its log
}

func (e *ExitError) Error() string {
	how := fmt.Sprintf("postgres exited with code %d", e.Code)
	if e.Signal != 0 {
		how = fmt.Sprintf("postgres was ended by signal %d (%s)", int(e.Signal), e.Signal)
	}
	if e.LastWords == "" {
		return how
	}
	return how + ": " + e.LastWords
}

// exit describes the end of a postmaster that has ended, once its last words are in.
func (p *process) exit() error {
	<-p.exited
	if err := p.sweep(); err != nil {
		return err
	}
	status, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus)
	if !ok {
		return fmt.Errorf("wait for postgres: %w", p.err)
	}
	e := &ExitError{LastWords: p.log.lastWords()}
	if status.Signaled() {
		e.Signal = status.Signal()
	} else {
		e.Code = status.ExitStatus()
	}
	return e
}

// stop ends PostgreSQL by a fast shutdown: clients are disconnected, a shutdown
// checkpoint is written and, if a walsender runs, sent and confirmed.
func (p *process) stop(ctx context.Context) error {
	if err := p.cmd.Process.Signal(syscall.SIGINT); err != nil {
		return fmt.Errorf("signal postgres: %w", err)
	}
	select {
	case <-p.exited:
	case <-ctx.Done():
		return fmt.Errorf("stop postgres: %w", context.Cause(ctx))
	}
	if p.err != nil {
		return p.exit()
	}
	return p.sweep()
}

// kill ends PostgreSQL without a checkpoint and returns when no process of it is
// left. It may have ended already.
func (p *process) kill() error {
	// An error means that it has ended, which is what is wanted.
	_ = p.cmd.Process.Signal(syscall.SIGQUIT)
	if !within(quitTimeout, p.exited) {
		_ = p.cmd.Process.Kill()
	}
	if !within(goneTimeout, p.exited) {
		return fmt.Errorf("kill postgres: process %d does not end", p.cmd.Process.Pid)
	}
	return p.sweep()
}

// sweep returns when a postmaster that has ended has left no children behind. After
// an orderly end there are none. Those of a killed one would notice and leave by
// themselves, but not before they wait for something, so they are killed.
func (p *process) sweep() error {
	select {
	case <-p.gone:
		return nil
	default:
		killProcessesIn(p.dataDir)
	}
	if !within(goneTimeout, p.gone) {
		return fmt.Errorf("end postgres: a child of process %d holds its log and does not end", p.cmd.Process.Pid)
	}
	return nil
}

func within(d time.Duration, event <-chan struct{}) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-event:
		return true
	case <-timer.C:
		return false
	}
}
