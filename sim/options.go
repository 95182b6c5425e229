package sim

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/varvedb/varve/sim/workload"
	"github.com/varvedb/varve/sim/world"
)

// Options is everything that is drawn for a run before it begins.
type Options struct {
	Seed    uint64
	World   uint64 `json:",omitempty"` // the seed of the world, if it is another one
	Profile string
	Faults  world.Faults `json:"-"`
	Off     []string     `json:",omitempty"` // faults that were switched off by name
	Changed int          `json:",omitempty"` // which of a search's runs with a changed tape it is, from 1; 0: the seed decides

	Safekeepers int
	Deceived    []int // safekeepers, from 0, whose disks may deceive: a minority
	Pageservers int
	Computes    int // nodes that run computes
	Sessions    int // of each compute
	Historians  int
	Operations  int  `json:",omitempty"` // that clients begin; 0: any number. With a bound, nobody demands that commits go on
	Duel        bool `json:",omitempty"` // all computes serve the first branch, again and again, and pageservers are spared
	Losing      bool `json:",omitempty"` // in a duel: a bare majority elects, and the storm blows at safekeepers whose disks deceive
	Unnoticed   bool `json:",omitempty"` // in such a one: they may lose what would tell them, and all may elect

	CrashAt    uint64           `json:",omitempty"` // a node falls at this call of Env in the storm, counted over all nodes; 0: at none
	CrashPoint world.CrashPoint `json:",omitempty"` // of the call

	EarlyLog      bool          `json:",omitempty"` // the imported log ends early in a segment, not late: beginning a branch's log is less work
	Storm         time.Duration // virtual
	PowerCut      bool          `json:",omitempty"` // ends it, and then the youngest branches are served
	Core          int           // safekeepers that are left when it ends
	Conduct       world.Range   // between two acts of the conductor
	CachePages    int           // of a compute
	MemtableBytes int64
	BlockBytes    int
	LayerBytes    int64         // at which a merged layer is closed
	FlushedMax    int           // layers that are merged together
	ChainMax      int           // deltas in whose place a merge puts an image
	HistoryBytes  int64         // of log that stay readable
	HistoryTime   time.Duration // as long as it stays readable
	DiskBytes     int64         // of a pageserver's cache
	NearBucket    bool          `json:",omitempty"` // pageservers read layers where they are, without copies: see env.Near
	BlocksBytes   int64         // of decoded blocks that a pageserver keeps in memory
	BranchPer     uint32        // per million of a historian's operations: a branch
	Upkeep        world.Range   // between two acts of the keeper of branches and history; zero: there is none
	InTurn        bool          `json:",omitempty"` // keeper and conductor do one thing after the other, each on its turn, not what is drawn
	Rest          time.Duration // between the last operation and the judgement
	Points        int           // LSNs of each branch that are read in the judgement
	Shape         workload.Shape
}

// Without switches faults off, by name: what the control of a suspicion needs.
func (o *Options) Without(names ...string) error {
	for _, name := range names {
		at := slices.IndexFunc(world.FaultKinds(), func(kind world.FaultKind) bool { return kind.String() == name })
		if at < 0 {
			return fmt.Errorf("fault %q is not known", name)
		}
		o.Faults = o.Faults.Without(world.FaultKinds()[at])
		o.Off = append(slices.Clip(o.Off), name)
	}
	return nil
}

// families are the profiles with some kinds of faults only: those whose names begin so.
var families = map[string][]string{
	"net":      {"net."},
	"process":  {"crash.", "pause", "cpu."},
	"disk":     {"disk.", "crash."},
	"clock":    {"clock."},
	"bucket":   {"bucket."},
	"sched":    {"sched."},
	"rivals":   {"net.", "crash.", "pause", "cpu.", "disk.slow", "disk.loss", "disk.torn", "disk.early", "sched."},
	"losses":   {"net.", "crash.node", "crash.process", "pause", "disk.wipe", "disk.lost-write", "disk.misdirect", "disk.rot", "disk.loss", "disk.torn", "disk.early"},
	"branches": {"crash.node", "crash.process", "crash.cover", "pause", "net.delay", "bucket.error", "bucket.unknown", "bucket.late", "bucket.slow", "bucket.corrupt", "sched."},
}

