package workload

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/varvedb/varve/sim/check"
	"github.com/varvedb/varve/sim/world"
	"github.com/varvedb/varve/wal/env"
	"github.com/varvedb/varve/wal/pgwal"
	"github.com/varvedb/varve/wal/proposer"
)

// ErrScribbled is the end of a life that had nothing more to write.
var ErrScribbled = errors.New("it has written all that it wanted")

// The most that a scribbler writes: enough for logs that differ by several messages.
const (
	scribbledMax  = 8 // records
	scribbleBytes = 2000
	scribblePause = 200 * time.Millisecond
)

// Scribble runs a compute that dies young: it wins a term, appends a few records that
// change no page, and ends, often before they are committed, or when one safekeeper has
// them and no other. Now and then it waits until a transaction of its own is committed. It
// asks no pageserver, so that many elections fit into a run.
func Scribble(ctx context.Context, e env.Env, cfg ComputeConfig, ledger *Ledger) error {
	c := &Compute{e: e, cfg: cfg, ledger: ledger}
	c.grown = e.Tasks.NewCond(&c.mu)
	if err := c.ensureLog(ctx); err != nil {
		return err
	}
	if cfg.Reach != nil {
		cfg.Reach(false)
	}
	c.proposer = proposer.New(e, proposer.Config{ID: cfg.Proposer, Identity: cfg.Identity, Safekeepers: cfg.Safekeepers})
	group := e.Tasks.NewGroup(ctx)
	group.Go("proposer", c.proposer.Run)
	group.Go("scribbler", c.scribble)
	return group.Wait()
}

func (c *Compute) scribble(ctx context.Context) error {
	ctx, cancel := c.e.Tasks.WithTimeout(ctx, winMax)
	defer cancel()
	var err error
	if c.term, c.start, err = c.proposer.Elected(ctx); err != nil {
		return err
	}
	c.ledger.won(c.cfg.Branch, c.term, c.start)
	commits := c.cfg.Reach == nil || c.cfg.Reach(true)
	prev, err := c.proposer.LastRecord(ctx)
	if err != nil {
		return err
	}
	if !pgwal.IsRecordPosition(c.start) {
		return fmt.Errorf("the log ends at %v, where no record may begin", c.start)
	}
	choices := c.cfg.Choices
	c.log, c.at, c.sent = pgwal.NewEncoder(c.start, prev, c.cfg.Identity.SystemID), c.start, c.start
	for range 1 + choices.Below(scribbledMax) {
		// Each term writes other bytes, so that none is taken for another's.
		body := make([]byte, 8+choices.Below(scribbleBytes))
		for i := range body {
			body[i] = byte(uint64(c.term) + uint64(i))
		}
		_, c.at = c.log.Append(pgwal.RecordSpec{RMgr: pgwal.RMgrXLOG, Info: pgwal.OpXLOGNoop, MainData: body})
		if err := c.propose(ctx); err != nil {
			return err
		}
		if err := c.e.Clock.Sleep(ctx, choices.Skewed(world.Range{Hi: scribblePause})); err != nil {
			return err
		}
	}
	if commits && choices.Below(2) == 0 {
		if err := c.signOff(ctx); err != nil {
			return err
		}
	}
	return ErrScribbled
}

// propose gives the proposer what was written to the log since.
func (c *Compute) propose(ctx context.Context) error {
	from := c.sent
	c.sent = c.at
	return c.proposer.Append(ctx, from, c.log.Take())
}

// signOff commits a transaction that changed nothing: what its client is told can be held
// against the log.
func (c *Compute) signOff(ctx context.Context) error {
	tx := c.ledger.NewTx()
	op := c.ledger.Begin(check.Op{Kind: check.Write, Client: c.ledger.NewClient(), Branch: c.cfg.Branch.ID, Tx: tx, Term: c.term})
	_, c.at = c.log.Append(pgwal.Commit(pgwal.XID(tx), pgwal.TimestampOf(c.e.Clock.Wall()), nil, nil))
	op.LSN = c.at
	err := c.propose(ctx)
	if err == nil {
		err = c.committed(ctx, c.at)
	}
	outcome := check.OK
	if err != nil {
		outcome = check.Unknown
	}
	c.ledger.End(op, outcome)
	return err
}
