package quorum

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/wal"
)

// A log that goes on makes the messages and effects that are handed out, each an object of its own,
// and nothing to hold them in.

func TestGarbageOfAcceptor(t *testing.T) {
	a := NewAcceptor(1, NewState(1, Identity{Start: logStart}), logStart)
	carry := func() {
		for effects := a.Ready(); !effects.Empty(); effects = a.Ready() {
			if a.queued > a.done {
				a.Persisted(a.queued)
			}
		}
	}
	h := Header{Term: 1, Session: 1}
	a.Step(9, VoteRequest{Header: h})
	carry()
	a.Step(9, Elected{Header: h, Start: logStart, History: TermHistory{{0, logStart}, {1, logStart}}})
	carry()
	at, record := logStart, []byte("record|")
	objects := testing.AllocsPerRun(1000, func() {
		end := at + wal.LSN(len(record))
		a.Step(9, Append{Header: h, Begin: at, Bytes: record, RecordEnd: end, Commit: at})
		carry()
		at = end
	})
	require.Equal(t, at, a.Status().Flushed)
	require.LessOrEqual(t, objects, 4.0, "the Append, its WriteLog and SyncLog, the AppendReply")
}

func TestGarbageOfProposer(t *testing.T) {
	l := newLone(t)
	carry := func() {
		for !l.p.Ready().Empty() {
		}
	}
	at, record := logStart, []byte("record|")
	objects := testing.AllocsPerRun(1000, func() {
		end := at + wal.LSN(len(record))
		l.p.Propose(at, record, end)
		carry()
		for id := wal.NodeID(1); id <= 3; id++ {
			l.p.Step(id, AppendReply{Header: l.header(id, 1), Written: end, Flush: end, Commit: at})
			carry()
		}
		at = end
	})
	require.Equal(t, at, l.p.Status().Commit)
	require.LessOrEqual(t, objects, 10.0, "three Appends, three AppendReplies, three Appends with the commit LSN; the buffer")
}
