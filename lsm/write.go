package lsm

import (
	"context"
	"fmt"

	"github.com/varvedb/varve/lsm/kv"
	"github.com/varvedb/varve/lsm/memtable"
	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/assert"
)

// Apply adds the versions of all records that end in (LastLSN, end], and advances
// LastLSN to end; there may be none. Versions come in order of LSN, at most one
// for each key and LSN: that is asserted. Values are copied.
//
// It waits while the bucket does not keep up: as long as the memtable is full and
// Options.FrozenMax others wait to be written.
func (t *Timeline) Apply(ctx context.Context, end wal.LSN, versions []Version) error {
	for i := range versions {
		if size := len(versions[i].Value); size > kv.ValueBytesMax {
			return fmt.Errorf("apply %v at %v: value of %d bytes is larger than %d", versions[i].Key, versions[i].LSN, size, kv.ValueBytesMax)
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.makeRoom(ctx); err != nil {
		return err
	}
	checkOrder(t.LastLSN(), end, versions)
	t.active.Insert(versions)
	t.counts.versions.Add(uint64(len(versions)))
	t.node.state.last.Store(uint64(end))
	t.moved.Broadcast()
	if t.isFull() && len(t.frozen) < t.store.opts.FrozenMax {
		t.freeze()
	}
	return nil
}

func checkOrder(last, end wal.LSN, versions []Version) {
	if end <= last {
		assert.Failf("what is applied ends at %v, above %v", end, last)
	}
	for i := range versions {
		if lsn := versions[i].LSN; lsn <= last && (i == 0 || lsn != last) || lsn > end {
			assert.Failf("version %d of %d, at %v, lies above %v or beside its like and not above %v", i, len(versions), lsn, last, end)
		}
		last = versions[i].LSN
	}
}

func (t *Timeline) isFull() bool { return t.active.Bytes() >= t.store.opts.MemtableBytes }

// makeRoom freezes a full memtable, waiting until another may be frozen. The
// caller holds t.mu.
func (t *Timeline) makeRoom(ctx context.Context) error {
	for t.failed == nil && t.isFull() {
		if len(t.frozen) < t.store.opts.FrozenMax {
			t.freeze()
			break
		}
		t.store.env.Trace.Cover("lsm apply waits for flush")
		if err := t.moved.Wait(ctx); err != nil {
			return fmt.Errorf("wait for a memtable to be written: %w", err)
		}
	}
	return t.failed
}

// freeze starts a new memtable and leaves the old one to be written. The caller
// holds t.mu, and there is room.
func (t *Timeline) freeze() {
	last := t.LastLSN()
	t.frozen = append(t.frozen, frozenTable{t.active, last, t.nextNumber()})
	t.active = memtable.New(last)
	s := t.store
	s.mu.Lock()
	t.node.tables = t.tableRefs()
	s.publishAll(t.node)
	s.mu.Unlock()
	t.moved.Broadcast()
}
