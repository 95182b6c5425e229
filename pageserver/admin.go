package pageserver

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/varvedb/varve/lsm"
	"github.com/varvedb/varve/pageserver/basebackup"
	"github.com/varvedb/varve/pageserver/pageapi"
	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/assert"
)

// importDir makes a root timeline of a data directory. After a failure there is no
// such timeline.
func (s *Server) importDir(ctx context.Context, payload []byte) ([]byte, error) {
	m, err := pageapi.DecodeImport(payload)
	if err != nil {
		return nil, badRequest(err)
	}
	if s.cfg.OpenDir == nil {
		return nil, fmt.Errorf("import %s: this pageserver opens no directories: %w", m.Path, pageapi.ErrRefused)
	}
	info, err := s.importInto(ctx, m)
	var refused *basebackup.RefusedError
	if errors.As(err, &refused) {
		return nil, &pageapi.Error{Kind: pageapi.ErrRefused, Text: fmt.Sprintf("import %s: %v", m.Path, err)}
	}
	if err != nil {
		return nil, fmt.Errorf("import %s: %w", m.Path, err)
	}
	return pageapi.Imported{SystemID: info.SystemID, LSN: info.LSN, PrevRecord: info.PrevRecord}.AppendTo(nil), nil
}

func (s *Server) importInto(ctx context.Context, m pageapi.ImportRequest) (*basebackup.Info, error) {
	fsys, err := s.cfg.OpenDir(m.Path)
	if err != nil {
		return nil, err
	}
	// Refuse before anything is made.
	info, err := basebackup.Check(fsys)
	if err != nil {
		return nil, err
	}
	b := s.newBranch(m.Timeline, s.cfg.Safekeepers)
	filling, cancel := s.env.Tasks.WithCancel(ctx)
	defer cancel()
	b.cancel, b.imports = cancel, true
	if err := s.announce(b); err != nil {
		return nil, err
	}
	if err := s.fill(filling, b, m.Meta, fsys, info.LSN); err != nil {
		if filling.Err() != nil && ctx.Err() == nil {
			err = fmt.Errorf("%w: %v was deleted while it was imported: %w", lsm.ErrNoTimeline, b.id, err)
		}
		s.withdraw(b, err)
		return nil, err
	}
	s.start(b)
	return info, nil
}

// announce keeps a timeline that will be imported, before it is made: a listing that finds
// it half made must not attach it. That takes long, and admin is not held.
func (s *Server) announce(b *branch) error {
	b.failed = fmt.Errorf("%w: %v is being imported", lsm.ErrNoTimeline, b.id)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.branches[b.id] != nil {
		return fmt.Errorf("%w: %v", lsm.ErrTimelineExists, b.id)
	}
	s.branches[b.id] = b
	return nil
}

// fill makes the timeline of a branch that was announced, and imports a directory into it.
func (s *Server) fill(ctx context.Context, b *branch, meta []byte, fsys fs.FS, start wal.LSN) error {
	if err := s.store.Create(ctx, b.id, start, meta); err != nil {
		return err
	}
	under, err := s.store.Attach(ctx, b.id)
	if err == nil {
		_, err = basebackup.Import(ctx, fsys, under)
	}
	if err != nil {
		return errors.Join(err, s.store.Delete(context.WithoutCancel(ctx), b.id))
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.under, b.looked, b.failed, b.imports = under, true, nil, false
	return nil
}

// withdraw ends a branch that was announced and has not come to be.
func (s *Server) withdraw(b *branch, why error) {
	b.end(why)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.branches[b.id] == b {
		delete(s.branches, b.id)
	}
}

// makeBranch makes a child of a timeline that is this server's, and attaches it. What
// is made is made: an attachment that fails is the child's to repeat. A child above
// where its parent has stopped could not be read, and is refused; one above where its
// parent has come so far waits for it.
func (s *Server) makeBranch(ctx context.Context, payload []byte) ([]byte, error) {
	m, err := pageapi.DecodeBranch(payload)
	if err != nil {
		return nil, badRequest(err)
	}
	if err := s.admin.Lock(ctx); err != nil {
		return nil, err
	}
	defer s.admin.Unlock()
	if parent, err := s.branch(m.Parent); err == nil {
		if err := parent.readableTo(m.At); err != nil {
			return nil, err
		}
	}
	if err := s.store.Branch(ctx, m.Parent, m.Child, m.At, m.Meta); err != nil {
		return nil, err
	}
	s.attach(ctx, s.newBranch(m.Child, s.cfg.Safekeepers))
	return nil, nil
}

// remove deletes a timeline. The store refuses if others branch from it, before
// anything is stopped.
func (s *Server) remove(ctx context.Context, payload []byte) ([]byte, error) {
	id, err := pageapi.DecodeTimeline(payload)
	if err != nil {
		return nil, badRequest(err)
	}
	ended, err := s.endImport(ctx, id)
	if err != nil {
		return nil, err
	}
	doomed, err := s.doom(ctx, id)
	if ended && errors.Is(err, lsm.ErrNoTimeline) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	// Its layers may be many, and nobody has to wait until they are gone. Another may have
	// deleted them by now.
	if err := s.store.Delete(ctx, id); err != nil && !errors.Is(err, lsm.ErrNoTimeline) {
		return nil, err
	}
	return nil, s.drop(ctx, id, doomed)
}

// endImport ends the import of a timeline that is to be deleted, and waits until it has
// removed what it had made: what it still writes would come after the deletion. That may
// take a while, and admin is not held. It reports whether there was an import.
func (s *Server) endImport(ctx context.Context, id wal.TimelineID) (ended bool, err error) {
	b, unknown := s.branch(id)
	if unknown != nil || !b.isImported() {
		return false, nil
	}
	s.env.Trace.Cover("pageserver import ended by a deletion")
	return true, b.stop(ctx)
}

// doom decides that a timeline is deleted. One that was detached for it is attached anew:
// if it is not deleted it is served as before, and else says that it is being deleted. It
// returns what this server keeps of it, if anything.
func (s *Server) doom(ctx context.Context, id wal.TimelineID) (*branch, error) {
	if err := s.admin.Lock(ctx); err != nil {
		return nil, err
	}
	defer s.admin.Unlock()
	err := s.store.Doom(ctx, id)
	b, unknown := s.branch(id)
	if unknown != nil {
		return nil, err
	}
	if s.store.Attached(id) == nil {
		err = errors.Join(err, s.retake(context.WithoutCancel(ctx), b))
		b, _ = s.branch(id)
	}
	return b, err
}

// drop ends what this server keeps of a timeline that is deleted: what was doomed, or what
// has been tried since to attach it.
func (s *Server) drop(ctx context.Context, id wal.TimelineID, doomed *branch) error {
	if err := s.admin.Lock(ctx); err != nil {
		return err
	}
	defer s.admin.Unlock()
	b, unknown := s.branch(id)
	if unknown != nil {
		return nil
	}
	s.mu.Lock()
	delete(s.branches, id)
	s.mu.Unlock()
	if err := b.stop(ctx); err != nil {
		return err
	}
	assert.That(b != doomed || b.under == nil || s.store.Attached(id) != b.under, "timeline %v is deleted, and attached as before", id)
	return nil
}
