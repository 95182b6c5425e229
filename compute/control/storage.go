package control

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/varvedb/varve/lsm"
	"github.com/varvedb/varve/pageserver/pageapi"
	"github.com/varvedb/varve/pageserver/pgcontrol"
	"github.com/varvedb/varve/pageserver/pgkey"
	"github.com/varvedb/varve/pageserver/timeline"
	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/env"
)

const (
	// ingestWait bounds how long a question waits for the pageserver to take in log
	// that is committed.
	ingestWait = 30 * time.Second
	// connectWait bounds how long a question waits for a pageserver that died to be
	// up again: it attaches every timeline first.
	connectWait = 30 * time.Second
)

// storage asks the pageserver, over a connection that is made again when it dies. A
// pageserver that is just starting again is waited for.
type storage struct {
	env  env.Env
	role *role // the pageserver

	mu     sync.Mutex
	client *pageapi.Client
}

func (s *storage) connect(ctx context.Context) (*pageapi.Client, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.client != nil && s.client.Err() == nil {
		return s.client, nil
	}
	s.closeLocked()
	waiting, cancel := context.WithTimeout(ctx, connectWait)
	defer cancel()
	for {
		// The connection outlives the request that happens to make it.
		client, err := pageapi.Dial(context.WithoutCancel(ctx), s.env, s.role.addr)
		if err == nil {
			s.client = client
			return client, nil
		}
		if s.role.awaitChange(waiting) != nil {
			return nil, fmt.Errorf("connect to the pageserver: %w", err)
		}
	}
}

func (s *storage) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closeLocked()
}

func (s *storage) closeLocked() {
	if s.client != nil {
		_ = s.client.Close() // it is given up; how it ends does not matter
		s.client = nil
	}
}

// triesMax bounds how often a question is asked when pageservers die under it.
const triesMax = 3

// ask asks a question that changes nothing. If the connection dies under it, it is
// asked again over the next one.
func ask[T any](ctx context.Context, s *storage, question func(*pageapi.Client) (T, error)) (answer T, err error) {
	for range triesMax {
		client, err := s.connect(ctx)
		if err != nil {
			return answer, err
		}
		answer, err = question(client)
		if err == nil || client.Err() == nil {
			return answer, Coded(err)
		}
	}
	return answer, fmt.Errorf("ask the pageserver: %w", err)
}

func (s *storage) timelines(ctx context.Context) ([]pageapi.TimelineInfo, error) {
	return ask(ctx, s, func(client *pageapi.Client) ([]pageapi.TimelineInfo, error) { return client.List(ctx) })
}

func (s *storage) explain(ctx context.Context, id wal.TimelineID, cutoff wal.LSN) (lsm.Explanation, error) {
	return ask(ctx, s, func(client *pageapi.Client) (lsm.Explanation, error) { return client.Explain(ctx, id, cutoff) })
}

func (s *storage) stats(ctx context.Context, id wal.TimelineID) ([]pageapi.Stats, error) {
	return ask(ctx, s, func(client *pageapi.Client) ([]pageapi.Stats, error) { return client.Stats(ctx, id) })
}

func (s *storage) leases(ctx context.Context, id wal.TimelineID) ([]lsm.LeaseInfo, error) {
	return ask(ctx, s, func(client *pageapi.Client) ([]lsm.LeaseInfo, error) { return client.Leases(ctx, id) })
}

// What changes something is not asked twice: a pageserver that dies under it leaves
// its outcome unknown, and the caller says so to the user.

func (s *storage) importDir(ctx context.Context, dir string, id wal.TimelineID, meta []byte) error {
	client, err := s.connect(ctx)
	if err != nil {
		return err
	}
	_, err = client.Import(ctx, pageapi.ImportRequest{Timeline: id, Path: dir, Meta: meta})
	return Coded(err)
}

func (s *storage) branch(ctx context.Context, parent, child wal.TimelineID, at wal.LSN, meta []byte) error {
	client, err := s.connect(ctx)
	if err != nil {
		return err
	}
	return Coded(client.Branch(ctx, pageapi.BranchRequest{Parent: parent, Child: child, At: at, Meta: meta}))
}

func (s *storage) delete(ctx context.Context, id wal.TimelineID) error {
	client, err := s.connect(ctx)
	if err != nil {
		return err
	}
	return Coded(client.Delete(ctx, id))
}

