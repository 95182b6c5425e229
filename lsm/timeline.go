package lsm

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/varvedb/varve/lsm/layer"
	"github.com/varvedb/varve/lsm/manifest"
	"github.com/varvedb/varve/lsm/memtable"
	"github.com/varvedb/varve/lsm/remote"
	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/env"
)

// Timeline is one attachment of a timeline, made by [Store.Attach]. It is safe for
// use by many tasks, though one alone may call Apply.
type Timeline struct {
	store    *Store
	node     *node
	group    env.Group
	writer   manifest.WriterID
	counts   counters
	detached atomic.Bool
	deleted  atomic.Bool   // by another
	looked   atomic.Int64  // when Exists looked last, by the monotonic clock
	owed     time.Duration // by who applies: pause for what was written
	layers   atomic.Uint32 // numbers layers
	// generation is this attachment's.
	generation wal.Generation

	mu     sync.Mutex
	moved  env.Cond // on mu: last, frozen, failed or starting changed
	active *memtable.Table
	frozen []frozenTable // oldest first
	failed error         // for good: fenced, detached, or a failed import
	worked env.Cond      // on mu: works rose, or failed changed
	works  uint64        // counts what may make work for the compaction
	aside  []Aside
	swept  map[layer.ID]bool // dead layers whose objects are deleted; nil if none is
	// A timeline that nobody writes to has no tasks: they start with work and end when
	// there is none.
	flushes, compacts bool // the task is there
	starting          int  // who will start one

	compacting *env.Lock         // held by who merges
	settled    map[layer.ID]bool // by compacting: layers made for their reads; nil if none is
	pinned     pinned            // by compacting
	keeping    []wal.LSN         // by flushing: what pinned was listed to have kept; nil while it is being listed
	newcomer   bool              // by flushing: a branch was attached below the cutoff that pinned may not have
	// orphansSwept, by compacting: what earlier generations left is deleted.
	orphansSwept bool

	flushing *env.Lock // held by who writes the index; guards tag and sequence
	tag      env.ETag
	sequence uint64
}

// frozenTable waits to be written: versions in (table.Lo(), hi]. However often that is
// tried, the layer is the same one, of the same number.
type frozenTable struct {
	table  *memtable.Table
	hi     wal.LSN
	number uint32
}

// nextNumber is what tells a new layer of this attachment from its others.
func (t *Timeline) nextNumber() uint32 { return t.layers.Add(1) }

type counters struct {
	reads, tables, layers, skipped       atomic.Uint64
	versions, flushes, flushedBytes      atomic.Uint64
	merges, mergedBytes, images, dropped atomic.Uint64
	deleted, again, eased                atomic.Uint64
}

// takeOverAttemptsMax bounds how often Attach or Delete takes over from others that write
// the index at the same time.
const takeOverAttemptsMax = 16

// Attach takes the timeline over: it raises the generation in the index, which
// fences every earlier attachment, here or elsewhere, and begins where the index
// says that layers end. Ancestors are opened to be read.
func (s *Store) Attach(ctx context.Context, id wal.TimelineID) (*Timeline, error) {
	if err := s.change.Lock(ctx); err != nil {
		return nil, err
	}
	defer s.change.Unlock()
	if s.Attached(id) != nil {
		return nil, fmt.Errorf("%w: %v", ErrAttached, id)
	}
	t := &Timeline{store: s, writer: s.newWriter(), flushing: env.NewLock(s.env.Tasks), compacting: env.NewLock(s.env.Tasks)}
	t.moved, t.worked = s.env.Tasks.NewCond(&t.mu), s.env.Tasks.NewCond(&t.mu)
	x, err := t.takeOver(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("attach timeline %v: %w", id, err)
	}
	n, err := s.loadNode(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("attach timeline %v: %w", id, err)
	}
	t.node = n
	// Its tasks outlive the call: Detach ends them, not the caller's context.
	t.group = s.env.Tasks.NewGroup(context.WithoutCancel(ctx))
	if err := s.install(t, x); err != nil {
		return nil, fmt.Errorf("attach timeline %v: %w", id, err)
	}
	// Only an earlier attachment can have left layers.
	if t.orphansSwept = x.Generation == 1; !t.orphansSwept || len(x.Layers) > 0 {
		t.noteWork()
	}
	s.env.Trace.Event("lsm.attach", "timeline", id, "generation", x.Generation, "durable", x.Durable)
	return t, nil
}

