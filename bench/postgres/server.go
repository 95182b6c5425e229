package postgres

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/varvedb/varve/compute/pgdata"
)

// Server is one PostgreSQL: a data directory, and at times a process on it.
type Server struct {
	Dir     string // of its own: holds DataDir and the socket
	DataDir string

	programs  Programs
	cmd       *exec.Cmd // nil while it is stopped
	receivers []*exec.Cmd
}

// Programs are PostgreSQL's, run as whom it may run as.
type Programs struct {
	pgdata.Binaries
	Account pgdata.Account
}

// Find finds PostgreSQL 15.
func Find(ctx context.Context) (p Programs, err error) {
	if p.Binaries, err = pgdata.FindBinaries(ctx, ""); err != nil {
		return p, err
	}
	p.Account, err = pgdata.FindAccount()
	return p, err
}

// Command prepares a program that reaches the server whose socket is in dir.
func (p Programs) Command(dir, name string, args ...string) *exec.Cmd {
	cmd := exec.Command(p.Path(name), args...)
	p.asAccount(cmd)
	cmd.Env = append(os.Environ(), "PGHOST="+dir, "PGPORT=5432", "PGUSER=postgres", "PGDATABASE=postgres", "TZ=UTC", "LC_ALL=C")
	return cmd
}

// asAccount has a program run as the account, end with us, and not hear of Ctrl-C: it is
// ended in order.
func (p Programs) asAccount(cmd *exec.Cmd) {
	cmd.Dir = os.TempDir()
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: p.Account.Credential(), Pdeathsig: syscall.SIGKILL, Setpgid: true}
}

// Exec runs a program against the server whose socket is in dir, and returns what it
// wrote to standard output.
func (p Programs) Exec(dir, name string, args ...string) (string, error) {
	return output(p.Command(dir, name, args...))
}

func output(cmd *exec.Cmd) (string, error) {
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("run %s: %w: %s", filepath.Base(cmd.Path), err, strings.TrimSpace(stderr.String()))
	}
	return strings.TrimSuffix(stdout.String(), "\n"), nil
}

// SQL runs statements by psql against the server whose socket is in dir, and returns the
// rows: columns split by |, a line each.
func (p Programs) SQL(dir, text string) (string, error) {
	cmd := p.Command(dir, "psql", "-XqAt", "-v", "ON_ERROR_STOP=1", "-f", "-")
	cmd.Stdin = strings.NewReader(text)
	return output(cmd)
}

// Shell runs a command of the system as the account, such as cp.
func (p Programs) Shell(name string, args ...string) error {
	cmd := exec.Command(name, args...)
	p.asAccount(cmd)
	_, err := output(cmd)
	return err
}

// Init makes a cluster below dir, which is made, and leaves it stopped.
func (p Programs) Init(dir string, conf map[string]string) (*Server, error) {
	if err := p.Account.MakeDir(dir, 0o755); err != nil {
		return nil, fmt.Errorf("make directory of PostgreSQL: %w", err)
	}
	s := &Server{Dir: dir, DataDir: filepath.Join(dir, "data"), programs: p}
	if _, err := s.Exec("initdb", "-D", s.DataDir, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync", "--no-instructions"); err != nil {
		return nil, err
	}
	own := map[string]string{
		"listen_addresses": "", "unix_socket_directories": dir, "timezone": "UTC", "log_timezone": "UTC", "lc_messages": "C", "max_wal_size": "64GB",
	}
	if err := s.Configure(own); err != nil {
		return nil, err
	}
	return s, s.Configure(conf)
}

// Clone copies the stopped cluster to another directory.
func (s *Server) Clone(dir string) (*Server, error) {
	if err := s.programs.Account.MakeDir(dir, 0o755); err != nil {
		return nil, fmt.Errorf("make directory of PostgreSQL: %w", err)
	}
	c := &Server{Dir: dir, DataDir: filepath.Join(dir, "data"), programs: s.programs}
	if err := s.programs.Shell("cp", "-a", s.DataDir, c.DataDir); err != nil {
		return nil, err
	}
	return c, c.Configure(map[string]string{"unix_socket_directories": dir})
}

// Open is the server on a data directory that is there already, in dir.
func (p Programs) Open(dir string) *Server {
	return &Server{Dir: dir, DataDir: filepath.Join(dir, "data"), programs: p}
}

// Configure appends settings; the last of a name counts, from the next Start on.
func (s *Server) Configure(conf map[string]string) error {
	var text strings.Builder
	for _, name := range slices.Sorted(maps.Keys(conf)) {
		fmt.Fprintf(&text, "%s = '%s'\n", name, strings.ReplaceAll(conf[name], "'", "''"))
	}
	f, err := os.OpenFile(filepath.Join(s.DataDir, "postgresql.conf"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("configure PostgreSQL: %w", err)
	}
	_, err = f.WriteString(text.String())
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("configure PostgreSQL: %w", err)
	}
	return nil
}

// startWait bounds how long a start may take, recovery included.
const startWait = 2 * time.Minute

// Start starts the server and returns when a query was answered.
func (s *Server) Start(ctx context.Context) error {
	if err := s.Launch(); err != nil {
		return err
	}
	if err := AwaitQuery(ctx, s.Dir); err != nil {
		return errors.Join(err, fmt.Errorf("PostgreSQL's log: %s", s.Log()), s.Stop(syscall.SIGQUIT))
	}
	return nil
}