// Profiles names the profiles: quiet has no faults, swarm draws each, all has every one
// at a rate at which work goes on, worst has every one at its worst, which lets little
// work be done, and the others draw those of one family. In rivals there is one branch,
// for which all computes fight. In losses they do so for a short time, and a minority of
// the safekeepers loses what it had. In branches there are many, which are made, detached and
// deleted all the time, and short histories of small layers. In sweep every seed is the same short history but for
// the call at which a node falls: see [Sweep].
func Profiles() []string {
	return []string{"quiet", "net", "process", "disk", "clock", "bucket", "sched", "rivals", "losses", "branches", "swarm", "all", "worst", "sweep"}
}

// all is every fault, with those rarer that stop the work.
func all() world.Faults {
	const rarer = 10
	faults := world.Worst()
	for _, kind := range []world.FaultKind{
		world.NetDelay, world.NetReset, world.NetTorn, world.NetHalfOpen, world.CrashCall, world.CrashCover, world.CrashLoop, world.DiskSlow, world.DiskSyncError,
		world.DiskReadError, world.DiskShortRead, world.DiskWriteError, world.BucketError, world.BucketSlow, world.SchedYield,
	} {
		faults[kind].PerMillion /= rarer
	}
	for _, kind := range []world.FaultKind{
		world.NetPartition, world.NetOneWay, world.NetIsolate, world.NetRing, world.NetClog, world.NetSwizzle,
		world.PauseNode, world.CPUSlow, world.DiskFull, world.BucketThrottle,
	} {
		faults[kind].Lasts.Hi /= rarer
	}
	return faults
}

// Draw draws a run's options from a seed.
func Draw(seed uint64, profile string) (Options, error) {
	if !slices.Contains(Profiles(), profile) {
		return Options{}, fmt.Errorf("profile %q: want one of %s", profile, strings.Join(Profiles(), ", "))
	}
	if profile == "sweep" {
		return Sweep(seed), nil
	}
	// A world of its own, since the run's needs the faults.
	c := world.New(world.Config{Seed: seed}).Choices("options")
	o := Options{Seed: seed, Profile: profile, Faults: faultsOf(seed, profile)}
	o.Safekeepers = 3
	if c.Below(4) == 3 {
		o.Safekeepers = 5
	}
	for len(o.Deceived) < (o.Safekeepers-1)/2 && c.Below(3) > 0 {
		if n := int(c.Below(uint32(o.Safekeepers))); !slices.Contains(o.Deceived, n) {
			o.Deceived = append(o.Deceived, n)
		}
	}
	o.Pageservers = 1 + int(c.Below(3)+1)/2
	o.Computes = 2 + int(c.Below(2))
	o.Sessions = 1 + int(c.Below(4))
	o.Historians = 1 + int(c.Below(2))
	o.Storm = 20*time.Second + c.Skewed(world.Range{Hi: 3 * time.Minute})
	o.Rest, o.Points = 20*time.Second, 40
	quorum := o.Safekeepers/2 + 1
	o.Core = quorum + int(c.Below(uint32(o.Safekeepers-quorum+1)))
	if c.Below(8) == 7 {
		o.Core = quorum - 1
	}
	o.Conduct = world.Range{Lo: 500 * time.Millisecond, Hi: time.Second + c.Between(world.Range{Hi: 10 * time.Second})}
	o.CachePages = 1 + int(c.Below(20))
	// A run writes some hundred kilobytes: with larger ones nothing is flushed.
	o.MemtableBytes = 16 << 10 << c.Below(7)
	o.BlockBytes = 1 << 10 << c.Below(5)
	o.DiskBytes = 64 << 10 << c.Below(10)
	o.BlocksBytes = 256 << 10
	o.BranchPer = 10_000
	o.Shape = drawShape(c)
	if profile == "rivals" || profile == "losses" {
		o.rival(c)
	}
	o.LayerBytes = 16 << 10 << c.Below(8)
	o.FlushedMax = 2 + int(c.Below(4))
	o.ChainMax = 1 + int(c.Below(16))
	o.HistoryBytes = 16 << 10 << c.Below(10)
	o.HistoryTime = time.Second + c.Skewed(world.Range{Hi: time.Minute})
	o.Shape.Truncate, o.Shape.Drop = c.Below(6), c.Below(3)
	if !o.Duel {
		o.Upkeep = world.Range{Lo: 500 * time.Millisecond, Hi: 2*time.Second + c.Between(world.Range{Hi: 10 * time.Second})}
	}
	o.Shape.Lazy = c.Below(4) == 3
	switch profile {
	case "branches":
		o.branching(c)
	case "losses":
		o.losing(c)
	}
	o.NearBucket = c.Below(2) == 1
	return o, nil
}

