package quorum

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/wal"
)

// lone is a leader of three nodes whose replies the test makes up.
type lone struct {
	t        *testing.T
	p        *Proposer
	sessions map[wal.NodeID]Session
	sent     map[wal.NodeID]wal.LSN // end of what was sent
	messages int
	fetches  []Fetch
	hangups  []Hangup
}

func newLone(t *testing.T) *lone {
	l := &lone{t: t, sessions: map[wal.NodeID]Session{}, sent: map[wal.NodeID]wal.LSN{}}
	identity := Identity{Timeline: wal.TimelineID{1}, Start: logStart}
	l.p = NewProposer(ProposerConfig{ID: 9, Identity: identity, Safekeepers: []wal.NodeID{3, 1, 2}, ElectionTicks: 5})
	for id := wal.NodeID(1); id <= 3; id++ {
		l.sessions[id] = l.p.Connected(id)
		l.p.Step(id, GreetingReply{Header: l.header(id, 0), Node: id, Standing: Admitted})
	}
	history := TermHistory{{0, logStart}}
	for id := wal.NodeID(1); id <= 3; id++ {
		l.p.Step(id, VoteReply{Header: l.header(id, 1), Given: true, Flush: logStart, Commit: logStart, History: history})
	}
	for id := wal.NodeID(1); id <= 3; id++ {
		l.p.Step(id, ElectedReply{Header: l.header(id, 1), Flush: logStart})
	}
	l.drain()
	require.Equal(t, PhaseLeading, l.p.Status().Phase)
	return l
}

func (l *lone) header(id wal.NodeID, term wal.Term) Header {
	return Header{Timeline: wal.TimelineID{1}, Term: term, Session: l.sessions[id]}
}

func (l *lone) drain() {
	out := l.p.Ready()
	for _, s := range out.Sends {
		if m, ok := s.Message.(Append); ok {
			require.True(l.t, l.sent[s.To] == 0 || l.sent[s.To] == m.Begin, "appends follow each other")
			require.LessOrEqual(l.t, len(m.Bytes), AppendBytesMax)
			l.sent[s.To] = m.End()
			l.messages++
		}
	}
	l.fetches = append(l.fetches, out.Fetches...)
	l.hangups = append(l.hangups, out.Hangups...)
}

// propose appends a piece; a record ends with it or not.
func (l *lone) propose(size int, ends bool) {
	begin := l.p.Status().Head
	recordEnd := wal.InvalidLSN
	if ends {
		recordEnd = begin + wal.LSN(size)
	}
	l.p.Propose(begin, make([]byte, size), recordEnd)
	l.drain()
}

func (l *lone) ack(id wal.NodeID, written, flush wal.LSN) {
	l.p.Step(id, AppendReply{Header: l.header(id, 1), Written: written, Flush: flush, Commit: logStart})
	l.drain()
}

func TestWindowBoundsWhatIsInFlight(t *testing.T) {
	l := newLone(t)
	for range 2 * WindowBytes / AppendBytesMax {
		l.propose(AppendBytesMax, true)
	}
	require.Equal(t, logStart+WindowBytes, l.sent[1])
	l.ack(1, logStart+AppendBytesMax, logStart) // received is enough, durable is not asked for
	require.Equal(t, logStart+WindowBytes+AppendBytesMax, l.sent[1])
	require.Equal(t, logStart+WindowBytes, l.sent[2])
}

func TestRoomEndsWhenNothingIsCommitted(t *testing.T) {
	l := newLone(t)
	proposed := 0
	for l.p.Room() > 0 {
		l.propose(l.p.Room(), true)
		proposed += AppendBytesMax
		require.LessOrEqual(t, proposed, BufferBytesMax)
	}
	require.Equal(t, BufferBytesMax, proposed)
	require.Panics(t, func() { l.propose(1, true) })

	head := l.p.Status().Head
	for at := l.sent[1]; ; at = l.sent[1] {
		l.ack(1, at, at)
		l.ack(2, at, at)
		if at == head {
			break
		}
	}
	require.Equal(t, head, l.p.Status().Commit)
	require.Equal(t, AppendBytesMax, l.p.Room())
}

