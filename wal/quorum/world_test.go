package quorum

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/wal"
)

// A world is a set of acceptors with disks that forget, proposers, and connections that
// break. A record of its log is a run of letters that ends with '|'.
const logStart = wal.LSN(0x100)

type world struct {
	t         testing.TB
	identity  Identity
	nodes     []*node
	writers   []*writer
	late      []*letterInFlight // of connections that are gone
	committed []byte            // from logStart
	commits   []TermStart       // the terms' commit LSNs
	winners   map[wal.Term]*writer
	events    []string
}

// node is a safekeeper: an acceptor and its disk.
type node struct {
	id     wal.NodeID
	a      *Acceptor   // nil while down
	log    []byte      // from logStart
	synced int         // bytes of log that survive a crash
	state  []byte      // durable state, encoded; nil if lost
	terms  TermHistory // of the durable state
	queue  []DiskEffect

	deceived bool // its disk holds something else than what was synced: it is of no account
}

func (n *node) end() wal.LSN { return logStart + wal.LSN(len(n.log)) }

// writer is a proposer and its connections.
type writer struct {
	name    string
	id      wal.NodeID
	p       *Proposer
	conns   map[wal.NodeID]*conn
	fetches []*fetching
	leading *Leading
	lost    *Lost
	commit  wal.LSN
}

// conn is a connection; messages arrive in their order while it lasts.
type conn struct {
	session Session
	to      []*letterInFlight // proposer to acceptor
	from    []*letterInFlight
}

type letterInFlight struct {
	w        *writer
	n        *node
	toNode   bool
	session  Session
	contents []byte
}

type fetching struct {
	f     Fetch
	donor wal.NodeID // whom it is read from: the chosen, or another that the test names
	read  bool
	bytes []byte
}

func newWorld(t testing.TB, nodes int) *world {
	w := &world{t: t, winners: map[wal.Term]*writer{}}
	w.identity = Identity{Tenant: wal.TenantID{0xaa}, Timeline: wal.TimelineID{0xbb}, SystemID: 7, PGVersion: 15, Start: logStart}
	for i := 1; i <= nodes; i++ {
		n := &node{id: wal.NodeID(i)}
		state := NewState(n.id, w.identity)
		n.state, n.terms = state.AppendTo(nil), state.History
		w.nodes = append(w.nodes, n)
		w.start(n)
	}
	return w
}

func (w *world) note(format string, args ...any) {
	w.events = append(w.events, fmt.Sprintf(format, args...))
}

// start boots the acceptor from what its disk holds.
func (w *world) start(n *node) {
	n.log = n.log[:bytes.LastIndexByte(n.log, '|')+1]
	n.synced = len(n.log)
	state := AmnesiacState(n.id, w.identity)
	if n.state != nil {
		var err error
		state, err = DecodeState("state", n.state)
		require.NoError(w.t, err)
	}
	n.a = NewAcceptor(n.id, state, n.end())
	w.drainNode(n)
}

// crash stops the acceptor; of the bytes not synced, keep survive.
func (w *world) crash(n *node, keep int) {
	n.a, n.queue = nil, nil
	n.log = n.log[:min(len(n.log), n.synced+keep)]
	for _, wr := range w.writers {
		w.disconnect(wr, n)
	}
}

func (w *world) addWriter(name string, id wal.NodeID, base Session) *writer {
	ids := make([]wal.NodeID, len(w.nodes))
	for i, n := range w.nodes {
		ids[i] = n.id
	}
	wr := &writer{name: name, id: id, conns: map[wal.NodeID]*conn{}}
	wr.p = NewProposer(ProposerConfig{ID: id, Identity: w.identity, Safekeepers: ids, SessionBase: base, ElectionTicks: 3 + len(w.writers)%5})
	w.writers = append(w.writers, wr)
	return wr
}

func (w *world) connect(wr *writer, n *node) {
	if wr.conns[n.id] != nil {
		w.disconnect(wr, n)
	}
	wr.conns[n.id] = &conn{session: wr.p.Connected(n.id)}
	w.drainWriter(wr)
}

// disconnect breaks the connection; what was on its way may still arrive, late.
func (w *world) disconnect(wr *writer, n *node) {
	c := wr.conns[n.id]
	if c == nil {
		return
	}
	w.late = append(append(w.late, c.to...), c.from...)
	delete(wr.conns, n.id)
	wr.p.Disconnected(n.id, c.session)
	w.drainWriter(wr)
	if n.a != nil {
		n.a.Leave(wr.id, c.session)
		w.drainNode(n)
	}
}

// drainNode takes the effects that the acceptor is ready with.
func (w *world) drainNode(n *node) {
	effects := n.a.Ready()
	n.queue = append(n.queue, effects.Disk...)
	for _, s := range effects.Sends {
		session := s.Message.Head().Session
		for _, wr := range w.writers {
			if c := wr.conns[n.id]; wr.id == s.To && c != nil && c.session == session {
				c.from = append(c.from, &letterInFlight{w: wr, n: n, session: session, contents: s.Message.AppendTo(nil)})
			}
		}
	}
}

