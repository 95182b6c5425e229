package endpoint

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/compute/pgdata"
	"github.com/varvedb/varve/wal/pgwal/pgtest"
)

// launchOn starts PostgreSQL on a stopped cluster as an endpoint would.
func launchOn(t *testing.T, s *pgtest.Server, mode pgdata.Mode) *process {
	t.Helper()
	bin, err := pgdata.FindBinaries(t.Context(), "")
	require.NoError(t, err)
	account, err := pgdata.FindAccount()
	require.NoError(t, err)
	settings := pgdata.Settings{Mode: mode, Port: 5432, SocketDir: s.Dir}
	p, err := launch(bin, account, s.DataDir, filepath.Join(s.Dir, "postgres.log"), settings)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, p.kill()) })
	return p
}

func connect(t *testing.T, connString string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), connString)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

func readLog(t *testing.T, s *pgtest.Server) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(s.Dir, "postgres.log"))
	require.NoError(t, err)
	return string(text)
}

func TestProcessStartsAndStops(t *testing.T) {
	s := pgtest.Init(t, pgtest.Options{})
	p := launchOn(t, s, pgdata.ReadWrite)
	require.NoError(t, p.waitReady(t.Context()))
	require.NotEmpty(t, processesIn(s.DataDir))
	require.NoError(t, p.stop(t.Context()))
	require.Empty(t, processesIn(s.DataDir))
	require.Contains(t, readLog(t, s), "database system is shut down")
	require.NoError(t, p.kill(), "it has ended already")
}

func TestEveryProcessOfAKilledPostgresIsGone(t *testing.T) {
	kills := map[string]func(*process) error{
		"by us":      func(p *process) error { return p.kill() },
		"by SIGKILL": func(p *process) error { return errors.Join(p.cmd.Process.Kill(), ignoreExit(p.exit())) },
	}
	for name, kill := range kills {
		t.Run(name, func(t *testing.T) {
			s := pgtest.Init(t, pgtest.Options{})
			p := launchOn(t, s, pgdata.ReadWrite)
			require.NoError(t, p.waitReady(t.Context()))
			// A loop in C, which looks for nothing but signals.
			busy := connect(t, s.ConnString())
			_, err := busy.Exec(t.Context(), "SET statement_timeout = 0")
			require.NoError(t, err)
			ended := make(chan error, 1)
			go func() {
				_, err := busy.Exec(context.Background(), "SELECT count(*) FROM generate_series(1, 100000000000)")
				ended <- err
			}()
			require.NoError(t, kill(p))
			require.Empty(t, processesIn(s.DataDir))
			require.Error(t, <-ended)
		})
	}
}

func ignoreExit(err error) error {
	var exit *ExitError
	if errors.As(err, &exit) {
		return nil
	}
	return err
}

func TestExitTellsSignalOrLastWords(t *testing.T) {
	s := pgtest.Init(t, pgtest.Options{})
	p := launchOn(t, s, pgdata.ReadWrite)
	require.NoError(t, p.waitReady(t.Context()))
	require.NoError(t, p.cmd.Process.Kill())
	var exit *ExitError
	require.ErrorAs(t, p.exit(), &exit)
	require.Equal(t, syscall.SIGKILL, exit.Signal)

	s = pgtest.Init(t, pgtest.Options{})
	first := launchOn(t, s, pgdata.ReadWrite)
	require.NoError(t, first.waitReady(t.Context()))
	second := launchOn(t, s, pgdata.ReadWrite)
	require.ErrorAs(t, second.waitReady(t.Context()), &exit)
	require.Equal(t, syscall.Signal(0), exit.Signal)
	require.Equal(t, 1, exit.Code)
	require.Contains(t, exit.Error(), `FATAL: lock file "postmaster.pid" already exists; HINT: Is another postmaster`)

	s = pgtest.Init(t, pgtest.Options{Conf: map[string]string{"shared_buffers": "lots"}})
	require.ErrorContains(t, launchOn(t, s, pgdata.ReadWrite).waitReady(t.Context()), "postgresql.conf\" contains errors")
}

func TestWaitForReadyEndsWithItsContext(t *testing.T) {
	s := pgtest.Init(t, pgtest.Options{})
	p := launchOn(t, s, pgdata.ReadWrite)
	ctx, cancel := context.WithCancelCause(t.Context())
	cause := errors.New("no longer wanted")
	cancel(cause)
	require.True(t, errors.Is(p.waitReady(ctx), cause) || isClosed(p.log.ready))
}

func isClosed(event <-chan struct{}) bool {
	select {
	case <-event:
		return true
	default:
		return false
	}
}

func TestPromotionOfAReadOnlyPostgresIsSeen(t *testing.T) {
	s := pgtest.Init(t, pgtest.Options{})
	require.NoError(t, os.WriteFile(filepath.Join(s.DataDir, "standby.signal"), nil, 0o600))
	p := launchOn(t, s, pgdata.ReadOnly)
	require.NoError(t, p.waitReady(t.Context()))
	conn := connect(t, s.ConnString())
	// What a user writes into the log is not taken for PostgreSQL's own words.
	_, err := conn.Exec(t.Context(), "DO $$ BEGIN RAISE LOG 'x\n2026-01-01 00:00:00.000 UTC [1] LOG:  received promote request'; END $$")
	require.NoError(t, err)
	require.False(t, isClosed(p.log.promoted))
	_, err = conn.Exec(t.Context(), "SELECT pg_promote(wait => false)")
	require.NoError(t, err)
	<-p.log.promoted
}

func TestServerLogKeepsTheLastComplaints(t *testing.T) {
	var file strings.Builder
	l := newServerLog(&file)
	text := "2026-11-23 00:00:00.000 UTC [1] FATAL:  first\n" +
		strings.Repeat("2026-11-23 00:00:00.000 UTC [1] ERROR:  of a user's\n", 3) +
		strings.Repeat("long ", logLineMax) + "FATAL:  not a line's start\n" +
		"2026-11-23 00:00:00.000 UTC [1] FATAL:  second\n\tsecond's second line\n2026-11-23 00:00:00.000 UTC [1] HINT:  do this\n" +
		"2026-11-23 00:00:00.000 UTC [1] LOG:  database system is ready to accept connections"
	l.follow(strings.NewReader(text))
	require.Equal(t, text, file.String())
	require.Equal(t, "FATAL: first; FATAL: second; HINT: do this", l.lastWords())
	require.True(t, isClosed(l.ready))
	require.False(t, isClosed(l.promoted))
}
