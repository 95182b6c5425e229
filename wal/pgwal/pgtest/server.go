package pgtest

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// Options says how the server differs from a plain one. The zero value is a
// plain one: defaults of PostgreSQL, but no fsync, no TCP, time zone UTC.
type Options struct {
	Conf   map[string]string // settings of postgresql.conf, by name, unquoted
	Initdb []string          // more arguments of initdb
}

// Server is one PostgreSQL: a data directory, and at times a process on it.
type Server struct {
	DataDir string // owned by the server's user
	Dir     string // of the test's own: holds DataDir and the socket, may hold more

	in      install
	running *postmaster // nil while stopped
	latest  *postmaster // the one running, or the last that ran
}

// Stop modes: the signal that asks a postmaster to end.
const (
	Smart     = syscall.SIGTERM // when all clients have left; ends in a shutdown checkpoint
	Fast      = syscall.SIGINT  // clients are disconnected; ends in a shutdown checkpoint
	Immediate = syscall.SIGQUIT // no checkpoint: as a crash, but all processes are gone
	Kill      = syscall.SIGKILL // the postmaster is killed; its children notice and leave
)

// Start makes a cluster and runs a server on it until the test ends.
func Start(t testing.TB, o Options) *Server {
	t.Helper()
	s := Init(t, o)
	s.Up(t)
	return s
}