// branching makes of a run one in which branches are made, detached, reset and deleted all
// the time, and history is collected below them, with few faults in the way.
func (o *Options) branching(c *world.Choices) {
	const rarer = 4 // episodes
	o.Storm = 30*time.Second + c.Skewed(world.Range{Hi: time.Minute})
	o.Conduct = world.Range{Lo: 200 * time.Millisecond, Hi: time.Second + c.Between(world.Range{Hi: 3 * time.Second})}
	o.Upkeep = world.Range{Lo: 50 * time.Millisecond, Hi: 300*time.Millisecond + c.Between(world.Range{Hi: time.Second})}
	o.Computes, o.Historians, o.BranchPer, o.EarlyLog = 3, 1, 100_000, c.Below(4) > 0
	o.MemtableBytes, o.LayerBytes, o.FlushedMax = 8<<10<<c.Below(4), 16<<10<<c.Below(4), 2+int(c.Below(2))
	o.HistoryBytes, o.HistoryTime = 8<<10<<c.Below(6), time.Second+c.Between(world.Range{Hi: 5 * time.Second})
	o.Shape.Relations, o.Shape.Blocks = 3+int(c.Below(3)), 2+c.Below(3)
	o.Shape.Branch, o.Shape.BranchesMax = 4+c.Below(8), 5+int(c.Below(4))
	o.Shape.Truncate, o.Shape.Drop = c.Below(8), c.Below(8)
	// What is done with branches are few requests each: only a bucket that fails often
	// fails in the middle.
	switch c.Below(4) {
	case 0:
		o.Faults[world.BucketCorrupt].PerMillion = 50_000 + c.Below(100_000)
	case 1:
		o.Faults[world.BucketError].PerMillion = 50_000 + c.Below(150_000)
	}
	// Slow, too, it is still at one request when the next comes.
	if c.Below(2) == 1 {
		o.Faults[world.BucketSlow] = world.Fault{PerMillion: 50_000 + c.Below(150_000), Lasts: world.Range{Lo: 10 * time.Millisecond, Hi: time.Second}}
	}
	for _, kind := range []world.FaultKind{world.CrashNode, world.CrashProcess, world.PauseNode} {
		o.Faults[kind].Every.Lo, o.Faults[kind].Every.Hi = o.Faults[kind].Every.Lo*rarer, o.Faults[kind].Every.Hi*rarer
		o.Faults[kind].Lasts.Hi /= rarer
	}
	o.PowerCut = c.Below(2) == 1
}

// rival makes of a run one in which elections meet elections: one branch, no readers of
// its past, and many short cuts and crashes instead of few long ones.
func (o *Options) rival(c *world.Choices) {
	const shorter = 8
	o.Duel, o.Pageservers = true, 1
	if c.Below(2) == 1 {
		o.Safekeepers, o.Core = 5, 3+int(c.Below(3))
	}
	// A log that is read while it is cut takes reads that last.
	if c.Below(3) == 0 {
		o.Faults[world.DiskSlow] = world.Fault{PerMillion: 100_000 + c.Below(200_000), Lasts: world.Range{Lo: time.Millisecond, Hi: 4 * time.Second}}
	}
	// What comes after the storm takes the same time, however many elections were in it.
	o.Storm += 2 * time.Minute
	o.Conduct = world.Range{Lo: 100 * time.Millisecond, Hi: 2*time.Second + c.Between(world.Range{Hi: 4 * time.Second})}
	o.Historians, o.BranchPer, o.Shape.Branch = 0, 0, 0
	for _, kind := range []world.FaultKind{
		world.NetPartition, world.NetOneWay, world.NetIsolate, world.NetRing, world.NetClog, world.NetSwizzle,
		world.CrashNode, world.CrashProcess, world.PauseNode, world.CPUSlow, world.NetDelay, world.DiskSlow,
	} {
		for _, r := range []*world.Range{&o.Faults[kind].Every, &o.Faults[kind].Lasts} {
			r.Lo, r.Hi = r.Lo/shorter, r.Hi/shorter
		}
	}
}

