package pgsource_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/env"
	"github.com/varvedb/varve/wal/env/osenv"
	"github.com/varvedb/varve/wal/pgwal/pgtest"
	"github.com/varvedb/varve/wal/proposer/pgsource"
)

// memoryLog is a sink that commits what it is told to.
type memoryLog struct {
	mu      sync.Mutex
	changed env.Cond
	start   wal.LSN
	bytes   []byte
	commit  wal.LSN
	held    wal.LSN // if not 0: commit stays at this position
	refuse  error   // of the next Append
}

func newMemoryLog(t *testing.T, start wal.LSN) *memoryLog {
	t.Helper()
	e, err := osenv.New(osenv.Config{Root: t.TempDir()})
	require.NoError(t, err)
	l := &memoryLog{start: start, commit: start}
	l.changed = e.Tasks.NewCond(&l.mu)
	return l
}

func (l *memoryLog) Append(_ context.Context, begin wal.LSN, p []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.refuse != nil {
		return l.refuse
	}
	if begin != l.end() {
		return errors.New("append leaves a gap")
	}
	l.bytes = append(l.bytes, p...)
	l.commit = l.end()
	if l.held != 0 {
		l.commit = l.held
	}
	l.changed.Broadcast()
	return nil
}

func (l *memoryLog) end() wal.LSN { return l.start + wal.LSN(len(l.bytes)) }

func (l *memoryLog) CommitLSN() wal.LSN {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.commit
}

func (l *memoryLog) WaitCommit(ctx context.Context, lsn wal.LSN) error {
	return l.wait(ctx, func() bool { return l.commit >= lsn })
}

// waitReceived waits until the log reaches above lsn, committed or not.
func (l *memoryLog) waitReceived(ctx context.Context, lsn wal.LSN) error {
	return l.wait(ctx, func() bool { return l.end() > lsn })
}

func (l *memoryLog) wait(ctx context.Context, done func() bool) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for !done() {
		if err := l.changed.Wait(ctx); err != nil {
			return err
		}
	}
	return nil
}

// hold lets the commit LSN grow by one byte of what comes next, and no further. It
// returns where it will stay.
func (l *memoryLog) hold() wal.LSN {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.held = l.end() + 1
	return l.held
}

func (l *memoryLog) release() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.held = 0
	l.commit = l.end()
	l.changed.Broadcast()
}

func (l *memoryLog) contents() []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.bytes
}

// startServer starts a PostgreSQL where a commit waits for the source.
func startServer(t *testing.T) *pgtest.Server {
	t.Helper()
	return pgtest.Start(t, pgtest.Options{Conf: map[string]string{
		"synchronous_standby_names": "FIRST 1 (varve)",
		"wal_keep_size":             "1GB", // readLog reads what the slot has let go
	}})
}

func connect(t *testing.T, s *pgtest.Server) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), s.ConnString())
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

// redo is the start of the last checkpoint's redo, and the system identifier.
func redo(t *testing.T, s *pgtest.Server) (wal.LSN, uint64) {
	t.Helper()
	var text string
	var system int64
	err := connect(t, s).QueryRow(t.Context(),
		"SELECT redo_lsn::text, system_identifier FROM pg_control_checkpoint(), pg_control_system()").Scan(&text, &system)
	require.NoError(t, err)
	lsn, err := wal.ParseLSN(text)
	require.NoError(t, err)
	return lsn, uint64(system)
}

// readLog reads PostgreSQL's own copy of its log.
func readLog(t *testing.T, s *pgtest.Server, from, to wal.LSN) []byte {
	t.Helper()
	var log []byte
	for n := from.Segment(); n <= (to - 1).Segment(); n++ {
		bytes, err := os.ReadFile(filepath.Join(s.WALDir(), fmt.Sprintf("00000001%08X%08X", n/256, n%256)))
		require.NoError(t, err)
		log = append(log, bytes...)
	}
	base := wal.SegmentStart(from.Segment())
	return log[from-base : to-base]
}

// stream opens a source on s and runs it into a new sink.
func stream(t *testing.T, ctx context.Context, s *pgtest.Server) (log *memoryLog, ended <-chan error) {
	t.Helper()
	start, system := redo(t, s)
	log = newMemoryLog(t, start)
	source, err := pgsource.Open(ctx, pgsource.Config{ConnString: s.ConnString(), Start: start, SystemID: system})
	require.NoError(t, err)
	outcome := make(chan error, 1)
	go func() { outcome <- source.Run(ctx, log) }()
	return log, outcome
}

func TestSinkGetsTheWholeLogOfAPostgresThatStops(t *testing.T) {
	ctx := t.Context()
	s := startServer(t)
	log, ended := stream(t, ctx, s)
	conn := connect(t, s)
	_, err := conn.Exec(ctx, "CREATE TABLE t AS SELECT n, repeat(n::text, 20) FROM generate_series(1, 200000) n")
	require.NoError(t, err)
	_, err = conn.Exec(ctx, "SELECT pg_switch_wal()")
	require.NoError(t, err)
	_, err = conn.Exec(ctx, "DELETE FROM t WHERE n % 7 = 0")
	require.NoError(t, err)
	s.Stop(t, pgtest.Fast)
	require.NoError(t, <-ended)

	got := log.contents()
	require.Greater(t, len(got), 2*wal.SegmentSize)
	require.Equal(t, readLog(t, s, log.start, log.start+wal.LSN(len(got))), got)
	require.Equal(t, log.start+wal.LSN(len(got)), log.CommitLSN())
}

