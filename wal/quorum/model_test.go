package quorum

import (
	"bytes"
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/wal"
)

var (
	modelSeeds = flag.Int("model.seeds", 200, "number of random worlds to run")
	modelFirst = flag.Int("model.first", 0, "seed of the first random world")
)

// TestModel runs random worlds of three to five acceptors and several proposers at once, with
// crashes that lose what was not synced, connections that break and messages that come
// late, twice or not at all. The checks of the world hold after every step, and in the
// end a healed world commits again on every node.
func TestModel(t *testing.T) {
	leads, commits := 0, 0
	for seed := *modelFirst; seed < *modelFirst+*modelSeeds; seed++ {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			m := newModel(t, uint64(seed))
			for range 3000 {
				m.step()
				m.w.check()
			}
			leads += len(m.w.winners)
			commits += len(m.w.committed)
			m.heal()
		})
	}
	if *modelSeeds >= 100 {
		require.Greater(t, leads, 2**modelSeeds, "worlds elect leaders")
		require.Greater(t, commits, 20**modelSeeds, "worlds commit bytes")
	}
}

type model struct {
	t       *testing.T
	w       *world
	rng     *rand.Rand
	calm    int // the larger, the rarer a new proposer while others live
	actions []action
	total   int
}

type action struct {
	weight int
	do     func(m *model)
}

func newModel(t *testing.T, seed uint64) *model {
	rng := rand.New(rand.NewPCG(seed, 1))
	m := &model{t: t, w: newWorld(t, []int{3, 3, 4, 5}[rng.IntN(4)]), rng: rng, calm: 1 << rng.IntN(6)}
	// Each fault is off in half of the worlds.
	fault := func(most int) int {
		if rng.IntN(2) == 0 {
			return 0
		}
		return 1 + rng.IntN(most)
	}
	m.actions = []action{
		{60, (*model).deliver},
		{20 + rng.IntN(60), (*model).disk},
		{20, (*model).propose},
		{4, (*model).tick},
		{10, (*model).connect},
		{1 + rng.IntN(12), (*model).fetch},
		{6, (*model).restart},
		{2, (*model).addWriter},
		{1, (*model).dropWriter},
		{fault(6), (*model).disconnect},
		{fault(4), (*model).crash},
		{fault(8), (*model).deliverLate},
		{fault(3), (*model).deliverWild},
	}
	for _, a := range m.actions {
		m.total += a.weight
	}
	m.addWriter()
	return m
}

func (m *model) step() {
	at := m.rng.IntN(m.total)
	for _, a := range m.actions {
		if at < a.weight {
			a.do(m)
			return
		}
		at -= a.weight
	}
}

func (m *model) node() *node { return m.w.nodes[m.rng.IntN(len(m.w.nodes))] }

// writer returns a proposer, often the newest.
func (m *model) writer() *writer {
	ws := m.w.writers
	if len(ws) == 0 {
		return nil
	}
	if m.rng.IntN(2) == 0 {
		return ws[len(ws)-1]
	}
	return ws[m.rng.IntN(len(ws))]
}

// queue returns a direction of a connection that has messages on their way.
func (m *model) queue() *[]*letterInFlight {
	wr := m.writer()
	if wr == nil {
		return nil
	}
	c := wr.conns[m.node().id]
	if c == nil {
		return nil
	}
	q := &c.to
	if m.rng.IntN(2) == 0 {
		q = &c.from
	}
	if len(*q) == 0 {
		return nil
	}
	return q
}

func (m *model) arrive(l *letterInFlight) {
	m.w.arrive(l)
	if l.toNode && l.n.a != nil && m.rng.IntN(2) == 0 {
		m.w.drainNode(l.n) // else with a later one: group commit
	}
}

func (m *model) deliver() {
	if q := m.queue(); q != nil {
		l := (*q)[0]
		*q = (*q)[1:]
		m.arrive(l)
	}
}

// deliverWild breaks what a connection promises: a message comes early, twice or never.
func (m *model) deliverWild() {
	q := m.queue()
	if q == nil {
		return
	}
	i := m.rng.IntN(len(*q))
	l := (*q)[i]
	if m.rng.IntN(2) == 0 {
		*q = append((*q)[:i:i], (*q)[i+1:]...)
	}
	if m.rng.IntN(4) != 0 {
		m.arrive(l)
	}
}

func (m *model) deliverLate() {
	if len(m.w.late) == 0 {
		return
	}
	i := len(m.w.late) - 1 - m.rng.IntN(min(len(m.w.late), 8)) // the newest do most harm
	l := m.w.late[i]
	if m.rng.IntN(3) != 0 {
		m.w.late = append(m.w.late[:i:i], m.w.late[i+1:]...)
	}
	if wr := m.writer(); !l.toNode && wr != nil && wr.id == l.w.id {
		l = &letterInFlight{w: wr, n: l.n, session: l.session, contents: l.contents} // another life
	}
	m.arrive(l)
}

func (m *model) disk() {
	n := m.node()
	if n.a == nil {
		return
	}
	m.w.drainNode(n)
	if len(n.queue) > 0 {
		m.w.diskStep(n)
	}
}

