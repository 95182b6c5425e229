package segment

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/assert"
	"github.com/varvedb/varve/wal/env"
)

// Config says which log it is and where.
type Config struct {
	Dir      string  // directory of the segments, relative to the root of FS
	Start    wal.LSN // the log's first byte: where a record can begin
	SystemID uint64  // PostgreSQL's system identifier
}

// Log is an open log. Its methods are for one task at a time, except ReadAt.
type Log struct {
	fs     env.FS
	cfg    Config
	end    wal.LSN // end of the last byte written
	mark   env.File
	files  map[uint64]env.File // segments that are open for writing
	dirty  []uint64            // those of them with writes that are not synced, ascending
	marked []byte              // the mark that was written last, whose memory the next one takes
	broken error
}

// Create makes an empty log in a directory that holds none yet. It is durable when
// Create returns; after an error or a crash it may be called again.
func Create(ctx context.Context, fs env.FS, cfg Config) error {
	if err := checkStart(cfg.Start); err != nil {
		return fmt.Errorf("create log in %s: %w", cfg.Dir, err)
	}
	if err := create(ctx, fs, cfg); err != nil {
		return fmt.Errorf("create log in %s: %w", cfg.Dir, err)
	}
	return nil
}

func create(ctx context.Context, fs env.FS, cfg Config) error {
	if err := fs.MkdirAll(ctx, cfg.Dir); err != nil {
		return err
	}
	l := newLog(fs, cfg)
	defer l.Close()
	f, err := l.file(ctx, cfg.Start.Segment())
	if err != nil {
		return err
	}
	if err := writePreamble(ctx, f, cfg); err != nil {
		return err
	}
	if err := f.Sync(ctx); err != nil {
		return err
	}
	return l.openMark(ctx)
}

func writePreamble(ctx context.Context, f env.File, cfg Config) error {
	if cfg.Start.SegmentOffset() == 0 {
		return nil
	}
	buf := emptySegments.Get().(*emptySegment)
	defer emptySegments.Put(buf)
	_, err := f.WriteAt(ctx, preamble(buf, cfg.Start, cfg.SystemID), 0)
	return err
}

func newLog(fs env.FS, cfg Config) *Log {
	return &Log{fs: fs, cfg: cfg, end: cfg.Start, files: map[uint64]env.File{}}
}

// End is the LSN after the last byte written.
func (l *Log) End() wal.LSN { return l.end }

// Dir is the directory of the segments.
func (l *Log) Dir() string { return l.cfg.Dir }

// Place returns the file, relative to the root of FS, and the offset of an LSN's byte.
func (l *Log) Place(at wal.LSN) (file string, offset int64) {
	return l.path(at.Segment()), int64(at.SegmentOffset())
}

// path names segment number n below the root of FS.
func (l *Log) path(n uint64) string { return l.cfg.Dir + "/" + Name(n) }

// file returns a segment open for writing, made at full size if it is not there.
func (l *Log) file(ctx context.Context, n uint64) (env.File, error) {
	if f := l.files[n]; f != nil {
		return f, nil
	}
	f, err := l.fs.Open(ctx, l.path(n))
	if errors.Is(err, env.ErrNotExist) {
		if f, err = l.fs.Create(ctx, l.path(n)); err == nil {
			err = l.fs.SyncDir(ctx, l.cfg.Dir)
		}
	}
	if err == nil {
		// A crash may have left it short.
		err = f.Allocate(ctx, wal.SegmentSize)
	}
	if err != nil {
		return nil, fmt.Errorf("open segment %s: %w", Name(n), err)
	}
	l.files[n] = f
	return f, nil
}

// Write puts bytes at an LSN from the log's start up to its end, which moves to
// where they end if that is further. They are not durable before Sync.
func (l *Log) Write(ctx context.Context, at wal.LSN, p []byte) error {
	if at < l.cfg.Start || at > l.end {
		assert.Failf("write at %v is at or above the log's start %v, and leaves no gap behind its end %v", at, l.cfg.Start, l.end)
	}
	if l.broken != nil {
		return l.broken
	}
	if err := l.write(ctx, at, p); err != nil {
		return l.fail("write", err)
	}
	l.end = max(l.end, at+wal.LSN(len(p)))
	return nil
}

