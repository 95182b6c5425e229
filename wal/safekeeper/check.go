package safekeeper

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/env"
	"github.com/varvedb/varve/wal/frame"
	"github.com/varvedb/varve/wal/pgwal"
	"github.com/varvedb/varve/wal/walapi"
)

const (
	// readTries is how often bytes are read before they count as damaged on disk, and
	// not on the way from there.
	readTries = 2
	// damageBytesMax bounds what is kept of a description of damage.
	damageBytesMax = 4 << 10
)

// readSound reads at most size bytes of a log whose records are whole up to limit. They
// are checked, to the end of the record that they end in, and cut behind a record if one
// ends in them. Damage says that they are not what was written.
func (t *timeline) readSound(ctx context.Context, begin wal.LSN, size int, limit wal.LSN) (bytes []byte, damage, err error) {
	for range readTries {
		bytes, damage, err = t.tryRead(ctx, begin, size, limit)
		damage = t.placed(damage)
		if errors.Is(err, env.ErrNotExist) || errors.Is(err, io.EOF) {
			file, _ := t.log.Place(begin)
			damage, err = wal.Corruptf(file, 0, "log", fmt.Sprintf("bytes up to %v", limit), err), nil
		}
		if err != nil {
			return nil, nil, err
		}
		if damage == nil {
			return bytes[:min(size, len(bytes))], nil, nil
		}
	}
	return nil, damage, nil
}

// tryRead reads once. Bytes that begin with a record, as nearly all do that are read,
// are checked by themselves.
func (t *timeline) tryRead(ctx context.Context, begin wal.LSN, size int, limit wal.LSN) (bytes []byte, damage, err error) {
	if to := t.checkedTo(begin); to > begin && to <= limit {
		bytes = make([]byte, min(wal.LSN(size), walapi.ReadBytesMax, to-begin))
		return bytes, nil, t.log.ReadAt(ctx, bytes, begin)
	}
	bytes = make([]byte, min(walapi.ReadBytesMax, limit-begin))
	if err := t.log.ReadAt(ctx, bytes, begin); err != nil {
		return nil, nil, err
	}
	if pgwal.IsRecordPosition(begin) {
		scanner := t.newScanner(begin)
		if damage := feed(scanner, bytes); damage == nil && scanner.Position() > begin {
			return bytes[:scanner.Position()-begin], nil, nil
		}
	}
	end, damage, err := t.checkAround(ctx, begin, bytes, limit)
	return bytes[:min(len(bytes), int(end-min(begin, end)))], damage, err
}

// checkAround checks bytes of the log from a record that begins before them to the end
// of one, above begin, and returns that.
func (t *timeline) checkAround(ctx context.Context, begin wal.LSN, bytes []byte, limit wal.LSN) (end wal.LSN, damage, err error) {
	from, err := t.recordBefore(ctx, begin)
	if err != nil {
		return 0, nil, err
	}
	scanner := t.newScanner(from)
	if damage, err = t.scan(ctx, scanner, from, begin, begin); damage != nil || err != nil {
		return 0, damage, err
	}
	if damage := feed(scanner, bytes); damage != nil {
		return 0, damage, nil
	}
	damage, err = t.scan(ctx, scanner, begin+wal.LSN(len(bytes)), limit, begin)
	if end = scanner.Position(); end <= begin && damage == nil && err == nil {
		damage = wal.Corruptf("", int64(end), "log", fmt.Sprintf("whole records up to %v", limit), fmt.Sprintf("an end at %v", end))
	}
	if damage == nil && err == nil {
		t.mu.Lock()
		t.checkedFrom, t.checkedEnd = from, end
		t.mu.Unlock()
	}
	return end, damage, err
}

// checkedTo returns the end of what was checked last if an LSN lies in that, else 0: a
// long record is read in many pieces, and checked with the first of them.
func (t *timeline) checkedTo(lsn wal.LSN) wal.LSN {
	t.mu.Lock()
	defer t.mu.Unlock()
	if lsn < t.checkedFrom || lsn >= t.checkedEnd {
		return 0
	}
	return t.checkedEnd
}

