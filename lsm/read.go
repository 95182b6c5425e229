package lsm

import (
	"context"
	"fmt"
	"slices"

	"github.com/varvedb/varve/lsm/layer"
	"github.com/varvedb/varve/lsm/manifest"
	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/assert"
)

// Get reads a batch, all from one state of the layers: out[i] is the chain of
// reads[i]. A chain's Deltas keep the capacity that they came with.
//
// It fails with ErrFutureLSN above [Timeline.LastLSN], with ErrBelowHorizon below
// what is kept, and with ErrAncestorNotReady (see [Timeline.AncestorReady]).
func (t *Timeline) Get(ctx context.Context, reads []Read, out []Chain) error {
	if len(reads) != len(out) {
		assert.Failf("there is room for %d chains, not %d", len(reads), len(out))
	}
	if len(reads) == 0 {
		return nil
	}
	lo, hi := reads[0].LSN, reads[0].LSN
	for i := range reads {
		lo, hi = min(lo, reads[i].LSN), max(hi, reads[i].LSN)
	}
	for again := 0; ; again++ {
		v, err := t.viewFor(hi)
		if err != nil {
			return err
		}
		err = t.getFrom(ctx, v, reads, out)
		if err == nil || !isGone(err) || again == readAgainMax || !t.renew(ctx, v) {
			return err
		}
		t.counts.again.Add(1)
	}
}

// readAgainMax bounds how often a read begins anew because layers were replaced under
// it: that takes a merge each time, so twice is rare.
const readAgainMax = 16

func (t *Timeline) getFrom(ctx context.Context, v *view, reads []Read, out []Chain) error {
	for i := range reads {
		if err := v.checkHorizon(reads[i].LSN); err != nil {
			return err
		}
	}
	w := walk{view: v, counts: &t.counts}
	for i := range reads {
		r := &reads[i]
		if err := w.chain(ctx, r.Key, r.LSN, r.Floor, &out[i]); err != nil {
			return fmt.Errorf("get %v at %v of timeline %v: %w", r.Key, r.LSN, t.node.id, err)
		}
	}
	if w.walked >= t.store.opts.LayerBytes {
		t.store.noteReads(v)
	}
	return nil
}

// noteReads tells the compactions of those whose layers have cost much, as far as they are
// attached here: a branch is mostly read from its ancestors' layers.
func (s *Store) noteReads(v *view) {
	for i := range v.lines {
		l := &v.lines[i]
		if l.state.walked.Load() < s.opts.LayerBytes {
			continue
		}
		l.state.walked.Store(0)
		if t := s.Attached(l.id); t != nil {
			t.noteWork()
		}
	}
}

// renew reports whether there is a view that differs from v, in which a layer is gone.
// Of ancestors that are attached elsewhere it reads the indexes again.
func (t *Timeline) renew(ctx context.Context, v *view) bool {
	if t.node.state.view.Load() != v {
		return true
	}
	for i := 1; i < len(v.lines); i++ {
		// What cannot be read now leaves the view as it is.
		_ = t.store.refresh(ctx, v.lines[i].id)
	}
	return t.node.state.view.Load() != v
}

// viewFor returns a view that has all versions up to lsn, or says why there is none.
func (t *Timeline) viewFor(lsn wal.LSN) (*view, error) {
	st := t.node.state
	// The order of the steps matters. What was applied before last is read, or
	// before an ancestor is found ready, is in a view loaded after that; and a
	// view without this attachment's memtables is published only after detached
	// was set.
	if last := st.lastLSN(); lsn > last && !t.detached.Load() {
		return nil, fmt.Errorf("%w: read at %v, applied up to %v", ErrFutureLSN, lsn, last)
	}
	v := st.view.Load()
	for {
		err := v.checkAncestors(lsn)
		again := st.view.Load()
		if t.detached.Load() {
			return nil, ErrDetached
		}
		if again == v {
			return v, err
		}
		v = again
	}
}

