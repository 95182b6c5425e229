package pgdata

import (
	"context"
	"fmt"
	"os"
	"slices"

	"github.com/varvedb/varve/pageserver/datadir"
	"github.com/varvedb/varve/wal/pgwal"
)

// batchPages is how many pages one read asks for: 1 MiB keeps the memory small and
// the cost of a round trip below that of its pages.
const batchPages = 128

// Pages is where relations come from, all as of one LSN.
type Pages interface {
	// Forks calls fn for every fork of every relation, in any order.
	Forks(ctx context.Context, fn func(fork Fork) error) error
	// Read fills dst, a whole number of pages and at most batchPages of them, from
	// block first of a fork on.
	Read(ctx context.Context, rel pgwal.RelFileNode, fork pgwal.Fork, first uint32, dst []byte) error
}

// Fork is one fork of a relation.
type Fork struct {
	Rel    pgwal.RelFileNode
	Fork   pgwal.Fork
	Blocks uint32
}

// relations writes every relation whole.
func (b *builder) relations(ctx context.Context, pages Pages) error {
	var forks []Fork
	unlogged := map[pgwal.RelFileNode]bool{}
	err := pages.Forks(ctx, func(fork Fork) error {
		forks = append(forks, fork)
		if fork.Fork == pgwal.InitFork {
			unlogged[fork.Rel] = true
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("list relations: %w", err)
	}
	seen := map[pgwal.RelFileNode]bool{}
	for _, fork := range forks {
		seen[fork.Rel] = true
		for _, as := range copies(fork.Fork, unlogged[fork.Rel]) {
			if err := b.fork(ctx, pages, fork, as); err != nil {
				return fmt.Errorf("write relation %s fork %s: %w", fork.Rel, as, err)
			}
		}
	}
	b.stats.Relations = len(seen)
	return nil
}

// copies says as which forks a fork is written.
func copies(fork pgwal.Fork, unlogged bool) []pgwal.Fork {
	switch {
	case fork == pgwal.InitFork:
		return []pgwal.Fork{pgwal.InitFork, pgwal.MainFork}
	case unlogged || fork == pgwal.FSMFork:
		return nil
	}
	return []pgwal.Fork{fork}
}

// fork writes a fork's pages under the name of as.
func (b *builder) fork(ctx context.Context, pages Pages, fork Fork, as pgwal.Fork) error {
	if err := b.parent(datadir.SegmentPath(fork.Rel, as, 0)); err != nil {
		return err
	}
	b.room = freeSpace{rooms: b.room.rooms[:0]}
	for segment := uint32(0); ; segment++ {
		first := segment * datadir.SegmentBlocks
		blocks := min(fork.Blocks-first, datadir.SegmentBlocks)
		if err := b.segment(ctx, pages, fork, as, segment, blocks); err != nil {
			return err
		}
		// A full segment is followed by another, be it empty.
		if blocks < datadir.SegmentBlocks {
			break
		}
	}
	if b.writable && as == pgwal.MainFork && b.room.useful() {
		return b.freeSpaceMap(fork.Rel)
	}
	return nil
}

// freeSpaceMap writes the map of the relation whose main fork was just written.
func (b *builder) freeSpaceMap(rel pgwal.RelFileNode) error {
	const segmentBytes = datadir.SegmentBlocks * pgwal.PageSize
	pages := b.room.fork()
	for segment := uint32(0); ; segment++ {
		mine := pages[:min(len(pages), segmentBytes)]
		path := b.path(datadir.SegmentPath(rel, pgwal.FSMFork, segment))
		if err := os.WriteFile(path, mine, fileMode); err != nil {
			return err
		}
		if err := b.account.Own(path); err != nil {
			return err
		}
		if len(mine) < segmentBytes {
			return nil
		}
		pages = pages[len(mine):]
	}
}

func (b *builder) segment(ctx context.Context, pages Pages, fork Fork, as pgwal.Fork, segment, blocks uint32) error {
	path := b.path(datadir.SegmentPath(fork.Rel, as, segment))
	file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, fileMode)
	if err != nil {
		return err
	}
	err = b.fill(ctx, pages, fork, file, segment*datadir.SegmentBlocks, blocks)
	if closed := file.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return err
	}
	return b.account.Own(path)
}

// fill writes blocks pages from block first of a fork to the start of file.
func (b *builder) fill(ctx context.Context, pages Pages, fork Fork, file *os.File, first, blocks uint32) error {
	if err := file.Truncate(int64(blocks) * pgwal.PageSize); err != nil {
		return err
	}
	for done := uint32(0); done < blocks; done += batchPages {
		n := min(blocks-done, batchPages)
		b.buffer = slices.Grow(b.buffer[:0], batchPages*pgwal.PageSize)[:n*pgwal.PageSize]
		if err := pages.Read(ctx, fork.Rel, fork.Fork, first+done, b.buffer); err != nil {
			return fmt.Errorf("read %d pages from block %d: %w", n, first+done, err)
		}
		for page := range slices.Chunk(b.buffer, pgwal.PageSize) {
			b.room.add(page)
		}
		if err := b.writePages(file, done); err != nil {
			return err
		}
	}
	return nil
}

// writePages writes the buffer's pages at block at of file, but for those of zeros.
func (b *builder) writePages(file *os.File, at uint32) error {
	for from := 0; from < len(b.buffer); {
		to := from
		for to < len(b.buffer) && !isZero(b.buffer[to:to+pgwal.PageSize]) {
			to += pgwal.PageSize
		}
		if to > from {
			offset := int64(at)*pgwal.PageSize + int64(from)
			if _, err := file.WriteAt(b.buffer[from:to], offset); err != nil {
				return err
			}
		}
		b.stats.Pages += int64(to-from) / pgwal.PageSize
		if to < len(b.buffer) {
			b.stats.Pages++
			b.stats.ZeroPages++
			to += pgwal.PageSize
		}
		from = to
	}
	return nil
}

var zeroPage [pgwal.PageSize]byte

func isZero(page []byte) bool { return string(page) == string(zeroPage[:]) }