// Launch starts the process and waits for nothing.
func (s *Server) Launch() error {
	log, err := os.Create(filepath.Join(s.Dir, "log"))
	if err != nil {
		return fmt.Errorf("make log of PostgreSQL: %w", err)
	}
	defer log.Close()
	s.cmd = s.programs.Command(s.Dir, "postgres", "-D", s.DataDir)
	s.cmd.Stderr = log
	if err := s.cmd.Start(); err != nil {
		s.cmd = nil
		return fmt.Errorf("start PostgreSQL: %w", err)
	}
	return nil
}

// pollEvery is how often a server that starts is asked whether it serves.
const pollEvery = 500 * time.Microsecond

// AwaitQuery returns when the server whose socket is in dir has answered a query.
func AwaitQuery(ctx context.Context, dir string) error {
	ctx, cancel := context.WithTimeout(ctx, startWait)
	defer cancel()
	for {
		err := query(ctx, dir)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for PostgreSQL to serve: %w: %w", ctx.Err(), err)
		case <-time.After(pollEvery):
		}
	}
}

// ConnString is how libpq and pgx reach the server whose socket is in dir.
func ConnString(dir string) string {
	return "host=" + dir + " port=5432 user=postgres dbname=postgres sslmode=disable"
}

func query(ctx context.Context, dir string) error {
	conn, err := pgconn.Connect(ctx, ConnString(dir))
	if err != nil {
		return err
	}
	_, err = conn.Exec(ctx, "SELECT 1").ReadAll()
	return errors.Join(err, conn.Close(ctx))
}

// Stop ends receivers and server by a signal (interrupt: a clean shutdown; quit: as a crash, but all of its processes are gone)
// and returns when the server is gone.
func (s *Server) Stop(signal syscall.Signal) error {
	if s.cmd == nil {
		return nil
	}
	cmd := s.cmd
	s.cmd = nil
	if err := cmd.Process.Signal(signal); err != nil {
		return fmt.Errorf("stop PostgreSQL: %w", err)
	}
	err := cmd.Wait()
	for _, r := range s.receivers {
		_ = r.Process.Signal(syscall.SIGTERM) // It may have ended with the server.
		_ = r.Wait()
	}
	s.receivers = nil
	if err != nil && signal == syscall.SIGINT {
		return fmt.Errorf("stop PostgreSQL: %w: %s", err, s.Log())
	}
	return nil
}

// Close ends what runs.
func (s *Server) Close() error { return s.Stop(syscall.SIGINT) }

// Log is what the server has logged since it was started.
func (s *Server) Log() string {
	text, _ := os.ReadFile(filepath.Join(s.Dir, "log"))
	return string(text)
}

// PIDs are the processes that serve: the postmaster and the receivers.
func (s *Server) PIDs() (pids []int) {
	if s.cmd != nil {
		pids = append(pids, s.cmd.Process.Pid)
	}
	for _, r := range s.receivers {
		pids = append(pids, r.Process.Pid)
	}
	return pids
}

// WALDir is the directory of the log.
func (s *Server) WALDir() string { return filepath.Join(s.DataDir, "pg_wal") }

// Exec runs a program against the server.
func (s *Server) Exec(name string, args ...string) (string, error) {
	return s.programs.Exec(s.Dir, name, args...)
}

// Fill makes pgbench's tables in a database, at a scale of 15 MB each.
func (s *Server) Fill(database string, scale int) error {
	_, err := s.Exec("pgbench", "-i", "-q", "-I", "dtGvp", "-s", fmt.Sprint(scale), database)
	return err
}

// SQL runs statements against the server.
func (s *Server) SQL(text string) (string, error) { return s.programs.SQL(s.Dir, text) }

// Receive starts count pg_receivewal --synchronous, and makes the server wait with each
// commit for as many of them.
func (s *Server) Receive(ctx context.Context, count, wait int) error {
	var names []string
	for n := range count {
		name := fmt.Sprint("s", n+1)
		dir := filepath.Join(s.Dir, name)
		if err := os.RemoveAll(dir); err != nil {
			return fmt.Errorf("make directory of receiver: %w", err)
		}
		if err := s.programs.Account.MakeDir(dir, 0o755); err != nil {
			return fmt.Errorf("make directory of receiver: %w", err)
		}
		r := s.programs.Command(s.Dir, "pg_receivewal", "--synchronous", "--no-loop", "-D", dir, "-d", "application_name="+name)
		if err := r.Start(); err != nil {
			return fmt.Errorf("start receiver: %w", err)
		}
		s.receivers = append(s.receivers, r)
		names = append(names, name)
	}
	for {
		streaming, err := s.SQL("SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'")
		if err != nil {
			return err
		}
		if streaming == fmt.Sprint(count) {
			break
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		time.Sleep(10 * time.Millisecond)
	}
	_, err := s.SQL(fmt.Sprintf("ALTER SYSTEM SET synchronous_standby_names = 'ANY %d (%s)'; SELECT pg_reload_conf();", wait, strings.Join(names, ",")))
	return err
}
