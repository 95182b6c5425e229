package timeline

import (
	"context"
	"fmt"

	"github.com/varvedb/varve/lsm"
	"github.com/varvedb/varve/pageserver/pgkey"
	"github.com/varvedb/varve/pageserver/redo"
	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/assert"
	"github.com/varvedb/varve/wal/pgwal"
)

// Ingest takes in committed log: bytes that begin at begin, which is [Timeline.NextLSN]
// or, for the first bytes of a log of its own, [Timeline.Begins]. Records are cut
// anywhere, and are checked: bytes that are no record are discarded with all after them,
// by an error that matches wal.ErrCorruption, and can be taken from elsewhere, from
// NextLSN on. Any other error than that begin is wrong is a StoppedError: the records
// before the one at fault are taken in, and nothing more before [Timeline.Resume].
func (t *Timeline) Ingest(ctx context.Context, begin wal.LSN, bytes []byte) error {
	if t.halted {
		return t.Stopped()
	}
	if err := t.accept(begin); err != nil {
		return err
	}
	t.decoder.Feed(bytes)
	t.next += wal.LSN(len(bytes))
	for {
		ok, err := t.decoder.Next(&t.record)
		if err != nil {
			return t.reject(ctx, fmt.Errorf("decode the record after %v: %w", t.last.end, err))
		}
		if !ok {
			break
		}
		if err := t.take(ctx, &t.record); err != nil {
			return t.fail(ctx, err)
		}
	}
	if err := t.send(ctx); err != nil {
		return t.stop(err)
	}
	return nil
}

// CheckWhole is for whoever knows that a record ends where the bytes of the last Ingest
// did. If the decoder waits for more of one there, its length is damaged, which nothing
// but more log would show: it is a StoppedError, as other damage is to Ingest.
func (t *Timeline) CheckWhole(ctx context.Context) error {
	if t.last.end == t.next {
		return nil
	}
	return t.fail(ctx, wal.Corruptf("log of timeline "+t.id.String(), int64(t.last.end), "end of a record", t.next, "beyond it"))
}

// accept checks where bytes begin, and starts the decoder with the first ones.
func (t *Timeline) accept(begin wal.LSN) error {
	if t.Begins(begin) {
		t.next = begin
	}
	if begin != t.next {
		return fmt.Errorf("ingest into timeline %v: bytes begin at %v, want %v", t.id, begin, t.next)
	}
	if t.decoder == nil {
		t.decoder = pgwal.NewDecoder("log of timeline "+t.id.String(), begin)
	}
	return nil
}

// Begins reports whether a log of the timeline's own may begin at an LSN, so that its
// first bytes there follow on what is taken in: nothing was ingested since Open, and
// no record fits in between. Only the ingesting task asks.
func (t *Timeline) Begins(at wal.LSN) bool {
	return t.decoder == nil && (at == t.next || at == pgwal.RecordPosition(t.next) || at == pgwal.RecordStart(t.next))
}

// fail takes in the records before the one at fault, then stops.
func (t *Timeline) fail(ctx context.Context, cause error) error {
	if err := t.send(ctx); err != nil {
		return t.stop(err)
	}
	return t.stop(cause)
}

// reject takes in the records before bytes that are none.
func (t *Timeline) reject(ctx context.Context, cause error) error {
	if err := t.send(ctx); err != nil {
		return t.stop(err)
	}
	t.Discard()
	return cause
}

// Discard forgets the bytes of a record that is not whole yet: the next begin with it
// again. Only the ingesting task discards.
func (t *Timeline) Discard() { t.decoder, t.next = nil, t.last.end }

// take gathers the effects of one record.
func (t *Timeline) take(ctx context.Context, rec *pgwal.Record) error {
	t.batch.begin(rec.End)
	t.counters.seeXID(rec.XID)
	if err := t.effects(ctx, rec); err != nil {
		t.batch.abandon()
		t.large = nil
		return fmt.Errorf("record %v %s: %w", rec.RMgr, rec.Kind(), err) // it stops the timeline, which says where
	}
	t.counters.flushTo(t.batch)
	if len(t.large) > 0 {
		return t.sendLarge(ctx, rec)
	}
	t.last = lastRecord{start: rec.LSN, end: rec.End}
	if t.batch.bytes >= batchBytesMax {
		return t.send(ctx)
	}
	return nil
}

// send gives the gathered versions to the store, up to the last record taken. No
// record is under way.
func (t *Timeline) send(ctx context.Context) error {
	if t.last.end <= t.store.LastLSN() {
		return nil
	}
	t.noteLastRecord()
	if err := t.store.Apply(ctx, t.last.end, t.batch.versions); err != nil {
		t.batch.abandon() // the note, which the next try makes anew
		return fmt.Errorf("store records up to %v: %w", t.last.end, err)
	}
	t.batch.reset()
	if t.sizes.len() > sizesMax {
		t.sizes.clear()
	}
	t.wake()
	return nil
}

