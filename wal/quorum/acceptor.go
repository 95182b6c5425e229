package quorum

import (
	"slices"

	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/assert"
)

// OutboxMax is how many messages may wait for the disk before [Acceptor.Busy]: some
// hundred sessions, each with a window of small appends in flight.
const OutboxMax = 1 << 14

// Acceptor is the safekeeper's half of the consensus on one timeline.
//
// Its fields tell the truth as it will be once all disk effects are carried out, but for
// flushed and durableTerm, which tell what is durable now. Nothing leaves before the
// second has caught up with the first.
type Acceptor struct {
	state     AcceptorState
	written   wal.LSN // end of the last byte written
	recordEnd wal.LSN // end of the last whole record written: flushed <= recordEnd <= written
	syncing   wal.LSN // the part of recordEnd that a queued SyncLog covers

	flushed     wal.LSN
	durableTerm wal.Term
	kept        wal.LSN // the commit LSN of the last state that was written or queued

	// The session whose Elected was accepted in this term; from 0 when there is none.
	from    wal.NodeID
	session Session

	queued  Token // last token given out
	done    Token // all up to here are durable
	pending []promise
	disk    []DiskEffect
	outbox  []letter

	given AcceptorEffects // by the last Ready: its memory is used again
}

// promise is what becomes true when a token is reported.
type promise struct {
	token   Token
	flushed wal.LSN  // of a SyncLog, else 0
	term    wal.Term // of a PersistState, else 0
}

// letter is a message that waits for a token.
type letter struct {
	after Token
	send  Send
}

// NewAcceptor starts an acceptor from its durable state and log; flushed is the end of the
// last whole record of the log. A log shorter than the state's mark makes it amnesiac,
// for good: what else was acknowledged above the mark and lost, nobody knows.
func NewAcceptor(id wal.NodeID, state AcceptorState, flushed wal.LSN) *Acceptor {
	err := state.Check()
	assert.That(err == nil, "acceptor state is sound: %v", err)
	assert.That(state.Node == id, "state of node %d is that of node %d", state.Node, id)
	lost := flushed < state.Durable
	if lost {
		state.Standing = Amnesiac
	}
	a := &Acceptor{
		state:       state,
		written:     flushed,
		recordEnd:   flushed,
		syncing:     flushed,
		flushed:     flushed,
		durableTerm: state.Term,
		kept:        state.Commit,
	}
	if lost {
		a.persist()
	}
	return a
}

// AcceptorStatus is a snapshot for operators and tests.
type AcceptorStatus struct {
	Node      wal.NodeID
	Standing  Standing
	Term      wal.Term
	Durable   wal.Term // the highest term that a crash cannot take back
	History   TermHistory
	Written   wal.LSN
	RecordEnd wal.LSN
	Flushed   wal.LSN
	Commit    wal.LSN
}

// Status returns a snapshot. Term and history may not be durable yet.
func (a *Acceptor) Status() AcceptorStatus {
	return AcceptorStatus{
		Node: a.state.Node, Standing: a.state.Standing, Term: a.state.Term, Durable: a.durableTerm, History: a.state.History,
		Written: a.written, RecordEnd: a.recordEnd, Flushed: a.flushed, Commit: a.state.Commit,
	}
}

// Readable returns the end of the log that anyone may read: committed, and durable here.
func (a *Acceptor) Readable() wal.LSN {
	if a.state.Standing != Admitted {
		return a.state.Start
	}
	return min(a.state.Commit, a.flushed)
}

// ReadableBy returns the end of the log that the proposer of the term may read to fill
// another acceptor, committed or not. It is the log's start unless the acceptor is in
// that term and has accepted its leader: else it may have bytes that the leader's log does
// not have, which are cut at any time, and others put in their place. So the reader asks
// again after it has read.
func (a *Acceptor) ReadableBy(term wal.Term) wal.LSN {
	if a.state.Standing != Admitted || a.state.Term != term || !a.accepted(term) {
		return a.state.Start
	}
	return a.flushed
}

// Busy reports that so much waits for the disk that no more should be stepped in.
func (a *Acceptor) Busy() bool { return len(a.outbox) >= OutboxMax }

// Ready returns the effects to carry out, and forgets them. Bytes appended since the last
// call share one SyncLog. The slices are valid until the next call.
func (a *Acceptor) Ready() AcceptorEffects {
	a.sync()
	disk, sends := again(a.given.Disk), again(a.given.Sends)
	a.given = AcceptorEffects{Disk: a.disk, Sends: a.release(sends)}
	a.disk = disk
	return a.given
}

// release moves the messages whose token is durable from the front of the outbox to
// sends, so that the order of messages is kept.
func (a *Acceptor) release(sends []Send) []Send {
	n := 0
	for ; n < len(a.outbox) && a.outbox[n].after <= a.done; n++ {
		a.checkPromises(a.outbox[n].send.Message)
		sends = append(sends, a.outbox[n].send)
	}
	a.outbox = slices.Delete(a.outbox, 0, n)
	return sends
}

