package world

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/varvedb/varve/wal/env"
)

const (
	// localTime is the way of bytes inside one node; remoteTime between two.
	localTime  = 10 * time.Microsecond
	remoteTime = 100 * time.Microsecond

	// dialFirst is when a lost dial is first sent again; the wait doubles each time,
	// and it is given up after dialMax, as by Linux.
	dialFirst = time.Second
	dialMax   = 127 * time.Second

	// unheardMax is how long bytes are sent again and again without an answer, about
	// as by Linux, before their sender's connection fails.
	unheardMax = 15 * time.Minute

	// resendMax bounds the wait of a stuck connection after its link has healed: the
	// next time that the bytes are sent again.
	resendMax = 3 * time.Second

	// windowSize is how many bytes may be under way and unread in one direction, so
	// that a writer can be ahead of its reader by one receive buffer.
	windowSize = 256 << 10

	// backlogMax is how many connections wait to be accepted, as by Linux.
	backlogMax = 4096

	firstFreePort = 32768
)

// Errors of the network.
var (
	ErrReset   = errors.New("connection reset by peer")
	ErrRefused = errors.New("connection refused")
	ErrTimeout = errors.New("connection timed out")
)

// network is what connects the nodes.
type network struct {
	links   map[linkID]*link
	listens map[string]*listener
	owners  map[string]*Node // who last listened at an address
	port    int
}

func newNetwork() network {
	return network{links: map[linkID]*link{}, listens: map[string]*listener{}, owners: map[string]*Node{}, port: firstFreePort}
}

// linkID names one direction between two nodes; node 0 is the bucket.
type linkID struct{ from, to int }

// link is one direction between two nodes.
type link struct {
	id      linkID
	cut     bool
	clogged time.Duration // until when; what is sent before arrives then
	stuck   []*pipe
	choices *Choices
}

func (w *World) link(from, to int) *link {
	id := linkID{from, to}
	l := w.network.links[id]
	if l == nil {
		l = &link{id: id, choices: w.Choices("net/" + w.nameOf(from) + ">" + w.nameOf(to))}
		w.network.links[id] = l
	}
	return l
}

func (w *World) nameOf(id int) string {
	if id == 0 {
		return "bucket"
	}
	return w.nodes[id-1].name
}

// idOf is a node's number; nil is the bucket.
func idOf(n *Node) int {
	if n == nil {
		return 0
	}
	return n.id
}

// Cut stops all that goes from one node to another; nil is the bucket. Bytes on
// their way wait, and are sent again when it heals.
func (w *World) Cut(from, to *Node) { w.setLink(w.link(idOf(from), idOf(to)), true) }

// Heal ends Cut.
func (w *World) Heal(from, to *Node) { w.setLink(w.link(idOf(from), idOf(to)), false) }

func (w *World) setLink(l *link, cut bool) {
	if l.cut == cut || l.id.from == l.id.to {
		return
	}
	l.cut = cut
	payload := uint64(l.id.from)<<33 | uint64(l.id.to)<<1
	if cut {
		payload |= 1
	}
	w.note(nil, KindLink, payload, w.nameOf(l.id.from)+">"+w.nameOf(l.id.to))
	if !cut {
		w.resend(l.stuck, l.choices)
		l.stuck = nil
	}
}

// resend has stuck pipes try again soon.
func (w *World) resend(stuck []*pipe, c *Choices) {
	for _, p := range stuck {
		p.stuck = 0
		w.at(w.now+c.Between(Range{0, resendMax}), p, 0)
	}
}

// HealAll heals every link. What is under way on a clogged one still takes its time.
func (w *World) HealAll() {
	for from := range len(w.nodes) + 1 {
		for to := range len(w.nodes) + 1 {
			if l := w.network.links[linkID{from, to}]; l != nil {
				w.setLink(l, false)
				l.clogged = 0
			}
		}
	}
}

// Isolate cuts a node off from all others and from the bucket.
func (w *World) Isolate(n *Node) { w.isolate(n, w.Cut) }

// Rejoin ends Isolate.
func (w *World) Rejoin(n *Node) { w.isolate(n, w.Heal) }

func (w *World) isolate(n *Node, set func(from, to *Node)) {
	for _, other := range append([]*Node{nil}, w.nodes...) {
		set(n, other)
		set(other, n)
	}
}

// powered has the pipes to a node that was without power go on.
func (n *Node) powered() {
	stuck := n.downed
	n.downed = nil
	for _, p := range stuck {
		n.w.resend([]*pipe{p}, p.link.choices)
	}
}

// netOf is a life's env.Net.
type netOf struct{ l *life }

// place is where an address lies. A unix socket is of its node alone.
func (l *life) place(addr string) (key string, tcp bool, err error) {
	family, rest, ok := strings.Cut(addr, ":")
	if !ok || (family != "unix" && family != "tcp") || rest == "" {
		return "", false, fmt.Errorf("address %q: want unix:PATH or tcp:HOST:PORT", addr)
	}
	if family == "unix" {
		return l.n.name + "/" + addr, false, nil
	}
	return addr, true, nil
}