func (l *Log) write(ctx context.Context, at wal.LSN, p []byte) error {
	for len(p) > 0 {
		n := min(len(p), wal.SegmentSize-at.SegmentOffset())
		f, err := l.file(ctx, at.Segment())
		if err != nil {
			return err
		}
		l.soil(at.Segment())
		if _, err := f.WriteAt(ctx, p[:n], int64(at.SegmentOffset())); err != nil {
			return fmt.Errorf("segment %s: %w", Name(at.Segment()), err)
		}
		p, at = p[n:], at+wal.LSN(n)
	}
	return nil
}

// soil notes that a segment has unsynced writes.
func (l *Log) soil(n uint64) {
	if i, found := slices.BinarySearch(l.dirty, n); !found {
		l.dirty = slices.Insert(l.dirty, i, n)
	}
}

// Sync makes every byte written durable, and notes that mark, the end of the last
// whole record among them, is.
func (l *Log) Sync(ctx context.Context, mark wal.LSN) error {
	if mark > l.end {
		assert.Failf("mark %v is within the log, which ends at %v", mark, l.end)
	}
	if l.broken != nil {
		return l.broken
	}
	if err := l.syncDirty(ctx); err != nil {
		return l.fail("sync", err)
	}
	if err := l.writeMark(ctx, mark); err != nil {
		return l.fail("mark", err)
	}
	return nil
}

// syncDirty also closes the segments that are full: the one that the end is in is
// all that more writes need.
func (l *Log) syncDirty(ctx context.Context) error {
	for _, n := range l.dirty {
		if err := l.files[n].Sync(ctx); err != nil {
			return fmt.Errorf("segment %s: %w", Name(n), err)
		}
		if n < l.end.Segment() {
			l.files[n].Close()
			delete(l.files, n)
		}
	}
	l.dirty = l.dirty[:0]
	return nil
}

func (l *Log) writeMark(ctx context.Context, mark wal.LSN) error {
	l.marked = appendMark(l.marked[:0], mark)
	_, err := l.mark.WriteAt(ctx, l.marked, 0)
	return err
}

// Truncate cuts the log so that it ends at to. When it returns, no crash can bring
// back a byte at or above to. The caller's own durable mark must be at or below to
// before the call.
func (l *Log) Truncate(ctx context.Context, to wal.LSN) error {
	assert.That(to >= l.cfg.Start, "cut at %v is at or above the log's start %v", to, l.cfg.Start)
	assert.That(to <= l.end, "cut at %v is within the log, which ends at %v", to, l.end)
	if l.broken != nil {
		return l.broken
	}
	if err := l.truncate(ctx, to); err != nil {
		return l.fail("truncate", err)
	}
	return nil
}

func (l *Log) truncate(ctx context.Context, to wal.LSN) error {
	// Lowered first: else a crash after the cut would look like lost bytes.
	if err := l.writeMark(ctx, to); err != nil {
		return err
	}
	if err := l.mark.Sync(ctx); err != nil {
		return err
	}
	if err := l.clearAbove(ctx, to, l.end); err != nil {
		return err
	}
	l.end = to
	return l.syncDirty(ctx)
}

// clearAbove removes the segments behind the one of the LSN to, the last one first
// so that a crash leaves no hole, and makes that one zero from to up to end.
func (l *Log) clearAbove(ctx context.Context, to, end wal.LSN) error {
	segments, err := listSegments(ctx, l.fs, l.cfg.Dir)
	if err != nil {
		return err
	}
	for _, n := range slices.Backward(segments) {
		if n <= to.Segment() {
			break
		}
		if err := l.removeSegment(ctx, n); err != nil {
			return err
		}
	}
	if !slices.Contains(segments, to.Segment()) {
		return nil // to is the very end of the segment before
	}
	return l.clear(ctx, to, min(end, wal.SegmentStart(to.Segment()+1)))
}

