package workload

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/varvedb/varve/lsm"
	"github.com/varvedb/varve/pageserver/pageapi"
	"github.com/varvedb/varve/sim/check"
	"github.com/varvedb/varve/sim/world"
	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/env"
	"github.com/varvedb/varve/wal/pgwal"
)

// Keeper does what the operator of a store does with branches and their history: it
// deletes some, resets some to their parents and detaches some from them, leases LSNs and
// ends leases, and has history collected.
type Keeper struct {
	Ledger      *Ledger
	Choices     *world.Choices
	Every       world.Range // pause between two acts
	BranchesMax int
	InTurn      bool // one act after the other, not what is drawn
	Pageserver  func() string
	Leave       func(*Branch) // has all computes leave a branch
	Look        func() error  // looks at the bucket from outside
	Over        func() bool   // nothing is begun any more
}

// keeper is the running operator.
type keeper struct {
	*Keeper
	e     env.Env
	pages *Pages
}

// leasesMax is how many leases the keeper holds at once.
const leasesMax = 4

// Run acts until ctx ends.
func (k *Keeper) Run(ctx context.Context, e env.Env) error {
	r := &keeper{Keeper: k, e: e, pages: NewPages(e, k.Pageserver)}
	defer r.pages.Close()
	acts := []struct {
		do      func(context.Context, *Branch) error
		toChild bool // it is for any branch but the root
	}{{r.collect, false}, {r.lease, false}, {r.detach, true}, {r.collect, false}, {r.remove, true}, {r.lease, false}, {r.release, false}, {r.reset, true}}
	for turn := 0; ; {
		if err := e.Clock.Sleep(ctx, k.Choices.Between(k.Every)); err != nil {
			return err
		}
		if k.Over() || !k.Ledger.Next() {
			continue
		}
		act := acts[turn]
		if !k.InTurn {
			act = acts[k.Choices.Below(uint32(len(acts)))]
		}
		among := k.Ledger.Branches
		if act.toChild {
			among = among[1:]
		}
		if len(among) == 0 {
			continue
		}
		if err := act.do(ctx, among[k.Choices.Below(uint32(len(among)))]); err != nil {
			return err
		}
		turn = (turn + 1) % len(acts)
	}
}

// begin records the call of an act. Each has a client of its own, as most may stay open.
func (k *Keeper) begin(op check.Op) *check.Op {
	op.Client = k.Ledger.NewClient()
	return k.Ledger.Begin(op)
}

func (k *keeper) do(ctx context.Context, fn func(ctx context.Context, c *pageapi.Client) error) error {
	return k.pages.Do(ctx, fn)
}

// insistMax bounds how often what has failed is asked for again at once.
const insistMax = 3

// insist asks again for what has failed, some times or not at all: when the branch is being
// attached anew, maybe.
func (k *keeper) insist(ctx context.Context, failed error, ask func(context.Context, *pageapi.Client) error) error {
	for range k.Choices.Below(insistMax + 1) {
		if err := k.e.Clock.Sleep(ctx, retryDelay); err != nil {
			return errors.Join(failed, err)
		}
		if failed = k.do(ctx, ask); failed == nil {
			break
		}
	}
	return failed
}

// remove deletes a branch, or one in its place that the pageserver does not serve, at a
// moment when it may be trying once more to.
func (k *keeper) remove(ctx context.Context, b *Branch) error {
	if idle := k.idle(ctx); len(idle) > 0 {
		b = idle[k.Choices.Below(uint32(len(idle)))]
		k.e.Trace.Cover("sim branch deleted that is not served")
		if err := k.e.Clock.Sleep(ctx, k.Choices.Between(world.Range{Hi: attachPause})); err != nil {
			return err
		}
	}
	if k.Over() {
		return nil
	}
	return k.delete(ctx, b)
}

// attachPause is how long a pageserver waits at first before it attaches once more what it
// failed to attach.
const attachPause = 500 * time.Millisecond

// idle is the branches, without the root, that the pageserver tries to attach in vain.
func (k *keeper) idle(ctx context.Context) (idle []*Branch) {
	var infos []pageapi.TimelineInfo
	err := k.do(ctx, func(ctx context.Context, c *pageapi.Client) (err error) {
		infos, err = c.List(ctx)
		return err
	})
	if err != nil {
		k.e.Trace.Event("branches not listed", "error", err)
	}
	for i := range infos {
		b := k.Ledger.Branch(infos[i].ID)
		if infos[i].Last == 0 && infos[i].Stopped != "" && b != nil && slices.Index(k.Ledger.Branches, b) > 0 {
			idle = append(idle, b)
		}
	}
	return idle
}

