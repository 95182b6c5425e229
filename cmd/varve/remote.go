package main

import (
	"context"
	"time"

	"github.com/varvedb/varve/compute/pgdata"
	"github.com/varvedb/varve/pageserver/basebackup"
	"github.com/varvedb/varve/pageserver/pageapi"
	"github.com/varvedb/varve/pageserver/timeline"
	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/pgwal"
)

// remote is an endpoint's storage: a timeline of a pageserver.
type remote struct {
	client      *pageapi.Client
	timeline    *pageapi.Timeline
	safekeepers []string
}

// Follow makes the pageserver take the timeline's log from the safekeepers.
func (r *remote) Follow(ctx context.Context) error {
	return r.client.Follow(ctx, r.timeline.ID(), r.safekeepers...)
}

// StartState waits for the log up to at, and reads the start state there.
func (r *remote) StartState(ctx context.Context, at, prev wal.LSN) (*basebackup.State, error) {
	if err := r.timeline.WaitLSN(ctx, at); err != nil {
		return nil, err
	}
	return basebackup.StartState(ctx, r.timeline, at, prev, time.Now())
}

// Forks calls fn for every fork of every relation.
func (r *remote) Forks(ctx context.Context, at wal.LSN, fn func(pgdata.Fork) error) error {
	return r.timeline.Relations(ctx, at, func(size timeline.RelationSize) error {
		return fn(pgdata.Fork{Rel: size.Rel, Fork: size.Fork, Blocks: size.Blocks})
	})
}

// ReadPages fills dst with whole pages from block first of a fork on.
func (r *remote) ReadPages(ctx context.Context, at wal.LSN, rel pgwal.RelFileNode, fork pgwal.Fork, first uint32, dst []byte) error {
	count := len(dst) / pgwal.PageSize
	reads := make([]timeline.PageRead, count)
	pages := make([][]byte, count)
	for i := range reads {
		reads[i] = timeline.PageRead{Rel: rel, Fork: fork, Block: first + uint32(i), LSN: at}
		pages[i] = dst[i*pgwal.PageSize : (i+1)*pgwal.PageSize : (i+1)*pgwal.PageSize][:0]
	}
	return r.timeline.GetPages(ctx, reads, pages)
}
