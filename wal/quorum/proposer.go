package quorum

import (
	"cmp"
	"slices"

	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/assert"
)

// Bounds of a proposer. Its shell chooses how long a tick is; 100 ms suits all of them.
const (
	// HeartbeatTicks without a message to an acceptor make an empty Append: an idle
	// writer learns within them that it was fenced.
	HeartbeatTicks = 10
	// SilenceTicks without a reply that is owed make a hang-up: five heartbeats.
	SilenceTicks = 5 * HeartbeatTicks
	// ElectionRoundsMax bounds the elections of one proposer.
	ElectionRoundsMax = 100
	// VoteTicks is how long an election that a majority has decided waits for the votes of
	// others that are connected: one of them may have more of the log, which a majority
	// does not show if the disk of one in it has lost what it acknowledged.
	VoteTicks = 2
	// DonorTries is how many fetches from the donor may fail, for one acceptor in one term,
	// before another is asked for the log that the donor was elected for.
	DonorTries = 3
	// BufferBytesMax bounds the log bytes that a proposer holds, but for a single record
	// larger than that. Bytes that are committed and no longer held are fetched.
	BufferBytesMax = 64 << 20
)

// ProposerConfig says who proposes, to whom, for which log. The shell fills in all of it.
type ProposerConfig struct {
	ID wal.NodeID
	Identity
	Safekeepers []wal.NodeID // distinct; the quorum is their majority
	// SessionBase is drawn at random for each life of a proposer, so that a
	// message to an earlier life is never taken for one to this. Below 2^63.
	SessionBase Session
	// ElectionTicks is how long an election may make no progress before the next round
	// begins. At least 1; different proposers should have different ones.
	ElectionTicks int
}

// Phase says how far a proposer is.
type Phase uint8

const (
	// PhaseGreeting waits for a majority to be connected.
	PhaseGreeting Phase = iota
	// PhaseVoting waits for the votes of a majority.
	PhaseVoting
	// PhaseRecovering is elected, and waits for the log up to its start to be committed.
	PhaseRecovering
	// PhaseLeading takes proposals.
	PhaseLeading
	// PhaseLost is finished.
	PhaseLost
)

func (p Phase) String() string {
	return [...]string{"greeting", "voting", "recovering", "leading", "lost"}[p]
}

// Proposer is the writer's half of the consensus on one timeline.
type Proposer struct {
	config   ProposerConfig
	peers    []*peer // ordered by node
	sessions Session // number of sessions opened

	phase   Phase
	term    wal.Term
	seen    wal.Term // the highest term heard of
	rounds  int      // elections begun
	wait    int      // ticks until the next election may begin
	stalled int      // ticks without progress in an election

	history   TermHistory
	donor     wal.NodeID // whose log the term goes on with
	away      int        // ticks since the donor was there
	start     wal.LSN    // X: the term's first LSN
	head      wal.LSN    // end of the last byte proposed
	recordEnd wal.LSN    // end of the last whole record proposed
	commit    wal.LSN
	buffer    []chunk // consecutive, up to head
	buffered  int     // bytes in buffer

	out   ProposerEffects
	given []Send // by the last Ready: its memory is used again
}

// NewProposer returns a proposer that waits for connections.
func NewProposer(config ProposerConfig) *Proposer {
	assert.That(config.ID != 0, "proposer has a number")
	assert.That(config.ElectionTicks >= 1, "election ticks are at least 1, as %d", config.ElectionTicks)
	assert.That(config.SessionBase < 1<<63, "session base %d is below 2^63", config.SessionBase)
	assert.That(len(config.Safekeepers) > 0, "there is a safekeeper")
	p := &Proposer{config: config}
	for _, id := range config.Safekeepers {
		p.peers = append(p.peers, &peer{id: id})
	}
	slices.SortFunc(p.peers, func(a, b *peer) int { return cmp.Compare(a.id, b.id) })
	for i := 1; i < len(p.peers); i++ {
		assert.That(p.peers[i-1].id < p.peers[i].id, "safekeeper %d is named once", p.peers[i].id)
	}
	return p
}

// ProposerStatus is a snapshot for operators and tests.
type ProposerStatus struct {
	Phase  Phase
	Term   wal.Term
	Start  wal.LSN // X, once elected
	Head   wal.LSN
	Commit wal.LSN
	// Announced is the highest commit LSN that a majority is known to have adopted.
	Announced wal.LSN
	Peers     []PeerStatus // ordered by node
}

