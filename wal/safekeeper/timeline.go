package safekeeper

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/assert"
	"github.com/varvedb/varve/wal/env"
	"github.com/varvedb/varve/wal/frame"
	"github.com/varvedb/varve/wal/pgwal"
	"github.com/varvedb/varve/wal/quorum"
	"github.com/varvedb/varve/wal/segment"
	"github.com/varvedb/varve/wal/walapi"
)

// pendingBytesMax bounds the log bytes of one timeline that wait for its disk: two
// windows of a proposer, so that one which has just lost its leadership cannot keep
// the next from being heard.
const pendingBytesMax = 2 * quorum.WindowBytes

// sessionsMax bounds the sessions of one timeline: proposers come one at a time,
// and leave connections behind that have not noticed yet. One more takes the place of
// the eldest.
const sessionsMax = 64

// timeline is an acceptor with its log, and the connections that use it.
type timeline struct {
	e        env.Env
	dir      string
	identity quorum.Identity
	lost     error // why it takes no part: then all below is unset

	log     *segment.Log   // the disk task's, but for ReadAt
	scanner *pgwal.Scanner // the disk task's; at the end of log

	mu       sync.Mutex
	failed   error // why it is out of service until it is opened anew
	acceptor *quorum.Acceptor
	sessions map[sessionKey]*session
	joined   uint64  // counts sessions
	kicked   bool    // the acceptor may have effects
	pending  int     // bytes stepped in that are not written yet
	readable wal.LSN // what waiting readers know
	// What was checked last for a reader, from a record to the end of one.
	checkedFrom, checkedEnd wal.LSN
	work                    env.Cond
	drained                 env.Cond
	grown                   env.Cond
}

// sessionKey names a session: proposers draw their session numbers on their own.
type sessionKey struct {
	proposer wal.NodeID
	session  quorum.Session
}

// session is a proposer's connection, the number-th that joined.
type session struct {
	conn   *walapi.Session
	number uint64
}

func newTimeline(e env.Env, dir string) *timeline {
	t := &timeline{e: e, dir: dir, sessions: map[sessionKey]*session{}}
	t.work = e.Tasks.NewCond(&t.mu)
	t.drained = e.Tasks.NewCond(&t.mu)
	t.grown = e.Tasks.NewCond(&t.mu)
	return t
}

func (t *timeline) join(key sessionKey, conn *walapi.Session) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.sessions[key] != nil {
		return fmt.Errorf("session %d of proposer %d is connected already", key.session, key.proposer)
	}
	if len(t.sessions) >= sessionsMax {
		delete(t.sessions, t.eldest())
	}
	t.joined++
	t.sessions[key] = &session{conn, t.joined}
	return nil
}

// eldest returns the session that joined before all others. One whose other end is
// gone may never end by itself. The mutex is held.
func (t *timeline) eldest() (eldest sessionKey) {
	least := t.joined + 1
	//varve:unordered the least number is found in any order
	for key, s := range t.sessions {
		if s.number < least {
			eldest, least = key, s.number
		}
	}
	return eldest
}

func (t *timeline) leave(key sessionKey, conn *walapi.Session) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if s := t.sessions[key]; s != nil && s.conn == conn {
		delete(t.sessions, key)
	}
	if t.failed == nil {
		t.acceptor.Leave(key.proposer, key.session)
		t.kick()
	}
}

// fail takes the timeline out of service: whoever waits for it learns why. The first
// reason stays.
func (t *timeline) fail(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.failed == nil {
		t.failed = fmt.Errorf("out of service: %w", err)
	}
	t.work.Broadcast()
	t.drained.Broadcast()
	t.grown.Broadcast()
}

func (t *timeline) failure() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.failed
}

// step takes in a proposer's message, waiting while the disk is too far behind.
func (t *timeline) step(ctx context.Context, key sessionKey, m quorum.Message) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.sessions[key] == nil {
		return fmt.Errorf("session %d of proposer %d takes no answers", key.session, key.proposer)
	}
	for t.failed == nil && (t.pending > pendingBytesMax || t.acceptor.Busy()) {
		if err := t.drained.Wait(ctx); err != nil {
			return err
		}
	}
	if t.failed != nil {
		return t.failed
	}
	if appended, ok := m.(quorum.Append); ok {
		t.pending += len(appended.Bytes)
	}
	t.acceptor.Step(key.proposer, m)
	t.kick()
	return nil
}

// kick wakes the disk task, and readers if there is more to read.
func (t *timeline) kick() {
	t.kicked = true
	t.work.Signal()
	if readable := t.acceptor.Readable(); readable != t.readable {
		t.readable = readable
		t.grown.Broadcast()
	}
}

// runDisk carries out the acceptor's effects until ctx ends or the disk fails.
func (t *timeline) runDisk(ctx context.Context) error {
	defer t.log.Close()
	for {
		disk, taken, err := t.ready(ctx)
		if err != nil {
			return err
		}
		for _, effect := range disk {
			if err := t.carryOut(ctx, effect); err != nil {
				return fmt.Errorf("timeline %v: %w", t.identity.Timeline, err)
			}
		}
		t.taken(taken)
	}
}

// ready waits for effects, sends the messages among them and returns the others,
// with the number of bytes that were stepped in up to then.
func (t *timeline) ready(ctx context.Context) ([]quorum.DiskEffect, int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for !t.kicked && t.failed == nil {
		if err := t.work.Wait(ctx); err != nil {
			return nil, 0, err
		}
	}
	if t.failed != nil {
		return nil, 0, t.failed
	}
	t.kicked = false
	effects := t.acceptor.Ready()
	for _, send := range effects.Sends {
		t.send(send)
	}
	return effects.Disk, t.pending, nil
}

