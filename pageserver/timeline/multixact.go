package timeline

import (
	"context"

	"github.com/varvedb/varve/pageserver/pgkey"
	"github.com/varvedb/varve/pageserver/redo"
	"github.com/varvedb/varve/wal/pgwal"
)

// multixact takes in new multixacts and the pages that hold them.
func (t *Timeline) multixact(ctx context.Context, rec *pgwal.Record) error {
	switch rec.Op() {
	case pgwal.OpMultiXactZeroOffsets:
		page, err := pgwal.ParseMultiXactZeroPage(rec)
		return t.zeroPage(pgkey.MultiXactOffsets, page, err)
	case pgwal.OpMultiXactZeroMembers:
		page, err := pgwal.ParseMultiXactZeroPage(rec)
		return t.zeroPage(pgkey.MultiXactMembers, page, err)
	case pgwal.OpMultiXactCreate:
		if err := pgwal.ParseMultiXactCreate(rec, &t.multi); err != nil {
			return err
		}
		return t.createMulti(&t.multi)
	case pgwal.OpMultiXactTruncate:
		c, err := pgwal.ParseMultiXactTruncate(rec)
		if err != nil {
			return err
		}
		return t.truncateMulti(ctx, c)
	}
	return nil
}

// createMulti writes a multixact's offset, the next one's (which says where the
// members end), and the members.
func (t *Timeline) createMulti(m *pgwal.MultiXactCreate) error {
	end := m.Offset + uint32(len(m.Members))
	next := m.ID + 1
	if next < firstMulti {
		next = firstMulti
	}
	if err := t.setOffset(m.ID, m.Offset); err != nil {
		return err
	}
	if err := t.setOffset(next, end); err != nil {
		return err
	}
	if err := t.setMembers(m.Offset, m.Members); err != nil {
		return err
	}
	t.counters.seeMulti(pgkey.NextMultiValue{Multi: m.ID + 1, Offset: end})
	return nil
}

func (t *Timeline) setOffset(multi, offset uint32) error {
	t.operation = redo.AppendMultiOffset(t.operation[:0], multi, offset)
	return t.batch.delta(pgkey.SLRUPage(pgkey.MultiXactOffsets, pgkey.MultiOffsetPage(multi)), t.operation)
}

// setMembers writes members from an offset on, page by page. Offsets wrap around.
func (t *Timeline) setMembers(offset uint32, members []pgwal.MultiXactMember) error {
	for _, m := range members {
		t.counters.seeXID(m.XID)
	}
	for rest := members; len(rest) > 0; {
		page, n := pgkey.MultiMemberPage(offset), 1
		for n < len(rest) && pgkey.MultiMemberPage(offset+uint32(n)) == page {
			n++
		}
		t.operation = redo.AppendMultiMembers(t.operation[:0], offset, rest[:n])
		if err := t.batch.delta(pgkey.SLRUPage(pgkey.MultiXactMembers, page), t.operation); err != nil {
			return err
		}
		offset, rest = offset+uint32(n), rest[n:]
	}
	return nil
}

// truncateMulti removes the segments of members from the first's up to the last's,
// around the end of the offsets if need be, and the segments of offsets that lie
// wholly before the oldest multixact that remains.
func (t *Timeline) truncateMulti(ctx context.Context, c pgwal.MultiXactTruncate) error {
	t.counters.setOldestMulti(pgkey.OldestValue{ID: c.EndMulti, DB: c.OldestMultiDB})
	segment := func(page uint32) uint32 { return page / pgkey.SLRUSegmentPages }
	first, end := segment(pgkey.MultiMemberPage(c.StartMembers)), segment(pgkey.MultiMemberPage(c.EndMembers))
	gone := func(page uint32) bool {
		s := segment(page)
		if first <= end {
			return first <= s && s < end
		}
		return s >= first || s < end
	}
	if err := t.cut(ctx, pgkey.MultiXactMembers, gone); err != nil {
		return err
	}
	last := c.EndMulti - 1 // PostgreSQL keeps the page before, for a reader may be there.
	if last < firstMulti {
		last = ^uint32(0)
	}
	return t.cutBefore(ctx, pgkey.MultiXactOffsets, pgkey.MultiOffsetPage(last), multiOffsetPagePrecedes)
}

func multiOffsetPagePrecedes(a, b uint32) bool {
	const perPage = pgkey.MultiOffsetsPerPage
	first, other := a*perPage+firstMulti+1, b*perPage+firstMulti+1
	return int32(first-other) < 0 && int32(first-(other+perPage-1)) < 0
}
