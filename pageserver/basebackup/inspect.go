package basebackup

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/varvedb/varve/pageserver/datadir"
	"github.com/varvedb/varve/pageserver/pgcontrol"
	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/pgwal"
	"github.com/varvedb/varve/wal/segment"
)

// Info says what a data directory is.
type Info struct {
	SystemID   uint64
	LSN        wal.LSN // X0: the end of the log, and of its last record
	PrevRecord wal.LSN // start of that record, the shutdown checkpoint
	Control    *pgcontrol.File
}

// RefusedError says why a directory cannot be imported, and what to do about it.
type RefusedError struct {
	Reason string
	Fix    string
}

func (e *RefusedError) Error() string {
	return fmt.Sprintf("data directory cannot be used: %s: %s", e.Reason, e.Fix)
}

// Inspect reads what a data directory says of itself and finds the end of its log.
// It refuses, with a [RefusedError], one that cannot be read here.
func Inspect(fsys fs.FS) (*Info, error) {
	if err := checkVersion(fsys); err != nil {
		return nil, err
	}
	image, err := fs.ReadFile(fsys, "global/pg_control")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &RefusedError{"it has no global/pg_control", notADirectory}
	}
	if err != nil {
		return nil, fmt.Errorf("read control file: %w", err)
	}
	control, err := pgcontrol.Decode("global/pg_control", image)
	if err != nil {
		return nil, err
	}
	if err := checkControl(control); err != nil {
		return nil, err
	}
	if err := checkLeftovers(fsys); err != nil {
		return nil, err
	}
	info := &Info{SystemID: control.SystemID, PrevRecord: control.CheckPoint, Control: control}
	info.LSN, err = endOfLog(fsys, control)
	return info, err
}

// Check is [Inspect], and refuses also what only [Import] cannot take: tablespaces.
func Check(fsys fs.FS) (*Info, error) {
	info, err := Inspect(fsys)
	if err != nil {
		return nil, err
	}
	return info, checkTablespaces(fsys)
}

const (
	notADirectory = "name the data directory of a PostgreSQL 15, the one that holds PG_VERSION and global"
	useDump       = "load a pg_dumpall of it into a fresh cluster of PostgreSQL 15, and import that"
	stopCleanly   = "stop it with pg_ctl stop -m fast, and start it once before if it crashed"
)

func checkVersion(fsys fs.FS) error {
	version, err := fs.ReadFile(fsys, "PG_VERSION")
	if errors.Is(err, fs.ErrNotExist) {
		return &RefusedError{"it has no PG_VERSION", notADirectory}
	}
	if err != nil {
		return fmt.Errorf("read version: %w", err)
	}
	if string(version) != datadir.MajorVersion {
		return &RefusedError{fmt.Sprintf("its major version is %.10q, not 15", bytes.TrimSpace(version)), "bring it to 15 with pg_upgrade, or " + useDump}
	}
	return nil
}

func checkControl(c *pgcontrol.File) error {
	const sizes = "use a PostgreSQL 15 built with the usual sizes, such as Debian's: " + useDump
	switch {
	case c.CatalogVersion != datadir.CatalogVersion:
		return &RefusedError{fmt.Sprintf("its catalog version is %d, not %d", c.CatalogVersion, datadir.CatalogVersion), useDump}
	case c.State != pgcontrol.ShutDown:
		return &RefusedError{fmt.Sprintf("it was not stopped cleanly (state %q)", c.State), stopCleanly}
	case c.DataChecksumVersion != 0:
		return &RefusedError{"it has data checksums", "switch them off with pg_checksums --disable"}
	case c.CheckPointCopy.TimeLine != 1:
		return &RefusedError{fmt.Sprintf("its timeline is %d, not 1 (it was promoted or restored)", c.CheckPointCopy.TimeLine), useDump}
	case c.WALSegmentBytes != wal.SegmentSize:
		return &RefusedError{fmt.Sprintf("its WAL segments have %d bytes, not 16 MB", c.WALSegmentBytes), "run pg_resetwal --wal-segsize=16 on it"}
	case c.BlockBytes != pgwal.PageSize || c.WALBlockBytes != pgwal.WALPageSize || c.SegmentBlocks != datadir.SegmentBlocks:
		return &RefusedError{"its blocks or relation segments have unusual sizes", sizes}
	case c.MaxAlign != 8 || c.FloatFormat != 1234567 || !c.Float8ByVal:
		return &RefusedError{"it was made on a machine of another architecture", useDump}
	}
	return nil
}

