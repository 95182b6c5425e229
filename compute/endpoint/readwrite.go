package endpoint

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/varvedb/varve/compute/pgdata"
	"github.com/varvedb/varve/pageserver/basebackup"
	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/proposer"
	"github.com/varvedb/varve/wal/proposer/pgsource"
)

// blameTimeout is how long a stream's end waits for the end of PostgreSQL, which is
// then the reason for it.
const blameTimeout = 2 * time.Second

// writer is a read-write life from the moment that it has a proposer.
type writer struct {
	*life
	proposer *proposer.Proposer
	lost     chan error // gets the end of the proposer
	stuck    chan error // gets why the storage takes in no more log

	term wal.Term
	x    wal.LSN // where the term's log starts

	postgres *process
	source   *pgsource.Source
	streamed chan error // gets the end of the source
}

// readWrite runs a primary whose log goes to the quorum.
func (l *life) readWrite(ctx context.Context) error {
	l.events.Step("making sure that the log is on the safekeepers")
	if err := EnsureLog(ctx, l.e, l.cfg.Identity, l.cfg.Safekeepers); err != nil {
		return err
	}
	// The end of ctx asks for an ordinary stop, which needs proposer and source.
	alive, end := context.WithCancelCause(context.WithoutCancel(ctx))
	w := &writer{life: l, lost: make(chan error, 1), stuck: make(chan error, 1), streamed: make(chan error, 1)}
	w.proposer = proposer.New(l.e, proposer.Config{ID: l.cfg.Proposer, Identity: l.cfg.Identity, Safekeepers: l.cfg.Safekeepers})
	go func() { w.lost <- w.proposer.Run(alive) }()
	go func() { w.stuck <- awaitUnreadable(alive, l.e, l.cfg.Pageserver, l.cfg.Identity.Timeline) }()
	err := w.rule(ctx, alive)
	if w.postgres != nil {
		err = errors.Join(err, w.postgres.kill())
	}
	end(errEnded)
	if w.source != nil {
		<-w.streamed
	}
	<-w.lost
	<-w.stuck
	return err
}

// errEnded is the cause of the end of a life's tasks when its outcome is known.
var errEnded = errors.New("the endpoint has ended")

// rule takes the log over, starts PostgreSQL on it and watches over both.
func (w *writer) rule(ctx, alive context.Context) error {
	state, err := w.win(ctx)
	if err != nil {
		return err
	}
	if w.postgres, err = w.startPostgres(ctx, pgdata.ReadWrite, w.x, state); err != nil {
		return err
	}
	if w.source, err = w.openSource(ctx, state.Start); err != nil {
		return err
	}
	go func() { w.streamed <- w.source.Run(alive, w.proposer) }()
	w.ready(Ready{Start: w.x, Term: w.term, PID: w.postgres.cmd.Process.Pid, CommitLSN: w.proposer.CommitLSN})
	return w.watch(ctx)
}

// errNoRole is the error of a start that nobody can stream the log for.
var errNoRole = errors.New("no role may log in and stream the log, which takes LOGIN, and SUPERUSER or REPLICATION: go back to before that was so, with `varve branch create NAME --parent BRANCH@TIME`")

// openSource begins to stream, as the first role that PostgreSQL lets do so.
func (w *writer) openSource(ctx context.Context, start wal.LSN) (*pgsource.Source, error) {
	for len(w.users) > 0 {
		source, err := pgsource.Open(ctx, pgsource.Config{
			ConnString: w.cfg.connString(w.users[0]), Start: start, SystemID: w.cfg.Identity.SystemID,
		})
		if !isForbidden(err) {
			return source, err
		}
		w.users = w.users[1:]
	}
	return nil, errNoRole
}

// isForbidden reports whether PostgreSQL has refused somebody because of who it is: there
// is no such role any more, or it may not log in or stream.
func isForbidden(err error) bool {
	const invalidAuthorization, insufficientPrivilege, tooManyConnections = "28000", "42501", "53300"
	var refused *pgconn.PgError
	return errors.As(err, &refused) && slices.Contains([]string{invalidAuthorization, insufficientPrivilege, tooManyConnections}, refused.Code)
}

