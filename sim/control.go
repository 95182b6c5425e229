package sim

import (
	"context"
	"fmt"
	"time"

	"github.com/varvedb/varve/pageserver/pageapi"
	"github.com/varvedb/varve/sim/workload"
	"github.com/varvedb/varve/sim/world"
	"github.com/varvedb/varve/wal/env"
)

// controlMain is the node that stands for operators, for readers of history and for
// those who take samples. No fault ends it.
func (c *cluster) controlMain(ctx context.Context, e env.Env) error {
	if err := c.importRoot(ctx, e); err != nil {
		return err
	}
	group := e.Tasks.NewGroup(ctx)
	for i := range c.opts.Historians {
		h := &workload.Historian{
			Ledger: c.ledger, Shape: c.opts.Shape, Choices: c.clients, BranchPer: c.opts.BranchPer,
			Pageserver: c.anyPageserver,
		}
		group.Go(fmt.Sprintf("historian %d", i), func(ctx context.Context) error { return h.Run(ctx, e) })
	}
	if !c.unwatched {
		c.sampleLogs(group, e)
	}
	if c.opts.Upkeep.Hi > 0 {
		group.Go("keeper", func(ctx context.Context) error { return c.keeper().Run(ctx, e) })
	}
	group.Go("conductor", func(ctx context.Context) error { return c.conduct(ctx, e) })
	group.Go("ending", func(ctx context.Context) error { return c.end(ctx, e) })
	return group.Wait()
}

// importRoot makes the root timeline.
func (c *cluster) importRoot(ctx context.Context, e env.Env) error {
	pages := workload.NewPages(e, c.homeAddr)
	defer pages.Close()
	for {
		var imported pageapi.Imported
		err := pages.Do(ctx, func(ctx context.Context, client *pageapi.Client) (err error) {
			imported, err = client.Import(ctx, pageapi.ImportRequest{Timeline: rootID, Path: "/cluster"})
			return err
		})
		if err == nil {
			root := &workload.Branch{ID: rootID, Start: imported.LSN, Head: imported.LSN}
			c.ledger.Branches = append(c.ledger.Branches, root)
			for _, s := range c.slots {
				if s == c.slots[0] || c.opts.Duel {
					s.assign(root)
				}
			}
			return nil
		}
		e.Trace.Event("import failed", "error", err)
		if err := e.Clock.Sleep(ctx, 100*time.Millisecond); err != nil {
			return err
		}
	}
}

// keeper is the operator of the store.
func (c *cluster) keeper() *workload.Keeper {
	return &workload.Keeper{
		Ledger: c.ledger, Choices: c.w.Choices("keeper"), Every: c.opts.Upkeep, BranchesMax: c.opts.Shape.BranchesMax + 1, InTurn: c.opts.InTurn,
		Pageserver: c.homeAddr, Look: c.look, Over: func() bool { return c.ended.calm },
		Leave: func(b *workload.Branch) {
			for _, s := range c.slots {
				if s.branch == b {
					s.assign(nil)
				}
			}
		},
	}
}

// anyPageserver is where a reader of history asks: mostly at home, now and then
// elsewhere, where an answer must be as right.
func (c *cluster) anyPageserver() string {
	if c.clients.Below(4) == 3 {
		return c.pageserverAddr(int(c.clients.Below(uint32(len(c.pageservers)))))
	}
	return c.homeAddr()
}

// conduct acts as operators do, until the clients end.
func (c *cluster) conduct(ctx context.Context, e env.Env) error {
	acts := []func(context.Context, env.Env) error{c.failOver, c.failOver, c.rival, c.serveBranch, c.serveBranch, c.movePageserver, c.wipeAll}
	if c.opts.Duel {
		acts = []func(context.Context, env.Env) error{c.serveBranch}
	}
	if c.opts.InTurn {
		acts = []func(context.Context, env.Env) error{c.serveYoungest, c.failOver, c.movePageserver, c.rival}
	}
	for turn := 0; ; turn = (turn + 1) % len(acts) {
		if err := e.Clock.Sleep(ctx, c.conductor.Between(c.opts.Conduct)); err != nil {
			return err
		}
		if c.ended.calm {
			continue
		}
		act := acts[turn]
		if !c.opts.InTurn {
			act = acts[c.conductor.Below(uint32(len(acts)))]
		}
		if err := act(ctx, e); err != nil {
			return err
		}
	}
}

func (c *cluster) anySlot() *slot { return c.slots[c.conductor.Below(uint32(len(c.slots)))] }

func (c *cluster) anyBranch() *workload.Branch {
	return c.ledger.Branches[c.conductor.Below(uint32(len(c.ledger.Branches)))]
}

// failOver ends the compute of one slot, without warning, and starts its branch on
// another.
func (c *cluster) failOver(_ context.Context, e env.Env) error {
	from, to := c.anySlot(), c.anySlot()
	if from == to || from.branch == nil {
		return nil
	}
	e.Trace.Cover("sim compute failover")
	to.assign(from.branch)
	from.assign(nil)
	return nil
}

// rival starts a second compute of a branch while the first runs.
func (c *cluster) rival(_ context.Context, e env.Env) error {
	from, to := c.anySlot(), c.anySlot()
	if from == to || from.branch == nil {
		return nil
	}
	e.Trace.Cover("sim rival computes")
	to.assign(from.branch)
	return nil
}

// serveBranch gives a slot any branch.
func (c *cluster) serveBranch(context.Context, env.Env) error {
	c.anySlot().assign(c.anyBranch())
	return nil
}

// serveYoungest gives the last slot the branch that was made last.
func (c *cluster) serveYoungest(context.Context, env.Env) error {
	c.slots[len(c.slots)-1].assign(c.ledger.Branches[len(c.ledger.Branches)-1])
	return nil
}

// movePageserver restarts another pageserver, which attaches everything and has clients
// sent to it, while the one before runs on and does not know.
func (c *cluster) movePageserver(_ context.Context, e env.Env) error {
	to := int(c.conductor.Below(uint32(len(c.pageservers))))
	if to == c.home {
		return nil
	}
	e.Trace.Cover("sim pageserver moved")
	n := c.pageservers[to]
	n.Crash()
	n.Restart()
	return nil
}

// wipeAll empties the disks of everything but the safekeepers.
func (c *cluster) wipeAll(ctx context.Context, e env.Env) error {
	if c.conductor.Below(3) > 0 {
		return nil
	}
	e.Trace.Cover("sim everything wiped but bucket and safekeepers")
	var nodes []*world.Node
	for _, s := range c.slots {
		nodes = append(nodes, s.node)
	}
	nodes = append(nodes, c.pageservers...)
	for _, n := range nodes {
		n.Kill()
		n.Wipe()
	}
	err := e.Clock.Sleep(ctx, c.conductor.Between(world.Range{Hi: time.Second}))
	for _, n := range nodes {
		if !n.Running() {
			n.Restart()
		}
	}
	return err
}
