package lsm

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/varvedb/varve/lsm/manifest"
	"github.com/varvedb/varve/lsm/picker"
	"github.com/varvedb/varve/lsm/remote"
	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/env"
)

// horizon is the LSN below which history is older than Options allow it to become:
// Options.HistoryBytes below the durable end, and what was durable Options.HistoryTime
// ago, whichever is lower.
func (t *Timeline) horizon() wal.LSN {
	x := t.index()
	return horizonOf(x, t.store.opts, t.store.env.Clock.Wall())
}

func horizonOf(x *manifest.Index, opts Options, now time.Time) wal.LSN {
	if opts.HistoryBytes < 0 || x.Durable <= wal.LSN(opts.HistoryBytes) {
		return x.Cutoff
	}
	limit := x.Durable - wal.LSN(opts.HistoryBytes)
	old := now.Add(-opts.HistoryTime).Unix()
	byTime := x.Start
	for _, m := range x.Marks {
		if m.Time <= old {
			byTime = m.LSN
		}
	}
	return max(x.Cutoff, min(limit, byTime))
}

// untilOlder is when the horizon may rise though nothing is written: never, if all that
// is durable lies below it already.
func (t *Timeline) untilOlder() (after time.Duration, ok bool) {
	x, now := t.index(), t.store.env.Clock.Wall()
	if t.store.opts.HistoryBytes < 0 || len(x.Layers) == 0 {
		return 0, false
	}
	for _, m := range x.Marks {
		due := time.Unix(m.Time, 0).Add(t.store.opts.HistoryTime).Sub(now)
		if m.LSN > x.Cutoff && due > 0 {
			return due + time.Second, true
		}
	}
	return 0, false
}

// mark notes in an index that is about to be written when its layers were durable, and
// forgets what no horizon can need.
func (t *Timeline) mark(x *manifest.Index) {
	now := t.store.env.Clock.Wall()
	old := now.Add(-t.store.opts.HistoryTime).Unix()
	for len(x.Marks) > 1 && x.Marks[1].Time <= old {
		x.Marks = x.Marks[1:]
	}
	x.Marks = slices.Clone(x.Marks)
	last := manifest.Mark{Time: -1 << 62}
	if n := len(x.Marks); n > 0 {
		last = x.Marks[n-1]
	}
	if x.Durable <= last.LSN || now.Unix() <= last.Time {
		return
	}
	if len(x.Marks) == manifest.MarksMax {
		x.Marks = thin(x.Marks)
	}
	x.Marks = append(x.Marks, manifest.Mark{Time: now.Unix(), LSN: x.Durable})
}

// thin halves the marks. A horizon by fewer marks is lower, never higher.
func thin(marks []manifest.Mark) (kept []manifest.Mark) {
	for i := 0; i < len(marks); i += 2 {
		kept = append(kept, marks[i])
	}
	return kept
}

// raiseCutoff commits a new cutoff, and the end of the leases that have ended: from then on no
// branch is made below it and no read served there, but at branch points and leases. Only
// then does anybody look for what still is read below. The caller holds t.compacting.
func (t *Timeline) raiseCutoff(ctx context.Context, cutoff wal.LSN) error {
	if err := t.flushing.Lock(ctx); err != nil {
		return err
	}
	defer t.flushing.Unlock()
	if err := t.failure(); err != nil {
		return err
	}
	x := t.nextIndex()
	x.Leases = t.notEnded(x.Leases)
	if cutoff <= x.Cutoff && len(x.Leases) == len(t.index().Leases) {
		return nil
	}
	x.Cutoff = max(x.Cutoff, cutoff)
	if err := t.commit(ctx, x); err != nil {
		return fmt.Errorf("raise cutoff of timeline %v to %v: %w", t.node.id, cutoff, err)
	}
	t.store.env.Trace.Cover("lsm cutoff raised")
	t.store.env.Trace.Event("lsm.cutoff", "timeline", t.node.id, "cutoff", cutoff)
	return t.showIndex(x)
}

// retained lists at which LSNs below the cutoff of index, which is committed, somebody
// reads. What is made later is made at or above the cutoff.
func (t *Timeline) retained(ctx context.Context, x *manifest.Index) (retained, error) {
	points := []wal.LSN{x.Cutoff}
	if x.Cutoff > x.Start {
		if err := t.listPinned(ctx, x); err != nil {
			return retained{}, err
		}
		points, _ = pointsOf(x, t.pinned.children)
	}
	if err := t.flushing.Lock(ctx); err != nil {
		return retained{}, err
	}
	defer t.flushing.Unlock()
	t.keeping = points
	return retained{points: points}, nil
}