// send queues a message for its session's connection. One that takes no more gets
// no more: it is forgotten here, and ends with its next message.
func (t *timeline) send(send quorum.Send) {
	key := sessionKey{send.To, send.Message.Head().Session}
	s := t.sessions[key]
	if s != nil && !s.conn.Queue(send.Message) {
		delete(t.sessions, key)
	}
}

// taken notes that so many bytes no longer wait for the disk.
func (t *timeline) taken(n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.pending -= n
	assert.That(t.pending >= 0, "the %d bytes that wait for the disk are not negative", t.pending)
	t.drained.Broadcast()
}

func (t *timeline) carryOut(ctx context.Context, effect quorum.DiskEffect) error {
	switch effect := effect.(type) {
	case quorum.WriteLog:
		// What a donor's disk has damaged must not become a majority's, nor be counted.
		if err := feed(t.scanner, effect.Bytes); err != nil {
			return err
		}
		return t.log.Write(ctx, effect.At, effect.Bytes)
	case quorum.SyncLog:
		if end := t.scanner.Position(); effect.RecordEnd > end {
			return wal.Corruptf(t.log.Dir(), int64(end), "log", fmt.Sprintf("whole records up to %v", effect.RecordEnd), fmt.Sprintf("an end at %v", end))
		}
		return t.persisted(effect.Token, t.log.Sync(ctx, effect.RecordEnd))
	case quorum.TruncateLog:
		t.scanFrom(effect.To)
		err := t.log.Truncate(ctx, effect.To)
		t.e.Trace.Cover("safekeeper cut its log")
		return t.persisted(effect.Token, err)
	case quorum.PersistState:
		if err := t.persisted(effect.Token, writeState(ctx, t.e.FS, t.dir, effect.State)); err != nil {
			return err
		}
		t.note(effect.State)
		return nil
	}
	assert.Failf("disk effect %T is known", effect)
	return nil
}

// note tells of a state that is durable: whom the safekeeper voted for or follows, and how
// far it has the log and knows it to be committed. States are written on a vote, for a new
// leader, once for each segment and when a leader's session ends, so that these notes are few.
func (t *timeline) note(s quorum.AcceptorState) {
	name := "safekeeper follows"
	if s.Term > s.History.Last().Term {
		name = "safekeeper voted"
	}
	t.e.Trace.Event(name, "timeline", s.Timeline.String(), "term", uint64(s.Term), "flush", t.status().Flush.String(), "commit", s.Commit.String())
}

// scanFrom begins the check of what is written at an LSN where the log ends.
func (t *timeline) scanFrom(end wal.LSN) { t.scanner = t.newScanner(end) }

// persisted reports an effect, unless it failed.
func (t *timeline) persisted(token quorum.Token, err error) error {
	if err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.acceptor.Persisted(token)
	t.kick()
	return nil
}

func (t *timeline) status() walapi.TimelineStatus {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.acceptor.Status()
	return walapi.TimelineStatus{
		Identity: t.identity, Node: s.Node, Standing: s.Standing, Term: s.Durable,
		Flush: s.Flushed, Commit: s.Commit, Readable: t.acceptor.Readable(), History: s.History,
	}
}

// read gives a chunk of the log, waiting for it if asked to.
func (t *timeline) read(ctx context.Context, m walapi.ReadRequest) (walapi.Chunk, error) {
	if m.Begin < t.identity.Start {
		return walapi.Chunk{}, frame.Errorf(walapi.CodeBelowStart, "the log of timeline %v begins at %v, above %v", m.Timeline, t.identity.Start, m.Begin)
	}
	limit, err := t.waitReadable(ctx, m)
	if err != nil {
		return walapi.Chunk{}, err
	}
	chunk := walapi.Chunk{Begin: m.Begin, Limit: limit}
	if m.Begin >= limit {
		return chunk, nil
	}
	size := m.BytesMax
	if size == 0 {
		size = walapi.ReadBytesMax
	}
	bytes, damage, err := t.readSound(ctx, m.Begin, size, limit)
	if err != nil {
		return walapi.Chunk{}, err
	}
	// What is not committed may have been cut, and other bytes put in its place,
	// while it was read.
	if _, err := t.limit(m); err != nil {
		return walapi.Chunk{}, err
	}
	if damage != nil {
		return walapi.Chunk{}, t.lose(ctx, damage)
	}
	chunk.Bytes = bytes
	return chunk, nil
}

// waitReadable returns the end of what m may read, once that is above m.Begin or
// m.Wait has passed.
func (t *timeline) waitReadable(ctx context.Context, m walapi.ReadRequest) (wal.LSN, error) {
	limit, err := t.limit(m)
	if err != nil || limit > m.Begin || m.Wait == 0 {
		return limit, err
	}
	limited, cancel := t.e.Tasks.WithTimeout(ctx, m.Wait)
	defer cancel()
	if err := t.waitGrown(limited, m.Begin); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return 0, err
	}
	return t.limit(m)
}

// waitGrown waits until there is committed log above an LSN.
func (t *timeline) waitGrown(ctx context.Context, above wal.LSN) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	for t.failed == nil && t.readable <= above {
		if err := t.grown.Wait(ctx); err != nil {
			return err
		}
	}
	return t.failed
}

// limit is the end of what m may read now.
func (t *timeline) limit(m walapi.ReadRequest) (wal.LSN, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.failed != nil {
		return 0, t.failed
	}
	if m.Term == 0 {
		return t.acceptor.Readable(), nil
	}
	if term := t.acceptor.Status().Term; term != m.Term {
		return 0, frame.Errorf(walapi.CodeWrongTerm, "timeline %v is in term %d, not in %d", m.Timeline, term, m.Term)
	}
	return t.acceptor.ReadableBy(m.Term), nil
}