// settledView returns the newest view, and whether it has all that the ancestors have up to
// where their timelines part.
func (st *nodeState) settledView() (v *view, settled bool) {
	for v = st.view.Load(); ; {
		settled = v.checkAncestors(maxLSN) == nil
		again := st.view.Load() // see viewFor
		if again == v {
			return v, settled
		}
		v = again
	}
}

// checkAncestors reports whether what a read at lsn may need of the ancestors is
// here.
func (v *view) checkAncestors(lsn wal.LSN) error {
	if v.ready {
		return nil
	}
	for i := 1; i < len(v.lines); i++ {
		if last, need := v.lines[i].state.lastLSN(), min(lsn, v.lines[i].hi); last < need {
			return fmt.Errorf("%w: timeline %v is needed up to %v and was applied up to %v", ErrAncestorNotReady, v.lines[i].id, need, last)
		}
	}
	return nil
}

// checkHorizon reports whether history at lsn is kept. A branch point always is, and so
// is what is leased.
func (v *view) checkHorizon(lsn wal.LSN) error {
	for i := range v.lines {
		l := &v.lines[i]
		if lsn <= l.lo && !l.root {
			continue
		}
		if lsn >= l.cutoff || lsn == l.hi || slices.ContainsFunc(l.leases, func(lease manifest.Lease) bool { return lease.LSN == lsn }) {
			return nil
		}
		return fmt.Errorf("%w: read at %v, kept from %v", ErrBelowHorizon, lsn, l.cutoff)
	}
	assert.Failf("history reaches down to a root")
	return nil
}

// walk reads chains from one view.
type walk struct {
	view   *view
	counts *counters
	at     int   // interval of the layer map that the last key lay in
	walked int64 // nodeState.walked where that has become most
}

// chain fills c with what determines key at lsn: tables and layers are visited
// from new to old, until one has an image or a tombstone.
func (w *walk) chain(ctx context.Context, key Key, lsn, floor wal.LSN, c *Chain) error {
	w.counts.reads.Add(1)
	w.at = w.view.layers.get().Locate(key, w.at)
	versions, ceil, done := c.Deltas[:0], lsn, false
	var err error
	for i := range w.view.tables {
		t := &w.view.tables[i]
		if t.lo >= ceil {
			continue
		}
		if versions, ceil, done, err = w.layers(ctx, key, ceil, max(floor, t.hi), versions); err != nil {
			return err
		}
		if done || ceil <= floor {
			break
		}
		w.counts.tables.Add(1)
		if versions, done = t.table.Walk(key, min(ceil, t.hi), max(floor, t.lo), versions); done {
			break
		}
		ceil = t.lo
	}
	if !done {
		if versions, _, _, err = w.layers(ctx, key, ceil, floor, versions); err != nil {
			return err
		}
	}
	finish(c, versions)
	return nil
}

// layers visits the layers that may hold versions of key in (floor, ceil]. It
// returns floor as the new ceil, or the old one if that was lower.
func (w *walk) layers(ctx context.Context, key Key, ceil, floor wal.LSN, versions []Version) (_ []Version, _ wal.LSN, done bool, err error) {
	for at := ceil; at > floor; {
		step, ok := w.view.layers.get().Next(w.at, key, at)
		if !ok || step.Ceil <= floor || step.Image && step.Floor <= floor {
			break
		}
		if step.Layer.Skips(key) {
			w.counts.skipped.Add(1)
			if step.Image {
				return versions, at, true, nil
			}
			at = step.Floor
			continue
		}
		w.counts.layers.Add(1)
		below := max(floor, step.Floor)
		if step.Image {
			below = floor
		}
		before := len(versions)
		if versions, done, err = step.Layer.Walk(ctx, key, step.Ceil, below, versions); err != nil {
			return versions, at, done, err
		}
		w.noteWalked(step.Layer, versions[before:])
		if done {
			return versions, at, true, nil
		}
		at = step.Floor
	}
	return versions, min(ceil, floor), false, nil
}

