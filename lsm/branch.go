package lsm

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/varvedb/varve/lsm/layer"
	"github.com/varvedb/varve/lsm/manifest"
	"github.com/varvedb/varve/lsm/remote"
	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/env"
)

// Create makes a root timeline that starts, empty, at an LSN.
func (s *Store) Create(ctx context.Context, id wal.TimelineID, start wal.LSN, meta []byte) error {
	if err := s.change.Lock(ctx); err != nil {
		return err
	}
	defer s.change.Unlock()
	x := &manifest.Index{Head: manifest.Head{Timeline: id, Start: start, Durable: start, Cutoff: start}, Meta: slices.Clone(meta)}
	if err := s.create(ctx, x); err != nil {
		return fmt.Errorf("create timeline %v: %w", id, err)
	}
	s.env.Trace.Event("lsm.create", "timeline", id, "start", start)
	return nil
}

// create writes a new timeline's index: one conditional PUT. The caller holds s.change.
//
// The condition guards ids below one parent. That an id is not taken below another is up
// to who draws it, at random and for one creation only: to look would be to list all
// timelines there are.
func (s *Store) create(ctx context.Context, x *manifest.Index) error {
	x.Writer, x.Sequence = s.newWriter(), 1
	if err := x.Validate(); err != nil {
		return err
	}
	if s.isKnown(x.Timeline) {
		return ErrTimelineExists
	}
	_, err := s.indexAt(x.Parent, x.Timeline).Create(ctx, x)
	if errors.Is(err, remote.ErrTaken) {
		return ErrTimelineExists
	}
	if err != nil {
		return err
	}
	s.remember(x.Parent, x.Timeline)
	return nil
}

// Branch makes a timeline, child, that equals parent up to the LSN at. It writes
// one small object and copies no data. The parent need not have reached the LSN. A
// branch below the parent's own branch point becomes a child of the ancestor whose
// history that is, which must be attached here; so does one at that point, once the parent
// keeps its own history from further on only: what the parent reads there is kept as long as
// it is a branch.
//
// The child's index is written first and the parent's read again after it. Who
// collects history raises the cutoff first and lists the children after; who takes
// the parent over raises its generation first and looks for children after. So one
// of the two sees the other: a branch that was made is known to whoever holds the
// parent.
func (s *Store) Branch(ctx context.Context, parent, child wal.TimelineID, at wal.LSN, meta []byte) error {
	if err := s.change.Lock(ctx); err != nil {
		return err
	}
	defer s.change.Unlock()
	if err := s.branch(ctx, parent, child, at, meta); err != nil {
		return fmt.Errorf("branch timeline %v from %v at %v: %w", child, parent, at, err)
	}
	s.env.Trace.Event("lsm.branch", "parent", parent, "child", child, "at", at)
	return nil
}

func (s *Store) branch(ctx context.Context, parent, child wal.TimelineID, at wal.LSN, meta []byte) error {
	// What the attachment knows may be old if it was fenced, and a child that is made and
	// is not to be may stay, should this process end before it is undone.
	owner, err := s.loadHead(ctx, parent)
	var beside wal.TimelineID // a branch that leaves the owner there
	for err == nil && !owner.IsRoot() && (at < owner.BranchLSN || at == owner.BranchLSN && at < owner.Cutoff) {
		if beside = (wal.TimelineID{}); at == owner.BranchLSN {
			beside = owner.Timeline
		}
		owner, err = s.loadHead(ctx, owner.Parent)
	}
	if err != nil {
		return err
	}
	if err := s.mayBranchHere(ctx, owner, at, beside); err != nil {
		return err
	}
	head := manifest.Head{Timeline: child, Parent: owner.Timeline, BranchLSN: at, Start: at, Durable: at}
	x := &manifest.Index{Head: head, Meta: slices.Clone(meta)}
	if err := s.create(ctx, x); err != nil {
		return err
	}
	owner, err = s.loadHead(ctx, x.Parent)
	if err == nil {
		err = s.mayBranchHere(ctx, owner, at, beside)
	}
	if err == nil {
		return nil
	}
	s.env.Trace.Cover("lsm branch undone")
	s.forget(child)
	return errors.Join(err, s.indexAt(x.Parent, child).Delete(ctx))
}