func (m *model) propose() {
	wr := m.writer()
	if wr == nil || wr.p.Status().Phase != PhaseLeading {
		return
	}
	var b []byte
	for range 1 + m.rng.IntN(6) {
		b = append(b, byte('a'+m.rng.IntN(26)))
		if m.rng.IntN(3) == 0 {
			b = append(b, '|')
		}
	}
	m.w.propose(wr, b)
}

func (m *model) tick() {
	if wr := m.writer(); wr != nil {
		wr.p.Tick()
		m.w.drainWriter(wr)
	}
}

func (m *model) connect() {
	wr, n := m.writer(), m.node()
	if wr != nil && n.a != nil && wr.conns[n.id] == nil {
		m.w.connect(wr, n)
	}
}

func (m *model) disconnect() {
	if wr := m.writer(); wr != nil {
		m.w.disconnect(wr, m.node())
	}
}

func (m *model) fetch() {
	wr := m.writer()
	if wr == nil || len(wr.fetches) == 0 {
		return
	}
	i := m.rng.IntN(len(wr.fetches))
	if f := wr.fetches[i]; !f.read && m.rng.IntN(3) == 0 {
		f.donor = m.node().id // more than a shell does: any in the term may be read from
	}
	m.w.fetchStep(wr, i, 1+m.rng.IntN(60))
}

func (m *model) crash() {
	if n := m.node(); n.a != nil {
		m.w.crash(n, m.rng.IntN(12))
	}
}

func (m *model) restart() {
	if n := m.node(); n.a == nil {
		m.w.start(n)
	}
}

func (m *model) addWriter() {
	if len(m.w.writers) >= 4 || len(m.w.writers) > 0 && m.rng.IntN(m.calm) != 0 {
		return
	}
	id := wal.NodeID(100 + m.rng.IntN(3)) // lives may share a number
	name := fmt.Sprintf("p%d", m.rng.IntN(1000))
	wr := m.w.addWriter(name, id, Session(m.rng.Uint64()>>2))
	for _, n := range m.w.nodes {
		if n.a != nil && m.rng.IntN(4) != 0 {
			m.w.connect(wr, n)
		}
	}
}

// dropWriter forgets a proposer, as its process would when it dies.
func (m *model) dropWriter() {
	if len(m.w.writers) == 0 {
		return
	}
	i := m.rng.IntN(len(m.w.writers))
	wr := m.w.writers[i]
	if wr.lost == nil && m.rng.IntN(m.calm) != 0 {
		return
	}
	for _, n := range m.w.nodes {
		m.w.disconnect(wr, n)
	}
	m.w.writers = append(m.w.writers[:i:i], m.w.writers[i+1:]...)
}

// heal starts every node and one new proposer, and requires that it commits everywhere.
func (m *model) heal() {
	for len(m.w.writers) > 0 {
		wr := m.w.writers[0]
		for _, n := range m.w.nodes {
			m.w.disconnect(wr, n)
		}
		m.w.writers = m.w.writers[1:]
	}
	m.w.late = nil
	for _, n := range m.w.nodes {
		if n.a == nil {
			m.w.start(n)
		}
	}
	wr := m.w.addWriter("healer", 200, 1<<62)
	for _, n := range m.w.nodes {
		m.w.connect(wr, n)
	}
	m.w.settle(nil)
	for i := 0; wr.leading == nil; i++ {
		require.Less(m.t, i, 100, "a leader is elected: %+v", wr.p.Status())
		wr.p.Tick()
		m.w.drainWriter(wr)
		m.w.settle(nil)
	}
	m.w.propose(wr, []byte("last|"))
	m.w.settle(nil)
	m.w.check()
	require.Equal(m.t, wr.p.Status().Head, wr.p.Status().Announced)
	require.True(m.t, bytes.HasSuffix(m.w.committed, []byte("last|")))
	for _, n := range m.w.nodes {
		require.Equal(m.t, string(m.w.committed), string(n.log), "n%d has the whole log", n.id)
		require.Equal(m.t, n.end(), n.a.Readable())
	}
}

// settle delivers, writes and fetches in a fixed order until nothing is left to do, leaving
// out the nodes held.
func (w *world) settle(held map[wal.NodeID]bool) {
	for busy := true; busy; {
		busy = false
		for _, n := range w.nodes {
			if n.a == nil || held[n.id] {
				continue
			}
			w.drainNode(n)
			for len(n.queue) > 0 {
				busy = true
				w.diskStep(n)
			}
			for _, wr := range w.writers {
				busy = w.settleConn(wr.conns[n.id]) || busy
			}
		}
		for _, wr := range w.writers {
			for i := 0; i < len(wr.fetches); {
				f := wr.fetches[i]
				if held[f.f.From] || held[f.f.For] {
					i++
					continue
				}
				busy = true
				w.fetchStep(wr, i, AppendBytesMax)
			}
		}
	}
}

func (w *world) settleConn(c *conn) bool {
	if c == nil {
		return false
	}
	busy := len(c.to)+len(c.from) > 0
	for len(c.to) > 0 {
		l := c.to[0]
		c.to = c.to[1:]
		w.arrive(l)
	}
	for len(c.from) > 0 {
		l := c.from[0]
		c.from = c.from[1:]
		w.arrive(l)
	}
	return busy
}