// PeerStatus is what a proposer knows of one acceptor.
type PeerStatus struct {
	Node    wal.NodeID
	Session Session
	State   string
	Next    wal.LSN // first byte not sent yet
	Flush   wal.LSN // durable there in this term
}

// Status returns a snapshot.
func (p *Proposer) Status() ProposerStatus {
	s := ProposerStatus{
		Phase: p.phase, Term: p.term, Start: p.start, Head: p.head, Commit: p.commit,
		Announced: p.reached(func(n *peer) wal.LSN { return n.commit }),
	}
	for _, n := range p.peers {
		s.Peers = append(s.Peers, PeerStatus{Node: n.id, Session: n.session, State: n.phase.String(), Next: n.next, Flush: n.flush})
	}
	return s
}

// Quorum is how many acceptors are a majority.
func (p *Proposer) Quorum() int { return len(p.peers)/2 + 1 }

// Ready returns the effects to carry out, and forgets them. Sends is valid until the next
// call.
func (p *Proposer) Ready() ProposerEffects {
	out := p.out
	p.out = ProposerEffects{Sends: again(p.given)}
	p.given = out.Sends
	return out
}

// Connected reports a new connection to the node, and returns its session. A session
// that the node had before is over.
func (p *Proposer) Connected(node wal.NodeID) Session {
	n := p.peer(node)
	assert.That(n != nil, "node %d is one of the safekeepers", node)
	p.sessions++
	n.connect(p.config.SessionBase + p.sessions)
	if p.phase != PhaseLost {
		p.send(n, Greeting{
			Header: p.header(n), Proposer: p.config.ID,
			Tenant: p.config.Tenant, SystemID: p.config.SystemID, PGVersion: p.config.PGVersion,
		})
	}
	return n.session
}

// Disconnected reports that the connection of the session is gone.
func (p *Proposer) Disconnected(node wal.NodeID, session Session) {
	n := p.peer(node)
	if n == nil || n.session != session {
		return
	}
	n.phase, n.fetchEnd = peerOffline, 0
	if n.fetched {
		n.turn++
		n.fetched = false
	}
	p.decide()
}

// Tick lets one tick pass.
func (p *Proposer) Tick() {
	if p.phase == PhaseLost {
		return
	}
	if p.away++; p.donor == 0 || p.peer(p.donor).usable() {
		p.away = 0
	}
	for _, n := range p.peers {
		p.tickPeer(n)
	}
	switch p.phase {
	case PhaseGreeting:
		p.wait = max(0, p.wait-1)
		p.elect()
	case PhaseVoting, PhaseRecovering:
		p.stalled++
		if p.decide(); p.phase != PhaseLost && p.stalled >= p.config.ElectionTicks {
			p.campaign(0)
		}
	}
}

func (p *Proposer) tickPeer(n *peer) {
	if !n.owes() {
		return
	}
	n.quiet++
	if n.silent++; n.silent >= SilenceTicks {
		p.out.Hangups = append(p.out.Hangups, Hangup{Node: n.id, Session: n.session})
		n.silent = 0
	}
	if n.phase == peerStreaming {
		p.pump(n)
		if n.quiet >= HeartbeatTicks {
			p.sendAppend(n, nil, 0)
		}
	}
}

// Step takes in a message from the node. What is not of its current session is dropped.
func (p *Proposer) Step(node wal.NodeID, m Message) {
	n := p.peer(node)
	h := m.Head()
	if n == nil || p.phase == PhaseLost || n.phase == peerOffline || n.phase == peerRejected {
		return
	}
	if h.Session != n.session || h.Timeline != p.config.Timeline {
		return
	}
	n.silent = 0
	if h.Term > p.term {
		p.heard(h.Term)
	}
	if p.phase == PhaseLost {
		return
	}
	switch m := m.(type) {
	case GreetingReply:
		p.stepGreetingReply(n, m)
	case VoteReply:
		p.stepVoteReply(n, m)
	case ElectedReply:
		p.stepElectedReply(n, m)
	case AppendReply:
		p.stepAppendReply(n, m)
	case Refused:
		p.stepRefused(n, m)
	}
}

func (p *Proposer) stepRefused(n *peer, m Refused) {
	switch m.Reason {
	case ReasonStaleTerm: // the term was heard
	case ReasonContradicts:
		if m.Term == p.term && n.phase == peerElecting {
			p.contradicted(n)
		}
	default:
		p.reject(n, m.Reason)
	}
}