// noteWalked counts the deltas that a layer cost, for the timeline that it is of.
func (w *walk) noteWalked(from *layer.Reader, versions []Version) {
	var bytes int64
	for i := range versions {
		if versions[i].Kind == Delta {
			bytes += int64(len(versions[i].Value))
		}
	}
	if bytes == 0 {
		return
	}
	from.NoteWalked(bytes)
	for i := range w.view.lines {
		if l := &w.view.lines[i]; l.id == from.Desc().ID.Timeline {
			w.walked = max(w.walked, l.state.walked.Add(bytes))
			return
		}
	}
}

// finish makes the chain of versions, which come newest first.
func finish(c *Chain, versions []Version) {
	*c = Chain{}
	if n := len(versions); n > 0 {
		switch oldest := &versions[n-1]; oldest.Kind {
		case Image:
			c.HasBase, c.BaseLSN, c.Base = true, oldest.LSN, oldest.Value
			versions = versions[:n-1]
		case Tombstone:
			versions = versions[:n-1]
		}
	}
	slices.Reverse(versions)
	c.Deltas = versions
}

// Kept returns nil if what was at lsn may be read, and the error of [Timeline.Get] if
// not: for a caller that remembers what a read found.
func (t *Timeline) Kept(lsn wal.LSN) error {
	v, err := t.viewFor(lsn)
	if err != nil {
		return err
	}
	return v.checkHorizon(lsn)
}

// Readable reports whether a read at lsn has nothing to wait for.
func (t *Timeline) Readable(lsn wal.LSN) bool {
	return lsn <= t.LastLSN() && !t.detached.Load() && t.node.state.view.Load().checkAncestors(lsn) == nil
}

// AncestorReady returns nil once all that a read at lsn may need of the
// timeline's ancestors is here. It waits for ancestors that are attached to this
// store; of others it reads the index again, and fails with ErrAncestorNotReady
// if that does not suffice.
func (t *Timeline) AncestorReady(ctx context.Context, lsn wal.LSN) error {
	for {
		v := t.node.state.view.Load()
		if t.detached.Load() {
			return ErrDetached
		}
		err := v.checkAncestors(lsn)
		if err == nil {
			return nil
		}
		for i := 1; i < len(v.lines); i++ {
			l := &v.lines[i]
			need := min(lsn, l.hi)
			if l.state.lastLSN() >= need {
				continue
			}
			if err := t.store.awaitAncestor(ctx, l, need); err != nil {
				return err
			}
		}
	}
}

// awaitAncestor waits until one ancestor can be read up to need.
func (s *Store) awaitAncestor(ctx context.Context, l *line, need wal.LSN) error {
	s.mu.Lock()
	n := s.nodes[l.id]
	var attached *Timeline
	if n != nil {
		attached = n.timeline
	}
	s.mu.Unlock()
	if n == nil {
		return ErrDetached
	}
	if attached != nil {
		err := attached.WaitLSN(ctx, need)
		if err != nil && ctx.Err() == nil {
			// Detached or fenced: it is the ancestor that failed, not the child.
			err = fmt.Errorf("%w: timeline %v is needed up to %v and stopped: %w", ErrAncestorNotReady, l.id, need, err)
		}
		return err
	}
	if err := s.refresh(ctx, l.id); err != nil {
		return err
	}
	if last := l.state.lastLSN(); last < need {
		return fmt.Errorf("%w: timeline %v is needed up to %v, is durable up to %v and not attached here", ErrAncestorNotReady, l.id, need, last)
	}
	return nil
}

// refresh reads the index of an ancestor that is not attached here again.
func (s *Store) refresh(ctx context.Context, id wal.TimelineID) error {
	if err := s.change.Lock(ctx); err != nil {
		return err
	}
	defer s.change.Unlock()
	x, _, _, err := s.loadIndex(ctx, id)
	if err != nil {
		return err
	}
	s.mu.Lock()
	n := s.nodes[id]
	known := n == nil || n.timeline != nil || x.Sequence == n.index.Sequence && x.Writer == n.index.Writer
	s.mu.Unlock()
	if known {
		return nil
	}
	return s.takeIndex(n, x)
}
