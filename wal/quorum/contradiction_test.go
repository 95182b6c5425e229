package quorum

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/wal"
)

// What cannot be unless the disk of some node deceives ends in a refusal that says so, and
// nobody cuts anything for it.

// voter is an acceptor that has log of term 1 up to 0/108, all of it committed.
func voter(identity Identity) *Acceptor {
	state := NewState(1, identity)
	state.Term, state.Commit, state.Durable = 1, 0x108, 0x108
	state.History = state.History.With(TermStart{Term: 1, LSN: logStart})
	return NewAcceptor(1, state, 0x108)
}

// answers steps a message in, carries out what the disk has to do, and returns what is
// sent for it.
func answers(t *testing.T, a *Acceptor, m Message) (sent []Message) {
	a.Step(101, m)
	for effects := a.Ready(); len(effects.Disk)+len(effects.Sends) > 0; effects = a.Ready() {
		for _, e := range effects.Disk {
			state, ok := e.(PersistState)
			require.True(t, ok, "%T: the log is as it was", e)
			a.Persisted(state.Token)
		}
		for _, s := range effects.Sends {
			sent = append(sent, s.Message)
		}
	}
	return sent
}

func TestALeaderWithoutWhatIsCommittedIsRefused(t *testing.T) {
	w := newWorld(t, 1)
	a := voter(w.identity)
	h := Header{Timeline: w.identity.Timeline, Term: 2, Session: 7}
	history := TermHistory{{0, logStart}, {1, logStart}, {2, 0x104}}
	require.Equal(t, []Message{Refused{Header: h, Reason: ReasonContradicts}}, answers(t, a, Elected{Header: h, Start: 0x104, History: history}))
	s := a.Status()
	require.Equal(t, wal.Term(2), s.Durable, "an older leader is refused as well")
	require.Equal(t, TermHistory{{0, logStart}, {1, logStart}}, s.History)
	require.Equal(t, []wal.LSN{0x108, 0x108, 0x108}, []wal.LSN{s.Flushed, s.Commit, a.Readable()})
}

func TestASecondLeaderOfATermIsRefused(t *testing.T) {
	w := newWorld(t, 1)
	a := voter(w.identity)
	h := Header{Timeline: w.identity.Timeline, Term: 1, Session: 7}
	history := TermHistory{{0, logStart}, {1, 0x108}}
	require.Equal(t, []Message{Refused{Header: h, Reason: ReasonContradicts}}, answers(t, a, Elected{Header: h, Start: 0x108, History: history}))
	require.Equal(t, TermHistory{{0, logStart}, {1, logStart}}, a.Status().History)
}

// candidate is a proposer to whom nodes 1 and 2 are about to give their votes for term 2.
func candidate(w *world) (p *Proposer, headers []Header) {
	p = NewProposer(ProposerConfig{ID: 101, Identity: w.identity, Safekeepers: []wal.NodeID{1, 2, 3}, SessionBase: 100, ElectionTicks: 3})
	p.seen = 1
	for node := wal.NodeID(1); node <= 2; node++ {
		h := Header{Timeline: w.identity.Timeline, Session: p.Connected(node)}
		p.Step(node, GreetingReply{Header: h, Node: node, Standing: Admitted})
		h.Term = 2
		headers = append(headers, h)
	}
	return p, headers
}

func vote(h Header, flush, commit wal.LSN, history ...TermStart) VoteReply {
	return VoteReply{Header: h, Given: true, Flush: flush, Commit: commit, History: append(TermHistory{{0, logStart}}, history...)}
}

func TestAnElectionWithoutWhatIsCommittedIsLost(t *testing.T) {
	p, headers := candidate(newWorld(t, 3))
	p.Ready()
	p.Step(1, vote(headers[0], 0x108, 0x108))
	p.Step(2, vote(headers[1], 0x104, 0x104, TermStart{1, 0x104}))
	effects := p.Ready()
	require.Equal(t, &Lost{Term: 2, Seen: 1, Cause: LostContradiction, Node: 1}, effects.Lost)
	require.Empty(t, effects.Sends, "nobody is told to cut anything")
	for range 10 {
		p.Tick()
	}
	require.Equal(t, PhaseLost, p.Status().Phase)
}

