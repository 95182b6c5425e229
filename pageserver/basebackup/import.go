package basebackup

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strconv"
	"time"

	"github.com/varvedb/varve/lsm"
	"github.com/varvedb/varve/pageserver/datadir"
	"github.com/varvedb/varve/pageserver/pgkey"
	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/pgwal"
)

// Sink takes the images of an import: an empty root timeline of the layered store.
type Sink interface {
	// ImportImages takes images from next, in strictly ascending order of keys,
	// until it returns false. A value is valid until the next call.
	ImportImages(ctx context.Context, at wal.LSN, next func() (lsm.Key, []byte, bool, error)) error
}

// Import puts a cleanly stopped data directory into dst, all of it as of the end of
// its log. Nothing is published unless everything is read. A directory that cannot be
// imported is a [RefusedError]; one whose files contradict each other matches
// wal.ErrCorruption.
func Import(ctx context.Context, fsys fs.FS, dst Sink) (*Info, error) {
	info, err := Check(fsys)
	if err != nil {
		return nil, err
	}
	tree, err := datadir.Scan(fsys)
	if err != nil {
		return nil, err
	}
	p := &importer{fsys: fsys, info: info}
	if err := p.plan(tree); err != nil {
		return nil, err
	}
	defer p.close()
	if err := dst.ImportImages(ctx, info.LSN, p.next); err != nil {
		return nil, fmt.Errorf("import data directory: %w", err)
	}
	return info, nil
}

// importer yields the images of a directory in order of keys: pages of relations
// first, as they are read, then everything else, which is small.
type importer struct {
	fsys   fs.FS
	info   *Info
	forks  []datadir.Fork
	reader *datadir.Reader // of forks[0]
	rest   []image         // ascending
}

type image struct {
	key   lsm.Key
	value []byte
}

func (p *importer) next() (lsm.Key, []byte, bool, error) {
	for len(p.forks) > 0 {
		key, page, err := p.nextPage()
		if err != io.EOF {
			return key, page, err == nil, err
		}
	}
	if len(p.rest) == 0 {
		return lsm.Key{}, nil, false, nil
	}
	image := p.rest[0]
	p.rest = p.rest[1:]
	return image.key, image.value, true, nil
}

// nextPage returns the next page of the first fork that is not all zeros, which is
// what a page without a value is, or io.EOF when the fork is done.
func (p *importer) nextPage() (lsm.Key, []byte, error) {
	fork := &p.forks[0]
	if p.reader == nil {
		p.reader = datadir.NewReader(p.fsys, fork)
	}
	for {
		block, page, err := p.reader.Next()
		if err == io.EOF {
			p.close()
			p.forks = p.forks[1:]
		}
		if err != nil {
			return lsm.Key{}, nil, err
		}
		if !bytes.Equal(page, zeroPage[:]) {
			return pgkey.Block(fork.Rel, fork.Fork, block), page, nil
		}
	}
}

var zeroPage [pgwal.PageSize]byte

func (p *importer) close() {
	if p.reader != nil {
		p.reader.Close()
		p.reader = nil
	}
}

// plan lists everything that is to be imported, and reads all but relations.
func (p *importer) plan(tree *datadir.Tree) error {
	unlogged := tree.Unlogged()
	for _, fork := range tree.Forks {
		if fork.Fork == pgwal.FSMFork || unlogged[fork.Rel] && fork.Fork != pgwal.InitFork {
			continue
		}
		blocks, err := fork.Blocks()
		if err != nil {
			return err
		}
		p.forks = append(p.forks, fork)
		p.put(pgkey.Size(fork.Rel, fork.Fork), pgkey.SizeValue{Blocks: blocks}.AppendTo(nil))
	}
	for _, step := range []func() error{
		p.slrus,
		func() error { return p.databases(tree) },
		p.twoPhase,
		p.origins,
	} {
		if err := step(); err != nil {
			return err
		}
	}
	p.counters()
	slices.SortFunc(p.rest, func(a, b image) int { return a.key.Compare(b.key) })
	return nil
}

func (p *importer) put(key lsm.Key, value []byte) {
	p.rest = append(p.rest, image{key: key, value: value})
}

func (p *importer) putFile(key lsm.Key, path string) error {
	value, err := fs.ReadFile(p.fsys, path)
	if err != nil {
		return fmt.Errorf("read data directory: %w", err)
	}
	p.put(key, value)
	return nil
}

func (p *importer) databases(tree *datadir.Tree) error {
	for _, db := range append([]datadir.Database{{Spc: datadir.GlobalTablespace}}, tree.Databases...) {
		if err := p.relMap(tree, db); err != nil {
			return err
		}
		if db.Spc == datadir.GlobalTablespace {
			continue
		}
		if err := p.putFile(pgkey.Database(db.Spc, db.DB), db.Dir()+"/PG_VERSION"); err != nil {
			return err
		}
	}
	return nil
}