// mayBranchHere judges a parent by the head of its index as it is in the bucket. An LSN
// below the cutoff is a matter of leases, for which the whole index is read, and of the
// branch beside, if there is one.
func (s *Store) mayBranchHere(ctx context.Context, owner *manifest.Head, at wal.LSN, beside wal.TimelineID) error {
	kept := false
	if owner.Cutoff > at {
		x, _, _, err := s.loadIndex(ctx, owner.Timeline)
		if err == nil {
			owner, kept = &x.Head, isLeased(x, at)
		}
		if err == nil && !kept && !beside.IsZero() {
			kept, err = s.leaves(ctx, beside, owner.Timeline, at)
		}
		if err != nil {
			return err
		}
	}
	held := s.Attached(owner.Timeline)
	switch {
	case owner.State != manifest.Live:
		return fmt.Errorf("%w: it is being deleted", ErrNoTimeline)
	case owner.Cutoff > at && !kept:
		return fmt.Errorf("%w: history is kept from %v", ErrBelowHorizon, owner.Cutoff)
	case held == nil:
		return fmt.Errorf("%w: %v", ErrNotAttached, owner.Timeline)
	case held.generation != owner.Generation:
		return fmt.Errorf("%w: timeline %v is of generation %d, and is attached here in %d", ErrFenced, owner.Timeline, owner.Generation, held.generation)
	}
	return nil
}

// leaves reports whether a timeline is, and stays, a branch of a parent at an LSN. Who
// deletes it or detaches it later lets go of the LSN after that only: who lists the branches
// then finds what was made before this was asked.
func (s *Store) leaves(ctx context.Context, id, parent wal.TimelineID, at wal.LSN) (bool, error) {
	head, err := s.loadHead(ctx, id)
	if errors.Is(err, ErrNoTimeline) {
		return false, nil
	}
	return err == nil && head.State == manifest.Live && head.Parent == parent && head.BranchLSN == at, err
}

// Delete dooms a timeline and removes its layers. Call it again if it fails half-way.
//
// What is doomed nobody can attach, branch from or make anew, so nothing that the store
// does waits while its layers, which may be many, are deleted.
func (s *Store) Delete(ctx context.Context, id wal.TimelineID) error {
	if err := s.Doom(ctx, id); err != nil {
		return err
	}
	if err := s.remove(ctx, id); err != nil {
		return fmt.Errorf("delete timeline %v: %w", id, err)
	}
	s.env.Trace.Event("lsm.delete", "timeline", id)
	return nil
}

// Doom decides that a timeline is deleted, detaching it first if it is attached here;
// attachments elsewhere are fenced. It is refused with a *HasChildrenError while others
// branch from it. What it leaves, Delete removes.
//
// The index says that the timeline is to be deleted before the children are listed, and
// Branch reads it after it has written a child: one of the two sees the other. Only when
// the index says that there are none does anything go. Until then the timeline may be
// attached again, which makes it live: of the two writes one finds the index changed.
func (s *Store) Doom(ctx context.Context, id wal.TimelineID) error {
	if err := s.lockDetached(ctx, id); err != nil {
		return err
	}
	defer s.change.Unlock()
	d, err := s.beginDeletion(ctx, id)
	if err == nil && d.index.State != manifest.Doomed {
		err = s.decide(ctx, d)
	}
	if err != nil {
		return fmt.Errorf("delete timeline %v: %w", id, err)
	}
	return nil
}

// lockDetached takes the lock of changes for the deletion of a timeline, which is then
// not attached here: one whose attachment ends while the lock is waited for is detached too.
func (s *Store) lockDetached(ctx context.Context, id wal.TimelineID) error {
	for {
		if t := s.Attached(id); t != nil {
			if err := s.checkChildren(ctx, id); err != nil {
				return err
			}
			if err := t.Detach(ctx); err != nil {
				return err
			}
		}
		if err := s.change.Lock(ctx); err != nil {
			return err
		}
		if s.Attached(id) == nil {
			return nil
		}
		s.change.Unlock()
	}
}

