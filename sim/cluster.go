package sim

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"time"

	"github.com/varvedb/varve/lsm"
	"github.com/varvedb/varve/pageserver"
	"github.com/varvedb/varve/sim/check"
	"github.com/varvedb/varve/sim/workload"
	"github.com/varvedb/varve/sim/world"
	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/env"
	"github.com/varvedb/varve/wal/proposer"
	"github.com/varvedb/varve/wal/quorum"
	"github.com/varvedb/varve/wal/safekeeper"
)

var tenant = wal.TenantID{0x7e, 0x4a}

// rootID is the imported timeline.
var rootID = wal.TimelineID{0x40, 0x07}

// cluster is the nodes of a run and what they run.
type cluster struct {
	opts   Options
	w      *world.World
	ledger *workload.Ledger
	run    check.Run

	episodes *episodes // of faults, for pictures

	safekeepers []*world.Node
	members     []proposer.Safekeeper
	pageservers []*world.Node
	slots       []*slot
	control     *world.Node
	clients     *world.Choices // what clients decide
	conductor   *world.Choices // what the conductor decides

	dir       fs.FS
	imported  []importedPage
	home      int // the pageserver that clients are sent to: the one that attached last
	proposers wal.NodeID
	samplers  []*sampler
	out       map[*world.Node]bool // dead for good
	slices    int                  // that the world was run for
	unwatched bool                 // no samples are taken
	damaged   int                  // copies of logs that are
	states    map[string]uint64    // that the protocols were seen in
	furthest  map[wal.TimelineID]furthest
	cutoffs   []check.Op // of timelines, as samples of the bucket show them
	ended     ending
}

// slot is a node that runs computes, and the branch that it is to serve.
type slot struct {
	node   *world.Node
	branch *workload.Branch // nil: none
	epoch  int              // counts assignments
}

func newCluster(opts Options, cfg world.Config) *cluster {
	cfg.Seed, cfg.Faults, cfg.Near = opts.Seed, opts.Faults, opts.NearBucket
	if opts.World != 0 {
		cfg.Seed = opts.World
	}
	ledger := workload.NewLedger()
	episodes := newEpisodes(ledger.Tick)
	cfg.Upset = episodes.take
	c := &cluster{opts: opts, w: world.New(cfg), ledger: ledger, episodes: episodes, proposers: 100}
	c.states, c.furthest = map[string]uint64{}, map[wal.TimelineID]furthest{}
	c.ledger.Bound(opts.Operations)
	c.clients, c.conductor = c.w.Choices("clients"), c.w.Choices("conductor")
	for i := range opts.Safekeepers {
		c.safekeepers = append(c.safekeepers, c.w.Node(fmt.Sprintf("sk%d", i+1)))
		c.members = append(c.members, proposer.Safekeeper{ID: wal.NodeID(i + 1), Addr: fmt.Sprintf("tcp:sk%d:5454", i+1)})
	}
	for i := range opts.Pageservers {
		c.pageservers = append(c.pageservers, c.w.Node(fmt.Sprintf("ps%d", i+1)))
	}
	for i := range opts.Computes {
		c.slots = append(c.slots, &slot{node: c.w.Node(fmt.Sprintf("compute%d", i+1))})
	}
	c.control = c.w.Node("control")
	c.makeDirectory()
	return c
}

// makeDirectory makes the cluster that is imported: the first blocks of all relations
// but the last.
func (c *cluster) makeDirectory() {
	var relations [][]check.Value
	for n := range c.opts.Shape.Relations - 1 {
		var values []check.Value
		for block := range c.opts.Shape.Blocks/2 + 1 {
			value := check.Value(0)
			if c.conductor.Below(4) < 3 {
				value = c.ledger.NewValue()
				c.imported = append(c.imported, importedPage{workload.PageOf(n, block), value})
			}
			values = append(values, value)
		}
		relations = append(relations, values)
	}
	at := workload.LateInSegment
	if c.opts.EarlyLog {
		at = workload.EarlyInSegment
	}
	c.dir = workload.Directory(relations, at)
}

type importedPage struct {
	page  check.PageID
	value check.Value
}

