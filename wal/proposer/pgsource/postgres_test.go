package pgsource_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/wal"
)

// binDir is where PostgreSQL 15's programs are.
func binDir() string {
	if dir := os.Getenv("VARVE_PG_BIN"); dir != "" {
		return dir
	}
	return "/usr/lib/postgresql/15/bin"
}

// server is a stock PostgreSQL with a cluster of its own.
type server struct {
	dir     string // data directory and, beside it, the socket
	process *exec.Cmd
}

// startServer makes a cluster and starts PostgreSQL on it. With no standby, a
// commit waits: tests set synchronous_commit=off where they want none.
func startServer(t *testing.T) *server {
	t.Helper()
	// Not t.TempDir: only its owner may pass through it, and user postgres must.
	dir, err := os.MkdirTemp("", "pgsource")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	s := &server{dir: dir}
	if os.Getuid() == 0 {
		attr := asPostgres(t)
		require.NoError(t, os.Chown(s.dir, int(attr.Credential.Uid), int(attr.Credential.Gid)))
	}
	initdb := s.command(t, "initdb", "-D", s.data(), "-U", "postgres", "-A", "trust", "--no-sync", "--no-instructions")
	out, err := initdb.CombinedOutput()
	require.NoError(t, err, "%s", out)
	s.start(t)
	return s
}

func (s *server) data() string { return filepath.Join(s.dir, "data") }

func (s *server) start(t *testing.T) {
	t.Helper()
	s.process = s.command(t, "postgres", "-D", s.data(), "-k", s.dir,
		"-c", "listen_addresses=", "-c", "fsync=off", "-c", "wal_level=replica",
		"-c", "wal_keep_size=1GB", "-c", "synchronous_standby_names=FIRST 1 (varve)")
	stderr, err := s.process.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, s.process.Start())
	t.Cleanup(func() {
		// It may be gone already; then there is nothing to end.
		_ = s.process.Process.Kill()
		_ = s.process.Wait()
	})
	lines := bufio.NewScanner(stderr)
	var log strings.Builder
	for lines.Scan() {
		fmt.Fprintln(&log, lines.Text())
		if strings.Contains(lines.Text(), "database system is ready to accept connections") {
			go drain(lines)
			return
		}
	}
	t.Fatalf("postgres ended before it was ready:\n%s", log.String())
}

func drain(lines *bufio.Scanner) {
	for lines.Scan() {
	}
}

// stop asks for a fast shutdown, which waits for the replication connection.
func (s *server) stop(t *testing.T) {
	t.Helper()
	require.NoError(t, s.process.Process.Signal(syscall.SIGINT))
}

func (s *server) connString() string {
	return fmt.Sprintf("host=%s user=postgres dbname=postgres", s.dir)
}

func (s *server) connect(t *testing.T) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(context.Background(), s.connString())
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

// redo is the start of the last checkpoint's redo, and the system identifier.
func (s *server) redo(t *testing.T) (wal.LSN, uint64) {
	t.Helper()
	conn := s.connect(t)
	var text string
	var system int64
	err := conn.QueryRow(context.Background(),
		"SELECT redo_lsn::text, system_identifier FROM pg_control_checkpoint(), pg_control_system()").Scan(&text, &system)
	require.NoError(t, err)
	lsn, err := wal.ParseLSN(text)
	require.NoError(t, err)
	return lsn, uint64(system)
}

// readLog reads PostgreSQL's own copy of its log.
func (s *server) readLog(t *testing.T, from, to wal.LSN) []byte {
	t.Helper()
	var log []byte
	for n := from.Segment(); n <= (to - 1).Segment(); n++ {
		bytes, err := os.ReadFile(filepath.Join(s.data(), "pg_wal", fmt.Sprintf("00000001%016X", n)))
		require.NoError(t, err)
		log = append(log, bytes...)
	}
	base := wal.SegmentStart(from.Segment())
	return log[from-base : to-base]
}

func (s *server) command(t *testing.T, name string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(filepath.Join(binDir(), name), args...)
	cmd.Dir = s.dir
	if os.Getuid() == 0 {
		cmd.SysProcAttr = asPostgres(t)
	}
	return cmd
}

// asPostgres makes a process run as user postgres: PostgreSQL refuses root.
func asPostgres(t *testing.T) *syscall.SysProcAttr {
	t.Helper()
	account, err := user.Lookup("postgres")
	require.NoError(t, err)
	uid, err := strconv.ParseUint(account.Uid, 10, 32)
	require.NoError(t, err)
	gid, err := strconv.ParseUint(account.Gid, 10, 32)
	require.NoError(t, err)
	return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
}
