package timeline

import (
	"errors"
	"fmt"

	"github.com/varvedb/varve/lsm"
	"github.com/varvedb/varve/pageserver/pgkey"
	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/pgwal"
)

// Errors that callers tell apart with errors.Is, beside those of package lsm.
var (
	// ErrNoRelation: the fork does not exist at the LSN.
	ErrNoRelation = errors.New("no such relation fork")
	// ErrBeyondEnd: the block lies beyond the fork's end at the LSN.
	ErrBeyondEnd = errors.New("block is beyond the end of the relation fork")
	// ErrStopped: the timeline takes in no more log; see StoppedError.
	ErrStopped = errors.New("timeline is stopped")
	// ErrStoppedForGood: it never will again, whatever is repaired or tried. It matches
	// ErrStopped.
	ErrStoppedForGood = fmt.Errorf("%w for good", ErrStopped)
	// ErrNotImported: the timeline holds no cluster; an import of it never finished.
	ErrNotImported = errors.New("timeline holds no cluster")
	// ErrBeforeHistory: the time lies before the timeline's first commit is known.
	ErrBeforeHistory = errors.New("time is before the timeline's history")
	// ErrFutureTime: the time has not come yet.
	ErrFutureTime = errors.New("time is in the future")
)

// MissingImageError stops a timeline: a record changes a page, there is no redo of
// its resource manager here, and it carries no image. The StoppedError that it is the
// cause of says which timeline, where, and at which kind of record.
type MissingImageError struct {
	Timeline wal.TimelineID
	LSN      wal.LSN // start of the record
	Key      lsm.Key // of the page
	RMgr     pgwal.RMgr
	Kind     string // of record, as pg_waldump names it
}

func (e *MissingImageError) Error() string {
	return fmt.Sprintf("a change of %s without an image, by a resource manager of an extension, which cannot be redone", pgkey.Describe(e.Key))
}

// StoppedError says that a timeline takes in no more log, and why. It matches its cause.
type StoppedError struct {
	Timeline wal.TimelineID
	At       wal.LSN // everything up to it was taken in
	Cause    error
}

func (e *StoppedError) Error() string {
	return fmt.Sprintf("timeline %v stopped at %v: %v", e.Timeline, e.At, e.Cause)
}

// Is makes errors.Is find ErrStopped, and ErrStoppedForGood if the cause is in the log
// itself, which does not change.
func (e *StoppedError) Is(target error) bool {
	if target == ErrStoppedForGood {
		var missing *MissingImageError
		return errors.As(e.Cause, &missing)
	}
	return target == ErrStopped
}

// Unwrap returns the cause.
func (e *StoppedError) Unwrap() error { return e.Cause }