// win takes the log over, and ends it with the record that PostgreSQL starts from.
func (w *writer) win(ctx context.Context) (*basebackup.State, error) {
	var err error
	w.events.Step("winning a term")
	var prev wal.LSN
	err = w.withMajority(ctx, func(ctx context.Context) (err error) {
		if w.term, w.x, err = w.proposer.Elected(ctx); err == nil {
			prev, err = w.proposer.LastRecord(ctx)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("win a term: %w", err)
	}
	if err := w.client.Follow(ctx, w.cfg.Identity.Timeline, w.cfg.safekeeperAddrs()...); err != nil {
		return nil, err
	}
	state, err := w.startState(ctx, w.x, prev)
	if err != nil {
		return nil, err
	}
	if state.Start != w.x {
		return nil, fmt.Errorf("make start state: the log ends at %v, where no record may begin: want %v", w.x, state.Start)
	}
	err = w.withMajority(ctx, func(ctx context.Context) error {
		if err := w.proposer.Append(ctx, state.Start, state.WAL); err != nil {
			return err
		}
		return w.proposer.WaitCommit(ctx, state.End)
	})
	if err != nil {
		return nil, fmt.Errorf("commit the record that PostgreSQL starts from: %w", err)
	}
	return state, nil
}

// watch waits for the end of one of the three, for the wish to stop, or for the news
// that the storage cannot follow, after which no commit may be acknowledged.
func (w *writer) watch(ctx context.Context) error {
	select {
	case <-ctx.Done():
		if err := context.Cause(ctx); errors.Is(err, ErrAbandoned) {
			return err
		}
		return w.stop(context.WithoutCancel(ctx))
	case <-w.postgres.exited:
		return w.postgres.exit()
	case err := <-w.lost:
		w.lost <- err
		return err
	case err := <-w.stuck:
		w.stuck <- err
		return err
	case err := <-w.streamed:
		w.streamed <- err
		return w.blame(err)
	}
}

// blame finds the reason for a stream's end: the end of PostgreSQL or of the
// proposer, if one of them ends too, or else what the stream says.
func (w *writer) blame(streamed error) error {
	timer := time.NewTimer(blameTimeout)
	defer timer.Stop()
	select {
	case <-w.postgres.exited:
		return w.postgres.exit()
	case err := <-w.lost:
		w.lost <- err
		return err
	case <-timer.C:
	}
	if streamed == nil {
		return errors.New("stream the log: PostgreSQL ended the stream, and runs on")
	}
	return fmt.Errorf("stream the log: %w", streamed)
}

// stop ends PostgreSQL in order: its shutdown ends when its last record is committed.
func (w *writer) stop(ctx context.Context) error {
	w.events.Step("stopping PostgreSQL")
	ctx, cancel := context.WithTimeoutCause(ctx, w.cfg.stopTimeout, errTooLong)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- w.postgres.stop(ctx) }()
	var err error
	select {
	case err = <-ended:
	case err = <-w.lost:
		w.lost <- err
		cancel()
		<-ended
		return err
	}
	if errors.Is(err, errTooLong) {
		return w.tooSlow(err)
	}
	streamed := <-w.streamed
	w.streamed <- streamed
	if err = errors.Join(err, streamed); err != nil {
		return fmt.Errorf("stop: %w", err)
	}
	w.events.Stopped(w.source.Received())
	return nil
}

// tooSlow says why a shutdown was given up. What follows is a kill.
func (w *writer) tooSlow(err error) error {
	if now := w.proposer.Presence(); now.Answer < now.Majority {
		err = fmt.Errorf("%w: %v", ErrNoMajority, now)
	}
	return fmt.Errorf("stop: PostgreSQL did not end within %v and is killed, which loses nothing that it acknowledged: %w", w.cfg.stopTimeout, err)
}
