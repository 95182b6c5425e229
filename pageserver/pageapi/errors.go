package pageapi

import (
	"errors"

	"github.com/varvedb/varve/lsm"
	"github.com/varvedb/varve/pageserver/timeline"
	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/frame"
)

// Errors of the service itself, beside those of packages lsm and timeline.
var (
	// ErrHasChildren: other timelines branch from this one; the text names them.
	ErrHasChildren = errors.New("timeline has children")
	// ErrRefused: the directory cannot be imported; the text names the fix.
	ErrRefused = errors.New("import refused")
)

// codes gives every kind of error that crosses the wire its number. The first that
// matches counts.
var codes = [...]struct {
	code frame.Code
	kind error
}{
	{frame.CodeService + 15, timeline.ErrStoppedForGood}, // before ErrStopped, which it is too
	{frame.CodeService + 0, timeline.ErrStopped},
	{frame.CodeService + 1, lsm.ErrNoTimeline},
	{frame.CodeService + 2, lsm.ErrTimelineExists},
	{frame.CodeService + 3, timeline.ErrNoRelation},
	{frame.CodeService + 4, timeline.ErrBeyondEnd},
	{frame.CodeService + 5, lsm.ErrBelowHorizon},
	{frame.CodeService + 6, lsm.ErrFutureLSN},
	{frame.CodeService + 7, lsm.ErrFenced},
	{frame.CodeService + 8, timeline.ErrBeforeHistory},
	{frame.CodeService + 9, timeline.ErrFutureTime},
	{frame.CodeService + 10, timeline.ErrNotImported},
	{frame.CodeService + 11, ErrHasChildren},
	{frame.CodeService + 12, ErrRefused},
	{frame.CodeService + 13, lsm.ErrAncestorNotReady},
	{frame.CodeService + 14, wal.ErrCorruption},
	{frame.CodeService + 16, lsm.ErrNotAttached},
}

// ToWire gives an error that a request failed with its code.
func ToWire(err error) error {
	if err == nil {
		return nil
	}
	var children *lsm.HasChildrenError
	if errors.As(err, &children) {
		err = &Error{Kind: ErrHasChildren, Text: err.Error()}
	}
	for _, c := range codes {
		if errors.Is(err, c.kind) {
			return frame.Errorf(c.code, "%v", err)
		}
	}
	return err
}

// Error is a request's failure as the pageserver told it. It matches its kind, and
// what that kind matches.
type Error struct {
	Kind error // one of codes
	Text string
}

func (e *Error) Error() string { return e.Text }

// Is makes errors.Is find the kind.
func (e *Error) Is(target error) bool { return errors.Is(e.Kind, target) }

// fromWire gives a failure its kind back. Other errors stay as they are.
func fromWire(err error) error {
	code := frame.CodeOf(err)
	for _, c := range codes {
		if code == c.code {
			return &Error{Kind: c.kind, Text: err.Error()}
		}
	}
	return err
}
