package workload

import (
	"context"
	"fmt"

	"github.com/varvedb/varve/sim/check"
	"github.com/varvedb/varve/sim/world"
	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/env"
	"github.com/varvedb/varve/wal/pgwal"
)

// Historian reads pages at LSNs of the past, and makes branches there.
type Historian struct {
	Ledger     *Ledger
	Shape      Shape
	Pageserver func() string // an address to ask, drawn anew for each operation
	Choices    *world.Choices
	BranchPer  uint32 // per million of operations: a branch
}

// historian is one running client.
type historian struct {
	*Historian
	id    check.ClientID
	pages *Pages
	addr  string
}

// Run reads until ctx ends.
func (h *Historian) Run(ctx context.Context, e env.Env) error {
	c := &historian{Historian: h, id: h.Ledger.NewClient()}
	c.pages = NewPages(e, func() string { return c.addr })
	defer c.pages.Close()
	for {
		if err := e.Clock.Sleep(ctx, h.Shape.think(h.Choices)); err != nil {
			return err
		}
		if !h.Ledger.Next() {
			continue
		}
		c.addr = h.Pageserver()
		branch := h.Ledger.Branches[h.Choices.Below(uint32(len(h.Ledger.Branches)))]
		if h.Choices.Hit(h.BranchPer) && len(h.Ledger.Branches) < h.Shape.BranchesMax {
			c.branch(ctx, e, branch)
			continue
		}
		c.read(ctx, branch)
	}
}

func (c *historian) end(op *check.Op, outcome check.Outcome) {
	c.Ledger.End(op, outcome)
	if outcome == check.Unknown {
		c.id = c.Ledger.NewClient()
	}
}

// moment draws an LSN of a branch: mostly of its past, now and then somewhat beyond
// what is known of it, or before all history.
func (c *historian) moment(b *Branch) wal.LSN {
	root := c.Ledger.Branches[0].Start
	switch c.Choices.Below(20) {
	case 19:
		return root - wal.LSN(c.Choices.Below(1000))
	case 18:
		return b.Head + wal.LSN(c.Choices.Below(4096))
	case 17:
		if n := uint32(len(c.Ledger.Leases)); n > 0 {
			if lease := c.Ledger.Leases[c.Choices.Below(n)]; lease.Branch == b {
				return lease.LSN
			}
		}
	}
	low := root
	if c.Choices.Below(2) == 1 {
		low = min(b.Start, b.Head)
	}
	return b.moment(c.Choices, low, b.Head)
}

func (c *historian) read(ctx context.Context, b *Branch) {
	kind, most := check.HistoryRead, uint32(1)
	if c.Choices.Below(3) == 0 {
		kind, most = check.SnapshotRead, c.Shape.PagesMax
	}
	ids, at := c.Shape.pick(c.Choices, most), c.moment(b)
	op := c.Ledger.Begin(check.Op{Kind: kind, Client: c.id, Branch: b.ID, LSN: at})
	outcome, _ := ask(ctx, c.pages, op, ids)
	c.end(op, outcome)
}

// ask reads the pages of an operation at its LSN and fills in what came. The error is
// that of an outcome that no checker can judge.
func ask(ctx context.Context, pages *Pages, op *check.Op, ids []check.PageID) (check.Outcome, error) {
	for _, id := range ids {
		op.Pages = append(op.Pages, check.PageValue{Page: id})
	}
	got, err := pages.read(ctx, op.Branch, ids, op.LSN)
	outcome, reason := judge(err)
	if outcome == check.OK {
		for i := range op.Pages {
			op.Pages[i] = found(ids[i], got[i])
		}
	}
	// Which of several pages is absent is not told.
	if reason != check.NoSuchPage || len(ids) == 1 {
		op.Reason = reason
	}
	if op.Reason != check.OtherReason {
		err = nil
	}
	return outcome, err
}

// branch makes a branch at a moment of another one.
func (c *historian) branch(ctx context.Context, e env.Env, b *Branch) {
	// As control does: where the branch's own log can begin.
	at := pgwal.RecordPosition(c.moment(b) &^ 7)
	if at > b.Head {
		return
	}
	op := c.Ledger.Begin(check.Op{
		Kind: check.BranchCreate, Client: c.id, Branch: c.Ledger.Owner(b, at).ID, LSN: at, Child: drawTimeline(e.Rand.Stream("branches")),
	})
	// The outcome is recorded; a failure is the next operation's chance.
	_ = c.Ledger.createBranch(ctx, c.pages, op, c.end)
}

// Exhaust reads every page of the run at each of some LSNs of a branch, and records
// the answers. It fails at the first that no checker can judge: when nothing is in the
// way of an answer there must be one.
func (h *Historian) Exhaust(ctx context.Context, e env.Env, b *Branch, lsns []wal.LSN) error {
	addr := h.Pageserver()
	pages := NewPages(e, func() string { return addr })
	defer pages.Close()
	client := h.Ledger.NewClient()
	for _, lsn := range lsns {
		for _, id := range h.Shape.Pages() {
			op := h.Ledger.Begin(check.Op{Kind: check.HistoryRead, Client: client, Branch: b.ID, LSN: lsn, Confirmed: true})
			outcome, err := ask(ctx, pages, op, []check.PageID{id})
			h.Ledger.End(op, outcome)
			if err != nil {
				return fmt.Errorf("no answer to %v of %v: %w", op, id, err)
			}
		}
	}
	return nil
}
