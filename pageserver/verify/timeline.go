package verify

import (
	"context"
	"errors"
	"time"

	"github.com/varvedb/varve/pageserver/basebackup"
	"github.com/varvedb/varve/pageserver/timeline"
	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/pgwal"
)

// Timeline reads a timeline: one of this process, or a pageserver's over the network.
type Timeline interface {
	basebackup.Source
	Relations(ctx context.Context, lsn wal.LSN, fn func(timeline.RelationSize) error) error
	GetPages(ctx context.Context, reads []timeline.PageRead, dst [][]byte) error
}

// OfTimeline is a timeline as of an LSN.
func OfTimeline(t Timeline, at wal.LSN) Storage { return &timelineStorage{t, at} }

type timelineStorage struct {
	timeline Timeline
	at       wal.LSN
}

func (s *timelineStorage) Forks(ctx context.Context, fn func(rel pgwal.RelFileNode, fork pgwal.Fork, blocks uint32) error) error {
	return s.timeline.Relations(ctx, s.at, func(r timeline.RelationSize) error {
		return fn(r.Rel, r.Fork, r.Blocks)
	})
}

func (s *timelineStorage) Read(ctx context.Context, rel pgwal.RelFileNode, fork pgwal.Fork, first uint32, dst []byte) error {
	reads := make([]timeline.PageRead, len(dst)/pgwal.PageSize)
	pages := make([][]byte, len(reads))
	for i := range reads {
		reads[i] = timeline.PageRead{Rel: rel, Fork: fork, Block: first + uint32(i), LSN: s.at}
	}
	if err := s.timeline.GetPages(ctx, reads, pages); err != nil {
		return err
	}
	for i, page := range pages {
		copy(dst[i*pgwal.PageSize:], page)
	}
	return nil
}

func (s *timelineStorage) ReadBefore(ctx context.Context, rel pgwal.RelFileNode, fork pgwal.Fork, block uint32, at wal.LSN, dst []byte) (bool, error) {
	pages := [][]byte{nil}
	err := s.timeline.GetPages(ctx, []timeline.PageRead{{Rel: rel, Fork: fork, Block: block, LSN: at}}, pages)
	if errors.Is(err, timeline.ErrNoRelation) || errors.Is(err, timeline.ErrBeyondEnd) {
		return false, nil
	}
	copy(dst, pages[0])
	return err == nil, err
}

func (s *timelineStorage) Files(ctx context.Context) ([]basebackup.File, error) {
	state, err := basebackup.StartState(ctx, s.timeline, s.at, 0, time.Unix(0, 0))
	if err != nil {
		return nil, err
	}
	return state.Files, nil
}
