package lsm

import (
	"context"
	"fmt"
	"time"

	"github.com/varvedb/varve/lsm/kv"
	"github.com/varvedb/varve/lsm/memtable"
	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/assert"
)

// Apply adds the versions of all records that end in (LastLSN, end], and advances
// LastLSN to end; there may be none. Versions come in order of LSN, at most one
// for each key and LSN: that is asserted. Values are copied.
//
// It is slowed down while the store does not keep up, little by little: see
// [Stats].Pressure. It waits only as long as the memtable is full and
// Options.FrozenMax others wait to be written.
func (t *Timeline) Apply(ctx context.Context, end wal.LSN, versions []Version) error {
	for i := range versions {
		if size := len(versions[i].Value); size > kv.ValueBytesMax {
			return fmt.Errorf("apply %v at %v: value of %d bytes is larger than %d", versions[i].Key, versions[i].LSN, size, kv.ValueBytesMax)
		}
	}
	if err := t.ease(ctx, versions); err != nil {
		return err
	}
	froze, err := t.insert(ctx, end, versions)
	if froze {
		t.noteFrozen()
	}
	return err
}

// insert is Apply once it was slowed down. It reports whether there is a memtable to be
// written.
func (t *Timeline) insert(ctx context.Context, end wal.LSN, versions []Version) (froze bool, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.makeRoom(ctx); err != nil {
		return len(t.frozen) > 0, err
	}
	checkOrder(t.LastLSN(), end, versions)
	t.active.Insert(versions)
	t.counts.versions.Add(uint64(len(versions)))
	t.node.state.last.Store(uint64(end))
	t.moved.Broadcast()
	if t.isFull() && len(t.frozen) < t.store.opts.FrozenMax {
		t.freeze()
	}
	return len(t.frozen) > 0, nil
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

const (
	// easeFull is how long filling a memtable takes at full pressure, at least: about as
	// long as a bucket takes to write one that is slow. Shorter: what follows is a long
	// wait for room, all at once.
	easeFull = 4 * time.Second
	// easeMax bounds one pause, and what is less than easeMin is saved up for the next.
	easeMax = 50 * time.Millisecond
	easeMin = time.Millisecond
)

// pressure says, from 0 to 1, how far the store is from keeping up. It rises with the
// memtable while no other may be frozen, and with the flushed layers from twice those
// that are merged together to six times.
func (t *Timeline) pressure() float64 {
	t.mu.Lock()
	queued, filled := len(t.frozen), float64(t.active.Bytes())/float64(t.store.opts.MemtableBytes)
	t.mu.Unlock()
	p := 0.0
	if queued >= t.store.opts.FrozenMax {
		p = min(filled, 1)
	}
	most := float64(t.store.opts.FlushedMax)
	return max(p, min((float64(t.node.state.flushed.Load())-2*most)/(4*most), 1))
}

// ease pauses a writer by the pressure and by what it writes.
func (t *Timeline) ease(ctx context.Context, versions []Version) error {
	p := t.pressure()
	if p == 0 {
		return nil
	}
	var bytes int64
	for i := range versions {
		bytes += int64(len(versions[i].Value))
	}
	t.owed += time.Duration(p * float64(easeFull) * float64(bytes) / float64(t.store.opts.MemtableBytes))
	if t.owed < easeMin {
		return nil
	}
	pause := min(t.owed, easeMax)
	t.owed = 0
	t.counts.eased.Add(uint64(pause))
	if err := t.store.env.Clock.Sleep(ctx, pause); err != nil {
		return fmt.Errorf("wait for the store to keep up: %w", err)
	}
	return nil
}
