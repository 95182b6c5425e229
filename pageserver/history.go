package pageserver

import (
	"context"
	"time"

	"github.com/varvedb/varve/lsm"
	"github.com/varvedb/varve/pageserver/pageapi"
	"github.com/varvedb/varve/wal"
)

// What follows is the store's, asked for over the network: what is kept of a timeline's
// history, and for whom.

// onLayers makes a handler of what is asked of the layers of an open timeline. decode
// reads the request: whose it is, and the rest.
func onLayers[M any](decode func(payload []byte) (wal.TimelineID, M, error), serve func(context.Context, *lsm.Timeline, M) ([]byte, error)) handler {
	return func(s *Server, ctx context.Context, payload []byte) ([]byte, error) {
		id, m, err := decode(payload)
		if err != nil {
			return nil, badRequest(err)
		}
		t, err := s.timeline(ctx, id)
		if err != nil {
			return nil, err
		}
		return serve(ctx, t.Store(), m)
	}
}

// decodeAlone reads a request that says nothing but which timeline.
func decodeAlone(payload []byte) (id wal.TimelineID, none struct{}, err error) {
	id, err = pageapi.DecodeTimeline(payload)
	return id, none, err
}

func decodeExplain(payload []byte) (wal.TimelineID, wal.LSN, error) {
	return pageapi.DecodeTimelineLSN(payload)
}

func explain(ctx context.Context, t *lsm.Timeline, cutoff wal.LSN) ([]byte, error) {
	explanation, err := t.Explain(ctx, cutoff)
	if err != nil {
		return nil, err
	}
	return pageapi.AppendExplanation(nil, explanation), nil
}

func decodeCollect(payload []byte) (wal.TimelineID, lsm.CollectOptions, error) {
	m, err := pageapi.DecodeCollect(payload)
	return m.Timeline, m.CollectOptions, err
}

func collect(ctx context.Context, t *lsm.Timeline, opts lsm.CollectOptions) ([]byte, error) {
	if !opts.DryRun && opts.Cutoff > t.DurableLSN() {
		if err := t.Flush(ctx); err != nil {
			return nil, err
		}
	}
	collection, err := t.Collect(ctx, opts)
	if err != nil {
		return nil, err
	}
	return pageapi.AppendCollection(nil, collection), nil
}

func decodeLease(payload []byte) (wal.TimelineID, lsm.LeaseInfo, error) {
	m, err := pageapi.DecodeLease(payload)
	return m.Timeline, m.LeaseInfo, err
}

func lease(ctx context.Context, t *lsm.Timeline, l lsm.LeaseInfo) ([]byte, error) {
	return nil, t.Lease(ctx, l.ID, l.LSN, time.Unix(l.End, 0))
}

func release(ctx context.Context, t *lsm.Timeline, id lsm.LeaseID) ([]byte, error) {
	return nil, t.Release(ctx, id)
}

func leases(_ context.Context, t *lsm.Timeline, _ struct{}) ([]byte, error) {
	return pageapi.AppendLeases(nil, t.Leases()), nil
}

func detachFromParent(ctx context.Context, t *lsm.Timeline, _ struct{}) ([]byte, error) {
	return nil, t.DetachFromParent(ctx)
}