// remove deletes the objects of a doomed timeline.
func (s *Store) remove(ctx context.Context, id wal.TimelineID) error {
	object, err := s.indexObject(ctx, id)
	if err != nil {
		return err
	}
	prefix := remote.LayersPrefix(s.opts.Tenant, id)
	layers, err := s.env.Bucket.List(ctx, prefix)
	if err != nil {
		return fmt.Errorf("list layers: %w", err)
	}
	for _, l := range layers {
		if err := remote.Delete(ctx, s.env, l.Key); err != nil {
			return err
		}
		if layerID, err := layer.ParseName(l.Key[len(prefix):]); err == nil {
			layerID.Timeline = id
			s.files.Forget(ctx, &layerID)
		}
	}
	// The index goes last: until then the deletion can be taken up again.
	if err := object.Delete(ctx); err != nil {
		return err
	}
	s.forget(id)
	return nil
}

// deletion is that of one timeline, whose index it changes: as it was read or written last.
type deletion struct {
	index  *manifest.Index
	object remote.Index
	tag    env.ETag
}

func (d *deletion) become(ctx context.Context, state manifest.State) (err error) {
	d.index.State, d.index.Sequence = state, d.index.Sequence+1
	d.tag, err = d.object.Replace(ctx, d.index, d.tag)
	return err
}

// beginDeletion makes the index of a live timeline say that it is to be deleted. What was
// sent by an attachment that has ended, be it the one that this deletion ended, may land
// after the index was read, which is then read anew.
func (s *Store) beginDeletion(ctx context.Context, id wal.TimelineID) (*deletion, error) {
	for attempt := 1; ; attempt++ {
		x, object, tag, err := s.loadIndex(ctx, id)
		if err != nil {
			return nil, err
		}
		x.Writer, x.Sequence = s.newWriter(), 0
		d := &deletion{x, object, tag}
		if x.State != manifest.Live {
			return d, nil
		}
		if err := s.checkChildren(ctx, id); err != nil {
			return nil, err
		}
		err = d.become(ctx, manifest.Deleting)
		if err == nil || attempt == takeOverAttemptsMax || !errors.Is(err, remote.ErrTaken) {
			return d, err
		}
		s.env.Trace.Cover("lsm deletion met a late index")
	}
}

// decide makes the index say that the timeline has no children, and never will. If it fails
// before that is sent, the timeline is live: the index says so again, or will as soon as
// somebody attaches it. What is sent is not undone, for it may land late, and whoever finds
// it there deletes.
func (s *Store) decide(ctx context.Context, d *deletion) error {
	id := d.index.Timeline
	if err := s.checkChildren(ctx, id); err != nil {
		if undo := d.become(context.WithoutCancel(ctx), manifest.Live); undo != nil && !errors.Is(undo, remote.ErrTaken) {
			s.env.Trace.Event("lsm.delete.undo", "timeline", id, "error", undo)
		}
		return err
	}
	return d.become(ctx, manifest.Doomed)
}

// revive makes a timeline live again whose deletion was begun and is not decided: it may have
// failed, or have missed a branch. The caller writes the index, and of that PUT and the one
// that decides only one succeeds.
func (s *Store) revive(x *manifest.Index) error {
	if x.State == manifest.Doomed {
		return fmt.Errorf("%w: it is being deleted", ErrNoTimeline)
	}
	if x.State == manifest.Deleting {
		s.env.Trace.Cover("lsm deletion undone")
		x.State = manifest.Live
	}
	return nil
}

// checkChildren returns a *HasChildrenError if the timeline has children.
func (s *Store) checkChildren(ctx context.Context, id wal.TimelineID) error {
	objects, err := s.env.Bucket.List(ctx, remote.ChildrenPrefix(s.opts.Tenant, id))
	if err != nil {
		return fmt.Errorf("list children: %w", err)
	}
	var children []wal.TimelineID
	for _, object := range objects {
		_, child, ok := remote.ParseIndexKey(s.opts.Tenant, object.Key)
		if !ok {
			continue
		}
		// One that was detached from its parent keeps its index where it was made.
		x, _, err := s.indexAt(id, child).Load(ctx)
		if errors.Is(err, env.ErrNoObject) || err == nil && x.Parent != id {
			continue
		}
		if err != nil {
			return fmt.Errorf("read child %v: %w", child, err)
		}
		children = append(children, child)
	}
	if len(children) > 0 {
		return &HasChildrenError{Timeline: id, Children: children}
	}
	return nil
}
