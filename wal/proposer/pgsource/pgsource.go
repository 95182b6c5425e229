package pgsource

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/assert"
)

const (
	// StandbyName is the name under which PostgreSQL knows this connection. The
	// setting synchronous_standby_names must name it.
	StandbyName = "varve"

	slotName = "varve"

	// heartbeatInterval is how often a status is sent when nothing else makes one
	// due, so that a sink that stands still (its quorum is away) does not look dead
	// to the walsender, which by default gives up after 60 s of silence.
	heartbeatInterval = 10 * time.Second
)

// ErrServerGone is matched by the error of a source whose PostgreSQL went away: it
// closed the connection, or said that it ends, before it had ended the copy.
var ErrServerGone = errors.New("PostgreSQL has gone away")

// Sink is where the log goes.
type Sink interface {
	// Append takes the next bytes of the log, cut anywhere. p is valid only during
	// the call. It may wait: then PostgreSQL's log is not read on.
	Append(ctx context.Context, begin wal.LSN, p []byte) error
	// CommitLSN is the position up to which the log is committed. It only grows.
	CommitLSN() wal.LSN
	// WaitCommit returns nil once CommitLSN is at least lsn.
	WaitCommit(ctx context.Context, lsn wal.LSN) error
}

// Config says where the log comes from.
type Config struct {
	ConnString string  // of PostgreSQL, as libpq reads it; the user may replicate
	Start      wal.LSN // the first byte to ask for
	SystemID   uint64  // the system identifier that PostgreSQL must have; 0: any
}

// Source is a replication connection that has begun to stream.
type Source struct {
	conn     *pgconn.HijackedConn
	received atomic.Uint64 // wal.LSN; end of what was given to the sink

	mu     sync.Mutex // orders writers of conn
	status []byte
}

// Open connects, checks that it is the right PostgreSQL, makes the slot and starts
// streaming. The caller ends the source by Run, or by Close if it never runs.
func Open(ctx context.Context, cfg Config) (*Source, error) {
	pgcfg, err := pgconn.ParseConfig(cfg.ConnString)
	if err != nil {
		return nil, fmt.Errorf("read connection string: %w", err)
	}
	pgcfg.RuntimeParams["replication"] = "true"
	pgcfg.RuntimeParams["application_name"] = StandbyName
	conn, err := pgconn.ConnectConfig(ctx, pgcfg)
	if err != nil {
		return nil, fmt.Errorf("connect for replication: %w", err)
	}
	s, err := start(ctx, conn, cfg)
	if err != nil {
		// The first error is the one worth telling.
		_ = conn.Close(ctx)
		return nil, err
	}
	return s, nil
}

func start(ctx context.Context, conn *pgconn.PgConn, cfg Config) (*Source, error) {
	if err := identify(ctx, conn, cfg); err != nil {
		return nil, err
	}
	create := fmt.Sprintf("CREATE_REPLICATION_SLOT %s PHYSICAL RESERVE_WAL", slotName)
	if _, err := conn.Exec(ctx, create).ReadAll(); err != nil {
		return nil, fmt.Errorf("create replication slot: %w", err)
	}
	hijacked, err := conn.Hijack()
	if err != nil {
		return nil, fmt.Errorf("take over connection: %w", err)
	}
	s := &Source{conn: hijacked}
	s.received.Store(uint64(cfg.Start))
	if err := s.startStreaming(ctx, cfg.Start); err != nil {
		s.Close()
		return nil, fmt.Errorf("start replication at %s: %w", cfg.Start, err)
	}
	return s, nil
}

func identify(ctx context.Context, conn *pgconn.PgConn, cfg Config) error {
	results, err := conn.Exec(ctx, "IDENTIFY_SYSTEM").ReadAll()
	if err != nil {
		return fmt.Errorf("identify system: %w", err)
	}
	if len(results) != 1 || len(results[0].Rows) != 1 || len(results[0].Rows[0]) < 2 {
		return fmt.Errorf("identify system: answer is not one row of two columns or more")
	}
	row := results[0].Rows[0]
	system, err := strconv.ParseUint(string(row[0]), 10, 64)
	if err != nil {
		return fmt.Errorf("identify system: %w", err)
	}
	if cfg.SystemID != 0 && system != cfg.SystemID {
		return fmt.Errorf("identify system: want system identifier %d, got %d", cfg.SystemID, system)
	}
	if timeline := string(row[1]); timeline != "1" {
		return fmt.Errorf("identify system: want timeline id 1, got %s", timeline)
	}
	return nil
}

func (s *Source) startStreaming(ctx context.Context, from wal.LSN) error {
	defer s.closeAtEndOf(ctx)()
	s.conn.Frontend.SendQuery(&pgproto3.Query{
		String: fmt.Sprintf("START_REPLICATION SLOT %s PHYSICAL %s TIMELINE 1", slotName, from),
	})
	if err := s.conn.Frontend.Flush(); err != nil {
		return causeOf(ctx, goneOr(err))
	}
	for {
		m, err := s.conn.Frontend.Receive()
		if err != nil {
			return causeOf(ctx, goneOr(err))
		}
		switch m := m.(type) {
		case *pgproto3.CopyBothResponse:
			return nil
		case *pgproto3.ErrorResponse:
			return goneOr(pgconn.ErrorResponseToPgError(m))
		case *pgproto3.NoticeResponse, *pgproto3.ParameterStatus:
		default:
			return fmt.Errorf("want CopyBothResponse, got %T", m)
		}
	}
}