// weather sets what may go wrong at each node: nothing, or what was drawn, without
// deceiving disks where they are not allowed.
func (c *cluster) weather(faults world.Faults) {
	for i, n := range c.safekeepers {
		*n.Faults() = faults
		if !c.deceived(i) {
			n.Trust()
		}
	}
	for _, n := range c.pageservers {
		if *n.Faults() = faults; c.opts.Duel {
			*n.Faults() = world.Faults{}
		}
	}
	for _, s := range c.slots {
		*s.node.Faults() = faults
	}
	*c.control.Faults() = faults.Without(world.CrashCall, world.CrashCover, world.CrashLoop)
}

func (c *cluster) deceived(safekeeper int) bool {
	for _, n := range c.opts.Deceived {
		if n == safekeeper {
			return true
		}
	}
	return false
}

// deceivers is the safekeepers whose disks may deceive.
func (c *cluster) deceivers() (nodes []*world.Node) {
	for _, i := range c.opts.Deceived {
		nodes = append(nodes, c.safekeepers[i])
	}
	return nodes
}

func (c *cluster) start() {
	for i, n := range c.safekeepers {
		n.Start(c.safekeeperMain(i))
	}
	for i, n := range c.pageservers {
		n.Start(c.pageserverMain(i))
	}
	for _, s := range c.slots {
		s.node.Start(c.computeMain(s))
	}
	c.control.Start(c.controlMain)
}

func (c *cluster) safekeeperMain(i int) func(context.Context, env.Env) error {
	cfg := safekeeper.Config{ID: c.members[i].ID, Dir: "safekeeper", Listen: c.members[i].Addr}
	return func(ctx context.Context, e env.Env) error { return safekeeper.New(e, cfg).Run(ctx) }
}

// pageserverAddr is made without fmt, for every operation of a client asks for one.
func (c *cluster) pageserverAddr(i int) string { return "tcp:ps" + strconv.Itoa(i+1) + ":6464" }

func (c *cluster) homeAddr() string { return c.pageserverAddr(c.home) }

func (c *cluster) pageserverMain(i int) func(context.Context, env.Env) error {
	cfg := pageserver.Config{
		Tenant: tenant, Listen: c.pageserverAddr(i),
		OpenDir: func(string) (fs.FS, error) { return c.dir, nil },
		// It has attached everything: whoever had it before is fenced.
		Ready: func(string) { c.home = i },
		Store: lsm.Options{
			CacheBytes: c.opts.DiskBytes, BlockCacheBytes: c.opts.BlocksBytes, IndexCacheBytes: c.opts.BlocksBytes,
			MemtableBytes: c.opts.MemtableBytes, BlockBytes: c.opts.BlockBytes,
			LayerBytes: c.opts.LayerBytes, FlushedMax: c.opts.FlushedMax, TierFanout: 2, ChainMax: c.opts.ChainMax,
			HistoryBytes: c.opts.HistoryBytes, HistoryTime: c.opts.HistoryTime,
		},
	}
	for _, m := range c.members {
		cfg.Safekeepers = append(cfg.Safekeepers, m.Addr)
	}
	return func(ctx context.Context, e env.Env) error { return pageserver.New(e, cfg).Run(ctx) }
}

func identityOf(b *workload.Branch) quorum.Identity {
	return quorum.Identity{Tenant: tenant, Timeline: b.ID, SystemID: workload.SystemID, PGVersion: 15, Start: b.Start}
}

// computeMain runs one life after the other, of whatever branch the slot is to serve.
func (c *cluster) computeMain(s *slot) func(context.Context, env.Env) error {
	return func(ctx context.Context, e env.Env) error {
		for {
			if err := e.Clock.Sleep(ctx, c.idle()); err != nil {
				return err
			}
			if s.branch == nil || c.ledger.Stopped() {
				continue
			}
			err := c.life(ctx, e, s)
			if ctx.Err() != nil || errors.Is(err, world.ErrKilled) {
				return err
			}
			e.Trace.Event("compute ended", "error", err)
		}
	}
}

