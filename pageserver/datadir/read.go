package datadir

import (
	"fmt"
	"io"
	"io/fs"

	"github.com/varvedb/varve/wal/pgwal"
)

// Reader reads the blocks of a fork in order.
type Reader struct {
	fsys  fs.FS
	fork  *Fork
	file  fs.File // of the segment that holds block; nil before the first and at the end
	block uint32
	page  [pgwal.PageSize]byte
}

// NewReader reads fork, whose Blocks must have been found sound. Close it.
func NewReader(fsys fs.FS, fork *Fork) *Reader { return &Reader{fsys: fsys, fork: fork} }

// Next returns the next block and its number, or io.EOF after the last. The page
// is valid until the next call.
func (r *Reader) Next() (block uint32, page []byte, err error) {
	segment := r.block / SegmentBlocks
	if int(segment) >= len(r.fork.Segments) {
		return 0, nil, io.EOF
	}
	if err := r.open(segment); err != nil {
		return 0, nil, err
	}
	if _, err := io.ReadFull(r.file, r.page[:]); err == io.EOF {
		return 0, nil, io.EOF
	} else if err != nil {
		return 0, nil, fmt.Errorf("read block %d of %s: %w", r.block, r.fork.Path(), err)
	}
	r.block++
	if r.block%SegmentBlocks == 0 {
		r.Close()
	}
	return r.block - 1, r.page[:], nil
}

func (r *Reader) open(segment uint32) error {
	if r.file != nil {
		return nil
	}
	file, err := r.fsys.Open(SegmentPath(r.fork.Rel, r.fork.Fork, segment))
	if err != nil {
		return fmt.Errorf("open relation: %w", err)
	}
	r.file = file
	return nil
}

// Close closes the file that is open.
func (r *Reader) Close() {
	if r.file != nil {
		// Nothing was written through it: closing cannot lose anything.
		_ = r.file.Close()
		r.file = nil
	}
}
