package pageserver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/varvedb/varve/lsm"
	"github.com/varvedb/varve/pageserver/pageapi"
	"github.com/varvedb/varve/pageserver/pgkey"
	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/frame"
	"github.com/varvedb/varve/wal/pgwal"
)

type handler func(s *Server, ctx context.Context, payload []byte) ([]byte, error)

// handlers answer the requests, by type.
var handlers = map[uint8]handler{
	pageapi.TypeRelSize:    (*Server).relSize,
	pageapi.TypeValues:     (*Server).values,
	pageapi.TypePosition:   (*Server).position,
	pageapi.TypeWaitLSN:    (*Server).waitLSN,
	pageapi.TypeLSNAt:      (*Server).lsnAt,
	pageapi.TypePrevRecord: (*Server).prevRecord,
	pageapi.TypeImport:     (*Server).importDir,
	pageapi.TypeBranch:     (*Server).makeBranch,
	pageapi.TypeDelete:     (*Server).remove,
	pageapi.TypeList:       (*Server).list,
	pageapi.TypeFollow:     (*Server).follow,
	pageapi.TypeFlush:      (*Server).flush,
	pageapi.TypeExplain:    onLayers(decodeExplain, explain),
	pageapi.TypeCollect:    onLayers(decodeCollect, collect),
	pageapi.TypeLease:      onLayers(decodeLease, lease),
	pageapi.TypeRelease:    onLayers(pageapi.DecodeRelease, release),
	pageapi.TypeLeases:     onLayers(decodeAlone, leases),
	pageapi.TypeDetach:     onLayers(decodeAlone, detachFromParent),
	pageapi.TypeStats:      (*Server).stats,
}

func badRequest(err error) error { return frame.Errorf(frame.CodeBadFrame, "%v", err) }

// pagesRoom is where the answer to a GetPages is made.
type pagesRoom struct {
	answer []byte
	pages  [][]byte // each at its place in the answer
}

var pagesRooms = sync.Pool{New: func() any { return new(pagesRoom) }}

func (r *pagesRoom) release() { pagesRooms.Put(r) }

// getPages answers with pages in room that is used again when they are sent.
func (s *Server) getPages(ctx context.Context, payload []byte) (f frame.Frame, err error) {
	id, reads, err := pageapi.DecodeGetPages(payload)
	if err != nil {
		return f, badRequest(err)
	}
	t, err := s.timeline(ctx, id)
	if err != nil {
		return f, err
	}
	room := pagesRooms.Get().(*pagesRoom)
	size := len(reads) * pgwal.PageSize
	room.answer = slices.Grow(room.answer[:0], size)[:size]
	room.pages = room.pages[:0]
	for at := 0; at < size; at += pgwal.PageSize {
		room.pages = append(room.pages, room.answer[at:at:at+pgwal.PageSize])
	}
	if err := t.GetPages(ctx, reads, room.pages); err != nil {
		room.release()
		return f, err
	}
	return frame.Frame{Type: pageapi.TypeGetPages, Payload: room.answer, Sent: room.release}, nil
}

func (s *Server) relSize(ctx context.Context, payload []byte) ([]byte, error) {
	m, err := pageapi.DecodeRelSize(payload)
	if err != nil {
		return nil, badRequest(err)
	}
	t, err := s.timeline(ctx, m.Timeline)
	if err != nil {
		return nil, err
	}
	blocks, err := t.RelSize(ctx, m.Rel, m.Fork, m.LSN)
	return pgkey.AppendUint32(nil, blocks), err
}

// errFull ends a scan whose answer is full.
var errFull = errors.New("answer is full")

func (s *Server) values(ctx context.Context, payload []byte) ([]byte, error) {
	m, err := pageapi.DecodeValues(payload)
	if err != nil {
		return nil, badRequest(err)
	}
	t, err := s.timeline(ctx, m.Timeline)
	if err != nil {
		return nil, err
	}
	var answer pageapi.ValuesAnswer
	err = t.Values(ctx, m.Lo, m.Hi, m.LSN, func(key lsm.Key, value []byte) error {
		if !answer.Add(key, value) {
			return errFull
		}
		return nil
	})
	if err != nil && !errors.Is(err, errFull) {
		return nil, err
	}
	return answer.Bytes(), nil
}