// checkLeftovers refuses what the control file does not tell: a server that may be
// running, a backup not yet recovered, tablespaces.
func checkLeftovers(fsys fs.FS) error {
	for _, leftover := range []struct{ file, reason, fix string }{
		{"postmaster.pid", "a server may be running on it (postmaster.pid)", stopCleanly},
		{"backup_label", "it is a backup that was never started (backup_label)", "start it once and " + stopCleanly},
		{"standby.signal", "it is a standby (standby.signal)", useDump},
		{"recovery.signal", "it is being recovered (recovery.signal)", "let it finish recovery and " + stopCleanly},
	} {
		_, err := fs.Stat(fsys, leftover.file)
		if err == nil {
			return &RefusedError{leftover.reason, leftover.fix}
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("look at data directory: %w", err)
		}
	}
	return nil
}

// checkTablespaces refuses a directory with tablespaces of its own.
func checkTablespaces(fsys fs.FS) error {
	entries, err := fs.ReadDir(fsys, "pg_tblspc")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("list tablespaces: %w", err)
	}
	if len(entries) > 0 {
		return &RefusedError{fmt.Sprintf("it has tablespaces (pg_tblspc/%s)", entries[0].Name()),
			"move what is in them with ALTER TABLE ... SET TABLESPACE pg_default, and DROP TABLESPACE"}
	}
	return nil
}

// endOfLog reads the shutdown checkpoint that the control file names from pg_wal, and
// returns its end.
func endOfLog(fsys fs.FS, c *pgcontrol.File) (wal.LSN, error) {
	decoder := pgwal.NewDecoder("pg_wal", c.CheckPoint)
	decoder.ExpectSystemID(c.SystemID)
	var record pgwal.Record
	skip := c.CheckPoint.SegmentOffset()
	// The record is shorter than a page: it lies in one segment or two.
	for n := c.CheckPoint.Segment(); n <= c.CheckPoint.Segment()+1; n++ {
		name := "pg_wal/" + segment.Name(n)
		body, size, err := readTail(fsys, name, int64(skip))
		if errors.Is(err, fs.ErrNotExist) {
			return 0, &RefusedError{fmt.Sprintf("the last checkpoint, at %v, is not in its log (no %s)", c.CheckPoint, name), stopCleanly}
		}
		if err != nil {
			return 0, fmt.Errorf("read the end of the log: %w", err)
		}
		if size != wal.SegmentSize {
			return 0, wal.Corruptf(name, 0, "segment size", wal.SegmentSize, size)
		}
		decoder.Feed(body)
		skip = 0
		found, err := decoder.Next(&record)
		if err != nil {
			return 0, fmt.Errorf("read the last checkpoint from %s: %w", name, err)
		}
		if found {
			return record.End, checkLast(&record, c)
		}
	}
	return 0, wal.Corruptf("pg_wal", int64(c.CheckPoint), "length of the last checkpoint", "less than a segment", "more")
}

// readTail reads a file from an offset to its end, and tells its size, all of it. A
// file that ends before has no such tail.
func readTail(fsys fs.FS, name string, from int64) (tail []byte, size int64, err error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, 0, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, 0, err
	}
	tail = make([]byte, max(info.Size()-from, 0))
	if s, ok := f.(io.Seeker); ok {
		_, err = s.Seek(from, io.SeekStart)
	} else {
		_, err = io.CopyN(io.Discard, f, min(from, info.Size()))
	}
	if err == nil {
		_, err = io.ReadFull(f, tail)
	}
	return tail, info.Size(), err
}

// checkLast checks that the record is the checkpoint that the control file copies.
func checkLast(record *pgwal.Record, c *pgcontrol.File) error {
	if record.RMgr != pgwal.RMgrXLOG || record.Info&0xF0 != pgwal.OpXLOGCheckpointShutdown {
		return wal.Corruptf("pg_wal", int64(record.LSN), "last record", "XLOG CHECKPOINT_SHUTDOWN", record.RMgr.String()+" "+record.Kind())
	}
	checkpoint, err := pgwal.ParseCheckPoint(record)
	if err != nil {
		return err
	}
	if checkpoint != c.CheckPointCopy {
		return wal.Corruptf("global/pg_control", 0, "copy of the last checkpoint", checkpoint, c.CheckPointCopy)
	}
	return nil
}
