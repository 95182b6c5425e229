package quorum

import (
	"github.com/varvedb/varve/wal"
)

// WindowBytes bounds what is sent to one acceptor and not yet reported as received: at
// 100 MB/s it covers a round trip of 160 ms.
const WindowBytes = 16 << 20

type peerPhase uint8

const (
	peerOffline   peerPhase = iota // no connection
	peerGreeting                   // waits for GreetingReply
	peerGreeted                    // may be asked for a vote
	peerVoting                     // waits for VoteReply
	peerVoted                      // gave its vote in the current term
	peerDenied                     // denied its vote in the current term
	peerElecting                   // waits for ElectedReply
	peerStreaming                  // takes the log
	peerRejected                   // does not take part
)

func (p peerPhase) String() string {
	names := [...]string{"offline", "greeting", "greeted", "voting", "voted", "denied", "electing", "streaming", "rejected"}
	return names[p]
}

// peer is what the proposer knows of one acceptor.
type peer struct {
	id      wal.NodeID
	phase   peerPhase
	session Session
	vote    VoteReply

	// flush is durable on the node in the current term, connected or not: what it has
	// acknowledged it can cut only for a higher term. 0 before its first reply.
	flush wal.LSN
	// commit is the commit LSN that the node is known to have adopted in this term.
	commit wal.LSN

	// While streaming: flush <= written <= next <= the proposer's head.
	written    wal.LSN // received by the node
	next       wal.LSN // first byte not sent yet
	record     wal.LSN // end of the last record that was sent, as far as known
	told       wal.LSN // commit LSN last sent
	fetchEnd   wal.LSN // end of the fetch under way, 0 if there is none
	recordEnds bool    // fetchEnd is a record's end
	fetched    bool    // something was fetched for it in this session

	// turn counts the fetches of this term that failed and the sessions that ended after
	// one: the next is from another node, as this one's disk may be at fault.
	turn uint

	quiet  int // ticks since the last message to it
	silent int // ticks that a reply has been owed
}

// usable reports whether the peer may take part in an election.
func (p *peer) usable() bool { return p.phase >= peerGreeted && p.phase <= peerStreaming }

// voted reports whether the peer has given its vote in the current term.
func (p *peer) voted() bool { return p.phase == peerVoted }

// votes reports whether the peer is there and may vote yet in an election under way.
func (p *peer) votes() bool { return p.phase == peerGreeting || p.phase == peerVoting }

// owes reports whether a reply is due.
func (p *peer) owes() bool {
	switch p.phase {
	case peerGreeting, peerVoting, peerElecting, peerStreaming:
		return true
	}
	return false
}

// connect opens a session.
func (p *peer) connect(session Session) {
	p.phase, p.session = peerGreeting, session
	p.fetchEnd, p.fetched, p.quiet, p.silent = 0, false, 0, 0
}

// newTerm forgets what was known in the term before.
func (p *peer) newTerm() {
	if p.usable() {
		p.phase = peerGreeted
	}
	p.vote = VoteReply{}
	p.flush, p.commit, p.fetchEnd, p.turn = 0, 0, 0, 0
}

// stream starts the log at flush.
func (p *peer) stream(flush wal.LSN) {
	p.phase = peerStreaming
	p.flush, p.written, p.next, p.record = flush, flush, flush, flush
	p.told, p.fetchEnd = 0, 0
}

// chunk is a piece of the log as it was proposed.
type chunk struct {
	begin     wal.LSN
	bytes     []byte
	recordEnd wal.LSN // end of the last record in bytes, 0 if none ends there
}

func (c chunk) end() wal.LSN { return c.begin + wal.LSN(len(c.bytes)) }
