package timeline

import (
	"context"
	"errors"

	"github.com/varvedb/varve/lsm"
	"github.com/varvedb/varve/pageserver/pgkey"
	"github.com/varvedb/varve/pageserver/redo"
	"github.com/varvedb/varve/wal/pgwal"
)

// transaction takes in the ends of transactions, and those that are prepared.
func (t *Timeline) transaction(ctx context.Context, rec *pgwal.Record) error {
	switch rec.Op() {
	case pgwal.OpXactCommit, pgwal.OpXactCommitPrepared:
		if err := pgwal.ParseCommit(rec, &t.completion); err != nil {
			return err
		}
		if err := t.commitTimes(rec); err != nil {
			return err
		}
		return t.complete(ctx, rec, redo.Committed)
	case pgwal.OpXactAbort, pgwal.OpXactAbortPrepared:
		if err := pgwal.ParseAbort(rec, &t.completion); err != nil {
			return err
		}
		return t.complete(ctx, rec, redo.Aborted)
	case pgwal.OpXactPrepare:
		return t.prepare(rec)
	case pgwal.OpXactAssignment:
		a, err := pgwal.ParseAssignment(rec)
		if err != nil {
			return err
		}
		t.counters.seeXID(a.TopXID)
		t.seeXIDs(a.SubXIDs)
	}
	return nil
}

// complete takes in the end of the transaction in t.completion.
func (t *Timeline) complete(ctx context.Context, rec *pgwal.Record, status redo.XactStatus) error {
	c := &t.completion
	t.counters.seeXID(c.XID)
	t.seeXIDs(c.SubXIDs)
	if err := t.noteCommit(rec, int64(c.Time)); err != nil {
		return err
	}
	err := t.eachPage(pgkey.Xact, pgkey.XactPage, func(dst []byte, xids []uint32) []byte {
		return redo.AppendXactStatus(dst, status, xids)
	})
	if err != nil {
		return err
	}
	if c.Prepared {
		t.batch.tombstone(pgkey.TwoPhase(c.XID))
	}
	if c.Flags&pgwal.XactHasOrigin != 0 && rec.Origin != 0 && c.OriginLSN != 0 {
		value := pgkey.OriginValue{Remote: c.OriginLSN, Local: rec.End}
		t.batch.image(pgkey.ReplOrigin(rec.Origin), value.AppendTo(nil))
	}
	for _, rel := range c.Rels {
		if err := t.dropRelation(ctx, rel); err != nil {
			return err
		}
	}
	return nil
}

// eachPage adds an operation for each page of an SLRU that holds one of the
// completed transaction's ids: its own and those of its subtransactions.
func (t *Timeline) eachPage(slru pgkey.SLRU, pageOf func(uint32) uint32, operation func([]byte, []uint32) []byte) error {
	xids := append(append(t.xids[:0], t.completion.XID), t.completion.SubXIDs...)
	t.xids = xids
	for len(xids) > 0 {
		page, n := pageOf(xids[0]), 1
		for n < len(xids) && pageOf(xids[n]) == page {
			n++
		}
		t.operation = operation(t.operation[:0], xids[:n])
		if err := t.batch.delta(pgkey.SLRUPage(slru, page), t.operation); err != nil {
			return err
		}
		xids = xids[n:]
	}
	return nil
}

// commitTimes stores when the transaction in t.completion committed, if the cluster
// keeps that. A transaction that replays another cluster's has that one's time.
func (t *Timeline) commitTimes(rec *pgwal.Record) error {
	if !t.counters.control.TrackCommitTimestamp {
		return nil
	}
	c := &t.completion
	stamp := c.Time
	if c.Flags&pgwal.XactHasOrigin != 0 {
		stamp = c.OriginTime
	}
	newest := c.XID
	for _, sub := range c.SubXIDs {
		if xidPrecedes(newest, sub) {
			newest = sub
		}
	}
	span := t.counters.commitTs
	if span.Newest == 0 || xidPrecedes(span.Newest, newest) {
		span.Newest = newest
		t.counters.setCommitTs(span)
	}
	return t.eachPage(pgkey.CommitTs, pgkey.CommitTsPage, func(dst []byte, xids []uint32) []byte {
		return redo.AppendCommitTs(dst, int64(stamp), rec.Origin, xids)
	})
}

// prepare keeps the state file of a prepared transaction.
func (t *Timeline) prepare(rec *pgwal.Record) error {
	p, err := pgwal.ParsePrepare(rec)
	if err != nil {
		return err
	}
	t.counters.seeXID(p.XID)
	t.seeXIDs(p.SubXIDs)
	t.batch.image(pgkey.TwoPhase(p.XID), pgwal.AppendTwoPhaseFile(nil, rec))
	return nil
}

func (t *Timeline) seeXIDs(xids []uint32) {
	for _, xid := range xids {
		t.counters.seeXID(xid)
	}
}

// clog takes in new and cut pages of pg_xact.
func (t *Timeline) clog(ctx context.Context, rec *pgwal.Record) error {
	switch rec.Op() {
	case pgwal.OpCLOGZeroPage:
		page, err := pgwal.ParseCLOGZeroPage(rec)
		return t.zeroPage(pgkey.Xact, page, err)
	case pgwal.OpCLOGTruncate:
		c, err := pgwal.ParseCLOGTruncate(rec)
		if err != nil {
			return err
		}
		t.counters.setOldestXID(pgkey.OldestValue{ID: c.OldestXID, DB: c.OldestXIDDB})
		return t.cutBefore(ctx, pgkey.Xact, c.Page, xactPagePrecedes)
	}
	return nil
}

