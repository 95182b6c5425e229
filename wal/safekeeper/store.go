package safekeeper

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/env"
	"github.com/varvedb/varve/wal/quorum"
	"github.com/varvedb/varve/wal/segment"
)

// Names below a safekeeper's directory.
const (
	timelinesName = "timelines"
	creatingName  = "creating"
)

// Names below a timeline's directory.
const (
	stateName    = "state"
	stateNewName = "state.new"
	damagedName  = "damaged"
	logName      = "wal"
)

// errUnfinished: the directory is of a timeline whose creation was not finished.
var errUnfinished = errors.New("the timeline's creation was not finished")

func logConfig(dir string, id quorum.Identity) segment.Config {
	return segment.Config{Dir: dir + "/" + logName, Start: id.Start, SystemID: id.SystemID}
}

// place says where a timeline's files are.
type place struct {
	dir      string // of the timeline
	creating string // directory of the names of timelines that are being made
	name     string // in that directory
}

func (p place) mark() string { return p.creating + "/" + p.name }

// createTimeline makes a timeline's files. The file that says that it is being made is
// there, durably, from before the first of them until after the last.
func createTimeline(ctx context.Context, e env.Env, node wal.NodeID, at place, id quorum.Identity) error {
	if err := touch(ctx, e.FS, at); err != nil {
		return err
	}
	if err := e.FS.MkdirAll(ctx, at.dir); err != nil {
		return err
	}
	if err := segment.Create(ctx, e.FS, logConfig(at.dir, id)); err != nil {
		return err
	}
	if err := writeState(ctx, e.FS, at.dir, quorum.NewState(node, id)); err != nil {
		return err
	}
	if err := e.FS.Remove(ctx, at.mark()); err != nil {
		return err
	}
	return e.FS.SyncDir(ctx, at.creating)
}

// touch makes the file that says that a timeline is being made, durably; it may be
// there already.
func touch(ctx context.Context, fs env.FS, at place) error {
	f, err := fs.Create(ctx, at.mark())
	if err != nil && !errors.Is(err, env.ErrExist) {
		return err
	}
	if err == nil {
		f.Close()
	}
	return fs.SyncDir(ctx, at.creating)
}

// writeState replaces the state. When it returns, no crash brings the former back.
func writeState(ctx context.Context, fs env.FS, dir string, state quorum.AcceptorState) error {
	if err := writeFile(ctx, fs, dir+"/"+stateNewName, state.AppendTo(nil)); err != nil {
		return fmt.Errorf("write state: %w", err)
	}
	if err := fs.Rename(ctx, dir+"/"+stateNewName, dir+"/"+stateName); err != nil {
		return fmt.Errorf("replace state: %w", err)
	}
	if err := fs.SyncDir(ctx, dir); err != nil {
		return fmt.Errorf("replace state: %w", err)
	}
	return nil
}

// writeFile writes and syncs a file, over what a crash may have left by its name.
func writeFile(ctx context.Context, fs env.FS, name string, content []byte) error {
	if err := fs.Remove(ctx, name); err != nil && !errors.Is(err, env.ErrNotExist) {
		return err
	}
	f, err := fs.Create(ctx, name)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.WriteAt(ctx, content, 0); err != nil {
		return err
	}
	return f.Sync(ctx)
}

func readState(ctx context.Context, fs env.FS, dir string) (state quorum.AcceptorState, err error) {
	name := dir + "/" + stateName
	f, err := fs.Open(ctx, name)
	if errors.Is(err, env.ErrNotExist) {
		return state, wal.Corruptf(name, 0, "acceptor state", "a file", "none")
	}
	if err != nil {
		return state, err
	}
	defer f.Close()
	size, err := f.Size(ctx)
	if err != nil {
		return state, err
	}
	if size > quorum.StateBytesMax {
		return state, wal.Corruptf(name, 0, "size", fmt.Sprintf("at most %d", quorum.StateBytesMax), size)
	}
	content := make([]byte, size)
	if _, err := f.ReadAt(ctx, content, 0); err != nil && !errors.Is(err, io.EOF) {
		return state, err
	}
	return quorum.DecodeState(name, content)
}

// openTimeline reads what is on disk. What is corrupt makes the timeline lost, not
// the call fail.
func openTimeline(ctx context.Context, e env.Env, node wal.NodeID, at place, id wal.TimelineID) (*timeline, error) {
	unfinished, err := exists(ctx, e.FS, at.mark())
	if err != nil {
		return nil, err
	}
	if unfinished {
		return nil, errUnfinished
	}
	t := newTimeline(e, at.dir)
	err = t.load(ctx, node, id)
	if errors.Is(err, wal.ErrCorruption) {
		e.Trace.Event("timeline lost", "node", node, "timeline", id.String(), "error", err)
		t.lost = err
		return t, nil
	}
	return t, err
}

func (t *timeline) load(ctx context.Context, node wal.NodeID, id wal.TimelineID) error {
	if err := readDamage(ctx, t.e.FS, t.dir); err != nil {
		return err
	}
	state, err := readState(ctx, t.e.FS, t.dir)
	if err != nil {
		return err
	}
	// A state that was put in place and not made durable, as its writer failed in
	// between, must not be answered from before it is.
	if err := t.e.FS.SyncDir(ctx, t.dir); err != nil {
		return err
	}
	if state.Node != node || state.Timeline != id {
		return wal.Corruptf(t.dir+"/"+stateName, 0, "owner",
			fmt.Sprintf("node %d, timeline %v", node, id), fmt.Sprintf("node %d, timeline %v", state.Node, state.Timeline))
	}
	t.identity = state.Identity
	t.log, err = segment.Open(ctx, t.e.FS, logConfig(t.dir, state.Identity), state.Durable)
	if err != nil {
		return err
	}
	t.acceptor = quorum.NewAcceptor(node, state, t.log.End())
	t.scanFrom(t.log.End())
	t.readable = t.acceptor.Readable()
	t.note(state)
	return nil
}

func exists(ctx context.Context, fs env.FS, name string) (bool, error) {
	f, err := fs.Open(ctx, name)
	if errors.Is(err, env.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return true, f.Close()
}
