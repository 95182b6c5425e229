package quorum

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/wal"
)

// TestLateAcknowledgementIsDropped: what an old session acknowledged is not taken for the new one's.
func TestLateAcknowledgementIsDropped(t *testing.T) {
	l := newLone(t)
	l.propose(8, true)
	head := l.p.Status().Head
	late := AppendReply{Header: l.header(1, 1), Written: head, Flush: head, Commit: head}
	l.sessions[1] = l.p.Connected(1)
	l.p.Step(1, GreetingReply{Header: l.header(1, 1), Node: 1, Standing: Admitted})
	l.p.Step(1, ElectedReply{Header: l.header(1, 1), Flush: logStart})
	l.p.Step(1, late)
	require.Equal(t, logStart, l.p.Status().Peers[0].Flush)
	l.p.Step(1, AppendReply{Header: l.header(1, 1), Written: head, Flush: head, Commit: logStart})
	require.Equal(t, head, l.p.Status().Peers[0].Flush)
}

// TestLateDisconnectIsDropped: the end of an old session does not end the new one.
func TestLateDisconnectIsDropped(t *testing.T) {
	l := newLone(t)
	old := l.sessions[1]
	l.sessions[1] = l.p.Connected(1)
	l.p.Disconnected(1, old)
	require.Equal(t, "greeting", l.p.Status().Peers[0].State)
	l.p.Disconnected(1, l.sessions[1])
	require.Equal(t, "offline", l.p.Status().Peers[0].State)
}

// TestAppendsOfOtherSessionsAreDropped: only the session whose Elected was accepted last writes, and
// only it moves the commit LSN.
func TestAppendsOfOtherSessionsAreDropped(t *testing.T) {
	a := NewAcceptor(1, NewState(1, Identity{Start: logStart}), logStart)
	history := TermHistory{{0, logStart}, {2, logStart}}
	carry := func() (kinds []DiskEffect) {
		for effects := a.Ready(); !effects.Empty(); effects = a.Ready() {
			kinds = append(kinds, effects.Disk...)
			if n := a.queued; n > a.done {
				a.Persisted(n)
			}
		}
		return kinds
	}
	try := func(from wal.NodeID, h Header) []DiskEffect {
		a.Step(from, Append{Header: h, Begin: logStart, Bytes: []byte("a|"), RecordEnd: logStart + 2, Commit: logStart + 2})
		return carry()
	}
	a.Step(9, VoteRequest{Header: Header{Term: 2, Session: 4}})
	carry()
	require.Empty(t, try(9, Header{Term: 2, Session: 4}), "voted for, but not accepted")
	for _, session := range []Session{4, 5} {
		a.Step(9, Elected{Header: Header{Term: 2, Session: session}, Start: logStart, History: history})
		carry()
	}
	require.Empty(t, try(9, Header{Term: 2, Session: 4}), "an older session")
	require.Empty(t, try(9, Header{Term: 2, Session: 6}), "a session that was not accepted")
	require.Empty(t, try(8, Header{Term: 2, Session: 5}), "another node")
	require.Empty(t, try(9, Header{Term: 1, Session: 5}), "an older term")
	require.Empty(t, try(9, Header{Term: 3, Session: 5}), "a term that was not accepted")
	require.Equal(t, logStart, a.Status().Commit)
	require.Len(t, try(9, Header{Term: 2, Session: 5}), 2, "written and synced")
	require.Equal(t, logStart+2, a.Readable())

	a.Step(9, Elected{Header: Header{Term: 2, Session: 4}, Start: logStart, History: history})
	require.True(t, a.Ready().Empty(), "Elected of an older session")
}

// TestReadableByIsForTheTermAlone: a donor serves its uncommitted bytes to one proposer,
// once it has cut what that one's log does not have.
func TestReadableByIsForTheTermAlone(t *testing.T) {
	state := NewState(1, Identity{Start: logStart})
	state.Term = 3
	a := NewAcceptor(1, state, logStart+8)
	require.Equal(t, logStart, a.ReadableBy(3), "it has voted in the term and no more")
	state.History = state.History.With(TermStart{Term: 3, LSN: logStart})
	a = NewAcceptor(1, state, logStart+8)
	require.Equal(t, logStart+8, a.ReadableBy(3))
	require.Equal(t, logStart, a.ReadableBy(2))
	require.Equal(t, logStart, a.ReadableBy(4))
	require.Equal(t, logStart, a.Readable())
	a.Step(9, VoteRequest{Header: Header{Term: 4}})
	require.Equal(t, logStart, a.ReadableBy(3), "at once, not when the vote is durable")
}