// Attached returns the attachment of a timeline, nil if there is none here.
func (s *Store) Attached(id wal.TimelineID) *Timeline {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := s.nodes[id]; n != nil {
		return n.timeline
	}
	return nil
}

// takeOver writes the index with the next generation.
func (t *Timeline) takeOver(ctx context.Context, id wal.TimelineID) (*manifest.Index, error) {
	for attempt := 1; ; attempt++ {
		x, object, tag, err := t.store.loadIndex(ctx, id)
		if err != nil {
			return nil, err
		}
		if err := t.store.revive(x); err != nil {
			return nil, err
		}
		if err = t.store.mayAttach(ctx, x); err == nil { // it may write the parent's index
			x.Generation++
			t.sequence++
			x.Writer, x.Sequence = t.writer, t.sequence
			t.tag, err = object.Replace(ctx, x, tag)
		}
		if err == nil || attempt == takeOverAttemptsMax || !errors.Is(err, remote.ErrTaken) {
			return x, err
		}
	}
}

// install shows the attachment to readers.
func (s *Store) install(t *Timeline, x *manifest.Index) error {
	t.active, t.generation = memtable.New(x.Durable), x.Generation
	t.looked.Store(int64(s.env.Clock.Now()))
	d, err := s.draw(t.node, x)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.prune(t.node)
		return err
	}
	t.node.timeline = t
	t.node.tables = t.tableRefs()
	t.node.lowerLast(x.Durable)
	s.setIndex(t.node, x, d)
	s.showLast(t.node, x.Durable)
	return nil
}

// tableRefs lists the memtables, newest first. The caller holds t.mu, or t is new.
func (t *Timeline) tableRefs() []tableRef {
	refs := []tableRef{{t.active, t.active.Lo(), maxLSN}}
	for _, f := range slices.Backward(t.frozen) {
		refs = append(refs, tableRef{f.table, f.table.Lo(), f.hi})
	}
	return refs
}

// Detach ends the attachment: its tasks stop, its memtables are dropped, every
// later call fails with ErrDetached. It does not flush.
func (t *Timeline) Detach(ctx context.Context) error {
	s := t.store
	if err := s.change.Lock(ctx); err != nil {
		return err
	}
	defer s.change.Unlock()
	if t.detached.Swap(true) {
		return nil
	}
	t.fail(ErrDetached)
	t.group.Stop()
	t.awaitStarts(context.WithoutCancel(ctx))
	err := t.group.Wait()
	s.env.Trace.Event("lsm.detach", "timeline", t.node.id, "durable", t.DurableLSN())
	s.mu.Lock()
	defer s.mu.Unlock()
	n := t.node
	n.timeline, n.tables = nil, nil
	n.state.last.Store(uint64(n.index.Durable))
	s.publishAll(n)
	s.prune(n)
	return err
}

// Confirm asks the bucket whether the timeline is still this attachment's. If another
// took over it ends this one's writing and returns ErrFenced.
func (t *Timeline) Confirm(ctx context.Context) error {
	if err := t.failure(); err != nil {
		return err
	}
	x, err := t.node.object.LoadHead(ctx)
	switch {
	case errors.Is(err, env.ErrNoObject):
		err = fmt.Errorf("%w: the timeline was deleted", ErrFenced)
	case err == nil && x.Generation != t.generation:
		err = fmt.Errorf("%w: timeline %v is of generation %d", ErrFenced, t.node.id, x.Generation)
	}
	if errors.Is(err, ErrFenced) {
		t.fail(err)
	}
	return err
}

// Exists asks the bucket whether the timeline was deleted, unless it did so within a time,
// and returns ErrNoTimeline if it was: whoever took it over may have deleted it without a
// word to this attachment, which could go on to serve what it has. Where the bucket does
// not say, it was not: what is wrong is noted, as an index that is damaged or another's.
func (t *Timeline) Exists(ctx context.Context, within time.Duration) error {
	if t.deleted.Load() {
		return t.gone()
	}
	now, last := t.store.env.Clock.Now(), t.looked.Load()
	if now-time.Duration(last) < within || !t.looked.CompareAndSwap(last, int64(now)) {
		return nil
	}
	x, err := t.node.object.LoadHead(ctx)
	if errors.Is(err, env.ErrNoObject) || err == nil && x.State == manifest.Doomed {
		t.deleted.Store(true)
		t.fail(fmt.Errorf("%w: %w", ErrFenced, t.gone()))
		return t.gone()
	}
	if err != nil {
		t.store.env.Trace.Event("lsm.exists.error", "timeline", t.node.id, "error", err)
	}
	return nil
}

