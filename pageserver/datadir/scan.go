package datadir

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/pgwal"
)

// Tree lists what stands below base, global and pg_tblspc.
type Tree struct {
	Databases   []Database // ascending; the shared relations are not one
	Forks       []Fork     // ascending by relation, then fork
	Others      []Other    // by path
	Tablespaces []uint32   // ascending; without the built-in two
}

// Database is a directory of a database's files in one tablespace.
type Database struct{ Spc, DB uint32 }

// Dir is the database's directory.
func (d Database) Dir() string { return DatabaseDir(d.Spc, d.DB) }

// Fork is one fork of a relation.
type Fork struct {
	Rel      pgwal.RelFileNode
	Fork     pgwal.Fork
	Segments []int64 // sizes in bytes of its segment files; -1 if one is missing before the last
}

// Path is the path of the fork's first segment.
func (f *Fork) Path() string { return ForkPath(f.Rel, f.Fork) }

// Blocks returns the fork's size. A segment that is missing, or is not whole
// blocks, or is not full although another follows, is an error that matches
// wal.ErrCorruption.
func (f *Fork) Blocks() (uint32, error) {
	const full = SegmentBlocks * pgwal.PageSize
	for i, size := range f.Segments {
		file := SegmentPath(f.Rel, f.Fork, uint32(i))
		switch last := i == len(f.Segments)-1; {
		case !last && size != full:
			return 0, wal.Corruptf(file, 0, "size of a segment that another follows", full, size)
		case size%pgwal.PageSize != 0 || size > full:
			return 0, wal.Corruptf(file, 0, "segment size", fmt.Sprintf("whole blocks, at most %d", SegmentBlocks), size)
		}
	}
	last := len(f.Segments) - 1
	return uint32(last)*SegmentBlocks + uint32(f.Segments[last]/pgwal.PageSize), nil
}

// Other is a file that belongs to no fork of a permanent or unlogged relation.
type Other struct {
	Path   string
	Reason string
}

// The reasons why a file is an [Other].
const (
	Temporary = "temporary file"
	Cache     = "cache that PostgreSQL rebuilds"
	Known     = "file of a database, read by name"
	Unknown   = "name that PostgreSQL does not use"
)

// Unlogged returns the relations that have an init fork, for whose other forks
// PostgreSQL logs nothing.
func (t *Tree) Unlogged() map[pgwal.RelFileNode]bool {
	unlogged := map[pgwal.RelFileNode]bool{}
	for _, f := range t.Forks {
		if f.Fork == pgwal.InitFork {
			unlogged[f.Rel] = true
		}
	}
	return unlogged
}

// Scan lists the files of a data directory. A missing pg_tblspc is an empty one.
func Scan(fsys fs.FS) (*Tree, error) {
	s := scan{fsys: fsys, tree: &Tree{}}
	if err := s.databaseDir(Database{GlobalTablespace, 0}); err != nil {
		return nil, err
	}
	if err := s.tablespace(DefaultTablespace, "base"); err != nil {
		return nil, err
	}
	if err := s.tablespaces(); err != nil {
		return nil, err
	}
	if err := s.gather(); err != nil {
		return nil, err
	}
	slices.SortFunc(s.tree.Databases, compareDatabases)
	slices.SortFunc(s.tree.Others, func(a, b Other) int { return cmp.Compare(a.Path, b.Path) })
	return s.tree, nil
}

type scan struct {
	fsys     fs.FS
	tree     *Tree
	segments []segment
}

type segment struct {
	rel    pgwal.RelFileNode
	fork   pgwal.Fork
	number uint32
	size   int64
}

func (s *scan) tablespaces() error {
	entries, err := fs.ReadDir(s.fsys, "pg_tblspc")
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("list tablespaces: %w", err)
	}
	for _, entry := range entries {
		spc, ok := parseOID(entry.Name())
		if !ok {
			s.other("pg_tblspc/"+entry.Name(), Unknown)
			continue
		}
		s.tree.Tablespaces = append(s.tree.Tablespaces, spc)
		err := s.tablespace(spc, TablespaceDir(spc))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	slices.Sort(s.tree.Tablespaces)
	return nil
}

func (s *scan) tablespace(spc uint32, dir string) error {
	entries, err := fs.ReadDir(s.fsys, dir)
	if err != nil {
		return fmt.Errorf("list tablespace: %w", err)
	}
	for _, entry := range entries {
		db, ok := parseOID(entry.Name())
		switch {
		case ok && entry.IsDir():
			s.tree.Databases = append(s.tree.Databases, Database{spc, db})
			if err := s.databaseDir(Database{spc, db}); err != nil {
				return err
			}
		case entry.Name() == "pgsql_tmp":
			s.other(dir+"/"+entry.Name(), Temporary)
		default:
			s.other(dir+"/"+entry.Name(), Unknown)
		}
	}
	return nil
}

func (s *scan) databaseDir(db Database) error {
	entries, err := fs.ReadDir(s.fsys, db.Dir())
	if err != nil {
		return fmt.Errorf("list database: %w", err)
	}
	for _, entry := range entries {
		rel, fork, number, ok := parseForkName(entry.Name())
		if !ok || !entry.Type().IsRegular() {
			s.other(db.Dir()+"/"+entry.Name(), reason(entry.Name()))
			continue
		}
		info, err := entry.Info()
		if err != nil {
			return fmt.Errorf("list database: %w", err)
		}
		node := pgwal.RelFileNode{Spc: db.Spc, DB: db.DB, Rel: rel}
		s.segments = append(s.segments, segment{node, fork, number, info.Size()})
	}
	return nil
}

func reason(name string) string {
	switch name {
	case "PG_VERSION", "pg_filenode.map", "pg_control":
		return Known
	case "pg_internal.init":
		return Cache
	}
	if isTemporary(name) {
		return Temporary
	}
	return Unknown
}

func (s *scan) other(path, reason string) {
	s.tree.Others = append(s.tree.Others, Other{path, reason})
}

// gather makes forks of the segments found.
func (s *scan) gather() error {
	slices.SortFunc(s.segments, func(a, b segment) int {
		return cmp.Or(CompareRelations(a.rel, b.rel), cmp.Compare(a.fork, b.fork), cmp.Compare(a.number, b.number))
	})
	for _, seg := range s.segments {
		// More would be more blocks than a fork can have.
		if seg.number >= 1<<32/SegmentBlocks {
			return wal.Corruptf(SegmentPath(seg.rel, seg.fork, seg.number), 0, "segment number", "at most 32767", seg.number)
		}
		last := len(s.tree.Forks) - 1
		if last < 0 || s.tree.Forks[last].Rel != seg.rel || s.tree.Forks[last].Fork != seg.fork {
			s.tree.Forks = append(s.tree.Forks, Fork{Rel: seg.rel, Fork: seg.fork})
			last++
		}
		fork := &s.tree.Forks[last]
		for uint32(len(fork.Segments)) < seg.number {
			fork.Segments = append(fork.Segments, -1)
		}
		fork.Segments = append(fork.Segments, seg.size)
	}
	return nil
}

// CompareRelations orders relations by tablespace, database and file node.
func CompareRelations(a, b pgwal.RelFileNode) int {
	return cmp.Or(cmp.Compare(a.Spc, b.Spc), cmp.Compare(a.DB, b.DB), cmp.Compare(a.Rel, b.Rel))
}

func compareDatabases(a, b Database) int {
	return cmp.Or(cmp.Compare(a.Spc, b.Spc), cmp.Compare(a.DB, b.DB))
}