func TestCommitReturnsOnlyWhenTheSinkHasCommitted(t *testing.T) {
	ctx := t.Context()
	s := startServer(t)
	log, ended := stream(t, ctx, s)
	observer, client := connect(t, s), connect(t, s)
	_, err := client.Exec(ctx, "CREATE TABLE t (n int)")
	require.NoError(t, err)

	held := log.hold()
	var released atomic.Bool
	early := make(chan bool, 1)
	go func() {
		_, err := client.Exec(ctx, "INSERT INTO t VALUES (1)")
		early <- err != nil || !released.Load()
	}()
	require.NoError(t, log.waitReceived(ctx, held))
	standby, state, reported := awaitReport(t, observer, held)
	require.Equal(t, "varve", standby)
	require.Equal(t, "sync", state)
	require.Equal(t, held.String(), reported, "what is reported is what the sink has committed")
	released.Store(true)
	log.release()
	require.False(t, <-early, "the commit returned before the sink had it")

	s.Stop(t, pgtest.Fast)
	require.NoError(t, <-ended)
}

// awaitReport waits until PostgreSQL has heard of a flush at or above lsn.
func awaitReport(t *testing.T, observer *pgx.Conn, lsn wal.LSN) (standby, state, reported string) {
	t.Helper()
	_, err := observer.Exec(t.Context(), `DO $$ BEGIN
		WHILE EXISTS (SELECT FROM pg_stat_replication WHERE flush_lsn < '`+lsn.String()+`') LOOP
			PERFORM pg_sleep(0.001);
			PERFORM pg_stat_clear_snapshot();
		END LOOP;
	END $$`)
	require.NoError(t, err)
	err = observer.QueryRow(t.Context(), "SELECT application_name, sync_state, flush_lsn::text FROM pg_stat_replication").
		Scan(&standby, &state, &reported)
	require.NoError(t, err)
	return standby, state, reported
}

func TestRunTellsWhyItEnded(t *testing.T) {
	s := startServer(t)
	cause := errors.New("fenced")

	ctx, cancel := context.WithCancelCause(t.Context())
	_, ended := stream(t, ctx, s)
	cancel(cause)
	require.ErrorIs(t, <-ended, cause)
	dropSlot(t, s)

	log, ended := stream(t, t.Context(), s)
	log.mu.Lock()
	log.refuse = cause
	log.mu.Unlock()
	_, err := connect(t, s).Exec(t.Context(), "SET synchronous_commit = off; CREATE TABLE t (n int)")
	require.NoError(t, err)
	require.ErrorIs(t, <-ended, cause)
	dropSlot(t, s)

	_, ended = stream(t, t.Context(), s)
	s.Stop(t, pgtest.Kill)
	require.ErrorIs(t, <-ended, pgsource.ErrServerGone)
}

// dropSlot removes the slot once its walsender, whose end the test has caused but
// does not see, has let go of it.
func dropSlot(t *testing.T, s *pgtest.Server) {
	t.Helper()
	_, err := connect(t, s).Exec(t.Context(), `DO $$ BEGIN
		WHILE EXISTS (SELECT FROM pg_replication_slots WHERE active) LOOP
			PERFORM pg_sleep(0.001);
		END LOOP;
		PERFORM pg_drop_replication_slot('varve');
	END $$`)
	require.NoError(t, err)
}

func TestOpenRefuses(t *testing.T) {
	ctx := t.Context()
	s := startServer(t)
	start, system := redo(t, s)

	_, err := pgsource.Open(ctx, pgsource.Config{ConnString: s.ConnString(), Start: start, SystemID: system + 1})
	require.ErrorContains(t, err, "system identifier")

	// PostgreSQL looks at the position only after it has begun the copy.
	ahead := start + 100*wal.SegmentSize
	source, err := pgsource.Open(ctx, pgsource.Config{ConnString: s.ConnString(), Start: ahead, SystemID: system})
	require.NoError(t, err)
	var refusal *pgconn.PgError
	require.ErrorAs(t, source.Run(ctx, newMemoryLog(t, ahead)), &refusal)
	require.Contains(t, refusal.Message, "is ahead of the WAL flush position")

	_, err = pgsource.Open(ctx, pgsource.Config{ConnString: s.ConnString(), Start: start, SystemID: system})
	require.ErrorContains(t, err, "already exists", "one slot, one life")

	_, err = pgsource.Open(ctx, pgsource.Config{ConnString: s.ConnString() + " port=1", Start: start})
	require.ErrorIs(t, err, os.ErrNotExist)
}
