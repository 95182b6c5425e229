// Package proptest writes what no PostgreSQL writes, for tests of those who read it.
//
// The promise: what [Intrude] returned is the end of the committed log.
package proptest

import (
	"context"
	"fmt"

	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/env"
	"github.com/varvedb/varve/wal/pgwal"
	"github.com/varvedb/varve/wal/proposer"
)

// Foreign is a resource manager of an extension, of which nothing is known here.
const Foreign pgwal.RMgr = 128

// Intrude wins a term, by which it fences whoever writes the log, and ends the log with
// a record by which a [Foreign] resource manager changes a page. No storage can say what
// becomes of that page. Once the record, which ends at the LSN that it returns, is
// committed, it calls seen, and leads until that returns: who reads the log hears of a
// commit from a leader only.
func Intrude(ctx context.Context, e env.Env, cfg proposer.Config, seen func(ctx context.Context, end wal.LSN) error) (wal.LSN, error) {
	p := proposer.New(e, cfg)
	group := e.Tasks.NewGroup(ctx)
	group.Go("intruder", p.Run)
	end, err := appendForeign(ctx, p, cfg.SystemID)
	if err == nil {
		err = seen(ctx, end)
	}
	group.Stop()
	// The proposer's end was told to appendForeign, if it came first.
	_ = group.Wait()
	if err != nil {
		return 0, fmt.Errorf("intrude on timeline %v: %w", cfg.Timeline, err)
	}
	return end, nil
}

func appendForeign(ctx context.Context, p *proposer.Proposer, systemID uint64) (wal.LSN, error) {
	_, x, err := p.Elected(ctx)
	if err != nil {
		return 0, err
	}
	prev, err := p.LastRecord(ctx)
	if err != nil {
		return 0, err
	}
	log := pgwal.NewEncoder(x, prev, systemID)
	page := pgwal.BlockSpec{Rel: pgwal.RelFileNode{Spc: 1663, DB: 5, Rel: 70000}, Data: []byte("what only the extension knows")}
	_, end := log.Append(pgwal.RecordSpec{RMgr: Foreign, Blocks: []pgwal.BlockSpec{page}})
	if err := p.Append(ctx, x, log.Take()); err != nil {
		return 0, err
	}
	return end, p.WaitCommit(ctx, end)
}