// diskStep carries out one disk effect.
func (w *world) diskStep(n *node) string {
	e := n.queue[0]
	n.queue = n.queue[1:]
	var token Token
	text := ""
	switch e := e.(type) {
	case PersistState:
		n.state, n.terms, token = e.State.AppendTo(nil), e.State.History, e.Token
		text = fmt.Sprintf("persist term %d, history %v, durable %v", e.State.Term, e.State.History, e.State.Durable)
	case TruncateLog:
		require.LessOrEqual(w.t, e.To, n.end())
		n.log = n.log[:e.To-logStart]
		n.synced, token = min(n.synced, len(n.log)), e.Token
		text = fmt.Sprintf("truncate to %v", e.To)
	case WriteLog:
		require.Equal(w.t, n.end(), e.At)
		n.log = append(n.log[:len(n.log):len(n.log)], e.Bytes...)
		text = fmt.Sprintf("write %q at %v", e.Bytes, e.At)
	case SyncLog:
		n.synced, token = len(n.log), e.Token
		require.Equal(w.t, byte('|'), n.log[e.RecordEnd-logStart-1])
		text = fmt.Sprintf("sync, records to %v", e.RecordEnd)
	}
	if token != 0 {
		n.a.Persisted(token)
		w.drainNode(n)
	}
	return text
}

// drainWriter takes the effects that the proposer is ready with.
func (w *world) drainWriter(wr *writer) {
	for effects := wr.p.Ready(); !effects.Empty(); effects = wr.p.Ready() {
		for _, s := range effects.Sends {
			if c := wr.conns[s.To]; c != nil {
				h := s.Message.Head()
				require.Equal(w.t, c.session, h.Session)
				c.to = append(c.to, &letterInFlight{w: wr, n: w.node(s.To), toNode: true, session: h.Session, contents: s.Message.AppendTo(nil)})
			}
		}
		for _, f := range effects.Fetches {
			w.note("%s fetches [%v, %v) from n%d for n%d", wr.name, f.Begin, f.End, f.From, f.For)
			wr.fetches = append(wr.fetches, &fetching{f: f, donor: f.From})
		}
		for _, r := range effects.Rejects {
			w.note("%s leaves out n%d: %v", wr.name, r.Node, r.Reason)
			require.True(w.t, r.Reason != ReasonContradicts || w.anyDeceived(), "sound disks do not contradict each other")
		}
		for _, h := range effects.Hangups {
			w.note("%s hangs up on n%d", wr.name, h.Node)
			if c := wr.conns[h.Node]; c != nil && c.session == h.Session {
				w.disconnect(wr, w.node(h.Node))
			}
		}
		w.drainNews(wr, effects)
	}
	w.checkWinner(wr)
}

func (w *world) drainNews(wr *writer, effects ProposerEffects) {
	if l := effects.Leading; l != nil {
		w.note("%s leads term %d from %v", wr.name, l.Term, l.Start)
		require.Nil(w.t, wr.leading, "leads once")
		require.Equal(w.t, l.Start, effects.Commit, "the start is committed before anything is proposed")
		for _, c := range w.commits {
			// An older leader may learn late that it was elected.
			require.True(w.t, c.Term > l.Term || c.LSN <= l.Start, "term %d starts at %v, term %d committed %v", l.Term, l.Start, c.Term, c.LSN)
		}
		wr.leading = l
	}
	if effects.Commit != 0 {
		w.note("%s commits %v", wr.name, effects.Commit)
		w.checkCommit(wr, effects.Commit)
	}
	if l := effects.Lost; l != nil {
		w.note("%s is lost in term %d: %v", wr.name, l.Term, l.Cause)
		require.True(w.t, l.Cause != LostContradiction || w.anyDeceived(), "sound disks do not contradict each other")
		wr.lost = l
	}
}

func (w *world) anyDeceived() bool {
	return slices.ContainsFunc(w.nodes, func(n *node) bool { return n.deceived })
}

func (w *world) node(id wal.NodeID) *node { return w.nodes[id-1] }

// checkWinner requires that a term has one winner.
func (w *world) checkWinner(wr *writer) {
	s := wr.p.Status()
	if s.Phase != PhaseRecovering && s.Phase != PhaseLeading {
		return
	}
	if other := w.winners[s.Term]; other != nil {
		require.Same(w.t, wr, other, "term %d is won by %s and %s", s.Term, wr.name, other.name)
	}
	w.winners[s.Term] = wr
}

// checkCommit requires that the log up to commit is on the disks of a majority, and that it
// continues what was committed before.
func (w *world) checkCommit(wr *writer, commit wal.LSN) {
	require.NotNil(w.t, wr.leading, "commits after it leads")
	require.Greater(w.t, commit, wr.commit)
	wr.commit = commit
	w.commits = append(w.commits, TermStart{Term: wr.leading.Term, LSN: commit})
	size := int(commit - logStart)
	have := map[string]int{}
	for _, n := range w.nodes {
		if n.synced >= size {
			have[string(n.log[:size])]++
		}
	}
	for log, count := range have {
		if count <= len(w.nodes)/2 {
			continue
		}
		require.True(w.t, size == 0 || log[size-1] == '|', "commit LSN %v is a record's end", commit)
		common := min(size, len(w.committed))
		require.Equal(w.t, string(w.committed[:common]), log[:common], "the committed prefix never changes")
		if size > common {
			w.committed = []byte(log)
		}
		return
	}
	require.Fail(w.t, "committed bytes are on a majority of disks", "%s commits %v, disks: %v", wr.name, commit, have)
}

