package workload

import (
	"context"
	"slices"

	"github.com/varvedb/varve/pageserver/pageapi"
	"github.com/varvedb/varve/pageserver/timeline"
	"github.com/varvedb/varve/sim/check"
	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/env"
)

// cached is a page as a compute knows it.
type cached struct {
	id    check.PageID
	lock  *env.Lock
	users int     // that hold or wait for the lock
	bytes []byte  // nil: to be fetched as of lsn
	lsn   wal.LSN // of its last change here, or X
	gone  bool    // there is no such page, as of lsn
}

// take locks pages, in order of their ids, and fetches those that are not here. All
// or none are taken.
func (c *Compute) take(ctx context.Context, pages *Pages, ids []check.PageID) ([]*cached, error) {
	slices.SortFunc(ids, check.PageID.Compare)
	var taken []*cached
	for _, id := range ids {
		p := c.page(id)
		p.users++
		if err := p.lock.Lock(ctx); err != nil {
			p.users--
			c.give(taken)
			return nil, err
		}
		taken = append(taken, p)
		if p.bytes == nil {
			if err := c.fetch(ctx, pages, p); err != nil {
				c.give(taken)
				return nil, err
			}
		}
	}
	return taken, nil
}

func (c *Compute) page(id check.PageID) *cached {
	p := c.pages[id]
	if p == nil {
		p = &cached{id: id, lock: env.NewLock(c.e.Tasks), lsn: c.start}
		c.pages[id] = p
		c.order = append(c.order, p)
	}
	return p
}

// give gives pages back, and drops pages that nobody uses while there are too many.
func (c *Compute) give(taken []*cached) {
	for _, p := range taken {
		p.users--
		p.lock.Unlock()
	}
	here := 0
	for _, p := range c.order {
		if p.bytes != nil {
			here++
		}
	}
	if here <= c.cfg.CachePages {
		return
	}
	from := int(c.cfg.Choices.Below(uint32(len(c.order))))
	for i := range c.order {
		p := c.order[(from+i)%len(c.order)]
		if p.bytes != nil && p.users == 0 && p.lsn <= c.proposer.CommitLSN() {
			c.spare = append(c.spare, p.bytes)
			p.bytes = nil
			if here--; here <= c.cfg.CachePages {
				return
			}
		}
	}
}

// fetch fetches a page as of its last change. It is a reading of history, and is
// recorded as one.
func (c *Compute) fetch(ctx context.Context, pages *Pages, p *cached) error {
	op := c.ledger.Begin(check.Op{
		Kind: check.HistoryRead, Client: c.ledger.NewClient(), Branch: c.cfg.Branch.ID, LSN: p.lsn,
		Pages: []check.PageValue{{Page: p.id}},
	})
	read := []timeline.PageRead{{Rel: p.id.Rel, Fork: p.id.Fork, Block: p.id.Block, LSN: p.lsn}}
	got := [1][]byte{c.memory()}
	err := c.untilAnswered(ctx, pages, func(ctx context.Context, client *pageapi.Client) error {
		return client.Timeline(c.cfg.Branch.ID).GetPages(ctx, read, got[:])
	})
	outcome, reason := judge(err)
	if outcome == check.OK {
		op.Pages[0] = found(p.id, got[0])
	}
	op.Reason = reason
	c.ledger.End(op, outcome)
	if p.gone = isAbsent(err); p.gone {
		p.bytes = append(got[0][:0], zeroPage[:]...)
		return nil
	}
	if len(got[0]) > 0 { // also if the answer came, and an error after it
		p.bytes = got[0]
	}
	return err
}

// memory is that of a page that was dropped, empty, or nil.
func (c *Compute) memory() (page []byte) {
	if last := len(c.spare) - 1; last >= 0 {
		page, c.spare = c.spare[last][:0], c.spare[:last]
	}
	return page
}
