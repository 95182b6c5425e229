package wal

import (
	"errors"
	"fmt"
)

// ErrCorruption marks every error that means "these bytes are not what was
// written". Test for it with errors.Is.
var ErrCorruption = errors.New("corruption")

// CorruptionError says which bytes are wrong and how. It matches [ErrCorruption].
type CorruptionError struct {
	File   string // file, object or stream that holds the bytes
	Offset int64  // offset of the wrong bytes, in bytes from the start of File
	What   string // the thing that is wrong, such as "block checksum"
	Want   string // what a sound file would hold
	Got    string // what was found
}

// Corruptf makes a [CorruptionError]; want and got are rendered with %v.
func Corruptf(file string, offset int64, what string, want, got any) *CorruptionError {
	return &CorruptionError{File: file, Offset: offset, What: what, Want: fmt.Sprint(want), Got: fmt.Sprint(got)}
}

func (e *CorruptionError) Error() string {
	return fmt.Sprintf("corruption in %s at offset %d: %s: want %s, got %s", e.File, e.Offset, e.What, e.Want, e.Got)
}

// Is makes errors.Is(err, ErrCorruption) true.
func (e *CorruptionError) Is(target error) bool { return target == ErrCorruption }
