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

// under returns the layers of an open timeline.
func (s *Server) under(ctx context.Context, id wal.TimelineID) (*lsm.Timeline, error) {
	t, err := s.timeline(ctx, id)
	if err != nil {
		return nil, err
	}
	return t.Store(), nil
}

func (s *Server) explain(ctx context.Context, payload []byte) ([]byte, error) {
	id, cutoff, err := pageapi.DecodeTimelineLSN(payload)
	if err != nil {
		return nil, badRequest(err)
	}
	t, err := s.under(ctx, id)
	if err != nil {
		return nil, err
	}
	explanation, err := t.Explain(ctx, cutoff)
	if err != nil {
		return nil, err
	}
	return pageapi.AppendExplanation(nil, explanation), nil
}

func (s *Server) collect(ctx context.Context, payload []byte) ([]byte, error) {
	m, err := pageapi.DecodeCollect(payload)
	if err != nil {
		return nil, badRequest(err)
	}
	t, err := s.under(ctx, m.Timeline)
	if err != nil {
		return nil, err
	}
	if !m.DryRun && m.Cutoff > t.DurableLSN() {
		if err := t.Flush(ctx); err != nil {
			return nil, err
		}
	}
	collection, err := t.Collect(ctx, m.CollectOptions)
	if err != nil {
		return nil, err
	}
	return pageapi.AppendCollection(nil, collection), nil
}

func (s *Server) lease(ctx context.Context, payload []byte) ([]byte, error) {
	m, err := pageapi.DecodeLease(payload)
	if err != nil {
		return nil, badRequest(err)
	}
	t, err := s.under(ctx, m.Timeline)
	if err != nil {
		return nil, err
	}
	return nil, t.Lease(ctx, m.ID, m.LSN, time.Unix(m.End, 0))
}

func (s *Server) release(ctx context.Context, payload []byte) ([]byte, error) {
	id, lease, err := pageapi.DecodeRelease(payload)
	if err != nil {
		return nil, badRequest(err)
	}
	t, err := s.under(ctx, id)
	if err != nil {
		return nil, err
	}
	return nil, t.Release(ctx, lease)
}

func (s *Server) leases(ctx context.Context, payload []byte) ([]byte, error) {
	id, err := pageapi.DecodeTimeline(payload)
	if err != nil {
		return nil, badRequest(err)
	}
	t, err := s.under(ctx, id)
	if err != nil {
		return nil, err
	}
	return pageapi.AppendLeases(nil, t.Leases()), nil
}

func (s *Server) detachFromParent(ctx context.Context, payload []byte) ([]byte, error) {
	id, err := pageapi.DecodeTimeline(payload)
	if err != nil {
		return nil, badRequest(err)
	}
	t, err := s.under(ctx, id)
	if err != nil {
		return nil, err
	}
	return nil, t.DetachFromParent(ctx)
}