// settle sends what was gathered before the current record, whose effects depend on
// what is stored.
func (t *Timeline) settle(ctx context.Context) error {
	if t.last.end <= t.store.LastLSN() {
		return nil
	}
	assert.That(len(t.batch.versions) == t.batch.first, "a record that depends on what is stored has no versions yet")
	lsn := t.batch.lsn
	if err := t.send(ctx); err != nil {
		return err
	}
	t.batch.begin(lsn)
	return nil
}

// noteLastRecord adds the start of the last record to the batch.
func (t *Timeline) noteLastRecord() {
	t.batch.begin(t.last.end)
	var value [8]byte
	t.batch.imageOf(pgkey.LastRecord(), pgkey.AppendUint64(value[:0], uint64(t.last.start)))
}

// effects gathers everything that a record changes.
func (t *Timeline) effects(ctx context.Context, rec *pgwal.Record) error {
	if err := t.pages(ctx, rec); err != nil {
		return err
	}
	switch rec.RMgr {
	case pgwal.RMgrXLOG:
		return t.xlog(ctx, rec)
	case pgwal.RMgrTransaction:
		return t.transaction(ctx, rec)
	case pgwal.RMgrStorage:
		return t.storage(ctx, rec)
	case pgwal.RMgrCLOG:
		return t.clog(ctx, rec)
	case pgwal.RMgrDatabase:
		return t.database(ctx, rec)
	case pgwal.RMgrTablespace:
		return t.tablespace(rec)
	case pgwal.RMgrMultiXact:
		return t.multixact(ctx, rec)
	case pgwal.RMgrRelMap:
		return t.relmap(rec)
	case pgwal.RMgrStandby:
		return t.standby(rec)
	case pgwal.RMgrHeap, pgwal.RMgrHeap2:
		return t.visibility(ctx, rec)
	case pgwal.RMgrCommitTs:
		return t.commitTs(ctx, rec)
	case pgwal.RMgrReplOrigin:
		return t.replOrigin(rec)
	}
	return nil
}

// pages stores what the record makes of the pages that it lists.
func (t *Timeline) pages(ctx context.Context, rec *pgwal.Record) error {
	for i := range rec.Blocks {
		ref := &rec.Blocks[i]
		if ref.Fork == pgwal.FSMFork {
			continue // Nobody may depend on what a free-space map says.
		}
		if locked := pgwal.HashLockedBucket(rec); locked != nil && locked.ID == ref.ID {
			continue // Its image may be stale.
		}
		if err := t.page(ctx, rec, ref); err != nil {
			return err
		}
	}
	return nil
}

func (t *Timeline) page(ctx context.Context, rec *pgwal.Record, ref *pgwal.BlockRef) error {
	key := pgkey.Block(ref.Rel, ref.Fork, ref.Block)
	native := redo.Native(rec.RMgr)
	switch {
	case ref.HasImage && (ref.ApplyImage || !native):
		page := t.batch.space(pgwal.PageSize)
		if err := redo.Image(rec, ref, page); err != nil {
			return err
		}
		t.batch.image(key, page)
	case native:
		t.operation = redo.AppendRecord(t.operation[:0], rec, ref)
		if err := t.change(key, ref); err != nil {
			return err
		}
	case isHintWithoutImage(rec):
		return nil
	default:
		return &MissingImageError{Timeline: t.id, LSN: rec.LSN, Key: key, RMgr: rec.RMgr, Kind: rec.Kind()}
	}
	return t.touch(ctx, forkID{ref.Rel, ref.Fork}, ref.Block)
}

// change stores t.operation, what a record does to the page that is ref. A page that
// starts from nothing is stored as an image, so that reads need not look further back;
// unless the record makes no sense, which is to be found by who reads this page alone.
func (t *Timeline) change(key lsm.Key, ref *pgwal.BlockRef) error {
	if ref.WillInit {
		parsed, err := pgkey.ParseKey(key)
		if err != nil {
			return err
		}
		page, err := redo.Change(t.batch.newPage(), parsed, t.batch.lsn, t.operation)
		if err == nil {
			t.batch.image(key, page)
			return nil
		}
	}
	return t.batch.delta(key, t.operation)
}

// isHintWithoutImage: PostgreSQL announces a hint-bit change with an image that it
// then leaves out if full_page_writes is off. The page does not change.
func isHintWithoutImage(rec *pgwal.Record) bool {
	return rec.RMgr == pgwal.RMgrXLOG && rec.Op() == pgwal.OpXLOGFPIForHint
}