// relMap takes a database's map of the relations that its catalog cannot name: without
// their files the database cannot be read.
func (p *importer) relMap(tree *datadir.Tree, db datadir.Database) error {
	path := db.Dir() + "/pg_filenode.map"
	body, err := fs.ReadFile(p.fsys, path)
	if err != nil {
		return fmt.Errorf("read data directory: %w", err)
	}
	mappings, err := datadir.ParseRelMap(path, body)
	if err != nil {
		return err
	}
	for _, m := range mappings {
		rel := pgwal.RelFileNode{Spc: db.Spc, DB: db.DB, Rel: m.File}
		if !slices.ContainsFunc(tree.Forks, func(f datadir.Fork) bool { return f.Rel == rel && f.Fork == pgwal.MainFork }) {
			return wal.Corruptf(fmt.Sprintf("%s/%d", db.Dir(), m.File), 0, fmt.Sprintf("file of relation %d, which %s names", m.OID, path), "one", "none")
		}
	}
	p.put(pgkey.RelMap(db.Spc, db.DB), body)
	return nil
}

func (p *importer) slrus() error {
	for _, slru := range pgkey.SLRUs {
		segments, err := SLRUSegments(p.fsys, slru)
		if err != nil {
			return err
		}
		for _, number := range segments {
			path := slru.String() + "/" + SLRUSegmentName(number)
			body, err := fs.ReadFile(p.fsys, path)
			if err != nil {
				return fmt.Errorf("read data directory: %w", err)
			}
			if len(body)%pgwal.PageSize != 0 || len(body) > pgkey.SLRUSegmentPages*pgwal.PageSize {
				return wal.Corruptf(path, 0, "size", "at most 32 whole pages", len(body))
			}
			for i := 0; i*pgwal.PageSize < len(body); i++ {
				p.put(pgkey.SLRUPage(slru, number*pgkey.SLRUSegmentPages+uint32(i)), body[i*pgwal.PageSize:][:pgwal.PageSize])
			}
		}
	}
	return nil
}

// SLRUSegments lists the segment files of an SLRU, ascending.
func SLRUSegments(fsys fs.FS, slru pgkey.SLRU) ([]uint32, error) {
	const numberMax = 1<<32/pgkey.SLRUSegmentPages - 1
	return hexNames(fsys, slru.String(), numberMax, SLRUSegmentName)
}

// TwoPhaseFiles lists the prepared transactions that have a state file, ascending.
func TwoPhaseFiles(fsys fs.FS) ([]uint32, error) {
	return hexNames(fsys, "pg_twophase", 1<<32-1, func(xid uint32) string { return fmt.Sprintf("%08X", xid) })
}

// hexNames lists the files of a directory whose names are hexadecimal numbers as name
// writes them. Any other file there is an error; no directory is an empty one.
func hexNames(fsys fs.FS, dir string, numberMax uint64, name func(uint32) string) ([]uint32, error) {
	entries, err := fs.ReadDir(fsys, dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read data directory: %w", err)
	}
	var numbers []uint32
	for _, entry := range entries {
		n, err := strconv.ParseUint(entry.Name(), 16, 32)
		if err != nil || n > numberMax || name(uint32(n)) != entry.Name() {
			return nil, wal.Corruptf(dir, 0, "file name", "a hexadecimal number as PostgreSQL writes it", entry.Name())
		}
		numbers = append(numbers, uint32(n))
	}
	slices.SortFunc(numbers, cmp.Compare[uint32])
	return numbers, nil
}

func (p *importer) twoPhase() error {
	xids, err := TwoPhaseFiles(p.fsys)
	if err != nil {
		return err
	}
	for _, xid := range xids {
		if err := p.putFile(pgkey.TwoPhase(xid), fmt.Sprintf("pg_twophase/%08X", xid)); err != nil {
			return err
		}
	}
	return nil
}

func (p *importer) origins() error {
	origins, err := readOrigins(p.fsys)
	for _, o := range origins {
		p.put(pgkey.ReplOrigin(o.id), pgkey.OriginValue{Remote: o.remote}.AppendTo(nil))
	}
	return err
}

func (p *importer) counters() {
	c := countersOf(&p.info.Control.CheckPointCopy)
	p.put(pgkey.Control(), p.info.Control.AppendTo(nil))
	p.put(pgkey.NextXID(), pgkey.AppendUint64(nil, c.nextXID))
	p.put(pgkey.NextMulti(), c.nextMulti.AppendTo(nil))
	p.put(pgkey.NextOID(), pgkey.AppendUint32(nil, c.nextOID))
	p.put(pgkey.OldestXID(), c.oldestXID.AppendTo(nil))
	p.put(pgkey.OldestMulti(), c.oldestMulti.AppendTo(nil))
	p.put(pgkey.CommitTsRange(), c.commitTs.AppendTo(nil))
	p.put(pgkey.LastRecord(), pgkey.AppendUint64(nil, uint64(p.info.PrevRecord)))
	// The index of commit times begins here: no history is older than this checkpoint.
	p.put(pgkey.CommitTime(p.info.PrevRecord), pgkey.CommitTimeValue{
		Time:  int64(pgwal.TimestampOf(time.Unix(p.info.Control.CheckPointCopy.Time, 0))),
		Start: p.info.PrevRecord,
		Prev:  p.info.LSN,
	}.AppendTo(nil))
}
