package world

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// FaultKind is a way in which the world goes wrong.
type FaultKind uint8

// The faults. Those of chance have a chance per million at each opportunity, which
// is named here; episodes come every so often while a storm blows.
const (
	NetDelay       FaultKind = iota // bytes written: they take long (a skewed draw)
	NetReset                        // bytes written: the connection is reset
	NetTorn                         // bytes written: the connection is reset, and a part of them arrives before that
	NetHalfOpen                     // bytes written: from now on they vanish, one way or both
	NetLate                         // a reset: bytes under way still arrive, late
	NetShortRead                    // a read: returns a part of what is there
	NetPartition                    // episode: the nodes fall into two groups
	NetOneWay                       // episode: one link carries nothing one way
	NetIsolate                      // episode: one node is cut off, bucket included
	NetRing                         // episode: nodes and bucket form a ring, and each reaches its two neighbours only
	NetClog                         // episode: what is sent on one link one way arrives when it ends, at once and in order
	NetSwizzle                      // episode: some nodes are clogged both ways, one after the other, and freed in another order
	CrashCall                       // a call of Env in a storm: the node loses power, before or after it
	CrashCover                      // a marked place of the code reached (Trace.Cover): loss of power at the next call of Env
	CrashNode                       // episode: a node loses power, and comes back
	CrashProcess                    // episode: a node's process dies, and comes back
	CrashLoop                       // a start in a storm: the node dies soon again, some times
	PauseNode                       // episode: a node stands still, then runs on
	CPUSlow                         // episode: a node's turns and its CPU work take long, one after the other
	DiskWipe                        // a death of power: the disk is empty when it comes back
	DiskLoss                        // a death of power, per unsynced block or entry: it is lost
	DiskTorn                        // a death of power, per unsynced block: some sectors of it are lost
	DiskEarly                       // a write: the block reaches the disk before it is synced
	DiskSyncError                   // a sync: fails, and what was to be synced counts as clean
	DiskLie                         // a sync: says it is done and does nothing
	DiskRot                         // a read: a bit of the block has flipped on the disk
	DiskLostWrite                   // a sync, per block: the disk keeps the old block
	DiskMisdirect                   // a sync, per block: the disk writes it in another's place
	DiskReadError                   // a read: EIO
	DiskShortRead                   // a read: EIO, after a part of it
	DiskWriteError                  // a write: EIO, after a part of it
	DiskEntryError                  // a file created, renamed, removed, truncated or allocated: EIO, and nothing has changed
	DiskFull                        // episode: a node's disk has no space to grow
	DiskSlow                        // a call of the disk: takes long
	ClockOffset                     // a node: its time of day is off
	ClockDrift                      // a node: its clock runs fast or slow
	ClockStep                       // episode: a node's time of day jumps
	BucketError                     // a call: refused, definitely
	BucketUnknown                   // a change: an unknown outcome; it happened or not
	BucketLate                      // a change: an unknown outcome; it happens later
	BucketThrottle                  // episode: a node's calls are refused
	BucketSlow                      // a call: takes long
	BucketCorrupt                   // a read: the body has a flipped bit
	SchedYield                      // a yield: the turn is taken away for long
	SchedWake                       // a wake-up: comes late
	SchedOffload                    // CPU work: takes long
	faultCount
)

// Fault says how often and how badly. The zero value is off.
type Fault struct {
	PerMillion uint32 // the chance at each opportunity
	Every      Range  // between the episodes
	Lasts      Range  // how long an episode, a delay or a downtime is; how far a clock is off
}

// Off reports whether the fault never happens.
func (f Fault) Off() bool { return f.PerMillion == 0 && f.Every.Hi == 0 }

// Faults is what may go wrong and how badly, by kind.
type Faults [faultCount]Fault

const (
	ms = time.Millisecond
	us = time.Microsecond
)

