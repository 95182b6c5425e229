package basebackup

import (
	"context"
	"fmt"
	"io/fs"
	"time"

	"github.com/varvedb/varve/lsm"
	"github.com/varvedb/varve/pageserver/datadir"
	"github.com/varvedb/varve/pageserver/pgcontrol"
	"github.com/varvedb/varve/pageserver/pgkey"
	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/pgwal"
	"github.com/varvedb/varve/wal/segment"
)

// Source is the storage that a start state is read from: a timeline of the pageserver.
type Source interface {
	// Value returns the value of a key as of an LSN, and whether it has one.
	Value(ctx context.Context, key lsm.Key, at wal.LSN) (value []byte, ok bool, err error)
	// Values calls fn with every key in [lo, hi) that has a value as of an LSN, in
	// order of keys. The value is valid during the call.
	Values(ctx context.Context, lo, hi lsm.Key, at wal.LSN, fn func(key lsm.Key, value []byte) error) error
}

// File is a file or directory of a data directory.
type File struct {
	Path string      // slash-separated, relative to the data directory
	Mode fs.FileMode // permissions, and fs.ModeDir
	Body []byte
}

const (
	dirMode  = fs.ModeDir | 0o700
	fileMode = fs.FileMode(0o600)
)

// State is everything that a Postgres needs to start at an LSN, but relation pages.
type State struct {
	Files   []File // parents before what they hold; without the log's segments
	Control *pgcontrol.File

	// The shutdown checkpoint that the Postgres starts from.
	Start  wal.LSN // where its bytes begin: the first record position at or above the LSN
	Record wal.LSN // its LSN: Start, or past the page header that Start is at
	End    wal.LSN
	WAL    []byte // the log from Start to End: page headers and the record
}

// StartState reads the state as of at. prev is the LSN of the log's last record, 0 if
// the log begins here; now stamps the checkpoint.
func StartState(ctx context.Context, src Source, at, prev wal.LSN, now time.Time) (*State, error) {
	s := &State{}
	for _, make := range []func() error{
		func() error { return s.makeControl(ctx, src, at, prev, now) },
		func() error { return s.directories(ctx, src, at) },
		func() error { return s.slrus(ctx, src, at) },
		func() error { return s.twoPhase(ctx, src, at) },
		func() error { return s.origins(ctx, src, at) },
	} {
		if err := make(); err != nil {
			return nil, fmt.Errorf("make start state at %v: %w", at, err)
		}
	}
	return s, nil
}

func (s *State) add(path string, mode fs.FileMode, body []byte) {
	s.Files = append(s.Files, File{Path: path, Mode: mode, Body: body})
}

// emptyDirs are the directories that PostgreSQL makes in initdb only.
var emptyDirs = []string{
	"base", "global", "pg_commit_ts", "pg_dynshmem", "pg_logical", "pg_logical/mappings",
	"pg_logical/snapshots", "pg_multixact", "pg_multixact/members", "pg_multixact/offsets",
	"pg_notify", "pg_replslot", "pg_serial", "pg_snapshots", "pg_stat", "pg_stat_tmp",
	"pg_subtrans", "pg_tblspc", "pg_twophase", "pg_wal", "pg_wal/archive_status", "pg_xact",
}

// directories adds the directories of the cluster and its databases, with the files
// in them that are not relations.
func (s *State) directories(ctx context.Context, src Source, at wal.LSN) error {
	for _, dir := range emptyDirs {
		s.add(dir, dirMode, nil)
	}
	s.add("PG_VERSION", fileMode, []byte(datadir.MajorVersion))
	s.add("global/pg_control", fileMode, s.Control.AppendTo(nil))
	if err := s.tablespaces(ctx, src, at); err != nil {
		return err
	}
	lo, hi := pgkey.Databases()
	err := each(ctx, src, lo, hi, at, func(key pgkey.Parsed, value []byte) {
		db := datadir.Database{Spc: key.Spc, DB: key.DB}
		s.add(db.Dir(), dirMode, nil)
		s.add(db.Dir()+"/PG_VERSION", fileMode, clone(value))
	})
	if err != nil {
		return err
	}
	lo, hi = pgkey.RelMaps()
	return each(ctx, src, lo, hi, at, func(key pgkey.Parsed, value []byte) {
		s.add(datadir.DatabaseDir(key.Spc, key.DB)+"/pg_filenode.map", fileMode, clone(value))
	})
}

// tablespaces adds an empty directory for each: its location is not where it was.
func (s *State) tablespaces(ctx context.Context, src Source, at wal.LSN) error {
	lo, hi := pgkey.Tablespaces()
	return each(ctx, src, lo, hi, at, func(key pgkey.Parsed, _ []byte) {
		s.add(fmt.Sprintf("pg_tblspc/%d", key.Spc), dirMode, nil)
		s.add(datadir.TablespaceDir(key.Spc), dirMode, nil)
	})
}

func (s *State) twoPhase(ctx context.Context, src Source, at wal.LSN) error {
	lo, hi := pgkey.TwoPhases()
	return each(ctx, src, lo, hi, at, func(key pgkey.Parsed, value []byte) {
		s.add(fmt.Sprintf("pg_twophase/%08X", key.XID), fileMode, clone(value))
	})
}

// each is Source.Values with keys parsed.
func each(ctx context.Context, src Source, lo, hi lsm.Key, at wal.LSN, fn func(key pgkey.Parsed, value []byte)) error {
	return src.Values(ctx, lo, hi, at, func(key lsm.Key, value []byte) error {
		parsed, err := pgkey.ParseKey(key)
		if err == nil {
			fn(parsed, value)
		}
		return err
	})
}

func clone(b []byte) []byte { return append([]byte(nil), b...) }

// Segments makes the files of pg_wal that the Postgres starts from: one, or two if
// the record runs into the next segment.
func (s *State) Segments() []File {
	var files []File
	first, last := s.Start.Segment(), (s.End - 1).Segment()
	for n := first; n <= last; n++ {
		body := make([]byte, wal.SegmentSize)
		start := wal.SegmentStart(n)
		if n == first {
			s.header(body, start)
			s.header(body, pgwal.PageStart(s.Start))
			copy(body[s.Start.SegmentOffset():], s.WAL)
		} else {
			copy(body, s.WAL[start-s.Start:])
		}
		files = append(files, File{Path: "pg_wal/" + segment.Name(n), Mode: fileMode, Body: body})
	}
	return files
}

// header writes the header of a page before s.Start into its segment. On the page of
// s.Start it says that an earlier record's last bytes fill the page up to there:
// tools that look for the first record of a page then find ours, not zeros.
func (s *State) header(body []byte, page wal.LSN) {
	begin := page + wal.LSN(pgwal.PageHeaderSize(page))
	if s.Start < begin {
		return // s.WAL brings it
	}
	rest := uint32(0)
	if s.Start-page < pgwal.WALPageSize {
		rest = uint32(s.Start - begin)
	}
	header := pgwal.AppendPageHeader(nil, page, s.Control.SystemID, rest)
	copy(body[page.SegmentOffset():], header)
}