// Listen takes any host's name; port 0 is a free port.
func (t netOf) Listen(ctx context.Context, addr string) (env.Listener, error) {
	c, err := t.l.begin(ctx, NetListen)
	if err != nil {
		return nil, err
	}
	key, tcp, err := t.l.place(addr)
	if err != nil {
		return nil, err
	}
	net := &t.l.n.w.network
	if host, free := strings.CutSuffix(addr, ":0"); tcp && free {
		addr = fmt.Sprintf("%s:%d", host, net.port)
		key = addr
		net.port++
	}
	if net.listens[key] != nil {
		return nil, fmt.Errorf("listen on %s: address in use", addr)
	}
	l := &listener{l: t.l, key: key, addr: addr}
	net.listens[key], net.owners[key] = l, t.l.n
	t.l.listens = append(t.l.listens, l)
	return l, c.end()
}

// Dial takes a way there and back. Where nothing comes back it is tried again.
func (t netOf) Dial(ctx context.Context, addr string) (env.Conn, error) {
	call, err := t.l.begin(ctx, NetDial)
	if err != nil {
		return nil, err
	}
	key, _, err := t.l.place(addr)
	if err != nil {
		return nil, err
	}
	s := scopeOf(ctx)
	w := t.l.n.w
	for wait := dialFirst; ; wait *= 2 {
		owner := w.network.owners[key]
		there, back := t.l.ways(owner)
		if err := w.sleep(s, there+back); err != nil {
			return nil, err
		}
		if !t.l.n.severed(owner) {
			break
		}
		if wait > dialMax/2 {
			return nil, fmt.Errorf("dial %s: %w", addr, ErrTimeout)
		}
		if err := w.sleep(s, wait); err != nil {
			return nil, err
		}
	}
	l := w.network.listens[key]
	if l == nil || len(l.backlog) >= backlogMax {
		return nil, fmt.Errorf("dial %s: %w", addr, ErrRefused)
	}
	mine, theirs := w.connect(t.l, l.l, addr)
	l.backlog = append(l.backlog, theirs)
	l.wakeOne()
	return mine, call.end()
}

// ways are the times to a node and back.
func (l *life) ways(owner *Node) (there, back time.Duration) {
	if owner == nil || owner == l.n {
		return localTime, localTime
	}
	w := l.n.w
	return l.n.way(w.link(l.n.id, owner.id)), owner.way(w.link(owner.id, l.n.id))
}

// way is how long something takes on a link from the node.
func (n *Node) way(l *link) time.Duration {
	if l.id.from == l.id.to {
		return localTime
	}
	takes := remoteTime + max(0, l.clogged-n.w.now)
	if n.hit(NetDelay, l.choices) {
		takes += l.choices.Skewed(n.faults[NetDelay].Lasts)
	}
	return takes
}

// severed reports whether the node and another cannot hear each other.
func (n *Node) severed(other *Node) bool {
	if other == nil || other == n {
		return false
	}
	return other.off || n.w.link(n.id, other.id).cut || n.w.link(other.id, n.id).cut
}

// listener is a life's open address.
type listener struct {
	l       *life
	key     string
	addr    string
	backlog []*conn
	waiters []waiter
	closed  bool
}

func (l *listener) Addr() string { return l.addr }

func (l *listener) Accept(ctx context.Context) (env.Conn, error) {
	c, err := l.l.begin(ctx, NetAccept)
	if err != nil {
		return nil, l.giveUp(err)
	}
	for len(l.backlog) == 0 && !l.closed {
		l.waiters = append(l.waiters, l.l.n.w.prepare())
		if err := l.l.n.w.park(scopeOf(ctx)); err != nil {
			return nil, l.giveUp(err)
		}
	}
	if l.closed {
		return nil, fmt.Errorf("accept at %s: %w: %w", l.addr, env.ErrListenerClosed, ErrClosed)
	}
	accepted := l.backlog[0]
	l.backlog = l.backlog[1:]
	return accepted, c.end()
}

// giveUp closes the listener, as the end of the context does.
func (l *listener) giveUp(err error) error {
	_ = l.Close() // the error at hand says more than that it was closed before
	return err
}

func (l *listener) wakeOne() {
	for len(l.waiters) > 0 {
		x := l.waiters[0]
		l.waiters = l.waiters[1:]
		if x.wake(nil) {
			return
		}
	}
}

func (l *listener) Close() error {
	if l.closed || l.l.dead {
		return fmt.Errorf("listener at %s: %w", l.addr, ErrClosed)
	}
	l.l.listens = slices.DeleteFunc(l.l.listens, func(o *listener) bool { return o == l })
	l.shut()
	return nil
}

// shut frees the address and resets who was not accepted yet.
func (l *listener) shut() {
	l.closed = true
	delete(l.l.n.w.network.listens, l.key)
	for _, c := range l.backlog {
		c.abandon(true)
	}
	l.backlog = nil
	for _, x := range l.waiters {
		x.wake(nil)
	}
	l.waiters = nil
}

// hangUp ends a dead life's part in the network. A kernel that lives on closes its
// connections; a node without power falls silent.
func (l *life) hangUp(how Kind) {
	for _, open := range l.listens {
		if how == KindKill {
			delete(l.n.w.network.listens, open.key)
			open.backlog = nil
		} else {
			open.shut()
		}
	}
	l.listens = nil
	for c := l.conns.first; c != nil; c = l.conns.first {
		if how == KindKill {
			c.vanish()
		} else {
			c.abandon(false)
		}
	}
}
