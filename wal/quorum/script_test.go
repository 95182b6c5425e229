package quorum

import (
	"fmt"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/wal"
)

// TestScripts runs the stories in testdata. The verbs:
//
//	nodes 3                       a new world with so many acceptors
//	proposer p1                   a new proposer
//	connect p1 n1 n2              open connections, in place of those before
//	break p1 n1                   break connections; what is on its way becomes late
//	deliver from=p1 to=n1 [count=1]   hand over messages of a connection
//	disk n1 [count=1]             carry out disk effects
//	fetch p1 [from=n2]            carry out the reads asked for, at another node, and answer them
//	late [drop]                   hand over, or drop, what is late
//	settle [without=n3]           all of the above until nothing is left to do
//	propose p1                    append the input; a record ends with '|'
//	tick p1 10                    let ticks pass
//	crash n1 [keep=3]             lose what is not synced, but for some bytes
//	wipe n1                       lose the state of a node that is down
//	lose n1 4                     lose the log's last bytes, of a node that is down
//	deceive n1                    put the input on the disk of a node that is down, in place of its log
//	start n1                      boot again
//	status                        show all
func TestScripts(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		if !strings.HasSuffix(path, ".txt") {
			t.Skip("not a story")
		}
		s := &script{}
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			s.t = t
			if s.w != nil {
				s.w.t = t
			}
			s.run(d)
			s.w.check()
			return s.output()
		})
	})
}

type script struct {
	t   *testing.T
	w   *world
	out []string
}

func (s *script) run(d *datadriven.TestData) {
	verbs := map[string]func(*datadriven.TestData){
		"nodes": s.nodes, "proposer": s.proposer, "connect": s.connect, "break": s.disconnect,
		"deliver": s.deliver, "disk": s.disk, "fetch": s.fetch, "late": s.late, "settle": s.settle,
		"propose": s.propose, "tick": s.tick, "crash": s.crash, "wipe": s.wipe, "lose": s.lose,
		"deceive": s.deceive, "start": s.start, "status": s.status,
	}
	verb := verbs[d.Cmd]
	require.NotNil(s.t, verb, "unknown verb %s", d.Cmd)
	verb(d)
}

func (s *script) output() string {
	out := append(s.out, s.w.events...)
	s.out, s.w.events = nil, nil
	if len(out) == 0 {
		return "ok\n"
	}
	return strings.Join(out, "\n") + "\n"
}

func (s *script) say(format string, args ...any) { s.out = append(s.out, fmt.Sprintf(format, args...)) }

// news says what happened in the world since.
func (s *script) news() {
	for _, e := range s.w.events {
		s.say("  %s", e)
	}
	s.w.events = nil
}

func (s *script) node(name string) *node {
	for _, n := range s.w.nodes {
		if fmt.Sprintf("n%d", n.id) == name {
			return n
		}
	}
	return nil
}

func (s *script) writer(name string) *writer {
	for _, wr := range s.w.writers {
		if wr.name == name {
			return wr
		}
	}
	require.Fail(s.t, "unknown proposer", name)
	return nil
}

func (s *script) first(d *datadriven.TestData) string { return d.CmdArgs[0].Key }

func (s *script) count(d *datadriven.TestData, count int) int {
	d.MaybeScanArgs(s.t, "count", &count)
	return count
}

func (s *script) nodes(d *datadriven.TestData) {
	var n int
	_, err := fmt.Sscan(s.first(d), &n)
	require.NoError(s.t, err)
	s.w = newWorld(s.t, n)
}

func (s *script) proposer(d *datadriven.TestData) {
	k := len(s.w.writers) + 1
	s.w.addWriter(s.first(d), wal.NodeID(100+k), Session(100*k))
}

func (s *script) connect(d *datadriven.TestData) {
	for _, arg := range d.CmdArgs[1:] {
		s.w.connect(s.writer(s.first(d)), s.node(arg.Key))
	}
}

func (s *script) disconnect(d *datadriven.TestData) {
	for _, arg := range d.CmdArgs[1:] {
		s.w.disconnect(s.writer(s.first(d)), s.node(arg.Key))
	}
}