// check requires what holds at every moment.
func (w *world) check() {
	w.checkMatching()
	for _, n := range w.nodes {
		if n.a == nil || n.deceived {
			continue
		}
		size := int(n.a.Readable() - logStart)
		require.LessOrEqual(w.t, size, len(w.committed), "n%d serves only what is committed", n.id)
		require.True(w.t, bytes.Equal(w.committed[:size], n.log[:size]), "n%d serves %q, committed %q", n.id, n.log[:size], w.committed[:size])
	}
}

// checkMatching requires that two honest disks whose histories share a term share its bytes, and all
// bytes before.
func (w *world) checkMatching() {
	for i, a := range w.nodes {
		for _, b := range w.nodes[:i] {
			if a.deceived || b.deceived {
				continue
			}
			both := min(a.synced, b.synced)
			common, ok := a.terms.CommonPoint(logStart+wal.LSN(both), b.terms)
			size := common - logStart
			if !ok || !bytes.Equal(a.log[:size], b.log[:size]) {
				require.Fail(w.t, "shared terms have the same bytes", "n%d %v %q, n%d %v %q", a.id, a.terms, a.log, b.id, b.terms, b.log)
			}
		}
	}
}

// arrive hands a message over, through its codec.
func (w *world) arrive(l *letterInFlight) string {
	m, err := DecodeMessage(l.contents)
	require.NoError(w.t, err)
	text := describe(l, m)
	if l.toNode {
		if l.n.a == nil {
			return text + " (node is down)"
		}
		l.n.a.Step(l.w.id, m)
		return text
	}
	l.w.p.Step(l.n.id, m)
	w.drainWriter(l.w)
	return text
}

// fetchStep reads for a fetch, or answers it when it is read. Limit cuts the bytes short.
func (w *world) fetchStep(wr *writer, i, limit int) {
	f := wr.fetches[i]
	from := w.node(f.donor)
	end := f.f.Begin
	if from.a != nil {
		end = min(f.f.End, from.a.ReadableBy(f.f.Term))
	}
	readable := end > f.f.Begin && end >= f.f.Begin+wal.LSN(len(f.bytes))
	if readable && !f.read {
		f.read = true
		f.bytes = bytes.Clone(from.log[f.f.Begin-logStart : end-logStart])
		return
	}
	wr.fetches = append(wr.fetches[:i:i], wr.fetches[i+1:]...)
	if !readable {
		wr.p.FetchFailed(f.f)
	} else {
		got := f.bytes[:min(len(f.bytes), limit)]
		var recordEnd wal.LSN
		if limit%2 == 0 { // some readers know where records end
			recordEnd = lastRecordEnd(f.f.Begin, got)
		}
		wr.p.Fetched(f.f, got, recordEnd)
	}
	w.drainWriter(wr)
}

func lastRecordEnd(begin wal.LSN, b []byte) wal.LSN {
	if i := bytes.LastIndexByte(b, '|'); i >= 0 {
		return begin + wal.LSN(i+1)
	}
	return 0
}

func (w *world) propose(wr *writer, b []byte) {
	begin := wr.p.Status().Head
	wr.p.Propose(begin, b, lastRecordEnd(begin, b))
	w.drainWriter(wr)
}

func describe(l *letterInFlight, m Message) string {
	route := fmt.Sprintf("%s->n%d", l.w.name, l.n.id)
	if !l.toNode {
		route = fmt.Sprintf("n%d->%s", l.n.id, l.w.name)
	}
	body := ""
	switch m := m.(type) {
	case GreetingReply:
		body = fmt.Sprintf(" %v", m.Standing)
	case VoteReply:
		body = " denied"
		if m.Given {
			body = fmt.Sprintf(" given flush %v commit %v history %v", m.Flush, m.Commit, m.History)
		}
	case Elected:
		body = fmt.Sprintf(" start %v history %v", m.Start, m.History)
	case ElectedReply:
		body = fmt.Sprintf(" flush %v", m.Flush)
	case Append:
		body = fmt.Sprintf(" %q at %v record end %v commit %v", m.Bytes, m.Begin, m.RecordEnd, m.Commit)
	case AppendReply:
		body = fmt.Sprintf(" written %v flush %v commit %v", m.Written, m.Flush, m.Commit)
	case Refused:
		body = fmt.Sprintf(" %v", m.Reason)
	}
	name := strings.TrimPrefix(fmt.Sprintf("%T", m), "quorum.")
	return fmt.Sprintf("%s s%d t%d %s%s", route, l.session, m.Head().Term, name, body)
}