// TestRecordLargerThanTheBuffer: no part of it can be committed before its end is proposed.
func TestRecordLargerThanTheBuffer(t *testing.T) {
	l := newLone(t)
	for range BufferBytesMax/AppendBytesMax + 8 {
		l.propose(AppendBytesMax, false)
		l.ack(1, l.sent[1], logStart)
		l.ack(2, l.sent[2], logStart)
	}
	l.propose(8, true)
	head := l.p.Status().Head
	require.Equal(t, head, l.sent[1])
	l.ack(1, head, head)
	l.ack(2, head, head)
	require.Equal(t, head, l.p.Status().Commit)
}

// TestLaggardIsFetchedForOnceTheBufferIsOver: what is committed leaves the buffer, and a node
// that was away gets it from another.
func TestLaggardIsFetchedForOnceTheBufferIsOver(t *testing.T) {
	l := newLone(t)
	l.p.Disconnected(3, l.sessions[3])
	for range BufferBytesMax / AppendBytesMax {
		l.propose(AppendBytesMax, true)
		l.ack(1, l.sent[1], l.sent[1])
		l.ack(2, l.sent[2], l.sent[2])
	}
	require.Empty(t, l.fetches)
	head := l.p.Status().Head
	require.Equal(t, head, l.p.Status().Commit)

	l.sessions[3] = l.p.Connected(3)
	l.p.Step(3, GreetingReply{Header: l.header(3, 1), Node: 3, Standing: Admitted})
	delete(l.sent, 3)
	l.p.Step(3, ElectedReply{Header: l.header(3, 1), Flush: logStart})
	l.drain()
	fetched := 0
	for len(l.fetches) > 0 {
		f := l.fetches[0]
		l.fetches = l.fetches[1:]
		require.Equal(t, wal.NodeID(3), f.For)
		require.LessOrEqual(t, f.End-f.Begin, wal.LSN(AppendBytesMax))
		if fetched == 3 {
			l.p.FetchFailed(f)
			l.p.Tick()
			fetched++
		} else {
			l.p.Fetched(f, make([]byte, (f.End-f.Begin+1)/2), 0) // a short read
			fetched++
		}
		l.drain()
		l.ack(3, l.sent[3], logStart)
	}
	require.Greater(t, fetched, BufferBytesMax/AppendBytesMax/2)
	for l.sent[3] < head {
		l.ack(3, l.sent[3], logStart)
	}
	l.ack(3, head, head)
	require.Equal(t, head, l.sent[3])
}

// TestAnotherDonorIsAskedAfterTrouble: one donor's disk may be damaged where another's is not,
// which shows as a fetch that fails, or as a node that hangs up on what was fetched for it.
func TestAnotherDonorIsAskedAfterTrouble(t *testing.T) {
	l := newLone(t)
	for range BufferBytesMax / AppendBytesMax { // more than stays in the buffer for node 3
		l.propose(AppendBytesMax, true)
		head := l.p.Status().Head
		l.ack(1, head, head)
		l.ack(2, head, head)
	}
	reconnect := func() {
		l.p.Disconnected(3, l.sessions[3])
		l.sessions[3] = l.p.Connected(3)
		l.sent[3] = 0
		l.p.Step(3, GreetingReply{Header: l.header(3, 0), Node: 3, Standing: Admitted})
		l.fetches = nil
		l.p.Step(3, ElectedReply{Header: l.header(3, 1), Flush: logStart})
		l.drain()
	}
	reconnect()
	first := l.fetches[0]
	l.p.FetchFailed(first)
	l.fetches = nil
	l.p.Tick()
	l.drain()
	second := l.fetches[0]
	require.NotEqual(t, first.From, second.From, "the fetch failed")
	require.Equal(t, first.Begin, second.Begin)
	l.p.Fetched(second, make([]byte, 1000), 0)
	l.drain()
	reconnect()
	require.Equal(t, first.From, l.fetches[0].From, "the node hung up on what it got")
}

func TestSilentNodeIsHungUpOn(t *testing.T) {
	l := newLone(t)
	for tick := 1; tick <= SilenceTicks; tick++ {
		require.Empty(t, l.hangups)
		l.p.Tick()
		l.drain()
		l.ack(1, logStart, logStart)
	}
	require.Equal(t, []Hangup{{Node: 2, Session: l.sessions[2]}, {Node: 3, Session: l.sessions[3]}}, l.hangups)
}