// checkPromises asserts that what a message is about to promise is durable. Flush LSNs are
// checked while they can still be counted: an older term's, or a vote whose election is
// over, may have been overtaken by a cut, just as if it had been long on its way.
func (a *Acceptor) checkPromises(m Message) {
	term := m.Head().Term
	if term > a.durableTerm {
		assert.Failf("told term %d is durable, as %d is", term, a.durableTerm)
	}
	if term != a.state.Term {
		return
	}
	flush := wal.InvalidLSN
	switch m := m.(type) {
	case VoteReply:
		if !a.accepted(term) {
			flush = m.Flush
		}
	case ElectedReply:
		flush = m.Flush
	case AppendReply:
		flush = m.Flush
	}
	if flush > a.flushed {
		assert.Failf("told flush LSN %v is durable, as %v is", flush, a.flushed)
	}
}

// Persisted reports that every disk effect up to and including the token's is durable.
func (a *Acceptor) Persisted(token Token) {
	if token <= a.done || token > a.queued {
		assert.Failf("token %d is reported once, after %d, and was given out, as those up to %d were", token, a.done, a.queued)
	}
	a.done = token
	before := a.flushed
	n := 0
	for ; n < len(a.pending) && a.pending[n].token <= token; n++ {
		a.flushed = max(a.flushed, a.pending[n].flushed)
		a.durableTerm = max(a.durableTerm, a.pending[n].term)
	}
	a.pending = slices.Delete(a.pending, 0, n)
	if a.flushed > a.recordEnd {
		assert.Failf("flushed %v is at or below the last record end %v", a.flushed, a.recordEnd)
	}
	if a.flushed > before && a.from != 0 {
		a.acknowledge()
	}
}

// Step takes in a message; from, never 0, is the node at the other end of its connection.
func (a *Acceptor) Step(from wal.NodeID, m Message) {
	assert.That(from != 0, "a message comes from a numbered node")
	if m.Head().Timeline != a.state.Timeline {
		a.refuse(from, m, ReasonForeign)
		return
	}
	switch body := m.(type) {
	case Greeting:
		a.stepGreeting(from, body)
	case VoteRequest:
		if a.serves(from, m) {
			a.stepVoteRequest(from, body)
		}
	case Elected:
		if a.serves(from, m) {
			a.stepElected(from, body)
		}
	case Append:
		if a.serves(from, m) {
			a.stepAppend(from, body)
		}
	}
}

// Leave reports that the connection of a session is gone. If it was the leader's, nobody
// may tell the commit LSN again for long, so that what was told of it is made durable: readers
// of a log that is not written any more then have all of it, whoever restarts.
func (a *Acceptor) Leave(from wal.NodeID, session Session) {
	if from == a.from && session == a.session && a.state.Commit > a.kept {
		a.persist()
	}
}

// serves refuses what an amnesiac must not answer and what comes from an older term.
// A vote request of an older term is denied instead, by its own handler.
func (a *Acceptor) serves(from wal.NodeID, m Message) bool {
	if a.state.Standing != Admitted {
		a.refuse(from, m, ReasonAmnesiac)
		return false
	}
	if m.Head().Term < a.state.Term {
		a.refuse(from, m, ReasonStaleTerm)
		return false
	}
	return true
}

func (a *Acceptor) stepGreeting(from wal.NodeID, m Greeting) {
	if m.Tenant != a.state.Tenant || m.SystemID != a.state.SystemID || m.PGVersion != a.state.PGVersion {
		a.refuse(from, m, ReasonForeign)
		return
	}
	a.send(from, GreetingReply{Header: a.header(m.Session), Node: a.state.Node, Standing: a.state.Standing})
}

// stepVoteRequest gives the vote of a term to the first who asks. From here on nothing
// of an older term is written, so the position told with the vote is final: what
// was written is made durable before the vote leaves, and counted in it.
func (a *Acceptor) stepVoteRequest(from wal.NodeID, m VoteRequest) {
	if m.Term == a.state.Term {
		a.send(from, VoteReply{Header: a.header(m.Session)})
		return
	}
	a.enter(m.Term)
	a.sync()
	a.persist()
	a.send(from, VoteReply{
		Header:  a.header(m.Session),
		Given:   true,
		Flush:   a.recordEnd,
		Commit:  min(a.state.Commit, a.recordEnd),
		History: a.state.History.UpTo(a.recordEnd),
	})
}

// stepElected accepts the winner of a term, once per session: cuts what the leader's log
// does not have, then takes over the leader's history. The order matters: a history
// above bytes that it does not describe would give them a term they never had.
func (a *Acceptor) stepElected(from wal.NodeID, m Elected) {
	known := a.accepted(m.Term)
	if known && a.from == from && m.Session <= a.session {
		return // late or repeated; a newer connection may have written more
	}
	common, ok := a.state.History.CommonPoint(a.recordEnd, m.History)
	if !ok {
		a.refuse(from, m, ReasonForeign)
		return
	}
	if a.contradicts(m, common) {
		if m.Term > a.state.Term {
			a.enter(m.Term)
			a.persist()
		}
		a.refuse(from, m, ReasonContradicts)
		return
	}
	a.enter(m.Term)
	a.truncate(common)
	if !known {
		a.state.History = m.History
		a.persist()
	}
	a.sync()
	a.from, a.session = from, m.Session
	a.send(from, ElectedReply{Header: a.header(m.Session), Flush: a.recordEnd})
}