// losing makes of a run of rivals a short one, in which a minority of the safekeepers loses
// what it had: all of it, or what the disk said was written. A sound product leaves out a
// safekeeper that lost something, so that a run shows what comes of it once: it is the
// number of runs that counts.
func (o *Options) losing(c *world.Choices) {
	o.Losing, o.Storm = true, 8*time.Second+c.Skewed(world.Range{Hi: 16 * time.Second})
	if c.Below(2) == 1 {
		o.Safekeepers, o.Core, o.Deceived = 3, 2+int(c.Below(2)), nil
	}
	o.Conduct = world.Range{Lo: time.Second, Hi: 3*time.Second + c.Between(world.Range{Hi: 5 * time.Second})}
	for len(o.Deceived) < (o.Safekeepers-1)/2 {
		if n := int(c.Below(uint32(o.Safekeepers))); !slices.Contains(o.Deceived, n) {
			o.Deceived = append(o.Deceived, n)
		}
	}
	o.Rest, o.Points = 2*time.Second, 8
	o.EarlyLog, o.Sessions = c.Below(4) > 0, 1+int(c.Below(2))
	o.Faults[world.CrashNode] = world.Fault{
		Every: world.Range{Lo: 100 * time.Millisecond, Hi: 900 * time.Millisecond}, Lasts: world.Range{Lo: 10 * time.Millisecond, Hi: 300 * time.Millisecond},
	}
	// A disk that is wiped shows no more of what else it lost.
	wipe, lost := &o.Faults[world.DiskWipe], &o.Faults[world.DiskLostWrite]
	if *wipe, *lost = (world.Fault{}), (world.Fault{}); c.Below(2) == 1 {
		wipe.PerMillion = 300_000 + c.Below(700_000)
	} else {
		lost.PerMillion = 20_000 + c.Below(400_000)
		o.unnoticed(c.Below(2) == 1)
	}
}

// unnoticed says whether power may take, from a disk that has lost what was synced, also the
// mark that would tell. Nothing in the safekeeper itself can notice such a loss, so that it
// is one failure, and whoever has the log and is out of reach of a candidate another: of
// three safekeepers that is no minority. So then all others can be reached.
func (o *Options) unnoticed(may bool) {
	if o.Unnoticed = may; !may {
		o.Faults[world.DiskLoss] = world.Fault{}
		return
	}
	o.Core = o.Safekeepers
	for _, kind := range []world.FaultKind{world.NetReset, world.NetTorn, world.NetHalfOpen, world.NetDelay, world.DiskSlow} {
		o.Faults[kind] = world.Fault{}
	}
}

func drawShape(c *world.Choices) workload.Shape {
	return workload.Shape{
		Relations: 2 + int(c.Below(2)), Blocks: 3 + c.Below(6), PagesMax: 1 + c.Below(6),
		PieceBytes: 1 << (4 + c.Below(10)), Think: 50*time.Millisecond + c.Between(world.Range{Hi: 500 * time.Millisecond}),
		Write: 40 + c.Below(60), Latest: 20 + c.Below(40), Snapshot: 10 + c.Below(20), Branch: 1 + c.Below(2),
		BranchesMax: 3 + int(c.Below(4)), AbortPerMillion: c.Below(200_000), UnconfirmedPerMillion: c.Below(400_000),
		RestatePerMillion: c.Below(100_000), PausePerMillion: c.Below(100_000),
	}
}

func faultsOf(seed uint64, profile string) world.Faults {
	switch profile {
	case "quiet":
		return world.Faults{}
	case "all":
		return all()
	case "worst":
		return world.Worst()
	case "swarm":
		return world.DrawFaults(seed)
	}
	var kinds []world.FaultKind
	for _, kind := range world.FaultKinds() {
		if slices.ContainsFunc(families[profile], func(prefix string) bool { return strings.HasPrefix(kind.String(), prefix) }) {
			kinds = append(kinds, kind)
		}
	}
	return world.DrawFaults(seed).Only(kinds...)
}

// String prints the options: fields as JSON, then the faults that are on, a line each.
func (o Options) String() string {
	fields, err := json.Marshal(o)
	if err != nil {
		return err.Error()
	}
	return string(fields) + "\n" + o.Faults.String()
}
