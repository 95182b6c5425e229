package control

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/varvedb/varve/pageserver/pageapi"
	"github.com/varvedb/varve/wal"
)

// DetachBranch makes a branch independent of its parent: what it shares is copied, and
// its history begins where it left the parent. Its Postgres may run.
func (s *Supervisor) DetachBranch(ctx context.Context, name string) (Branch, error) {
	defer s.busy.lock(name)()
	b, err := s.branch(ctx, name)
	if err != nil {
		return Branch{}, err
	}
	if b.Parent == "" {
		return Branch{}, Errorf(CodeConflict, "branch %s has no parent: it is detached already", name)
	}
	for _, r := range s.readers() {
		if r.Branch == name && r.ReadAt < b.BranchLSN && (r.State == StateRunning || r.State == StateStarting) {
			return Branch{}, Errorf(CodeConflict, "branch %s is being read at %s, which is its parent's history, by %s: end that `varve psql`, or stop the reader with `varve endpoint stop %s`", name, r.ReadAt, r.ID, r.ID)
		}
	}
	if err := s.storage.detach(ctx, b.Timeline); err != nil {
		return Branch{}, fmt.Errorf("detach branch %s from %s: %w", name, b.Parent, err)
	}
	return s.branch(ctx, name)
}

// ResetBranch gives up what a branch has of its own: it equals its parent again, as of a
// moment of the parent, which an empty one says is its head. The branch gets a timeline of
// its own for that, with a log of its own, so that nothing of the old one can come back;
// to write the new timeline's index is to reset, the old one is deleted after.
func (s *Supervisor) ResetBranch(ctx context.Context, name, moment string) (Branch, error) {
	defer s.busy.lock(name)()
	old, err := s.resettable(ctx, name)
	if err != nil {
		return Branch{}, err
	}
	point := old.Parent
	if moment != "" {
		point += "@" + moment
	}
	at, err := s.Resolve(ctx, point)
	if err != nil {
		return Branch{}, err
	}
	meta, err := newLabel(name, old.Timeline)
	if err != nil {
		return Branch{}, err
	}
	id := newTimelineID()
	if err := s.makeBranch(ctx, name, at, id, meta); err != nil {
		return Branch{}, err
	}
	err = s.deleteReplaced(ctx, old.Timeline)
	if errors.Is(err, pageapi.ErrHasChildren) {
		// Somebody has branched from it since: it stays what it was.
		err = errors.Join(err, s.state.deleteBranch(id), s.storage.delete(ctx, id))
	}
	if errors.Is(err, pageapi.ErrHasChildren) {
		return Branch{}, fmt.Errorf("reset branch %s: %w", name, err)
	}
	if err != nil {
		return Branch{}, fmt.Errorf("branch %s is reset, but its old timeline is not deleted yet, which the next `varve up` tries again: %w", name, err)
	}
	s.mu.Lock()
	delete(s.endpoints, name)
	s.mu.Unlock()
	if err := removeEndpointFiles(s.cfg.Dir, name, filepath.Join(s.cfg.Dir, "endpoints", name)); err != nil {
		return Branch{}, err
	}
	return s.branch(ctx, name)
}

// resettable finds a branch that may be reset.
func (s *Supervisor) resettable(ctx context.Context, name string) (Branch, error) {
	b, err := s.branch(ctx, name)
	if err != nil {
		return Branch{}, err
	}
	if b.Parent == "" {
		return Branch{}, Errorf(CodeConflict, "branch %s has no parent that it could equal: make another with `varve branch create NAME --parent POINT`", name)
	}
	branches, err := s.Branches(ctx)
	if err != nil {
		return Branch{}, err
	}
	return b, s.checkUnused(b, branches)
}

// deleteReplaced deletes the timeline that a branch had before it was reset.
func (s *Supervisor) deleteReplaced(ctx context.Context, old wal.TimelineID) error {
	if err := s.storage.delete(ctx, old); err != nil {
		return err
	}
	return s.state.deleteBranch(old)
}

// finishResets deletes what resets that were cut short have left. What cannot be deleted
// stays, under the name of its timeline.
func (s *Supervisor) finishResets(ctx context.Context) error {
	infos, err := s.storage.timelines(ctx)
	if err != nil {
		return err
	}
	replaced := replacedBy(infos)
	for _, info := range infos {
		if _, is := replaced[info.ID]; !is {
			continue
		}
		if err := s.deleteReplaced(ctx, info.ID); err != nil {
			s.cfg.Progress(fmt.Sprintf("timeline %s, which a reset has replaced, stays: %v", info.ID, err))
		}
	}
	return nil
}