func TestAContradictedLeaderIsLostUntilItLeads(t *testing.T) {
	for _, leads := range []bool{false, true} {
		p, headers := candidate(newWorld(t, 3))
		third := Header{Timeline: headers[0].Timeline, Session: p.Connected(3)}
		for i, h := range headers {
			p.Step(wal.NodeID(i+1), vote(h, 0x104, 0x104))
		}
		for range VoteTicks {
			p.Tick() // the third is connected, and does not answer
		}
		for i, h := range headers {
			if leads {
				p.Step(wal.NodeID(i+1), ElectedReply{Header: h, Flush: 0x104})
			}
		}
		p.Step(3, GreetingReply{Header: third, Node: 3, Standing: Admitted})
		third.Term = 2
		p.Ready()
		p.Step(3, Refused{Header: third, Reason: ReasonContradicts})
		effects := p.Ready()
		if leads {
			require.Nil(t, effects.Lost)
			require.Equal(t, []Reject{{Node: 3, Reason: ReasonContradicts}}, effects.Rejects)
			continue
		}
		require.Equal(t, &Lost{Term: 2, Seen: 1, Cause: LostContradiction, Node: 3}, effects.Lost)
	}
}

// A later term led without what node 3 has. If that term is known to have committed something
// in its place, node 3 is left out of every election; if not, what it has may yet be chosen.
func TestALogThatALaterTermCommittedWithoutIsLeftOut(t *testing.T) {
	for _, committed := range []wal.LSN{0x104, 0x105} {
		w := newWorld(t, 3)
		p := NewProposer(ProposerConfig{ID: 101, Identity: w.identity, Safekeepers: []wal.NodeID{1, 2, 3}, SessionBase: 100, ElectionTicks: 3})
		p.seen = 2
		var headers []Header
		for node := wal.NodeID(1); node <= 3; node++ {
			h := Header{Timeline: w.identity.Timeline, Session: p.Connected(node)}
			p.Step(node, GreetingReply{Header: h, Node: node, Standing: Admitted})
			h.Term = 3
			headers = append(headers, h)
		}
		p.Step(3, vote(headers[2], 0x108, 0x108, TermStart{1, logStart}))
		p.Step(1, vote(headers[0], 0x200, 0x104, TermStart{1, logStart}, TermStart{2, 0x104}))
		p.Step(2, vote(headers[1], 0x200, committed, TermStart{1, logStart}, TermStart{2, 0x104}))
		p.Ready()
		p.Step(3, Refused{Header: headers[2], Reason: ReasonContradicts})
		effects := p.Ready()
		if committed == 0x104 {
			require.Equal(t, &Lost{Term: 3, Seen: 2, Cause: LostContradiction, Node: 3}, effects.Lost)
			continue
		}
		require.Nil(t, effects.Lost)
		require.Equal(t, []Reject{{Node: 3, Reason: ReasonContradicts}}, effects.Rejects)
		p.Step(1, ElectedReply{Header: headers[0], Flush: 0x200})
		p.Step(2, ElectedReply{Header: headers[1], Flush: 0x200})
		require.NotNil(t, p.Ready().Leading, "the two others go on")
	}
}

// A node that has accepted the leader falls, and its disk shows again what had been cut.
func TestALogThatGoesOnBehindTheElectedIsLeftOut(t *testing.T) {
	p, headers := candidate(newWorld(t, 3))
	for i, h := range headers {
		p.Step(wal.NodeID(i+1), vote(h, 0x104, 0x104))
	}
	p.Ready()
	p.Step(1, ElectedReply{Header: headers[0], Flush: 0x104})
	p.Step(2, ElectedReply{Header: headers[1], Flush: 0x10c})
	effects := p.Ready()
	require.Equal(t, []Reject{{Node: 2, Reason: ReasonContradicts}}, effects.Rejects)
	require.Nil(t, effects.Leading)
}