func (l *Log) removeSegment(ctx context.Context, n uint64) error {
	if f := l.files[n]; f != nil {
		f.Close()
		delete(l.files, n)
	}
	if i, found := slices.BinarySearch(l.dirty, n); found {
		l.dirty = slices.Delete(l.dirty, i, i+1)
	}
	if err := l.fs.Remove(ctx, l.path(n)); err != nil {
		return fmt.Errorf("remove segment %s: %w", Name(n), err)
	}
	return l.fs.SyncDir(ctx, l.cfg.Dir)
}

// zeroChunk is how much is compared and cleared at once, in bytes.
const zeroChunk = 256 << 10

// zeros is never written to.
var zeros [zeroChunk]byte

// clear makes [from, to), which lies in one segment, zero where it is not.
func (l *Log) clear(ctx context.Context, from, to wal.LSN) error {
	f, err := l.file(ctx, from.Segment())
	if err != nil {
		return err
	}
	chunk := make([]byte, min(zeroChunk, to-from))
	for ; from < to; from += wal.LSN(len(chunk)) {
		chunk = chunk[:min(zeroChunk, to-from)]
		if _, err := f.ReadAt(ctx, chunk, int64(from.SegmentOffset())); err != nil {
			return fmt.Errorf("read segment %s: %w", Name(from.Segment()), err)
		}
		if bytes.Equal(chunk, zeros[:len(chunk)]) {
			continue
		}
		l.soil(from.Segment())
		if _, err := f.WriteAt(ctx, zeros[:len(chunk)], int64(from.SegmentOffset())); err != nil {
			return fmt.Errorf("clear segment %s: %w", Name(from.Segment()), err)
		}
	}
	return nil
}

// ReadAt fills p with the bytes at an LSN. Any task may call it, for bytes that lie
// within the log and are not being cut meanwhile.
func (l *Log) ReadAt(ctx context.Context, p []byte, at wal.LSN) error {
	assert.That(at >= l.cfg.Start, "read at %v is at or above the log's start %v", at, l.cfg.Start)
	return readAt(ctx, l.fs, l.cfg.Dir, p, at)
}

// readAt opens the segments it needs: a read is up to a megabyte, so that an open
// and a close cost little beside it, and readers share nothing with the writer.
func readAt(ctx context.Context, fs env.FS, dir string, p []byte, at wal.LSN) error {
	for len(p) > 0 {
		n := min(len(p), wal.SegmentSize-at.SegmentOffset())
		f, err := fs.Open(ctx, dir+"/"+Name(at.Segment()))
		if err == nil {
			_, err = f.ReadAt(ctx, p[:n], int64(at.SegmentOffset()))
			f.Close()
		}
		if err != nil {
			return fmt.Errorf("read log at %v: %w", at, err)
		}
		p, at = p[n:], at+wal.LSN(n)
	}
	return nil
}

// fail breaks the log: after a failed write or sync nobody knows what is on disk.
func (l *Log) fail(verb string, err error) error {
	l.broken = fmt.Errorf("%s log in %s: %w", verb, l.cfg.Dir, err)
	return l.broken
}

// Close lets go of the files. What was not synced is not made durable.
func (l *Log) Close() {
	//varve:unordered closing files that are only read from hereafter has no order
	for _, f := range l.files {
		f.Close()
	}
	if l.mark != nil {
		l.mark.Close()
	}
	l.files, l.dirty, l.mark = nil, nil, nil
	l.broken = errors.New("the log is closed")
}

// listSegments returns the numbers of the segments in a directory, ascending.
func listSegments(ctx context.Context, fs env.FS, dir string) ([]uint64, error) {
	names, err := fs.List(ctx, dir)
	if err != nil {
		return nil, err
	}
	var segments []uint64
	for _, name := range names {
		if n, ok := ParseName(name); ok {
			segments = append(segments, n)
		}
	}
	slices.Sort(segments)
	return segments, nil
}