// pointsOf is the LSNs up to an index's cutoff at which somebody reads, rising, and who
// reads below the cutoff, some of a timeline's branches being known.
func pointsOf(x *manifest.Index, children []Pin) (points []wal.LSN, pins []Pin) {
	points = []wal.LSN{x.Cutoff}
	for _, p := range slices.Concat(children, leasePins(x)) {
		if p.LSN < x.Cutoff {
			points, pins = append(points, p.LSN), append(pins, p)
		}
	}
	slices.Sort(points)
	return slices.Compact(points), pins
}

// listPinned lists the branches if they are not listed, or one has come since. A branch
// that is attached meanwhile is a newcomer, wherever it lies: it may have been missed.
func (t *Timeline) listPinned(ctx context.Context, x *manifest.Index) error {
	if err := t.flushing.Lock(ctx); err != nil {
		return err
	}
	listed := !t.newcomer && t.pinned.holds(x)
	if !listed {
		t.newcomer, t.keeping, t.pinned = false, nil, pinned{}
	}
	t.flushing.Unlock()
	if listed {
		return nil
	}
	children, err := t.store.children(ctx, x.Timeline)
	if err != nil {
		return err
	}
	t.pinned = pinned{x.Cutoff, x.Leases, children}
	return nil
}

// hasMissed reports whether a parent's collections have missed a branch point: a cutoff
// above it has cost versions, and it was not always among the LSNs for which some were
// kept. So it is with a branch whose making was cut short between its index and the second
// look at its parent's, or whose index arrived late; nobody was told that there is one. The
// index that drops versions says in the same PUT for whom it did not, and a branch that was
// made is listed whenever a cutoff above it has been committed.
func hasMissed(parent *manifest.Index, at wal.LSN) bool {
	n := len(parent.Pins)
	return n > 0 && at < parent.Pins[n-1] && !has(parent.Pins, at)
}

// stillKept is an index's pins after a collection for some LSNs. An earlier one dropped
// what is read below its cutoff but at its pins: who reads elsewhere there has come, or has
// come back, too late.
func stillKept(pins, points []wal.LSN) (kept []wal.LSN) {
	for _, p := range points {
		if n := len(pins); n == 0 || p >= pins[n-1] || has(pins, p) {
			kept = append(kept, p)
		}
	}
	return kept
}

// haveGone reports whether pins are no more.
func haveGone(pins, points []wal.LSN) bool {
	return slices.ContainsFunc(pins, func(pin wal.LSN) bool { return !has(points, pin) })
}

func has(rising []wal.LSN, at wal.LSN) bool {
	_, found := slices.BinarySearch(rising, at)
	return found
}

// mayAttach refuses a branch that its parent's collections or its deletion have missed, and
// undoes it. If the cutoff is above it and nothing was dropped yet, nothing that it reads
// will be; if the deletion is not decided yet, it will not be.
func (s *Store) mayAttach(ctx context.Context, x *manifest.Index) error {
	if x.IsRoot() {
		return nil
	}
	// What an attachment of the parent here knows is old if it was fenced.
	parent, object, tag, err := s.loadIndex(ctx, x.Parent)
	if errors.Is(err, ErrNoTimeline) {
		// It came after its parent was deleted; or the parent's index is lost and may be found
		// again, and then its name is all that there is of the branch.
		return fmt.Errorf("the parent of timeline %v is gone, and with it what it was to read: delete it: %w", x.Timeline, err)
	}
	if err != nil {
		return err
	}
	missed := parent.State == manifest.Doomed || hasMissed(parent, x.BranchLSN)
	switch {
	case missed:
	case parent.State == manifest.Deleting:
		err = s.fence(ctx, parent, object, tag)
	case x.BranchLSN < parent.Cutoff:
		missed, err = s.announce(ctx, x.BranchLSN, parent, object, tag)
	}
	if err != nil || !missed {
		return err
	}
	s.env.Trace.Cover("lsm late branch undone")
	err = fmt.Errorf("%w: it came to be when its parent %v was being deleted, or its history above %v had been collected", ErrNoTimeline, x.Parent, x.BranchLSN)
	s.forget(x.Timeline)
	return errors.Join(err, s.indexAt(x.Parent, x.Timeline).Delete(ctx))
}