// contradicted takes note that the elected log lacks what the node knows to be committed. As
// long as nothing was proposed, what was left out may be in a majority's logs, and the
// election is lost. Where the elected log has something committed in its place it is too late
// for that, and the node alone keeps what it has.
func (p *Proposer) contradicted(n *peer) {
	if p.phase == PhaseLeading || p.committedInstead(n) {
		p.reject(n, ReasonContradicts)
		return
	}
	p.lose(LostContradiction)
	p.out.Lost.Node = n.id
}

// committedInstead reports whether some voter knows the elected log to be committed beyond
// where the node's log parts from it. It takes the vote of both.
func (p *Proposer) committedInstead(n *peer) bool {
	parts, ok := p.elected(n)
	if !ok {
		return false
	}
	return slices.ContainsFunc(p.peers, func(v *peer) bool {
		has, ok := p.elected(v)
		return ok && parts < v.vote.Commit && v.vote.Commit <= has
	})
}

// elected returns up to where a voter's log was the elected one. False: it has not voted.
func (p *Proposer) elected(n *peer) (wal.LSN, bool) {
	if n.vote.Term != p.term {
		return wal.InvalidLSN, false
	}
	return n.vote.History.CommonPoint(n.vote.Flush, p.history)
}

// heard takes note of a term above the proposer's own: a leader is finished, a candidate
// has lost this election and may begin another.
func (p *Proposer) heard(term wal.Term) {
	p.seen = max(p.seen, term)
	switch p.phase {
	case PhaseLeading:
		p.lose(LostFenced)
	case PhaseVoting, PhaseRecovering:
		p.campaign(p.config.ElectionTicks)
	}
}

func (p *Proposer) lose(cause LostCause) {
	p.phase = PhaseLost
	p.out = ProposerEffects{Lost: &Lost{Term: p.term, Seen: p.seen, Cause: cause}}
	p.buffer, p.buffered = nil, 0
}

// reject leaves the node out. An address that leads to another node must not be counted twice.
func (p *Proposer) reject(n *peer, reason Reason) {
	assert.That(p.phase != PhaseLost, "a lost proposer rejects nobody")
	n.phase, n.fetchEnd = peerRejected, 0
	p.out.Rejects = append(p.out.Rejects, Reject{Node: n.id, Reason: reason})
	p.decide()
}

// campaign goes back to before an election; the next begins after so many ticks.
func (p *Proposer) campaign(wait int) {
	p.phase, p.wait, p.stalled = PhaseGreeting, wait, 0
	p.history, p.donor, p.start, p.head, p.commit = nil, 0, 0, 0, 0
	for _, n := range p.peers {
		n.newTerm()
	}
	p.elect()
}

// elect begins an election once a majority is there, in a term above all heard of.
func (p *Proposer) elect() {
	if p.phase != PhaseGreeting || p.wait > 0 || p.count((*peer).usable) < p.Quorum() {
		return
	}
	if p.rounds++; p.rounds > ElectionRoundsMax {
		p.lose(LostElections)
		return
	}
	p.phase, p.stalled = PhaseVoting, 0
	p.term = max(p.term, p.seen) + 1
	for _, n := range p.peers {
		if n.usable() {
			p.requestVote(n)
		}
	}
}

func (p *Proposer) requestVote(n *peer) {
	n.phase = peerVoting
	p.send(n, VoteRequest{Header: p.header(n)})
}

func (p *Proposer) stepGreetingReply(n *peer, m GreetingReply) {
	if n.phase != peerGreeting {
		return
	}
	if m.Node != n.id {
		p.reject(n, ReasonForeign)
		return
	}
	if m.Standing != Admitted {
		p.reject(n, ReasonAmnesiac)
		return
	}
	n.phase = peerGreeted
	switch p.phase {
	case PhaseGreeting:
		p.elect()
	case PhaseVoting:
		p.requestVote(n)
	case PhaseRecovering, PhaseLeading:
		p.sendElected(n)
	}
}

func (p *Proposer) stepVoteReply(n *peer, m VoteReply) {
	if n.phase != peerVoting || p.phase != PhaseVoting || m.Term != p.term {
		return
	}
	n.phase = peerDenied
	if m.Given {
		n.phase, n.vote = peerVoted, m
	}
	p.decide()
}

// decide wins the election if a majority has voted for it and nobody who is connected is left
// to be heard, or was waited for long enough.
func (p *Proposer) decide() {
	if p.phase != PhaseVoting || p.count((*peer).voted) < p.Quorum() {
		return
	}
	if p.stalled >= min(VoteTicks, p.config.ElectionTicks) || p.count((*peer).votes) == 0 {
		p.win()
	}
}