// menu names the faults and bounds what a seed draws for them: a chance up to
// PerMillion, and ranges within Every and Lasts. One that deceives is of the disk's
// integrity, which a [Node.Trust]ed node does not suffer; one that is for asking is
// off unless asked for.
var menu = [faultCount]struct {
	name           string
	most           Fault
	deceives, asks bool
}{
	NetDelay:       {name: "net.delay", most: Fault{PerMillion: 300_000, Lasts: Range{ms, 2 * time.Second}}},
	NetReset:       {name: "net.reset", most: Fault{PerMillion: 10_000}},
	NetTorn:        {name: "net.torn", most: Fault{PerMillion: 10_000}},
	NetHalfOpen:    {name: "net.half-open", most: Fault{PerMillion: 2_000}},
	NetLate:        {name: "net.late", most: Fault{PerMillion: 500_000, Lasts: Range{ms, 10 * time.Second}}},
	NetShortRead:   {name: "net.short-read", most: Fault{PerMillion: 300_000}},
	NetPartition:   {name: "net.partition", most: Fault{Every: Range{time.Second, 30 * time.Second}, Lasts: Range{100 * ms, 20 * time.Second}}},
	NetOneWay:      {name: "net.one-way", most: Fault{Every: Range{time.Second, 30 * time.Second}, Lasts: Range{100 * ms, 20 * time.Second}}},
	NetIsolate:     {name: "net.isolate", most: Fault{Every: Range{time.Second, 30 * time.Second}, Lasts: Range{100 * ms, 20 * time.Second}}},
	NetRing:        {name: "net.ring", most: Fault{Every: Range{time.Second, 30 * time.Second}, Lasts: Range{100 * ms, 20 * time.Second}}},
	NetClog:        {name: "net.clog", most: Fault{Every: Range{time.Second, 30 * time.Second}, Lasts: Range{100 * ms, 20 * time.Second}}},
	NetSwizzle:     {name: "net.swizzle", most: Fault{Every: Range{time.Second, 30 * time.Second}, Lasts: Range{100 * ms, 20 * time.Second}}},
	CrashCall:      {name: "crash.call", most: Fault{PerMillion: 500}},
	CrashCover:     {name: "crash.cover", most: Fault{PerMillion: 100_000}},
	CrashNode:      {name: "crash.node", most: Fault{Every: Range{time.Second, 60 * time.Second}, Lasts: Range{10 * ms, 20 * time.Second}}},
	CrashProcess:   {name: "crash.process", most: Fault{Every: Range{time.Second, 60 * time.Second}, Lasts: Range{10 * ms, 5 * time.Second}}},
	CrashLoop:      {name: "crash.loop", most: Fault{PerMillion: 200_000}},
	PauseNode:      {name: "pause", most: Fault{Every: Range{time.Second, 60 * time.Second}, Lasts: Range{10 * ms, 60 * time.Second}}},
	CPUSlow:        {name: "cpu.slow", most: Fault{Every: Range{time.Second, 60 * time.Second}, Lasts: Range{100 * ms, 20 * time.Second}}},
	DiskWipe:       {name: "disk.wipe", most: Fault{PerMillion: 100_000}, deceives: true},
	DiskLoss:       {name: "disk.loss", most: Fault{PerMillion: 800_000}},
	DiskTorn:       {name: "disk.torn", most: Fault{PerMillion: 500_000}},
	DiskEarly:      {name: "disk.early", most: Fault{PerMillion: 100_000}},
	DiskSyncError:  {name: "disk.sync-error", most: Fault{PerMillion: 2_000}},
	DiskLie:        {name: "disk.lie", most: Fault{PerMillion: 10_000}, deceives: true, asks: true},
	DiskRot:        {name: "disk.rot", most: Fault{PerMillion: 2_000}, deceives: true},
	DiskLostWrite:  {name: "disk.lost-write", most: Fault{PerMillion: 1_000}, deceives: true},
	DiskMisdirect:  {name: "disk.misdirect", most: Fault{PerMillion: 1_000}, deceives: true},
	DiskReadError:  {name: "disk.read-error", most: Fault{PerMillion: 2_000}},
	DiskShortRead:  {name: "disk.short-read", most: Fault{PerMillion: 2_000}},
	DiskWriteError: {name: "disk.write-error", most: Fault{PerMillion: 2_000}},
	DiskEntryError: {name: "disk.entry-error", most: Fault{PerMillion: 10_000}},
	DiskFull:       {name: "disk.full", most: Fault{Every: Range{5 * time.Second, 60 * time.Second}, Lasts: Range{100 * ms, 20 * time.Second}}},
	DiskSlow:       {name: "disk.slow", most: Fault{PerMillion: 50_000, Lasts: Range{ms, 5 * time.Second}}},
	ClockOffset:    {name: "clock.offset", most: Fault{PerMillion: million, Lasts: Range{0, time.Hour}}},
	ClockDrift:     {name: "clock.drift", most: Fault{PerMillion: million}},
	ClockStep:      {name: "clock.step", most: Fault{Every: Range{5 * time.Second, 60 * time.Second}, Lasts: Range{0, 10 * time.Minute}}},
	BucketError:    {name: "bucket.error", most: Fault{PerMillion: 50_000}},
	BucketUnknown:  {name: "bucket.unknown", most: Fault{PerMillion: 50_000}},
	BucketLate:     {name: "bucket.late", most: Fault{PerMillion: 20_000, Lasts: Range{ms, 60 * time.Second}}},
	BucketThrottle: {name: "bucket.throttle", most: Fault{Every: Range{5 * time.Second, 60 * time.Second}, Lasts: Range{100 * ms, 20 * time.Second}}},
	BucketSlow:     {name: "bucket.slow", most: Fault{PerMillion: 50_000, Lasts: Range{10 * ms, 20 * time.Second}}},
	BucketCorrupt:  {name: "bucket.corrupt", most: Fault{PerMillion: 5_000}},
	SchedYield:     {name: "sched.yield", most: Fault{PerMillion: 200_000, Lasts: Range{us, 100 * ms}}},
	SchedWake:      {name: "sched.wake", most: Fault{PerMillion: 50_000, Lasts: Range{us, 50 * ms}}},
	SchedOffload:   {name: "sched.offload", most: Fault{PerMillion: 100_000, Lasts: Range{us, 500 * ms}}},
}