// commitTs takes in new and cut pages of pg_commit_ts.
func (t *Timeline) commitTs(ctx context.Context, rec *pgwal.Record) error {
	switch rec.Op() {
	case pgwal.OpCommitTsZeroPage:
		page, err := pgwal.ParseCommitTsZeroPage(rec)
		return t.zeroPage(pgkey.CommitTs, page, err)
	case pgwal.OpCommitTsTruncate:
		c, err := pgwal.ParseCommitTsTruncate(rec)
		if err != nil {
			return err
		}
		span := t.counters.commitTs
		if span.Oldest != 0 && xidPrecedes(span.Oldest, c.OldestXID) {
			span.Oldest = c.OldestXID
			t.counters.setCommitTs(span)
		}
		return t.cutBefore(ctx, pgkey.CommitTs, c.Page, commitTsPagePrecedes)
	}
	return nil
}

// trackCommitTs follows the setting track_commit_timestamp: what is kept begins at
// the next transaction when it is switched on, and goes away when it is switched off.
func (t *Timeline) trackCommitTs(ctx context.Context, on bool) error {
	if on == t.counters.control.TrackCommitTimestamp {
		return nil
	}
	if !on {
		t.counters.setCommitTs(pgkey.CommitTsRangeValue{})
		return t.cut(ctx, pgkey.CommitTs, func(uint32) bool { return true })
	}
	next := uint32(t.counters.nextXID)
	t.counters.setCommitTs(pgkey.CommitTsRangeValue{Oldest: next, Newest: next})
	return t.zeroPage(pgkey.CommitTs, pgkey.CommitTsPage(next), nil)
}

// replOrigin keeps the progress of a replication origin.
func (t *Timeline) replOrigin(rec *pgwal.Record) error {
	switch rec.Op() {
	case pgwal.OpReplOriginSet:
		s, err := pgwal.ParseReplOriginSet(rec)
		if err != nil {
			return err
		}
		t.batch.image(pgkey.ReplOrigin(s.Node), pgkey.OriginValue{Remote: s.RemoteLSN, Local: rec.End}.AppendTo(nil))
	case pgwal.OpReplOriginDrop:
		node, err := pgwal.ParseReplOriginDrop(rec)
		if err != nil {
			return err
		}
		t.batch.tombstone(pgkey.ReplOrigin(node))
	}
	return nil
}

// zeroPage makes an SLRU page of zeros; err is that of parsing its number.
func (t *Timeline) zeroPage(slru pgkey.SLRU, page uint32, err error) error {
	if err == nil {
		t.batch.image(pgkey.SLRUPage(slru, page), t.batch.newPage())
	}
	return err
}

// cutBefore removes the segments of an SLRU that lie wholly before a page, as
// PostgreSQL does when it truncates one.
func (t *Timeline) cutBefore(ctx context.Context, slru pgkey.SLRU, page uint32, precedes func(a, b uint32) bool) error {
	return t.cut(ctx, slru, func(p uint32) bool {
		first := p &^ (pgkey.SLRUSegmentPages - 1)
		return precedes(first, page) && precedes(first+pgkey.SLRUSegmentPages-1, page)
	})
}

// cut removes the pages of an SLRU for which gone holds.
func (t *Timeline) cut(ctx context.Context, slru pgkey.SLRU, gone func(page uint32) bool) error {
	if err := t.settle(ctx); err != nil {
		return err
	}
	lo, hi := pgkey.SLRURange(slru)
	at := t.store.LastLSN()
	tombstones := func(ctx context.Context, put putKey) error {
		return t.store.Scan(ctx, lo, hi, at, func(key lsm.Key, _ lsm.Chain) error {
			parsed, err := pgkey.ParseKey(key)
			if err != nil || !gone(parsed.Block) {
				return err
			}
			return put(key, lsm.Tombstone, nil)
		})
	}
	var keys []lsm.Key
	err := tombstones(ctx, func(key lsm.Key, _ lsm.Kind, _ []byte) error {
		if len(keys) == manyKeys {
			return errEnough
		}
		keys = append(keys, key)
		return nil
	})
	if errors.Is(err, errEnough) {
		return t.many(ctx, lo, allKeys, tombstones)
	}
	for _, key := range keys {
		t.batch.tombstone(key)
	}
	return err
}

// xidPrecedes compares transaction ids on their circle; the special ones come first.
func xidPrecedes(a, b uint32) bool {
	if a < firstNormalXID || b < firstNormalXID {
		return a < b
	}
	return int32(a-b) < 0
}

// xactPagePrecedes compares pages of pg_xact by the transactions on them: the first
// normal one and the last of each, so that neither half of the circle is misjudged.
func xactPagePrecedes(a, b uint32) bool {
	return xidPagePrecedes(a, b, pgkey.XactsPerPage)
}

func commitTsPagePrecedes(a, b uint32) bool {
	return xidPagePrecedes(a, b, pgkey.CommitTsPerPage)
}

func xidPagePrecedes(a, b, perPage uint32) bool {
	first, other := a*perPage+firstNormalXID+1, b*perPage+firstNormalXID+1
	return xidPrecedes(first, other) && xidPrecedes(first, other+perPage-1)
}
