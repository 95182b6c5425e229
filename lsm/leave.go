package lsm

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/varvedb/varve/lsm/picker"
	"github.com/varvedb/varve/wal"
)

// DetachFromParent makes a branch a root: what a read at its branch point meets in its
// ancestors is copied into layers of its own, and one PUT of its index makes those its
// beginning. Nobody waits for it; answers at and above the branch point stay what they
// were, and below it there is no history any more ([ErrBelowHorizon]). The ancestors may
// then be deleted. A root is left as it is.
//
// Ancestors that are attached here are flushed; it fails with [ErrAncestorNotReady] if
// others have not reached the branch point. If it is not known whether the PUT landed, the
// attachment is over ([ErrFenced]): whoever attaches the timeline anew finds out.
func (t *Timeline) DetachFromParent(ctx context.Context) error {
	if err := t.compacting.Lock(ctx); err != nil {
		return err
	}
	defer t.compacting.Unlock()
	x := t.index()
	if x.IsRoot() {
		return nil
	}
	if err := t.leave(ctx, x.BranchLSN); err != nil {
		return fmt.Errorf("detach timeline %v from its parent %v: %w", t.node.id, x.Parent, err)
	}
	t.store.env.Trace.Event("lsm.leave", "timeline", t.node.id, "parent", x.Parent, "at", x.BranchLSN)
	return nil
}

func (t *Timeline) leave(ctx context.Context, at wal.LSN) error {
	if err := t.settleAncestors(ctx, at); err != nil {
		return err
	}
	m, err := t.merge(ctx, func() *merge {
		m := &merge{t: t, keep: retained{points: []wal.LSN{at}}, isRoot: true, flatten: true, level: 2,
			job: picker.Job{Kind: picker.Collect, LSNHi: at}}
		t.store.mu.Lock()
		flat := t.node.parent.flat
		t.store.mu.Unlock()
		inherited := flat.get().Clipped(at) // a map may have to be made first
		slices.SortStableFunc(inherited, func(a, b flatItem) int { return cmp.Compare(min(a.ID.LSNHi, a.Clip), min(b.ID.LSNHi, b.Clip)) })
		for _, it := range inherited {
			m.inputs, m.clips = append(m.inputs, it.Layer), append(m.clips, it.Clip)
		}
		return m
	})
	if err != nil {
		return err
	}
	former, err := t.commitLeave(ctx, m, at)
	if err != nil {
		return err
	}
	return t.store.release(context.WithoutCancel(ctx), former, t.node)
}

// settleAncestors returns when all that the ancestors have up to an LSN is in layers
// that are known here.
func (t *Timeline) settleAncestors(ctx context.Context, at wal.LSN) error {
	if err := t.AncestorReady(ctx, at); err != nil {
		return err
	}
	s := t.store
	v := t.node.state.view.Load()
	for i := 1; i < len(v.lines); i++ {
		l := &v.lines[i]
		s.mu.Lock()
		n := s.nodes[l.id]
		var attached *Timeline
		if n != nil && n.index.Durable < min(at, l.hi) {
			attached = n.timeline
		}
		s.mu.Unlock()
		if attached == nil {
			continue // not attached here: it is ready no further than it is durable
		}
		if err := attached.Flush(ctx); err != nil {
			return err
		}
	}
	return nil
}

// commitLeave makes the merge's outputs the beginning of the timeline. It returns the node
// of its former parent.
func (t *Timeline) commitLeave(ctx context.Context, m *merge, at wal.LSN) (former *node, err error) {
	if err := t.flushing.Lock(ctx); err != nil {
		return nil, err
	}
	defer t.flushing.Unlock()
	if err := t.failure(); err != nil {
		return nil, err
	}
	x := t.nextIndex()
	x.Parent, x.BranchLSN, x.Cutoff = wal.TimelineID{}, 0, max(x.Cutoff, at)
	for _, d := range m.outputs {
		x.Layers = insertLayer(x.Layers, d)
	}
	// Who asks for it may go meanwhile, which would leave open whether it landed.
	if err := t.commit(context.WithoutCancel(ctx), x); err != nil {
		// It may have landed all the same, and the parent be deleted for that. The next
		// PUT, made of the index that is known here, would name the parent again.
		err = fmt.Errorf("%w: it may have left, and is to be attached anew: %w", ErrFenced, err)
		t.fail(err)
		return nil, err
	}
	s := t.store
	d, err := s.draw(t.node, x)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if t.node.timeline != t {
		return nil, ErrDetached
	}
	former, t.node.parent = t.node.parent, nil
	s.setIndex(t.node, x, d)
	return former, nil
}

// release takes a child that has left from its former parent's node, which goes if nobody
// else needs it. Only this waits for those who change which nodes there are.
func (s *Store) release(ctx context.Context, former, child *node) error {
	if err := s.change.Lock(ctx); err != nil {
		return err
	}
	defer s.change.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	former.children = slices.DeleteFunc(former.children, func(c *node) bool { return c == child })
	s.prune(former)
	return nil
}
