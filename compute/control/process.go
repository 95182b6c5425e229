package control

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// killRoleAfter is how long a safekeeper or pageserver may take to stop once asked: they
// have nothing to save, so a minute means that it hangs.
const killRoleAfter = 60 * time.Second

// process is one child: a role of the same binary. The child writes "step TEXT" on its
// standard output when it begins something, and "ready DETAILS" when it serves, and talks
// on its standard error, which goes to a log file.
type process struct {
	name string
	cmd  *exec.Cmd
	log  *os.File

	killAfter time.Duration // how long it may take to stop once asked
	onStep    func(text string)

	ready   chan struct{} // closed when the child said that it is ready
	details string        // what it said after "ready"; valid once ready is closed
	ended   chan struct{} // closed when the child is gone
	err     error         // how it ended; valid once ended is closed
	stop    sync.Once
}

// program starts children.
type program struct {
	binary string
	hold   *os.File // inherited by every child: see holdDir; nil: nothing is

	killAfter time.Duration     // how long a child may take to stop once asked
	onStep    func(text string) // told what a child begins; nil: nobody is
}

// start starts the program with args. The child dies with its parent.
func (g program) start(name, logPath string, args ...string) (*process, error) {
	if err := os.MkdirAll(filepath.Dir(logPath), 0o755); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	log, err := os.OpenFile(logPath, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	p := &process{name: name, log: log, killAfter: g.killAfter, onStep: g.onStep, ready: make(chan struct{}), ended: make(chan struct{})}
	p.cmd = exec.Command(g.binary, args...)
	p.cmd.Stderr = log
	if g.hold != nil {
		p.cmd.ExtraFiles = []*os.File{g.hold}
	}
	// The child's end of this pipe closes when the parent dies, however it dies.
	p.cmd.Env = append(os.Environ(), parentEnv+"=1")
	parentAlive, err := p.cmd.StdinPipe()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start %s: %w", name, err), log.Close())
	}
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start %s: %w", name, err), log.Close())
	}
	// A group of its own: Ctrl-C at a terminal reaches the supervisor only,
	// which stops its children in order.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := p.cmd.Start(); err != nil {
		return nil, errors.Join(fmt.Errorf("start %s: %w", name, err), log.Close())
	}
	go p.watch(stdout, parentAlive)
	return p, nil
}

// parentEnv tells a child that its standard input is a line to its parent.
const parentEnv = "VARVE_PARENT"

// ErrOrphaned is the cause of the end of a role's context when its supervisor died.
var ErrOrphaned = errors.New("the supervisor is gone")

// orphanMax bounds how long a role whose supervisor died takes to end by itself. The
// next supervisor waits for it.
const orphanMax = 10 * time.Second

// ContextOfParent returns a context that ends when the supervisor that started this
// process dies, and soon afterwards ends the process; for a process that a person
// started, it is as good as ctx.
func ContextOfParent(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	if os.Getenv(parentEnv) != "" {
		// What this process starts must not hold the directory.
		syscall.CloseOnExec(holdFD)
		go func() {
			_, _ = io.Copy(io.Discard, os.Stdin) // whatever ends it, the parent is gone
			cancel(ErrOrphaned)
			time.Sleep(orphanMax)
			os.Exit(1)
		}()
	}
	return ctx, func() { cancel(context.Canceled) }
}

func (p *process) watch(stdout io.Reader, parentAlive io.Closer) {
	defer parentAlive.Close()
	lines := bufio.NewScanner(stdout)
	isReady := false
	for lines.Scan() {
		if text, ok := strings.CutPrefix(lines.Text(), "step "); ok && p.onStep != nil {
			p.onStep(text)
		}
		details, ok := strings.CutPrefix(lines.Text(), "ready")
		if ok && !isReady {
			isReady = true
			p.details = strings.TrimSpace(details)
			close(p.ready)
		}
	}
	p.err = p.cmd.Wait()
	p.log.Close()
	close(p.ended)
}

// waitReady waits until the child serves. If it ends instead, the error carries
// the last line of its log.
func (p *process) waitReady(ctx context.Context) (details string, err error) {
	select {
	case <-p.ready:
		return p.details, nil
	case <-p.ended:
		return "", fmt.Errorf("%s ended before it was ready: %s", p.name, p.lastWords())
	case <-ctx.Done():
		return "", fmt.Errorf("wait for %s: %w", p.name, context.Cause(ctx))
	}
}

func (p *process) pid() int { return p.cmd.Process.Pid }

func (p *process) alive() bool {
	select {
	case <-p.ended:
		return false
	default:
		return true
	}
}

// terminate asks the child to stop, waits until it is gone, and kills it if it
// does not go.
func (p *process) terminate() {
	p.stop.Do(func() {
		// An error means that the child is gone already.
		_ = p.cmd.Process.Signal(syscall.SIGTERM)
	})
	timer := time.NewTimer(p.killAfter)
	defer timer.Stop()
	select {
	case <-p.ended:
	case <-timer.C:
		_ = p.cmd.Process.Kill()
		<-p.ended
	}
}

// lastWords is what the child said went wrong, in the last line of its log, or else
// how it ended.
func (p *process) lastWords() string {
	const tail = 4096
	f, err := os.Open(p.log.Name())
	if err != nil {
		return fmt.Sprint(p.err)
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.Size() > tail {
		f.Seek(-tail, io.SeekEnd)
	}
	body, err := io.ReadAll(f)
	lines := strings.Split(strings.TrimSpace(string(body)), "\n")
	words, said := strings.CutPrefix(lines[len(lines)-1], "varve: ")
	if err != nil || !said {
		return fmt.Sprint(p.err)
	}
	return words
}