// win takes the log of the voter that is furthest, by last log term and then by length,
// as the start of the new term's. What any earlier term committed is in it.
func (p *Proposer) win() {
	var donor *peer
	for _, n := range p.peers {
		if n.voted() && (donor == nil || further(n.vote, donor.vote)) {
			donor = n
		}
	}
	p.donor, p.away, p.start = donor.id, 0, donor.vote.Flush
	p.history = donor.vote.History.UpTo(p.start).With(TermStart{Term: p.term, LSN: p.start})
	if len(p.history) > HistoryEntriesMax {
		p.lose(LostHistoryFull)
		return
	}
	p.phase, p.stalled = PhaseRecovering, 0
	p.head, p.recordEnd = p.start, p.start
	for _, n := range p.peers {
		if !n.voted() {
			continue
		}
		if n.vote.Commit > p.start {
			if p.contradicted(n); p.phase == PhaseLost {
				return
			}
			continue
		}
		p.commit = max(p.commit, n.vote.Commit)
	}
	for _, n := range p.peers {
		if n.usable() {
			p.sendElected(n)
		}
	}
}

// further reports whether vote a is of a longer log than b.
func further(a, b VoteReply) bool {
	if at, bt := a.LastTerm(), b.LastTerm(); at != bt {
		return at > bt
	}
	return a.Flush > b.Flush
}

func (p *Proposer) sendElected(n *peer) {
	n.phase = peerElecting
	p.send(n, Elected{Header: p.header(n), Start: p.start, History: p.history})
}

func (p *Proposer) stepElectedReply(n *peer, m ElectedReply) {
	if n.phase != peerElecting || m.Term != p.term {
		return
	}
	if m.Flush > p.head {
		p.reject(n, ReasonContradicts) // it shows old log behind the elected one
		return
	}
	n.stream(m.Flush)
	p.stalled = 0
	p.advance()
}

func (p *Proposer) stepAppendReply(n *peer, m AppendReply) {
	if n.phase != peerStreaming || m.Term != p.term {
		return
	}
	if m.Written > n.next || m.Flush > p.head {
		assert.Failf("node %d was sent the log up to %v of %v, and has up to %v, durable up to %v", n.id, n.next, p.head, m.Written, m.Flush)
	}
	if m.Written > n.written || m.Flush > n.flush {
		p.stalled = 0
	}
	n.written = max(n.written, m.Written)
	n.flush = max(n.flush, m.Flush)
	n.commit = max(n.commit, m.Commit)
	p.advance()
}

// advance commits what a majority has made durable in this term, and sends what may be sent.
// Bytes below the term's start are committed only together with it: a majority that
// has some of them may still be outvoted by a node with a longer log.
func (p *Proposer) advance() {
	reached := p.reached(func(n *peer) wal.LSN { return n.flush })
	if reached >= p.start {
		p.commitTo(reached)
	}
	for _, n := range p.peers {
		p.pump(n)
	}
	p.trim()
}

func (p *Proposer) commitTo(reached wal.LSN) {
	elected := p.phase == PhaseRecovering
	if elected {
		p.phase = PhaseLeading
		p.out.Leading = &Leading{Term: p.term, Start: p.start}
	}
	if elected || reached > p.commit {
		p.commit = reached
		p.out.Commit = reached
	}
}

// reached returns the highest LSN that a majority is at or above.
func (p *Proposer) reached(of func(*peer) wal.LSN) wal.LSN {
	var few [5]wal.LSN // which need no allocation
	lsns := few[:0]
	for _, n := range p.peers {
		lsns = append(lsns, of(n))
	}
	slices.Sort(lsns)
	return lsns[len(lsns)-p.Quorum()]
}

func (p *Proposer) count(is func(*peer) bool) int {
	count := 0
	for _, n := range p.peers {
		if is(n) {
			count++
		}
	}
	return count
}

func (p *Proposer) peer(id wal.NodeID) *peer {
	for _, n := range p.peers {
		if n.id == id {
			return n
		}
	}
	return nil
}

func (p *Proposer) header(n *peer) Header {
	return Header{Timeline: p.config.Timeline, Term: p.term, Session: n.session}
}

func (p *Proposer) send(n *peer, m Message) {
	n.quiet = 0
	p.out.Sends = append(p.out.Sends, Send{To: n.id, Message: m})
}
