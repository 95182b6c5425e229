package segment

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/assert"
	"github.com/varvedb/varve/wal/env"
	"github.com/varvedb/varve/wal/pgwal"
)

// scanChunk is how much Open reads at once, in bytes.
const scanChunk = 256 << 10

// Open opens a log whose owner knows that it is durable up to the record end
// durable. Afterwards the log ends at the end of its last whole record, and all of
// it is durable. An error that matches wal.ErrCorruption says that something which
// was durable is no longer there.
func Open(ctx context.Context, fs env.FS, cfg Config, durable wal.LSN) (*Log, error) {
	assert.That(durable >= cfg.Start, "durable mark %v is at or above the log's start %v", durable, cfg.Start)
	l := newLog(fs, cfg)
	if err := l.recover(ctx, durable); err != nil {
		l.Close()
		return nil, fmt.Errorf("open log in %s: %w", cfg.Dir, err)
	}
	return l, nil
}

func (l *Log) recover(ctx context.Context, durable wal.LSN) error {
	if err := l.checkSegments(ctx, durable); err != nil {
		return err
	}
	if err := l.openMark(ctx); err != nil {
		return err
	}
	mark, err := l.readMark(ctx)
	if err != nil {
		return err
	}
	mark = max(mark, durable)
	if err := l.checkSegments(ctx, mark); err != nil {
		return err
	}
	end, wrong, err := l.scan(ctx, durable)
	if err != nil {
		return err
	}
	if end < mark {
		return l.lost(end, mark, wrong)
	}
	if err := l.clearAbove(ctx, end, wal.SegmentStart(end.Segment()+1)); err != nil {
		return err
	}
	l.end = end
	if err := l.rewrite(ctx, mark, end); err != nil {
		return err
	}
	if err := l.syncDirty(ctx); err != nil {
		return err
	}
	return l.writeMark(ctx, end)
}

// checkSegments makes sure that every segment with bytes below the mark is there at
// its full size; a later one may be missing or short after a crash.
func (l *Log) checkSegments(ctx context.Context, mark wal.LSN) error {
	for n := l.cfg.Start.Segment(); n == l.cfg.Start.Segment() || wal.SegmentStart(n) < mark; n++ {
		size := int64(0)
		f, err := l.fs.Open(ctx, l.path(n))
		if err == nil {
			size, err = f.Size(ctx)
			f.Close()
		}
		if err != nil && !errors.Is(err, env.ErrNotExist) {
			return fmt.Errorf("open segment %s: %w", Name(n), err)
		}
		if size != wal.SegmentSize {
			return wal.Corruptf(l.path(n), 0, "segment size", wal.SegmentSize, size)
		}
	}
	return nil
}

// lost says which durable bytes are not there.
func (l *Log) lost(end, mark wal.LSN, wrong error) error {
	if wrong != nil {
		return fmt.Errorf("the log is durable up to %v: %w", mark, wrong)
	}
	return wal.Corruptf(l.path(end.Segment()), int64(end.SegmentOffset()), "log",
		fmt.Sprintf("whole records up to %v", mark), fmt.Sprintf("an end at %v", end))
}

// scan returns the end of the last whole record that follows from without a gap,
// and why there is no further one, nil if the files end there.
func (l *Log) scan(ctx context.Context, from wal.LSN) (end wal.LSN, wrong, err error) {
	scanner := pgwal.NewScanner(l.cfg.Dir, from)
	scanner.ExpectSystemID(l.cfg.SystemID)
	buf := make([]byte, scanChunk)
	for at := from; ; {
		chunk, err := l.readSome(ctx, buf, at)
		if err != nil {
			return 0, nil, err
		}
		if len(chunk) == 0 {
			return scanner.Position(), nil, nil
		}
		scanner.Feed(chunk)
		if err := drain(scanner); err != nil {
			return scanner.Position(), err, nil
		}
		at += wal.LSN(len(chunk))
	}
}

// drain steps over the whole records that a scanner was fed.
func drain(scanner *pgwal.Scanner) error {
	for {
		if more, err := scanner.Next(); !more {
			return err
		}
	}
}

// readSome reads what there is at an LSN, at most up to the end of its segment.
// Nothing means that the files end there.
func (l *Log) readSome(ctx context.Context, buf []byte, at wal.LSN) ([]byte, error) {
	f, err := l.fs.Open(ctx, l.path(at.Segment()))
	if errors.Is(err, env.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	n := min(len(buf), wal.SegmentSize-at.SegmentOffset())
	n, err = f.ReadAt(ctx, buf[:n], int64(at.SegmentOffset()))
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("read segment %s: %w", Name(at.Segment()), err)
	}
	return buf[:n], nil
}

// rewrite writes [from, to) again where it is; see the package comment.
func (l *Log) rewrite(ctx context.Context, from, to wal.LSN) error {
	buf := make([]byte, min(scanChunk, to-from))
	for from < to {
		chunk := buf[:min(scanChunk, int(to-from))]
		if err := l.ReadAt(ctx, chunk, from); err != nil {
			return err
		}
		if err := l.write(ctx, from, chunk); err != nil {
			return err
		}
		from += wal.LSN(len(chunk))
	}
	return nil
}

// openMark opens the mark's file, made empty if it is not there: it holds a hint.
func (l *Log) openMark(ctx context.Context) (err error) {
	name := l.cfg.Dir + "/" + markName
	l.mark, err = l.fs.Open(ctx, name)
	if !errors.Is(err, env.ErrNotExist) {
		return err
	}
	if l.mark, err = l.fs.Create(ctx, name); err != nil {
		return err
	}
	return l.fs.SyncDir(ctx, l.cfg.Dir)
}

// readMark returns the mark, the log's start if there is none.
func (l *Log) readMark(ctx context.Context) (wal.LSN, error) {
	src := make([]byte, markSize)
	n, err := l.mark.ReadAt(ctx, src, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return 0, fmt.Errorf("read mark: %w", err)
	}
	if mark, ok := decodeMark(src[:n]); ok {
		return mark, nil
	}
	return l.cfg.Start, nil
}
