package wal

import (
	"encoding/binary"
	"fmt"
)

// Fields takes the fields of a format, little-endian, off the front of its bytes. The
// first that is wrong makes it fail with an error matching [ErrCorruption]; from then on
// it gives zeros, so that a decoder may ask for the error at its end.
type Fields struct {
	what string // names src in errors
	src  []byte
	at   int
	err  error
}

// NewFields returns the fields of src, which what names in errors.
func NewFields(what string, src []byte) *Fields { return &Fields{what: what, src: src} }

// Fail makes it fail, unless it has failed before.
func (f *Fields) Fail(field string, want, got any) {
	if f.err == nil {
		f.err = Corruptf(f.what, int64(f.at), field, want, got)
	}
}

// Err returns what was wrong first, nil if nothing was so far.
func (f *Fields) Err() error { return f.err }

// Bytes takes n bytes, which are shared with the source; nil if they are not there.
func (f *Fields) Bytes(field string, n int) []byte {
	if left := len(f.src) - f.at; f.err == nil && n > left {
		f.Fail(field, fmt.Sprintf("%d bytes", n), fmt.Sprintf("%d bytes", left))
	}
	if f.err != nil {
		return nil
	}
	f.at += n
	return f.src[f.at-n : f.at : f.at]
}

// Uint8 takes one byte.
func (f *Fields) Uint8(field string) uint8 {
	if b := f.Bytes(field, 1); b != nil {
		return b[0]
	}
	return 0
}

// Uint16 takes two bytes.
func (f *Fields) Uint16(field string) uint16 {
	if b := f.Bytes(field, 2); b != nil {
		return binary.LittleEndian.Uint16(b)
	}
	return 0
}

// Uint32 takes four bytes.
func (f *Fields) Uint32(field string) uint32 {
	if b := f.Bytes(field, 4); b != nil {
		return binary.LittleEndian.Uint32(b)
	}
	return 0
}

// Uint64 takes eight bytes.
func (f *Fields) Uint64(field string) uint64 {
	if b := f.Bytes(field, 8); b != nil {
		return binary.LittleEndian.Uint64(b)
	}
	return 0
}

// LSN takes eight bytes.
func (f *Fields) LSN(field string) LSN { return LSN(f.Uint64(field)) }

// Into takes as many bytes as dst has room for.
func (f *Fields) Into(field string, dst []byte) { copy(dst, f.Bytes(field, len(dst))) }

// Count takes the number, at most limit, of things that follow, of size bytes each. It
// fails if they are not all there, so that memory may be taken for them.
func (f *Fields) Count(field string, limit, size int) int {
	n := int(f.Uint32(field))
	if n > limit || n*size > len(f.src)-f.at {
		f.Fail(field, fmt.Sprintf("at most %d, all here", limit), n)
		return 0
	}
	return n
}

// Finish fails if anything is left, and returns what was wrong first.
func (f *Fields) Finish() error {
	if f.err == nil && f.at != len(f.src) {
		f.Fail("length", f.at, len(f.src))
	}
	return f.err
}