// TestWrongNodeIsLeftOut: two addresses that lead to one node must not make a majority.
func TestWrongNodeIsLeftOut(t *testing.T) {
	p := NewProposer(ProposerConfig{ID: 9, Safekeepers: []wal.NodeID{1, 2, 3}, ElectionTicks: 5})
	for id := wal.NodeID(1); id <= 2; id++ {
		session := p.Connected(id)
		p.Step(id, GreetingReply{Header: Header{Session: session}, Node: 1, Standing: Admitted})
	}
	require.Equal(t, []Reject{{Node: 2, Reason: ReasonForeign}}, p.Ready().Rejects)
	require.Equal(t, PhaseGreeting, p.Status().Phase)
}

func TestElectionsAreBounded(t *testing.T) {
	p := NewProposer(ProposerConfig{ID: 9, Safekeepers: []wal.NodeID{1}, ElectionTicks: 1})
	session := p.Connected(1)
	p.Step(1, GreetingReply{Header: Header{Session: session}, Node: 1, Standing: Admitted})
	for range ElectionRoundsMax - 1 {
		p.Tick()
	}
	require.Nil(t, p.Ready().Lost)
	p.Tick()
	require.Equal(t, &Lost{Term: ElectionRoundsMax, Cause: LostElections}, p.Ready().Lost)
}

// TestForeignProposer: an acceptor of another cluster refuses at the greeting.
func TestForeignProposer(t *testing.T) {
	identity := Identity{Tenant: wal.TenantID{1}, Timeline: wal.TimelineID{2}, SystemID: 3, PGVersion: 15, Start: logStart}
	sound := Greeting{Header: Header{Timeline: identity.Timeline, Session: 4}, Tenant: identity.Tenant, SystemID: 3, PGVersion: 15}
	for name, change := range map[string]func(*Greeting){
		"timeline":  func(g *Greeting) { g.Timeline[5]++ },
		"tenant":    func(g *Greeting) { g.Tenant[5]++ },
		"system id": func(g *Greeting) { g.SystemID++ },
		"version":   func(g *Greeting) { g.PGVersion++ },
	} {
		a := NewAcceptor(1, NewState(1, identity), logStart)
		g := sound
		change(&g)
		a.Step(9, g)
		require.Equal(t, ReasonForeign, a.Ready().Sends[0].Message.(Refused).Reason, name)
		a.Step(9, sound)
		require.Equal(t, wal.NodeID(1), a.Ready().Sends[0].Message.(GreetingReply).Node)
	}
}

// TestCommitIsSavedOnceASegment: a restarted safekeeper serves nearly all it served before.
func TestCommitIsSavedOnceASegment(t *testing.T) {
	identity := Identity{Start: logStart}
	a := NewAcceptor(1, NewState(1, identity), logStart)
	history := TermHistory{{0, logStart}, {1, logStart}}
	a.Step(9, Elected{Header: Header{Term: 1, Session: 1}, Start: logStart, History: history})
	saved := []wal.LSN{}
	for at := logStart; at < 3*wal.SegmentSize; at += AppendBytesMax {
		end := at + AppendBytesMax
		a.Step(9, Append{Header: Header{Term: 1, Session: 1}, Begin: at, Bytes: make([]byte, AppendBytesMax), RecordEnd: end, Commit: at})
		for _, e := range a.Ready().Disk {
			if e, ok := e.(PersistState); ok {
				saved = append(saved, e.State.Commit)
			}
		}
		require.Equal(t, logStart, a.Readable(), "committed, but not durable here")
	}
	require.Equal(t, []wal.LSN{logStart, logStart + wal.SegmentSize, logStart + 2*wal.SegmentSize}, saved)
}

func TestTokensAreReportedOnce(t *testing.T) {
	a := NewAcceptor(1, NewState(1, Identity{Start: logStart}), logStart)
	a.Step(9, VoteRequest{Header: Header{Term: 1}})
	token := a.Ready().Disk[0].(PersistState).Token
	require.Panics(t, func() { a.Persisted(token + 1) })
	a.Persisted(token)
	require.Panics(t, func() { a.Persisted(token) })
}

func TestLogThatIsNotOurs(t *testing.T) {
	state := NewState(1, Identity{Start: logStart})
	require.Panics(t, func() { NewAcceptor(2, state, logStart) })
	require.Panics(t, func() { NewAcceptor(1, AcceptorState{Node: 1}, logStart) })
}