// announce has the branches of a timeline listed anew before more is dropped of what is
// below its cutoff, where one is about to be attached. It reports whether a collection has
// missed that one meanwhile.
func (s *Store) announce(ctx context.Context, at wal.LSN, parent *manifest.Index, object remote.Index, tag env.ETag) (missed bool, err error) {
	if held := s.Attached(parent.Timeline); held != nil && held.generation == parent.Generation {
		return held.noteNewcomer(ctx, at)
	}
	return false, s.fence(ctx, parent, object, tag)
}

// noteNewcomer is announce for the attachment of the parent.
func (t *Timeline) noteNewcomer(ctx context.Context, at wal.LSN) (missed bool, err error) {
	if err := t.flushing.Lock(ctx); err != nil {
		return false, err
	}
	defer t.flushing.Unlock()
	missed = hasMissed(t.index(), at)
	t.newcomer = t.newcomer || !missed && !has(t.keeping, at)
	return missed, nil
}

// fence ends what an attachment elsewhere, or a deletion, may be about to commit. That the
// sequence is 0 says that nobody has written the index since.
func (s *Store) fence(ctx context.Context, x *manifest.Index, object remote.Index, tag env.ETag) error {
	if x.Sequence == 0 && x.State == manifest.Live {
		return nil
	}
	if err := s.revive(x); err != nil {
		return err
	}
	s.env.Trace.Cover("lsm parent fenced for a branch")
	x.Generation++
	x.Writer, x.Sequence = s.newWriter(), 0
	_, err := object.Replace(ctx, x, tag)
	return err
}

// planned is retained for an index that may not be committed, with those who read below
// its cutoff. The branches are listed anew.
func (t *Timeline) planned(ctx context.Context, x *manifest.Index) (keep retained, pins []Pin, err error) {
	t.pinned = pinned{}
	if keep, err = t.retained(ctx, x); err != nil {
		return keep, nil, err
	}
	_, pins = pointsOf(x, t.pinned.children)
	if now := t.index(); x.Cutoff != now.Cutoff || len(x.Leases) != len(now.Leases) {
		t.pinned = pinned{} // they were listed before that was committed
	}
	return keep, pins, nil
}

// Pin is who keeps an LSN of a timeline readable.
type Pin struct {
	LSN    wal.LSN
	Branch wal.TimelineID // zero if it is a lease
	Lease  LeaseID
}

// pinned is the branches as they were listed after a cutoff was committed. Later ones lie
// at or above it, or where a lease is, which keeps the LSN itself as long as it is there;
// of those that have gone since, more is kept than need be.
type pinned struct {
	cutoff   wal.LSN
	leases   []manifest.Lease // when they were listed
	children []Pin            // nil if they are not listed
}

// holds reports whether no branch can have been made since that reads below the cutoff of
// an index and that none of its leases keeps.
func (p *pinned) holds(x *manifest.Index) bool {
	return p.children != nil && p.cutoff == x.Cutoff &&
		!slices.ContainsFunc(p.leases, func(l manifest.Lease) bool { return l.LSN < x.Cutoff && !isLeased(x, l.LSN) })
}

// branchesError is why it is not known who reads below a cutoff: the index of a branch is
// damaged. History is not collected then; merges that drop nothing go on.
type branchesError struct {
	damage []error // one for each of these branches
	known  []Pin   // the others
}

func (e *branchesError) Error() string   { return errors.Join(e.damage...).Error() }
func (e *branchesError) Unwrap() []error { return e.damage }

// children lists a timeline's branches. It fails if the index of one cannot be read, which
// might pin anything: with a branchesError if that is for its bytes.
func (s *Store) children(ctx context.Context, parent wal.TimelineID) ([]Pin, error) {
	objects, err := s.env.Bucket.List(ctx, remote.ChildrenPrefix(s.opts.Tenant, parent))
	if err != nil {
		return nil, fmt.Errorf("list children of timeline %v: %w", parent, err)
	}
	pins := make([]Pin, 0, len(objects))
	var damage []error
	for _, o := range objects {
		_, id, ok := remote.ParseIndexKey(s.opts.Tenant, o.Key)
		if !ok {
			damage = append(damage, fmt.Errorf("list children of timeline %v: %w", parent, strayError(o.Key)))
			continue
		}
		child, _, err := s.indexAt(parent, id).Load(ctx)
		if errors.Is(err, env.ErrNoObject) {
			continue // deleted since it was listed
		}
		if err != nil {
			err = fmt.Errorf("read child %v of timeline %v: %w", id, parent, err)
		}
		if errors.Is(err, wal.ErrCorruption) {
			damage = append(damage, err)
			continue
		}
		if err != nil {
			return nil, err
		}
		if child.Parent != parent {
			continue // it has left
		}
		pins = append(pins, Pin{LSN: child.BranchLSN, Branch: id})
	}
	if len(damage) > 0 {
		return nil, &branchesError{damage, pins}
	}
	return pins, nil
}