// collect is asked again if need be: to collect twice is to collect.
func (s *storage) collect(ctx context.Context, id wal.TimelineID, opts lsm.CollectOptions) (lsm.Collection, error) {
	return ask(ctx, s, func(client *pageapi.Client) (lsm.Collection, error) { return client.Collect(ctx, id, opts) })
}

func (s *storage) lease(ctx context.Context, id wal.TimelineID, lease lsm.LeaseInfo) error {
	client, err := s.connect(ctx)
	if err != nil {
		return err
	}
	return Coded(client.Lease(ctx, id, lease))
}

func (s *storage) release(ctx context.Context, id wal.TimelineID, lease lsm.LeaseID) error {
	client, err := s.connect(ctx)
	if err != nil {
		return err
	}
	return Coded(client.Release(ctx, id, lease))
}

// detach makes a branch independent of its parent. If it is not known whether that has
// landed, the pageserver's attachment is over: the branch is attached anew, and asked once
// more, for one that has left is left as it is.
func (s *storage) detach(ctx context.Context, id wal.TimelineID) error {
	client, err := s.connect(ctx)
	if err != nil {
		return err
	}
	err = client.DetachFromParent(ctx, id)
	if errors.Is(err, lsm.ErrFenced) {
		if err = client.Follow(ctx, id); err == nil {
			err = client.DetachFromParent(ctx, id)
		}
	}
	return Coded(err)
}

// awaitLSN waits until the pageserver has taken in a timeline's log up to an LSN.
func (s *storage) awaitLSN(ctx context.Context, id wal.TimelineID, lsn wal.LSN) error {
	ctx, cancel := context.WithTimeout(ctx, ingestWait)
	defer cancel()
	_, err := ask(ctx, s, func(client *pageapi.Client) (struct{}, error) {
		return struct{}{}, client.Timeline(id).WaitLSN(ctx, lsn)
	})
	return err
}

// lsnAt finds the LSN of a time on a timeline whose log ends at head, and which has been
// read up to ingested. Only if nothing later than the time lies below that does the rest
// of the log count, and is waited for.
func (s *storage) lsnAt(ctx context.Context, id wal.TimelineID, at time.Time, ingested, head wal.LSN) (wal.LSN, error) {
	ctx, cancel := context.WithTimeout(ctx, ingestWait)
	defer cancel()
	return ask(ctx, s, func(client *pageapi.Client) (wal.LSN, error) {
		t := client.Timeline(id)
		if lsn, err := t.LSNAt(ctx, at); err != nil || lsn < ingested {
			return lsn, err
		}
		if err := t.WaitLSN(ctx, head); err != nil {
			return 0, err
		}
		return t.LSNAt(ctx, at)
	})
}

// systemID reads PostgreSQL's system identifier out of the control file that the
// timeline keeps, as of an LSN that it has.
func (s *storage) systemID(ctx context.Context, id wal.TimelineID, lsn wal.LSN) (uint64, error) {
	return ask(ctx, s, func(client *pageapi.Client) (uint64, error) {
		name := "control file of timeline " + id.String()
		body, found, err := client.Timeline(id).Value(ctx, pgkey.Control(), lsn)
		if err != nil {
			return 0, err
		}
		if !found {
			return 0, wal.Corruptf(name, 0, "version as of "+lsn.String(), "one", "none")
		}
		control, err := pgcontrol.Decode(name, body)
		if err != nil {
			return 0, err
		}
		return control.SystemID, nil
	})
}

// codes says what kind of failure an error of the storage is to a user.
var codes = []struct {
	err  error
	code Code
}{
	{lsm.ErrNoTimeline, CodeNotFound},
	{lsm.ErrBelowHorizon, CodeNotFound},
	{lsm.ErrFutureLSN, CodeNotFound},
	{timeline.ErrNoRelation, CodeNotFound},
	{timeline.ErrBeyondEnd, CodeNotFound},
	{timeline.ErrBeforeHistory, CodeNotFound},
	{timeline.ErrFutureTime, CodeNotFound},
	{pageapi.ErrHasChildren, CodeConflict},
	{pageapi.ErrRefused, CodeConflict},
	{timeline.ErrStopped, CodeConflict},
	{context.DeadlineExceeded, CodeTimeout},
}

// Coded gives an error of the storage the code that a user's command exits with.
func Coded(err error) error {
	for _, c := range codes {
		if errors.Is(err, c.err) {
			return &Error{Code: c.code, Message: err.Error(), cause: err}
		}
	}
	return err
}
