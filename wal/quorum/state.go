package quorum

import (
	"errors"
	"fmt"

	"github.com/varvedb/varve/wal"
)

// Standing says whether an acceptor takes part in its quorum.
type Standing uint8

const (
	// Admitted acceptors vote and acknowledge.
	Admitted Standing = 1
	// Amnesiac acceptors have lost votes or bytes that others may still count on, so
	// they neither vote nor acknowledge.
	Amnesiac Standing = 2
)

func (s Standing) String() string {
	switch s {
	case Admitted:
		return "admitted"
	case Amnesiac:
		return "amnesiac"
	}
	return fmt.Sprintf("standing %d", uint8(s))
}

// Identity says whose log this is. It never changes.
type Identity struct {
	Tenant    wal.TenantID
	Timeline  wal.TimelineID
	SystemID  uint64  // PostgreSQL's system identifier
	PGVersion uint32  // PostgreSQL's major version, such as 15
	Start     wal.LSN // where the timeline's log begins: the start or end of a record
}

// AcceptorState is what an acceptor keeps on disk besides the log. See format.go for its bytes.
type AcceptorState struct {
	Identity
	Node     wal.NodeID // whose state this is, so that a misplaced file is known
	Standing Standing
	Term     wal.Term // the highest term seen; the vote in it is spent
	History  TermHistory
	// Commit is a hint: a commit LSN that was adopted. The truth may be higher.
	Commit wal.LSN
	// Durable is a mark: when this state was written, the log was durable at least up
	// to here. A log found shorter has lost bytes that were acknowledged.
	Durable wal.LSN
}

// NewState is the state of an acceptor at the creation of its timeline: an empty log at
// id.Start, in term 0. Only whoever creates the timeline may use it.
func NewState(node wal.NodeID, id Identity) AcceptorState {
	return AcceptorState{
		Identity: id,
		Node:     node,
		Standing: Admitted,
		History:  TermHistory{{Term: 0, LSN: id.Start}},
		Commit:   id.Start,
		Durable:  id.Start,
	}
}

// AmnesiacState is the state of an acceptor that should hold the timeline and has lost
// its state.
func AmnesiacState(node wal.NodeID, id Identity) AcceptorState {
	s := NewState(node, id)
	s.Standing = Amnesiac
	return s
}

// Check says what is wrong with the state, nil if nothing is.
func (s AcceptorState) Check() error {
	if s.Standing != Admitted && s.Standing != Amnesiac {
		return fmt.Errorf("unknown %v", s.Standing)
	}
	if len(s.History) == 0 {
		return errors.New("term history is empty")
	}
	if err := s.History.Check(); err != nil {
		return err
	}
	if first := s.History[0]; first.LSN != s.Start {
		return fmt.Errorf("term history starts at %v, the log at %v", first.LSN, s.Start)
	}
	if last := s.History.Last().Term; last > s.Term {
		return fmt.Errorf("term history ends in term %d, above term %d", last, s.Term)
	}
	if s.Commit < s.Start {
		return fmt.Errorf("commit LSN %v is below the log's start %v", s.Commit, s.Start)
	}
	if s.Durable < s.Start {
		return fmt.Errorf("durable mark %v is below the log's start %v", s.Durable, s.Start)
	}
	return nil
}