func (s *script) deliver(d *datadriven.TestData) {
	var from, to string
	d.ScanArgs(s.t, "from", &from)
	d.ScanArgs(s.t, "to", &to)
	wr, n := from, to
	toNode := s.node(to) != nil
	if !toNode {
		wr, n = to, from
	}
	c := s.writer(wr).conns[s.node(n).id]
	require.NotNil(s.t, c, "%s and %s are connected", from, to)
	q := &c.from
	if toNode {
		q = &c.to
	}
	for range s.count(d, len(*q)) {
		require.NotEmpty(s.t, *q, "%s sent something to %s", from, to)
		l := (*q)[0]
		*q = (*q)[1:]
		s.say("%s", s.w.arrive(l))
		s.news()
	}
	if n := s.node(to); toNode && n.a != nil {
		s.w.drainNode(n)
	}
}

func (s *script) disk(d *datadriven.TestData) {
	n := s.node(s.first(d))
	for range s.count(d, len(n.queue)) {
		require.NotEmpty(s.t, n.queue, "%s has something to write", s.first(d))
		s.say("%s: %s", s.first(d), s.w.diskStep(n))
	}
}

func (s *script) fetch(d *datadriven.TestData) {
	wr := s.writer(s.first(d))
	if d.HasArg("from") {
		var from string
		d.ScanArgs(s.t, "from", &from)
		for _, f := range wr.fetches {
			f.donor = s.node(from).id
		}
	}
	for range 2 * len(wr.fetches) { // once to read, once to answer
		if len(wr.fetches) > 0 {
			s.w.fetchStep(wr, 0, AppendBytesMax)
		}
	}
}

func (s *script) late(d *datadriven.TestData) {
	late := s.w.late
	s.w.late = nil
	for _, l := range late {
		if d.HasArg("drop") {
			continue
		}
		s.say("%s", s.w.arrive(l))
		s.news()
		if l.n.a != nil {
			s.w.drainNode(l.n)
		}
	}
}

func (s *script) settle(d *datadriven.TestData) {
	held := map[wal.NodeID]bool{}
	if arg, ok := d.Arg("without"); ok {
		for _, name := range arg.Vals {
			held[s.node(name).id] = true
		}
	}
	s.w.settle(held)
}

func (s *script) propose(d *datadriven.TestData) {
	s.w.propose(s.writer(s.first(d)), []byte(d.Input))
}

func (s *script) tick(d *datadriven.TestData) {
	var n int
	_, err := fmt.Sscan(d.CmdArgs[1].Key, &n)
	require.NoError(s.t, err)
	wr := s.writer(s.first(d))
	for range n {
		wr.p.Tick()
		s.w.drainWriter(wr)
	}
}

func (s *script) crash(d *datadriven.TestData) {
	keep := 0
	d.MaybeScanArgs(s.t, "keep", &keep)
	s.w.crash(s.node(s.first(d)), keep)
}

func (s *script) wipe(d *datadriven.TestData) { s.node(s.first(d)).state = nil }

func (s *script) lose(d *datadriven.TestData) {
	var bytes int
	_, err := fmt.Sscan(d.CmdArgs[1].Key, &bytes)
	require.NoError(s.t, err)
	n := s.node(s.first(d))
	n.log = n.log[:len(n.log)-bytes]
	n.synced = len(n.log)
}

func (s *script) deceive(d *datadriven.TestData) {
	n := s.node(s.first(d))
	n.log, n.deceived = []byte(strings.TrimSpace(d.Input)), true
	n.synced = len(n.log)
}

func (s *script) start(d *datadriven.TestData) { s.w.start(s.node(s.first(d))) }

func (s *script) status(*datadriven.TestData) {
	for _, n := range s.w.nodes {
		if n.a == nil {
			s.say("n%d is down", n.id)
			continue
		}
		a := n.a.Status()
		s.say("n%d %v, term %d, history %v, flushed %v, commit %v, log %q, %d of %d bytes synced",
			n.id, a.Standing, a.Term, a.History, a.Flushed, a.Commit, n.log, n.synced, len(n.log))
	}
	for _, wr := range s.w.writers {
		p := wr.p.Status()
		s.say("%s %v, term %d, start %v, head %v, commit %v, announced %v", wr.name, p.Phase, p.Term, p.Start, p.Head, p.Commit, p.Announced)
	}
}
