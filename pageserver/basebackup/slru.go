package basebackup

import (
	"context"
	"fmt"

	"github.com/varvedb/varve/pageserver/pgkey"
	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/pgwal"
)

// slrus adds the segment files of the SLRUs. PostgreSQL, as it starts, looks at the
// page that the next id falls on; so that page exists even if the log, which logs a
// page with its first id, does not have it yet.
func (s *State) slrus(ctx context.Context, src Source, at wal.LSN) error {
	next := &s.Control.CheckPointCopy
	for _, slru := range pgkey.SLRUs {
		var segments slruSegments
		lo, hi := pgkey.SLRURange(slru)
		err := each(ctx, src, lo, hi, at, func(key pgkey.Parsed, value []byte) {
			copy(segments.page(key.Block), value)
		})
		if err != nil {
			return err
		}
		switch slru {
		case pgkey.Xact:
			segments.page(pgkey.XactPage(uint32(next.NextXID)))
		case pgkey.MultiXactOffsets:
			segments.page(pgkey.MultiOffsetPage(next.NextMulti))
		case pgkey.MultiXactMembers:
			segments.page(pgkey.MultiMemberPage(next.NextMultiOffset))
		}
		for _, segment := range segments {
			s.add(slru.String()+"/"+SLRUSegmentName(segment.number), fileMode, segment.body)
		}
	}
	return nil
}

// SLRUSegmentName is PostgreSQL's name of an SLRU's segment file.
func SLRUSegmentName(number uint32) string { return fmt.Sprintf("%04X", number) }

// slruSegments are the segments of one SLRU, those that hold a page.
type slruSegments []slruSegment

type slruSegment struct {
	number uint32
	body   []byte // up to its last page; zeros where it has none
}

// page returns the page to fill. Pages come in ascending order, except that the last
// one asked for may be any.
func (s *slruSegments) page(number uint32) []byte {
	segment := s.segment(number / pgkey.SLRUSegmentPages)
	at := int(number%pgkey.SLRUSegmentPages) * pgwal.PageSize
	if short := at + pgwal.PageSize - len(segment.body); short > 0 {
		segment.body = append(segment.body, make([]byte, short)...)
	}
	return segment.body[at : at+pgwal.PageSize]
}

func (s *slruSegments) segment(number uint32) *slruSegment {
	for i := len(*s) - 1; i >= 0; i-- {
		if (*s)[i].number == number {
			return &(*s)[i]
		}
	}
	*s = append(*s, slruSegment{number: number})
	return &(*s)[len(*s)-1]
}
