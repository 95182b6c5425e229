package endpoint

import (
	"context"
	"fmt"

	"github.com/varvedb/varve/compute/pgdata"
	"github.com/varvedb/varve/pageserver/basebackup"
	"github.com/varvedb/varve/pageserver/pageapi"
	"github.com/varvedb/varve/pageserver/timeline"
	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/pgwal"
)

// startState reads everything but relation pages as of an LSN. prev is the LSN of
// the log's last record, 0 if the log begins here.
func (l *life) startState(ctx context.Context, at, prev wal.LSN) (*basebackup.State, error) {
	l.events.Step(fmt.Sprintf("waiting until the pageserver is at %v", at))
	if err := l.pages.WaitLSN(ctx, at); err != nil {
		return nil, fmt.Errorf("wait until the pageserver is at %v: %w", at, err)
	}
	return basebackup.StartState(ctx, l.pages, at, prev, l.e.Clock.Wall())
}

// pagesAt is a timeline of the pageserver as of one LSN.
type pagesAt struct {
	timeline *pageapi.Timeline
	at       wal.LSN
}

func (p pagesAt) Forks(ctx context.Context, fn func(pgdata.Fork) error) error {
	return p.timeline.Relations(ctx, p.at, func(size timeline.RelationSize) error {
		return fn(pgdata.Fork{Rel: size.Rel, Fork: size.Fork, Blocks: size.Blocks})
	})
}

func (p pagesAt) Read(ctx context.Context, rel pgwal.RelFileNode, fork pgwal.Fork, first uint32, dst []byte) error {
	n := len(dst) / pgwal.PageSize
	reads, pages := make([]timeline.PageRead, n), make([][]byte, n)
	for i := range reads {
		reads[i] = timeline.PageRead{Rel: rel, Fork: fork, Block: first + uint32(i), LSN: p.at}
		// Each page has its place in dst.
		pages[i] = dst[i*pgwal.PageSize : i*pgwal.PageSize : (i+1)*pgwal.PageSize]
	}
	return p.timeline.GetPages(ctx, reads, pages)
}