// delete deletes any branch but the root, its computes having left it, even one that
// others branch from: that must be refused.
func (k *keeper) delete(ctx context.Context, b *Branch) error {
	k.Leave(b)
	// What the cutoff was: once the branch is gone nobody can tell.
	if err := k.Look(); err != nil {
		return err
	}
	k.Ledger.doom(b)
	op := k.begin(check.Op{Kind: check.BranchDelete, Branch: b.ID})
	ask := func(ctx context.Context, c *pageapi.Client) error { return c.Delete(ctx, b.ID) }
	err := k.do(ctx, ask)
	refused := errors.Is(err, pageapi.ErrHasChildren)
	if err != nil && !refused {
		err = k.insist(ctx, err, ask)
	}
	switch {
	case err == nil:
		k.e.Trace.Cover("sim branch deleted")
		b.Gone = true
		k.Ledger.End(op, check.OK)
	case refused:
		k.e.Trace.Cover("sim deletion refused")
		op.Reason = check.HasChildren
		k.Ledger.End(op, check.Failed)
		k.Ledger.spare(b)
	default:
		k.e.Trace.Event("deletion failed", "branch", b.ID, "error", err)
		k.Ledger.End(op, check.Unknown)
	}
	return nil
}

// reset gives a branch's users one that equals the parent at some LSN, and deletes theirs:
// a log cannot begin anew.
func (k *keeper) reset(ctx context.Context, b *Branch) error {
	if b.Parent.IsZero() || len(k.Ledger.Branches) >= k.BranchesMax {
		return nil
	}
	parent := k.Ledger.Branch(b.Parent)
	at := pgwal.RecordPosition(parent.moment(k.Choices, parent.Start, parent.Head) &^ 7)
	if at > parent.Head {
		return nil
	}
	op := k.begin(check.Op{Kind: check.BranchCreate, Branch: parent.ID, LSN: at, Child: drawTimeline(k.e.Rand.Stream("branches"))})
	if err := k.Ledger.createBranch(ctx, k.pages, op, k.Ledger.End); err != nil {
		return nil // which is recorded
	}
	if k.Over() {
		return nil // a compute may have been given the branch, and is to stay there
	}
	k.e.Trace.Cover("sim branch reset")
	return k.delete(ctx, b)
}

// detach makes a branch a root.
func (k *keeper) detach(ctx context.Context, b *Branch) error {
	if b.Parent.IsZero() {
		return nil
	}
	op := k.begin(check.Op{Kind: check.BranchDetach, Branch: b.ID})
	err := k.do(ctx, func(ctx context.Context, c *pageapi.Client) error { return c.DetachFromParent(ctx, b.ID) })
	if err != nil {
		// It may have been made durable, and what came after it may have failed.
		k.e.Trace.Event("detachment failed", "branch", b.ID, "error", err)
		k.Ledger.End(op, check.Unknown)
		return nil
	}
	k.e.Trace.Cover("sim branch detached")
	k.Ledger.End(op, check.OK)
	return k.promote(ctx, b)
}

// promote has a branch that has left its parent take its place, now and then: the parent,
// if it is not the root, is deleted. Others may branch from it still.
func (k *keeper) promote(ctx context.Context, b *Branch) error {
	parent := slices.IndexFunc(k.Ledger.Branches, func(o *Branch) bool { return o.ID == b.Parent })
	if parent <= 0 || k.InTurn || k.Over() || k.Choices.Below(2) == 0 {
		return nil
	}
	return k.delete(ctx, k.Ledger.Branches[parent])
}

// leaseTime is longer than any run, however far the clocks of its nodes are off.
const leaseTime = 1000 * time.Hour