func leasePins(x *manifest.Index) (pins []Pin) {
	for _, l := range x.Leases {
		pins = append(pins, Pin{LSN: l.LSN, Lease: l.ID})
	}
	return pins
}

// Collection is what a collection of history did, or would do.
type Collection struct {
	Cutoff  wal.LSN // history below it is gone
	Pins    []Pin   // what is kept readable below it
	Layers  int     // that were made anew, or would be: a dry run leaves out those of level 0, which are merged first
	Bytes   int64   // of those layers
	Dropped int64   // bytes of versions that nobody could read; a dry run does not look: see [Timeline.Explain]
}

// CollectOptions say how to collect.
type CollectOptions struct {
	// Cutoff is what to collect below, at most the durable LSN. Zero is the horizon.
	Cutoff wal.LSN
	// DryRun changes nothing.
	DryRun bool
}

// Collect drops, from all layers that begin below the cutoff, every version that no
// read can meet: none at or above the cutoff, at a branch point, or at a lease. The
// running compaction does the same where it pays.
func (t *Timeline) Collect(ctx context.Context, opts CollectOptions) (c Collection, err error) {
	if err := t.compacting.Lock(ctx); err != nil {
		return c, err
	}
	defer t.compacting.Unlock()
	x := t.index()
	c.Cutoff = max(x.Cutoff, t.horizon())
	if opts.Cutoff != 0 {
		c.Cutoff = max(x.Cutoff, min(opts.Cutoff, x.Durable))
	}
	if !opts.DryRun {
		if err := t.raiseCutoff(ctx, c.Cutoff); err != nil {
			return c, err
		}
	}
	planned := *t.index()
	planned.Cutoff, planned.Leases = c.Cutoff, t.notEnded(planned.Leases)
	keep, pins, err := t.planned(ctx, &planned)
	if err != nil {
		return c, err
	}
	c.Pins = pins
	before := t.counts.dropped.Load()
	err = t.collectAll(ctx, keep, opts.DryRun, &c)
	c.Dropped = int64(t.counts.dropped.Load() - before)
	return c, err
}

// collectAll runs every job that a collection takes. The caller holds t.compacting.
func (t *Timeline) collectAll(ctx context.Context, keep retained, dryRun bool, c *Collection) error {
	opts := t.store.pickerOptions()
	var left []error // of jobs whose inputs are damaged
	run := func(w work) error {
		err := t.runJob(ctx, w)
		if err != nil && t.setAside(err) {
			left, err = append(left, err), nil
		}
		return err
	}
	for !dryRun {
		w := t.snapshot()
		job, ok := picker.FlushedAll(w.layers, opts)
		if !ok || job.LSNLo >= keep.cutoff() {
			break
		}
		w.job = job
		if err := run(w); err != nil {
			return err
		}
	}
	w := t.snapshot()
	pinsGone := w.index.PinsGone || haveGone(w.index.Pins, keep.points)
	jobs := picker.CollectAll(w.layers, keep.cutoff(), pinsGone, opts)
	for _, job := range jobs {
		for _, i := range job.Inputs {
			c.Layers++
			c.Bytes += w.layers[i].Bytes
		}
	}
	if dryRun {
		return nil
	}
	// A job touches no other part, but the numbers of the layers change.
	for _, job := range jobs {
		now := t.snapshot()
		now.job = job.Renumber(w.layers, now.layers)
		if err := run(now); err != nil {
			return err
		}
	}
	if len(left) > 0 {
		return fmt.Errorf("history below %v is given up, and collected but for what lies in damaged layers: %w", keep.cutoff(), errors.Join(left...))
	}
	return t.forgetPins(ctx)
}

// forgetPins notes that no layer of level 2 has more than was kept for the pins.
func (t *Timeline) forgetPins(ctx context.Context) error {
	if err := t.flushing.Lock(ctx); err != nil {
		return err
	}
	defer t.flushing.Unlock()
	x := t.nextIndex()
	if !x.PinsGone {
		return nil
	}
	x.PinsGone = false
	if err := t.commit(ctx, x); err != nil {
		return err
	}
	return t.showIndex(x)
}