func (t *Timeline) gone() error { return fmt.Errorf("%w: %v was deleted", ErrNoTimeline, t.node.id) }

// fail ends writing for good, for the first reason given; detaching overrides it.
func (t *Timeline) fail(reason error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.failed == nil || errors.Is(reason, ErrDetached) {
		t.failed = reason
	}
	t.moved.Broadcast()
	t.worked.Broadcast()
}

// ID names the timeline.
func (t *Timeline) ID() wal.TimelineID { return t.node.id }

// Info describes the timeline as its index does.
func (t *Timeline) Info() Info { return infoOf(t.index()) }

// Generation is this attachment's.
func (t *Timeline) Generation() wal.Generation { return t.index().Generation }

// Meta returns the bytes that SetMeta set, or the timeline was made with.
func (t *Timeline) Meta() []byte { return slices.Clone(t.index().Meta) }

// DurableLSN is the LSN up to which everything is in layers in the bucket that
// the index lists.
func (t *Timeline) DurableLSN() wal.LSN { return t.index().Durable }

// Awaited is the highest LSN at which a timeline that is in use here leaves this one, 0 if
// none does: none of them can be read before that was applied.
func (t *Timeline) Awaited() (lsn wal.LSN) {
	t.store.mu.Lock()
	defer t.store.mu.Unlock()
	for _, child := range t.node.children {
		lsn = max(lsn, child.index.BranchLSN)
	}
	return lsn
}

// LastLSN is the end of what was applied last.
func (t *Timeline) LastLSN() wal.LSN { return t.node.state.lastLSN() }

func (t *Timeline) index() *manifest.Index {
	t.store.mu.Lock()
	defer t.store.mu.Unlock()
	return t.node.index
}

// WaitLSN returns once LastLSN is at or above lsn. It ends with the context, or
// when the attachment fails.
func (t *Timeline) WaitLSN(ctx context.Context, lsn wal.LSN) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	for t.LastLSN() < lsn {
		if t.failed != nil {
			return t.failed
		}
		if err := t.moved.Wait(ctx); err != nil {
			return fmt.Errorf("wait for %v, applied up to %v: %w", lsn, t.LastLSN(), err)
		}
	}
	return nil
}

// Stats returns the counters.
func (t *Timeline) Stats() Stats {
	x := t.index()
	pressure, aside := t.pressure(), len(t.Aside())
	t.mu.Lock()
	defer t.mu.Unlock()
	st := Stats{
		Pressure:      pressure,
		Eased:         time.Duration(t.counts.eased.Load()),
		Layers:        len(x.Layers),
		LayerBytes:    x.Bytes(),
		MemtableBytes: t.active.Bytes(),
		Frozen:        len(t.frozen),
		Reads:         t.counts.reads.Load(),
		TablesVisited: t.counts.tables.Load(),
		LayersVisited: t.counts.layers.Load(),
		Versions:      t.counts.versions.Load(),
		Flushes:       t.counts.flushes.Load(),
		FlushedBytes:  t.counts.flushedBytes.Load(),
		LayersSkipped: t.counts.skipped.Load(),
		ReadsAgain:    t.counts.again.Load(),
		Merges:        t.counts.merges.Load(),
		MergedBytes:   t.counts.mergedBytes.Load(),
		Images:        t.counts.images.Load(),
		Dropped:       t.counts.dropped.Load(),
		Deleted:       t.counts.deleted.Load(),
		Dead:          len(slices.DeleteFunc(slices.Clone(x.Dead), func(id layer.ID) bool { return t.swept[id] })),
		Aside:         aside,
	}
	for i := range x.Layers {
		if x.Layers[i].Level == 0 {
			st.Flushed++
		}
		if x.Layers[i].Kind == layer.Image {
			st.ImageBytes += x.Layers[i].Size
		}
	}
	for _, f := range t.frozen {
		st.MemtableBytes += f.table.Bytes()
	}
	return st
}