// lease leases an LSN of a branch's own history.
func (k *keeper) lease(ctx context.Context, b *Branch) error {
	if len(k.Ledger.Leases) >= leasesMax {
		return nil
	}
	l := Lease{Branch: b, LSN: b.moment(k.Choices, b.Start, b.Head)}
	env.FillRandom(k.e.Rand.Stream("leases"), l.ID[:])
	op := k.begin(check.Op{Kind: check.LeaseGrant, Branch: b.ID, LSN: l.LSN, Child: wal.TimelineID(l.ID)})
	err := k.do(ctx, func(ctx context.Context, c *pageapi.Client) error {
		return c.Lease(ctx, b.ID, lsm.LeaseInfo{ID: l.ID, LSN: l.LSN, End: k.e.Clock.Wall().Add(leaseTime).Unix()})
	})
	if err != nil {
		k.Ledger.End(op, check.Unknown)
		return nil
	}
	k.Ledger.End(op, check.OK)
	if !b.Gone {
		k.Ledger.Leases = append(k.Ledger.Leases, l)
	}
	return nil
}

// release ends a lease.
func (k *keeper) release(ctx context.Context, _ *Branch) error {
	n := len(k.Ledger.Leases)
	if n == 0 {
		return nil
	}
	at := int(k.Choices.Below(uint32(n)))
	l := k.Ledger.Leases[at]
	k.Ledger.Leases = append(k.Ledger.Leases[:at:at], k.Ledger.Leases[at+1:]...)
	op := k.begin(check.Op{Kind: check.LeaseRelease, Branch: l.Branch.ID, LSN: l.LSN, Child: wal.TimelineID(l.ID)})
	outcome := check.OK
	if err := k.do(ctx, func(ctx context.Context, c *pageapi.Client) error { return c.Release(ctx, l.Branch.ID, l.ID) }); err != nil {
		outcome = check.Unknown
	}
	k.Ledger.End(op, outcome)
	return nil
}

// collect has a branch's history collected up to a moment of it, mostly of its older
// half. When the servers learn of it is not known, so the cutoff is one that permits
// refusals only.
func (k *keeper) collect(ctx context.Context, b *Branch) error {
	most := b.Start + (b.Head-b.Start)/2
	if k.Choices.Below(4) == 3 {
		most = b.Head
	}
	cutoff := b.moment(k.Choices, b.Start, most)
	op := k.begin(check.Op{Kind: check.CutoffAdvance, Branch: b.ID, LSN: cutoff})
	err := k.do(ctx, func(ctx context.Context, c *pageapi.Client) error {
		_, err := c.Collect(ctx, b.ID, lsm.CollectOptions{Cutoff: cutoff, DryRun: k.Choices.Below(4) == 0})
		return err
	})
	if err == nil {
		k.e.Trace.Cover("sim history collected")
	}
	k.Ledger.End(op, check.Unknown)
	return nil
}

// settleMax bounds how long a pageserver may not answer though nothing fails any more: it
// may have been started while something did, and wait for a bucket that never heard it.
const settleMax = 2 * time.Minute

// deleteAgain deletes a branch once there is somebody who can.
func deleteAgain(ctx context.Context, e env.Env, pages *Pages, id wal.TimelineID) error {
	for end := e.Clock.Now() + settleMax; ; {
		err := pages.Do(ctx, func(ctx context.Context, c *pageapi.Client) error { return c.Delete(ctx, id) })
		if err == nil || errors.Is(err, lsm.ErrNoTimeline) || errors.Is(err, pageapi.ErrHasChildren) || e.Clock.Now() > end {
			return err
		}
		if err := e.Clock.Sleep(ctx, retryDelay); err != nil {
			return err
		}
	}
}

// Settle deletes what was told to be deleted and may not be: as an operator does who was
// told that it failed. Nothing is in the way any more.
func (k *Keeper) Settle(ctx context.Context, e env.Env) error {
	pages := NewPages(e, k.Pageserver)
	defer pages.Close()
	for _, b := range k.Ledger.Deleted {
		if b.Gone {
			continue
		}
		op := k.begin(check.Op{Kind: check.BranchDelete, Branch: b.ID})
		err := deleteAgain(ctx, e, pages, b.ID)
		if errors.Is(err, pageapi.ErrHasChildren) {
			op.Reason = check.HasChildren
			k.Ledger.End(op, check.Failed)
			k.Ledger.spare(b)
			continue
		}
		if err != nil && !errors.Is(err, lsm.ErrNoTimeline) {
			return fmt.Errorf("delete branch %v again: %w", b.ID, err)
		}
		k.Ledger.End(op, check.OK)
		b.Gone = true
	}
	return nil
}