// Run gives the log to sink and reports what sink commits, until PostgreSQL has
// stopped and all of its log is committed (nil), ctx ends (its cause), or one of
// the two fails. It closes the source.
func (s *Source) Run(ctx context.Context, sink Sink) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer s.Close()
	defer s.closeAtEndOf(ctx)()
	var tasks sync.WaitGroup
	for _, task := range []func(context.Context, Sink) error{s.reportCommits, s.beat} {
		tasks.Go(func() {
			if err := task(ctx, sink); err != nil {
				cancel(err)
			}
		})
	}
	err := causeOf(ctx, s.receive(ctx, sink))
	cancel(errDone)
	tasks.Wait()
	return err
}

// errDone ends the tasks of a run whose outcome is known.
var errDone = errors.New("replication has ended")

// receive is the reading half. It returns nil when the server ends the copy.
func (s *Source) receive(ctx context.Context, sink Sink) error {
	for {
		m, err := s.conn.Frontend.Receive()
		if err != nil {
			return fmt.Errorf("receive log: %w", goneOr(err))
		}
		switch m := m.(type) {
		case *pgproto3.CopyData:
			if err := s.handle(ctx, sink, m.Data); err != nil {
				return err
			}
		case *pgproto3.CommandComplete:
			if committed := sink.CommitLSN(); committed < s.Received() {
				return fmt.Errorf("receive log: it ended at %s, but is committed only to %s", s.Received(), committed)
			}
			return nil
		case *pgproto3.ErrorResponse:
			return fmt.Errorf("receive log: %w", goneOr(pgconn.ErrorResponseToPgError(m)))
		case *pgproto3.NoticeResponse, *pgproto3.ParameterStatus:
		default:
			// CopyDone would mean that the server has moved to another timeline id.
			return fmt.Errorf("receive log: unexpected message %T", m)
		}
	}
}

func (s *Source) handle(ctx context.Context, sink Sink, content []byte) error {
	m, err := decodeMessage(content)
	if err != nil {
		return fmt.Errorf("receive log: %w", err)
	}
	if m.data == nil {
		if m.answer {
			s.report(sink)
		}
		return nil
	}
	if want := s.Received(); m.begin != want {
		return fmt.Errorf("receive log: want bytes from %s, got bytes from %s", want, m.begin)
	}
	// Before Append: a commit of these bytes may be reported before Append returns.
	s.received.Store(uint64(m.begin) + uint64(len(m.data)))
	if err := sink.Append(ctx, m.begin, m.data); err != nil {
		return fmt.Errorf("append log at %s: %w", m.begin, err)
	}
	return nil
}

// Received is the end of what PostgreSQL has sent.
func (s *Source) Received() wal.LSN { return wal.LSN(s.received.Load()) }

// reportCommits sends a status whenever the sink has committed more.
func (s *Source) reportCommits(ctx context.Context, sink Sink) error {
	for {
		committed := sink.CommitLSN()
		s.report(sink)
		if err := sink.WaitCommit(ctx, committed+1); err != nil {
			return fmt.Errorf("wait for commit above %s: %w", committed, err)
		}
	}
}

func (s *Source) beat(ctx context.Context, sink Sink) error {
	ticker := time.NewTicker(heartbeatInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			s.report(sink)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// report sends a standby status. The commit LSN may be past what was received: the
// sink had the stream's first record before PostgreSQL repeated it. A shutdown ends
// only when the reported position equals the sent one, so the smaller is reported.
func (s *Source) report(sink Sink) {
	s.mu.Lock()
	defer s.mu.Unlock()
	at := min(sink.CommitLSN(), s.Received())
	s.status = appendStatus(s.status[:0], at, time.Now())
	frame, err := (&pgproto3.CopyData{Data: s.status}).Encode(nil)
	assert.That(err == nil, "a status of %d bytes fits a message: %v", len(s.status), err)
	// A connection that takes no more writes ends the reading half too, which knows
	// better why: the server may have ended the copy in good order just before.
	_, _ = s.conn.Conn.Write(frame)
}

// Close ends the connection; calls that wait for it return.
func (s *Source) Close() {
	// Nothing is lost with the connection: what was committed is with the sink.
	_ = s.conn.Conn.Close()
}

// closeAtEndOf closes the connection when ctx ends, until the returned function is
// called.
func (s *Source) closeAtEndOf(ctx context.Context) (forget func() bool) {
	return context.AfterFunc(ctx, s.Close)
}

// causeOf prefers the reason why ctx ended to the error of a connection that was
// closed for it.
func causeOf(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// goneOr marks an error that says that the server has gone away. The kernel tells it
// in several ways: as the end of the stream if the server had read all that was sent
// to it, as a reset if not, and as a broken pipe to a writer.
func goneOr(err error) error {
	for _, sign := range []error{io.EOF, io.ErrUnexpectedEOF, syscall.ECONNRESET, syscall.EPIPE} {
		if errors.Is(err, sign) {
			return fmt.Errorf("%w: %w", ErrServerGone, err)
		}
	}
	var said *pgconn.PgError
	if errors.As(err, &said) && (said.Code == adminShutdown || said.Code == crashShutdown) {
		return fmt.Errorf("%w: %w", ErrServerGone, err)
	}
	return err
}

// What a backend says when it ends because the server does.
const (
	adminShutdown = "57P01"
	crashShutdown = "57P02"
)
