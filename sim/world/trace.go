package world

import (
	"context"
	"fmt"
	"hash/crc32"
	"math/bits"
	"time"
)

// Kind is the kind of a thing that happens in the world.
type Kind uint8

// The kinds of entries in the trace.
const (
	KindStart    Kind = iota // a node is started; payload: which start of it
	KindEnd                  // a node's program returned
	KindKill                 // a node lost its power; payload: calls of Env so far
	KindCrash                // a node's process died; payload: calls of Env so far
	KindWipe                 // a node's disk was emptied
	KindPause                // a node stands still
	KindResume               // a node runs on
	KindStep                 // a task was resumed; payload: its number
	KindDeliver              // bytes arrived at a node; payload: their CRC
	KindReset                // a connection of a node was reset
	KindWrite                // bytes were written to a file; payload: their CRC
	KindSync                 // a file or directory was made durable; payload: pages or entries
	KindPut                  // an object was put; payload: CRC of key and body
	KindDelete               // an object was deleted; payload: CRC of its key
	KindLink                 // a link was cut or healed; payload: the other node's number, and which
	KindClock                // a node's clock was stepped; payload: nanoseconds
	KindFault                // a fault was injected; payload: which
	KindEvent                // the node noted an event; payload: CRC of its text
	KindCover                // the node reached a marked place; payload: CRC of its label
	KindFull                 // a node's disk has no space from now on, or has again; payload: which
	KindThrottle             // a node is refused by the bucket from now on, or is not any more; payload: which
	KindClog                 // a link, or all links of a node, are clogged from now on, or are not any more; payload: which
	KindSlow                 // a node is slow from now on, or is not any more; payload: how long a turn takes
	kindCount
)

var kindNames = [kindCount]string{
	"start", "end", "kill", "crash", "wipe", "pause", "resume", "step", "deliver", "reset",
	"write", "sync", "put", "delete", "link", "clock", "fault", "event", "cover",
	"full", "throttle", "clog", "slow",
}

func (k Kind) String() string { return kindNames[k] }

// upsets is what faults do and what ends them.
var upsets = [kindCount]bool{
	KindStart: true, KindKill: true, KindCrash: true, KindWipe: true, KindPause: true, KindResume: true,
	KindLink: true, KindClock: true, KindFault: true, KindFull: true, KindThrottle: true,
	KindClog: true, KindSlow: true,
}

// Entry is one line of the trace.
type Entry struct {
	At      time.Duration // virtual time
	Node    string        // empty: the world itself
	Kind    Kind
	Payload uint64
	Text    string // of an event, a label or a fault; a task's name. Not hashed beyond the payload.

	// Of bytes that arrived: who sent them, and when. Not hashed.
	From string
	Sent time.Duration
}

func (e Entry) String() string {
	return fmt.Sprintf("%15.6f %-10s %-7s %016x %s", e.At.Seconds(), e.Node, e.Kind, e.Payload, e.Text)
}

// note adds an entry to the rolling hash of the trace, and to the log if there is
// one. n may be nil.
func (w *World) note(n *Node, kind Kind, payload uint64, text string) {
	w.enter(n, kind, payload)
	if w.cfg.Upset != nil && upsets[kind] {
		w.cfg.Upset(Entry{At: w.now, Node: nameOf(n), Kind: kind, Payload: payload, Text: text})
	}
	if w.cfg.Log != nil {
		w.cfg.Log(Entry{At: w.now, Node: nameOf(n), Kind: kind, Payload: payload, Text: text})
	}
}

// noteArrival is note for bytes that reached n from another node; payload is their CRC.
func (w *World) noteArrival(n, from *Node, sent time.Duration, payload uint64, addr string) {
	w.enter(n, KindDeliver, payload)
	if w.cfg.Log != nil {
		w.cfg.Log(Entry{At: w.now, Node: n.name, Kind: KindDeliver, Payload: payload, Text: addr, From: from.name, Sent: sent})
	}
}

func nameOf(n *Node) string {
	if n == nil {
		return ""
	}
	return n.name
}

// enter adds an entry to the rolling hash.
func (w *World) enter(n *Node, kind Kind, payload uint64) {
	id := uint64(0)
	if n != nil {
		id = uint64(n.id)
	}
	h := (w.hash ^ uint64(w.now)) * 0x9E3779B97F4A7C15
	h = (bits.RotateLeft64(h, 31) ^ id<<8 ^ uint64(kind)) * 0xBF58476D1CE4E5B9
	h = (bits.RotateLeft64(h, 29) ^ payload) * 0x94D049BB133111EB
	w.hash = h ^ h>>32
}

func crcOf(p []byte) uint64 { return uint64(crc32.Checksum(p, castagnoli)) }

// tracer is a life's env.Trace. Its buffer is the node's, used by one call at a time.
type tracer struct{ l *life }

func (t tracer) Event(name string, attrs ...any) {
	if t.l.dead {
		return
	}
	n := t.l.n
	n.text = append(n.text[:0], name...)
	for i, attr := range attrs {
		if i%2 == 0 {
			n.text = fmt.Appendf(n.text, " %v", attr)
		} else {
			n.text = fmt.Appendf(n.text, "=%v", attr)
		}
	}
	text := ""
	if n.w.cfg.Log != nil {
		text = string(n.text)
	}
	n.w.note(n, KindEvent, crcOf(n.text), text)
}

func (t tracer) Cover(label string) {
	if t.l.dead {
		return
	}
	n := t.l.n
	n.w.covered[label]++
	n.w.note(n, KindCover, crcOf([]byte(label)), label)
	if n.stormy && n.w.storm.blows && n.hit(CrashCover, n.crashes) {
		n.crashAt, n.point = n.calls+1, Before
	}
}

// Yield lets the scheduler choose again who runs; a fault may take the turn away
// for longer.
func (t tracer) Yield(ctx context.Context, label string) {
	c, err := t.l.beginAlways(TraceYield)
	if err != nil {
		return
	}
	w := t.l.n.w
	delay := time.Duration(0)
	if t.l.n.hit(SchedYield, t.l.n.sched) {
		delay = t.l.n.sched.Skewed(t.l.n.faults[SchedYield].Lasts)
	}
	// The end of ctx ends the wait, and is for the next call to report.
	_ = w.sleep(scopeOf(ctx), delay)
	_ = c.end()
}