func (s *Server) position(ctx context.Context, payload []byte) ([]byte, error) {
	id, err := pageapi.DecodeTimeline(payload)
	if err != nil {
		return nil, badRequest(err)
	}
	return s.positionOf(ctx, id)
}

func (s *Server) positionOf(ctx context.Context, id wal.TimelineID) ([]byte, error) {
	t, err := s.timeline(ctx, id)
	if err != nil {
		return nil, err
	}
	return pageapi.Position{Last: t.LastLSN(), Durable: t.DurableLSN()}.AppendTo(nil), nil
}

// waitLSN answers when the LSN is reached, or when it has waited long enough: the
// answer says which.
func (s *Server) waitLSN(ctx context.Context, payload []byte) ([]byte, error) {
	id, lsn, err := pageapi.DecodeTimelineLSN(payload)
	if err != nil {
		return nil, badRequest(err)
	}
	t, err := s.timeline(ctx, id)
	if err != nil {
		return nil, err
	}
	limited, cancel := s.env.Tasks.WithTimeout(ctx, pageapi.WaitMax)
	defer cancel()
	if err := t.WaitLSN(limited, lsn); err != nil && limited.Err() == nil {
		return nil, err
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	return s.positionOf(ctx, id)
}

func (s *Server) lsnAt(ctx context.Context, payload []byte) ([]byte, error) {
	id, at, err := pageapi.DecodeLSNAt(payload)
	if err != nil {
		return nil, badRequest(err)
	}
	t, err := s.timeline(ctx, id)
	if err != nil {
		return nil, err
	}
	lsn, err := t.LSNAt(ctx, at)
	return pageapi.AppendLSN(nil, lsn), err
}

func (s *Server) prevRecord(ctx context.Context, payload []byte) ([]byte, error) {
	id, lsn, err := pageapi.DecodeTimelineLSN(payload)
	if err != nil {
		return nil, badRequest(err)
	}
	t, err := s.timeline(ctx, id)
	if err != nil {
		return nil, err
	}
	prev, err := t.PrevRecord(ctx, lsn)
	return pageapi.AppendLSN(nil, prev), err
}

// follow is the wish of whoever directs the tenant that a timeline be served here.
func (s *Server) follow(ctx context.Context, payload []byte) ([]byte, error) {
	m, err := pageapi.DecodeFollow(payload)
	if err != nil {
		return nil, badRequest(err)
	}
	if err := s.serve(ctx, m.Timeline); err != nil {
		return nil, fmt.Errorf("follow timeline %v: %w", m.Timeline, err)
	}
	b, err := s.branch(m.Timeline)
	if err != nil {
		return nil, err
	}
	b.follow(m.Safekeepers)
	return nil, nil
}

func (s *Server) flush(ctx context.Context, payload []byte) ([]byte, error) {
	id, err := pageapi.DecodeTimeline(payload)
	if err != nil {
		return nil, badRequest(err)
	}
	t, err := s.timeline(ctx, id)
	if err != nil {
		return nil, err
	}
	if err := t.Flush(ctx); err != nil {
		return nil, err
	}
	return s.positionOf(ctx, id)
}

func (s *Server) list(ctx context.Context, _ []byte) ([]byte, error) {
	infos, err := s.store.List(ctx)
	if err != nil {
		return nil, err
	}
	var answer bytes.Buffer
	for _, x := range infos {
		info := pageapi.TimelineInfo{
			ID: x.ID, Parent: x.Parent, BranchLSN: x.BranchLSN, Start: x.Start, Cutoff: x.Cutoff,
			Position: pageapi.Position{Durable: x.Durable}, Generation: x.Generation, Layers: x.Layers, Bytes: x.Bytes, Meta: x.Meta,
		}
		if b, err := s.branch(x.ID); err == nil {
			info.Last, info.Stopped = b.standing()
		}
		if x.Damage != nil {
			info.Stopped = x.Damage.Error()
		}
		answer.Write(info.AppendTo(nil))
	}
	return answer.Bytes(), nil
}