func (k FaultKind) String() string { return menu[k].name }

// FaultKinds is every kind of fault in order.
func FaultKinds() []FaultKind {
	kinds := make([]FaultKind, faultCount)
	for i := range kinds {
		kinds[i] = FaultKind(i)
	}
	return kinds
}

// DrawFaults draws for each kind whether it is on, half of them, and how often and
// how badly it happens. Each kind has a draw of its own, so that a new kind changes
// nothing of the others.
func DrawFaults(seed uint64) Faults {
	var faults Faults
	for kind, entry := range menu {
		s := seedOf(seed, 0, "fault", entry.name)
		c := Choices{random: s}
		if entry.asks || c.Below(2) == 0 {
			continue
		}
		f := Fault{Every: c.narrowed(entry.most.Every), Lasts: c.narrowed(entry.most.Lasts)}
		if entry.most.PerMillion > 0 {
			f.PerMillion = 1 + c.Below(entry.most.PerMillion)
		}
		faults[kind] = f
	}
	return faults
}

// narrowed is a range with the same beginning and an earlier end.
func (c *Choices) narrowed(r Range) Range {
	return Range{r.Lo, c.Between(Range{r.Lo + (r.Hi-r.Lo)/10, r.Hi})}
}

// Worst is every fault on, as bad as the menu has it, but those to be asked for.
func Worst() Faults {
	var faults Faults
	for kind, entry := range menu {
		if !entry.asks {
			faults[kind] = entry.most
		}
	}
	return faults
}

// Only is the faults of some kinds; the others are off.
func (f Faults) Only(kinds ...FaultKind) Faults {
	var only Faults
	for _, kind := range kinds {
		only[kind] = f[kind]
	}
	return only
}

// Without is the faults but those of some kinds.
func (f Faults) Without(kinds ...FaultKind) Faults {
	for _, kind := range kinds {
		f[kind] = Fault{}
	}
	return f
}

// String is one line for each fault that is on: its name, chance per million, and
// the ranges "every" and "lasts".
func (f Faults) String() string {
	var b strings.Builder
	for kind, fault := range f {
		if !fault.Off() {
			fmt.Fprintf(&b, "%s %d %v %v %v %v\n", menu[kind].name, fault.PerMillion, fault.Every.Lo, fault.Every.Hi, fault.Lasts.Lo, fault.Lasts.Hi)
		}
	}
	return b.String()
}

// ParseFaults reads what String wrote.
func ParseFaults(text string) (Faults, error) {
	var faults Faults
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) == 0 {
			continue
		}
		kind, fault, err := parseFault(fields)
		if err != nil {
			return Faults{}, fmt.Errorf("parse fault %q: %w", strings.TrimSpace(line), err)
		}
		faults[kind] = fault
	}
	return faults, nil
}

func parseFault(fields []string) (kind int, fault Fault, err error) {
	for kind < len(menu) && menu[kind].name != fields[0] {
		kind++
	}
	if kind == len(menu) || len(fields) != 6 {
		return 0, Fault{}, fmt.Errorf("want a known name, a chance and four durations")
	}
	chance, err := strconv.ParseUint(fields[1], 10, 32)
	if err != nil {
		return 0, Fault{}, err
	}
	fault.PerMillion = uint32(chance)
	for i, d := range []*time.Duration{&fault.Every.Lo, &fault.Every.Hi, &fault.Lasts.Lo, &fault.Lasts.Hi} {
		if *d, err = time.ParseDuration(fields[2+i]); err != nil {
			return 0, Fault{}, err
		}
	}
	return kind, fault, nil
}

// Faults is what may go wrong at the node; the world's faults, at first.
func (n *Node) Faults() *Faults { return &n.faults }

// Trust switches off, for this node, the faults by which a disk deceives: loss of
// what was synced, and wrong bytes. A run may have them at a minority only.
func (n *Node) Trust() {
	for kind, entry := range menu {
		if entry.deceives {
			n.faults[kind] = Fault{}
		}
	}
}

// hit decides whether a fault of chance happens at the node now.
func (n *Node) hit(kind FaultKind, c *Choices) bool {
	if n.w.storm.calm || !c.Hit(n.faults[kind].PerMillion) {
		return false
	}
	n.w.count(n, kind)
	return true
}

// count notes that a fault was injected. n may be nil.
func (w *World) count(n *Node, kind FaultKind) {
	w.fired[kind]++
	w.note(n, KindFault, uint64(kind), menu[kind].name)
}

// Fired is how often a fault was injected.
func (w *World) Fired(kind FaultKind) uint64 { return w.fired[kind] }
