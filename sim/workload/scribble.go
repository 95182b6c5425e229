package workload

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/varvedb/varve/sim/world"
	"github.com/varvedb/varve/wal"
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
// change nothing, and ends, often before they are committed, or when one safekeeper has
// them and no other. It asks no pageserver, so that many elections fit into a run.
func Scribble(ctx context.Context, e env.Env, cfg ComputeConfig) error {
	c := &Compute{e: e, cfg: cfg}
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
	term, x, err := c.proposer.Elected(ctx)
	if err != nil {
		return err
	}
	c.cfg.Branch.Learned(x)
	commits := c.cfg.Reach == nil || c.cfg.Reach(true)
	prev, err := c.proposer.LastRecord(ctx)
	if err != nil {
		return err
	}
	if !pgwal.IsRecordPosition(x) {
		return fmt.Errorf("the log ends at %v, where no record may begin", x)
	}
	log, at, choices := pgwal.NewEncoder(x, prev, c.cfg.Identity.SystemID), x, c.cfg.Choices
	for range 1 + choices.Below(scribbledMax) {
		// Each term writes other bytes, so that none is taken for another's.
		body := make([]byte, 8+choices.Below(scribbleBytes))
		for i := range body {
			body[i] = byte(uint64(term) + uint64(i))
		}
		log.Append(pgwal.RecordSpec{RMgr: pgwal.RMgrXLOG, Info: pgwal.OpXLOGNoop, MainData: body})
		bytes := log.Take()
		if err := c.proposer.Append(ctx, at, bytes); err != nil {
			return err
		}
		at += wal.LSN(len(bytes))
		if err := c.e.Clock.Sleep(ctx, choices.Skewed(world.Range{Hi: scribblePause})); err != nil {
			return err
		}
	}
	if commits && choices.Below(2) == 0 {
		if err := c.committed(ctx, at); err != nil {
			return err
		}
	}
	return ErrScribbled
}