// Init makes a cluster and leaves it stopped.
func Init(t testing.TB, o Options) *Server {
	t.Helper()
	in := find(t)
	dir := in.tempDir(t)
	s := &Server{DataDir: filepath.Join(dir, "data"), Dir: dir, in: in}
	args := append([]string{"-D", s.DataDir, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync", "--no-instructions"}, o.Initdb...)
	s.Exec(t, "initdb", args...)
	s.Configure(t, map[string]string{
		"listen_addresses": "", "unix_socket_directories": dir, "fsync": "off",
		"timezone": "UTC", "log_timezone": "UTC", "lc_messages": "C", "max_wal_size": "64GB",
	})
	s.Configure(t, o.Conf)
	s.stopAfter(t)
	return s
}

// Copy makes another cluster, stopped, of a copy of this one's data directory.
func (s *Server) Copy(t testing.TB) *Server {
	t.Helper()
	dir := s.in.tempDir(t)
	c := &Server{DataDir: filepath.Join(dir, "data"), Dir: dir, in: s.in}
	run(t, c.asServer(exec.Command("cp", "-a", s.DataDir, c.DataDir)))
	c.Configure(t, map[string]string{"unix_socket_directories": dir})
	c.stopAfter(t)
	return c
}

func (s *Server) stopAfter(t testing.TB) {
	t.Cleanup(func() {
		if s.running != nil {
			s.Stop(t, Immediate)
		}
	})
}

// Configure appends settings to postgresql.conf; the last one of a name counts,
// from the next Up on.
func (s *Server) Configure(t testing.TB, conf map[string]string) {
	t.Helper()
	var text strings.Builder
	for _, name := range slices.Sorted(maps.Keys(conf)) {
		fmt.Fprintf(&text, "%s = '%s'\n", name, strings.ReplaceAll(conf[name], "'", "''"))
	}
	file, err := os.OpenFile(filepath.Join(s.DataDir, "postgresql.conf"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = file.WriteString(text.String())
	if closed := file.Close(); err == nil {
		err = closed
	}
	if err != nil {
		t.Fatal(err)
	}
}

// Up starts the server and returns when it accepts connections.
func (s *Server) Up(t testing.TB) {
	t.Helper()
	if s.running != nil {
		t.Fatal("the server runs already")
	}
	p, err := launch(s.in.command("postgres", "-D", s.DataDir))
	if err != nil {
		t.Fatalf("start PostgreSQL: %v", err)
	}
	s.running, s.latest = p, p
}

// Stop ends the server by the signal of a stop mode and returns when it and its
// children are gone.
func (s *Server) Stop(t testing.TB, mode syscall.Signal) {
	t.Helper()
	if s.running == nil {
		t.Fatal("the server does not run")
	}
	p := s.running
	s.running = nil
	if err := p.stop(mode); err != nil && mode != Immediate && mode != Kill {
		t.Fatalf("stop PostgreSQL: %v; its log:\n%s", err, p.log())
	}
}

// Log returns what the server wrote to its log since the last Up.
func (s *Server) Log() string { return s.latest.log() }

// PID returns the process id of the postmaster.
func (s *Server) PID() int { return s.running.cmd.Process.Pid }

// WALDir returns the directory of the log's segments.
func (s *Server) WALDir() string { return filepath.Join(s.DataDir, "pg_wal") }

// ConnString returns keywords and values for libpq, pgx and the like.
func (s *Server) ConnString() string {
	return "host=" + s.Dir + " port=5432 user=postgres dbname=postgres sslmode=disable"
}

// MkdirAll makes a directory below Dir that the server may write to, such as one
// for a tablespace, and returns its path.
func (s *Server) MkdirAll(t testing.TB, name string) string {
	t.Helper()
	path := filepath.Join(s.Dir, name)
	if out, err := s.asServer(exec.Command("mkdir", "-p", path)).CombinedOutput(); err != nil {
		t.Fatalf("make directory %s: %v: %s", path, err, out)
	}
	return path
}

func (s *Server) asServer(cmd *exec.Cmd) *exec.Cmd {
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: s.in.credential, Pdeathsig: syscall.SIGKILL}
	return cmd
}

// Command prepares a program of PostgreSQL whose environment leads to this
// server, in time zone UTC and without translations.
func (s *Server) Command(name string, args ...string) *exec.Cmd {
	cmd := s.in.command(name, args...)
	cmd.Env = append(os.Environ(),
		"PGHOST="+s.Dir, "PGPORT=5432", "PGUSER=postgres", "PGDATABASE=postgres", "TZ=UTC", "LC_ALL=C")
	return cmd
}

// Exec runs a program of PostgreSQL, such as pgbench or pg_waldump, and returns
// what it wrote to standard output. The test fails unless it exits with 0.
func (s *Server) Exec(t testing.TB, name string, args ...string) string {
	t.Helper()
	return run(t, s.Command(name, args...))
}

// SQL runs statements by psql, each a transaction of its own unless the text
// says otherwise, and returns the rows: columns split by |, one line a row.
// psql's backslash commands work too, such as \c. The first error fails the test.
func (s *Server) SQL(t testing.TB, text string) string {
	t.Helper()
	cmd := s.Command("psql", "-XqAt", "-v", "ON_ERROR_STOP=1", "-f", "-")
	cmd.Stdin = strings.NewReader(text)
	return strings.TrimSuffix(run(t, cmd), "\n")
}

func run(t testing.TB, cmd *exec.Cmd) string {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("run %s: %v\n%s%s", strings.Join(cmd.Args, " "), err, stderr.String(), stdout.String())
	}
	return stdout.String()
}

// postmaster is a running server process and its log.
type postmaster struct {
	cmd  *exec.Cmd
	gone chan struct{} // closed when every process that holds the log has left

	mu   sync.Mutex
	text bytes.Buffer
}

// readyLine is what a postmaster logs, with lc_messages C, when it accepts
// connections: read-only ones if it is a standby.
const readyLine = "database system is ready to accept "

func launch(cmd *exec.Cmd) (*postmaster, error) {
	// A postmaster that dies with the test must take its children along: they do
	// so by themselves on SIGQUIT, and leave late on SIGKILL.
	cmd.SysProcAttr.Pdeathsig = syscall.SIGQUIT
	output, err := cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	p := &postmaster{cmd: cmd, gone: make(chan struct{})}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	ready := make(chan struct{})
	go p.follow(output, ready)
	select {
	case <-ready:
		return p, nil
	case <-p.gone:
		return nil, fmt.Errorf("it ended: %v; its log:\n%s", cmd.Wait(), p.log())
	}
}

// follow keeps the log, closes ready at the line that says so, and gone at its end.
func (p *postmaster) follow(output io.Reader, ready chan struct{}) {
	defer close(p.gone)
	lines := bufio.NewReader(output)
	for {
		line, err := lines.ReadString('\n')
		p.mu.Lock()
		p.text.WriteString(line)
		p.mu.Unlock()
		if ready != nil && strings.Contains(line, readyLine) {
			close(ready)
			ready = nil
		}
		if err != nil {
			return
		}
	}
}

func (p *postmaster) stop(mode syscall.Signal) error {
	if err := p.cmd.Process.Signal(mode); err != nil {
		return err
	}
	<-p.gone
	return p.cmd.Wait()
}

func (p *postmaster) log() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text.String()
}