// contradicts reports whether a leader's log, of which that up to common is here, cannot be the
// log: it lacks what is committed, or the term has another leader. The disk of some voter has
// lost what it acknowledged, and nothing here is cut for that.
func (a *Acceptor) contradicts(m Elected, common wal.LSN) bool {
	if a.accepted(m.Term) && a.state.History.Last() != m.History.Last() {
		return true
	}
	return common < min(a.state.Commit, a.recordEnd)
}

// stepAppend writes bytes of the leader that was accepted in this session. In one term
// the leader's bytes never change, so those already here need no second write.
func (a *Acceptor) stepAppend(from wal.NodeID, m Append) {
	if !m.sound() {
		assert.Failf("append of [%v, %v) with record end %v is sound", m.Begin, m.End(), m.RecordEnd)
	}
	if m.Term != a.state.Term || from != a.from || m.Session != a.session {
		return // of an older connection, or of one on which Elected was lost
	}
	if m.Begin > a.written {
		return // a gap: this connection has lost bytes, and is of no more use
	}
	if m.End() > a.written {
		a.disk = append(a.disk, WriteLog{
			At:        a.written,
			Bytes:     m.Bytes[a.written-m.Begin:],
			RecordEnd: above(m.RecordEnd, a.written),
		})
		a.written = m.End()
	}
	a.recordEnd = max(a.recordEnd, m.RecordEnd)
	a.adopt(m.Commit)
	if a.recordEnd <= a.syncing {
		a.acknowledge()
	}
}

// above returns l if it is above limit, else 0.
func above(l, limit wal.LSN) wal.LSN {
	if l > limit {
		return l
	}
	return 0
}

// adopt takes over the leader's commit LSN. It becomes durable with the next state; so that a
// restart does not forget too much, one is written each time it has passed a segment, and
// when the leader's session ends.
func (a *Acceptor) adopt(commit wal.LSN) {
	before := a.state.Commit
	a.state.Commit = max(before, commit)
	if before.Segment() != a.state.Commit.Segment() {
		a.persist()
	}
}

// accepted reports whether the acceptor has accepted the leader of the term.
func (a *Acceptor) accepted(term wal.Term) bool { return a.state.History.Last().Term == term }

// enter moves to the term, leaving the session of an older one behind.
func (a *Acceptor) enter(term wal.Term) {
	assert.That(term >= a.state.Term, "term %d is at or above %d", term, a.state.Term)
	if term > a.state.Term {
		a.state.Term = term
		a.from, a.session = 0, 0
	}
}

// truncate cuts the log at to. The durable mark is lowered first: else a crash after
// the cut would look like a log that lost bytes.
func (a *Acceptor) truncate(to wal.LSN) {
	assert.That(to >= a.state.Start, "cut at %v is at or above the log's start %v", to, a.state.Start)
	if a.written == to {
		return
	}
	assert.That(to < a.written, "cut at %v is within the log, which ends at %v", to, a.written)
	a.recordEnd = min(a.recordEnd, to)
	a.syncing = min(a.syncing, to)
	a.flushed = min(a.flushed, to)
	for i := range a.pending {
		a.pending[i].flushed = min(a.pending[i].flushed, to)
	}
	if a.state.Durable > to {
		a.persist()
	}
	a.written = to
	a.disk = append(a.disk, TruncateLog{Token: a.promise(promise{}), To: to})
}

// sync queues a SyncLog for the whole records written since the last one.
func (a *Acceptor) sync() {
	if a.recordEnd == a.syncing {
		return
	}
	a.syncing = a.recordEnd
	token := a.promise(promise{flushed: a.recordEnd})
	a.disk = append(a.disk, SyncLog{Token: token, RecordEnd: a.recordEnd})
}

func (a *Acceptor) persist() {
	a.state.Durable, a.kept = a.flushed, a.state.Commit
	token := a.promise(promise{term: a.state.Term})
	a.disk = append(a.disk, PersistState{Token: token, State: a.state})
}

func (a *Acceptor) promise(p promise) Token {
	a.queued++
	p.token = a.queued
	a.pending = append(a.pending, p)
	return p.token
}

func (a *Acceptor) acknowledge() {
	a.send(a.from, AppendReply{
		Header:  a.header(a.session),
		Written: a.written,
		Flush:   a.flushed,
		Commit:  a.state.Commit,
	})
}

func (a *Acceptor) refuse(from wal.NodeID, m Message, reason Reason) {
	a.send(from, Refused{Header: a.header(m.Head().Session), Reason: reason})
}

func (a *Acceptor) header(session Session) Header {
	return Header{Timeline: a.state.Timeline, Term: a.state.Term, Session: session}
}

// send queues a message behind every disk effect queued so far: all that it can tell
// is in them or was durable before.
func (a *Acceptor) send(to wal.NodeID, m Message) {
	a.outbox = append(a.outbox, letter{after: a.queued, send: Send{To: to, Message: m}})
}