// scribblers says how many lives of a duel are short: all but one in so many.
const scribblers = 4

// idle decides how long a slot waits before its next life.
func (c *cluster) idle() time.Duration {
	if c.opts.Duel {
		return c.clients.Skewed(world.Range{Lo: 10 * time.Millisecond, Hi: 2 * time.Second})
	}
	return c.clients.Between(world.Range{Lo: 100 * time.Millisecond, Hi: 2 * time.Second})
}

var errReassigned = errors.New("the slot has another branch")

// life runs one compute until it ends or the slot gets another branch.
func (c *cluster) life(ctx context.Context, e env.Env, s *slot) error {
	branch, epoch := s.branch, s.epoch
	c.proposers++
	cfg := workload.ComputeConfig{
		Branch: branch, Identity: identityOf(branch), Proposer: c.proposers, Safekeepers: c.members,
		Pageserver: c.homeAddr, CachePages: c.opts.CachePages, Sessions: c.opts.Sessions, Shape: c.opts.Shape, Choices: c.clients,
	}
	if c.opts.Duel && !c.ended.calm && !c.opts.Unnoticed && !c.hasLog(branch) {
		c.hinder(s.node)
	}
	group := e.Tasks.NewGroup(ctx)
	group.Go("life", func(ctx context.Context) error {
		if c.opts.Duel && !c.ended.calm && c.clients.Below(scribblers) > 0 {
			defer c.reach(s.node, len(c.safekeepers))
			cfg.Reach = func(won bool) bool { return c.narrow(s.node, won) }
			return workload.Scribble(ctx, e, cfg, c.ledger)
		}
		return workload.Live(ctx, e, cfg, c.ledger)
	})
	group.Go("assignment", func(ctx context.Context) error {
		for s.epoch == epoch {
			if err := e.Clock.Sleep(ctx, 100*time.Millisecond); err != nil {
				return err
			}
		}
		return errReassigned
	})
	return group.Wait()
}

// hindered is for how long a first start is held up.
var hindered = world.Range{Lo: 500 * time.Millisecond, Hi: 4 * time.Second}

// hinder cuts every other compute that may make the log off from some safekeepers for a
// while, so that of first starts that began at once one goes on when others have long won.
// Where safekeepers lose what they had it is from those: they are then asked again for a
// log that they have had.
func (c *cluster) hinder(n *world.Node) {
	if c.clients.Below(2) == 0 {
		return
	}
	if c.opts.Losing {
		for _, s := range c.deceivers() {
			c.w.Cut(n, s)
			c.w.Cut(s, n)
		}
	} else {
		c.reach(n, int(c.clients.Below(uint32(len(c.safekeepers)))))
	}
	c.w.After(c.clients.Between(hindered), func() { c.reach(n, len(c.safekeepers)) })
}

// narrow leaves to a compute a majority of the safekeepers, which is enough to win, and
// when it has won often fewer, so that what it writes is on those and nowhere else. The
// logs that the next elections find then differ. It reports whether a majority is left.
func (c *cluster) narrow(n *world.Node, won bool) bool {
	if c.ended.calm || c.opts.Unnoticed && !won {
		c.reach(n, len(c.safekeepers))
		return true
	}
	left := c.quorum()
	if !c.opts.Losing {
		left += int(c.clients.Below(2))
	}
	if won && c.clients.Below(2) == 1 {
		left = 1 + int(c.clients.Below(uint32(c.quorum()-1)))
	}
	c.reach(n, left)
	return left >= c.quorum()
}

// reach cuts a node off from all safekeepers but so many.
func (c *cluster) reach(n *world.Node, left int) {
	safekeepers := c.safekeepers
	if left < len(safekeepers) {
		safekeepers = c.shuffled(safekeepers)
	}
	for i, s := range safekeepers {
		if i < left {
			c.w.Heal(n, s)
			c.w.Heal(s, n)
		} else {
			c.w.Cut(n, s)
			c.w.Cut(s, n)
		}
	}
}

// assign gives a slot a branch; what it ran ends.
func (s *slot) assign(b *workload.Branch) {
	s.branch = b
	s.epoch++
}