// scan checks [from, to), or less if a record ends above an LSN before.
func (t *timeline) scan(ctx context.Context, scanner *pgwal.Scanner, from, to, above wal.LSN) (damage, err error) {
	chunk := make([]byte, min(walapi.ReadBytesMax, to-min(from, to)))
	for from < to && scanner.Position() <= above {
		chunk = chunk[:min(len(chunk), int(to-from))]
		if err := t.log.ReadAt(ctx, chunk, from); err != nil {
			return nil, err
		}
		if damage := feed(scanner, chunk); damage != nil {
			return damage, nil
		}
		from += wal.LSN(len(chunk))
	}
	return nil, nil
}

// recordBefore finds a place at or below an LSN where a record begins: page headers
// tell where the first record on their page does. If they are damaged, what is read
// from there is no log, or begins further ahead.
func (t *timeline) recordBefore(ctx context.Context, lsn wal.LSN) (wal.LSN, error) {
	const (
		headerSize = 24
		continued  = 1 // the page begins with the rest of a record
	)
	header := make([]byte, headerSize)
	for page := pgwal.PageStart(lsn); page > t.identity.Start; page -= pgwal.WALPageSize {
		if err := t.log.ReadAt(ctx, header, page); err != nil {
			return 0, err
		}
		if binary.LittleEndian.Uint16(header) == 0 {
			continue // behind a switch to the next segment
		}
		first := pgwal.RecordStart(page)
		if binary.LittleEndian.Uint16(header[2:])&continued != 0 {
			first = pgwal.RecordStart(first + wal.LSN(binary.LittleEndian.Uint32(header[16:])))
		}
		if first <= lsn && first < page+pgwal.WALPageSize {
			return first, nil
		}
	}
	return t.identity.Start, nil
}

func (t *timeline) newScanner(from wal.LSN) *pgwal.Scanner {
	scanner := pgwal.NewScanner("log of timeline "+t.identity.Timeline.String(), from)
	scanner.ExpectSystemID(t.identity.SystemID)
	return scanner
}

// feed checks the bytes that follow.
func feed(scanner *pgwal.Scanner, p []byte) error {
	scanner.Feed(p)
	for {
		if more, err := scanner.Next(); !more {
			return err
		}
	}
}

// placed names damage, at an LSN, by the file that it is in.
func (t *timeline) placed(damage error) error {
	var c *wal.CorruptionError
	if !errors.As(damage, &c) {
		return damage
	}
	file, offset := t.log.Place(wal.LSN(c.Offset))
	return wal.Corruptf(file, offset, c.What, c.Want, c.Got)
}

// lose makes the timeline an amnesiac, as a part of what it has acknowledged is
// damaged, and returns what its readers are told.
func (t *timeline) lose(ctx context.Context, damage error) error {
	t.e.Trace.Event("log damaged", "timeline", t.identity.Timeline.String(), "error", damage)
	err := noteDamage(ctx, t.e.FS, t.dir, damage)
	t.fail(errors.Join(damage, err))
	return frame.Errorf(walapi.CodeAmnesiac, "timeline %v is damaged: %v", t.identity.Timeline, damage)
}

// noteDamage makes the file that says so, durably. If that fails, the damage will be
// found once more.
func noteDamage(ctx context.Context, fs env.FS, dir string, damage error) error {
	f, err := fs.Create(ctx, dir+"/"+damagedName)
	if errors.Is(err, env.ErrExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("note damage: %w", err)
	}
	defer f.Close()
	text := []byte(damage.Error())
	if _, err := f.WriteAt(ctx, text[:min(len(text), damageBytesMax)], 0); err != nil {
		return fmt.Errorf("note damage: %w", err)
	}
	if err := f.Sync(ctx); err != nil {
		return fmt.Errorf("note damage: %w", err)
	}
	if err := fs.SyncDir(ctx, dir); err != nil {
		return fmt.Errorf("note damage: %w", err)
	}
	return nil
}

// readDamage returns the damage that was noted, as an error that matches
// wal.ErrCorruption. Only the file's being there counts: its text is for people.
func readDamage(ctx context.Context, fs env.FS, dir string) error {
	name := dir + "/" + damagedName
	f, err := fs.Open(ctx, name)
	if errors.Is(err, env.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	text := make([]byte, damageBytesMax)
	n, err := f.ReadAt(ctx, text, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	return wal.Corruptf(name, 0, "log", "no damage", fmt.Sprintf("%q", text[:n]))
}
