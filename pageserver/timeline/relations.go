package timeline

import (
	"context"

	"github.com/varvedb/varve/lsm"
	"github.com/varvedb/varve/pageserver/pgkey"
	"github.com/varvedb/varve/pageserver/redo"
	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/pgwal"
)

// storage takes in the records that make and shorten forks.
func (t *Timeline) storage(ctx context.Context, rec *pgwal.Record) error {
	switch rec.Op() {
	case pgwal.OpSmgrCreate:
		c, err := pgwal.ParseSmgrCreate(rec)
		if err != nil || c.Fork == pgwal.FSMFork {
			return err
		}
		return t.create(ctx, forkID{c.Rel, c.Fork})
	case pgwal.OpSmgrTruncate:
		c, err := pgwal.ParseSmgrTruncate(rec)
		if err != nil {
			return err
		}
		if c.Flags&pgwal.SmgrTruncateHeap != 0 {
			if err := t.truncate(ctx, forkID{c.Rel, pgwal.MainFork}, c.Blocks); err != nil {
				return err
			}
		}
		if c.Flags&pgwal.SmgrTruncateVM != 0 {
			return t.truncateVM(ctx, c.Rel, c.Blocks)
		}
	}
	return nil
}

// visibility clears the bits of the visibility map that a heap record clears. It
// makes the map's page if need be, as PostgreSQL does.
func (t *Timeline) visibility(ctx context.Context, rec *pgwal.Record) (err error) {
	if t.clears, err = pgwal.AppendVMClears(t.clears[:0], rec); err != nil {
		return err
	}
	for _, c := range t.clears {
		page, _ := redo.VMPlace(c.Block)
		t.operation = redo.AppendVMClear(t.operation[:0], c.Block, c.Bits)
		if err := t.batch.delta(pgkey.Block(c.Rel, pgwal.VMFork, page), t.operation); err != nil {
			return err
		}
		if err := t.touch(ctx, forkID{c.Rel, pgwal.VMFork}, page); err != nil {
			return err
		}
	}
	return nil
}

// relmap stores a new relation map.
func (t *Timeline) relmap(rec *pgwal.Record) error {
	if rec.Op() != pgwal.OpRelMapUpdate {
		return nil
	}
	m, err := pgwal.ParseRelMapUpdate(rec)
	if err != nil {
		return err
	}
	t.batch.image(pgkey.RelMap(m.Tablespace, m.DB), append([]byte(nil), m.Map...))
	return nil
}

// tablespace stores where a tablespace is.
func (t *Timeline) tablespace(rec *pgwal.Record) error {
	switch rec.Op() {
	case pgwal.OpTablespaceCreate:
		c, err := pgwal.ParseTablespaceCreate(rec)
		if err != nil {
			return err
		}
		t.batch.image(pgkey.Tablespace(c.ID), []byte(c.Path))
	case pgwal.OpTablespaceDrop:
		id, err := pgwal.ParseTablespaceDrop(rec)
		if err != nil {
			return err
		}
		t.batch.tombstone(pgkey.Tablespace(id))
	}
	return nil
}

// versionFile is the content of PG_VERSION in the directories of PostgreSQL 15.
const versionFile = "15\n"

// database takes in the records that make and drop databases.
func (t *Timeline) database(ctx context.Context, rec *pgwal.Record) error {
	switch rec.Op() {
	case pgwal.OpDatabaseCreateWALLog:
		c, err := pgwal.ParseDatabaseCreate(rec)
		if err != nil {
			return err
		}
		t.batch.image(pgkey.Database(c.Tablespace, c.DB), []byte(versionFile))
	case pgwal.OpDatabaseCreateFileCopy:
		c, err := pgwal.ParseDatabaseCopy(rec)
		if err != nil {
			return err
		}
		return t.copyDatabase(ctx, c)
	case pgwal.OpDatabaseDrop:
		d, err := pgwal.ParseDatabaseDrop(rec)
		if err != nil {
			return err
		}
		if err := t.settle(ctx); err != nil {
			return err
		}
		for _, spc := range d.Tablespaces {
			if err := t.dropDatabase(ctx, spc, d.DB); err != nil {
				return err
			}
		}
	}
	return nil
}

// dropDatabase ends everything of a database in a tablespace. What came before the
// record is in the store.
func (t *Timeline) dropDatabase(ctx context.Context, spc, db uint32) error {
	t.batch.tombstone(pgkey.RelMap(spc, db))
	t.batch.tombstone(pgkey.Database(spc, db))
	forks := t.walkForks(spc, db, t.store.LastLSN())
	if _, err := forks.next(ctx); err != nil {
		return err
	}
	if !forks.done {
		return t.many(ctx, forks.lo, allKeys, dropForks(t.walkForks(spc, db, forks.at)))
	}
	for _, r := range forks.forks {
		t.setSize(forkID{r.Rel, r.Fork}, forkSize{})
	}
	return nil
}

func dropForks(forks *forkWalk) effect {
	return func(ctx context.Context, put putKey) error {
		for {
			r, err := forks.next(ctx)
			if err != nil || r == nil {
				return err
			}
			if err := put(pgkey.Size(r.Rel, r.Fork), lsm.Tombstone, nil); err != nil {
				return err
			}
			forks.take()
		}
	}
}

// copyDatabase makes a database equal to another one as of this record, and ends what was
// there under its number.
func (t *Timeline) copyDatabase(ctx context.Context, c pgwal.DatabaseCopy) error {
	if err := t.settle(ctx); err != nil {
		return err
	}
	t.batch.tombstone(pgkey.RelMap(c.Tablespace, c.DB))
	t.batch.tombstone(pgkey.Database(c.Tablespace, c.DB))
	at := t.store.LastLSN()
	pairs := [][2]lsm.Key{
		{pgkey.RelMap(c.SourceTablespace, c.SourceDB), pgkey.RelMap(c.Tablespace, c.DB)},
		{pgkey.Database(c.SourceTablespace, c.SourceDB), pgkey.Database(c.Tablespace, c.DB)},
	}
	for _, pair := range pairs {
		value, ok, err := t.value(ctx, pair[0], at)
		if err != nil {
			return err
		}
		if ok {
			t.batch.image(pair[1], value)
		}
	}
	copying := databaseCopy{t: t, DatabaseCopy: c, at: at, since: t.since()}
	pages, _ := pgkey.DatabaseRange(c.Tablespace, c.DB)
	if err := t.many(ctx, pages, allKeys, copying.pages); err != nil {
		return err
	}
	sizes, _ := pgkey.SizeRange(c.Tablespace, c.DB)
	return t.many(ctx, sizes, allKeys, copying.sizes)
}

// databaseCopy is the many effects of a CREATE DATABASE that copied files.
type databaseCopy struct {
	pgwal.DatabaseCopy
	t     *Timeline
	at    wal.LSN // the source is copied as of it
	since wal.LSN // of the copy's forks
}

// copyPages is how many pages of a fork are copied at a time.
const copyPages = 64

// pages copies the pages of all forks.
func (c *databaseCopy) pages(ctx context.Context, put putKey) error {
	forks := c.t.walkForks(c.SourceTablespace, c.SourceDB, c.at)
	for {
		from, err := forks.next(ctx)
		if err != nil || from == nil {
			return err
		}
		if err := c.fork(ctx, *from, put); err != nil {
			return err
		}
		forks.take()
	}
}

// of is what a relation of the source becomes.
func (c *databaseCopy) of(rel pgwal.RelFileNode) pgwal.RelFileNode {
	return pgwal.RelFileNode{Spc: c.Tablespace, DB: c.DB, Rel: rel.Rel}
}

func (c *databaseCopy) fork(ctx context.Context, from RelationSize, put putKey) error {
	reads, pages := make([]PageRead, 0, copyPages), make([][]byte, copyPages)
	for block := uint32(0); block < from.Blocks; {
		for reads = reads[:0]; block < from.Blocks && len(reads) < copyPages; block++ {
			reads = append(reads, PageRead{Rel: from.Rel, Fork: from.Fork, Block: block, LSN: c.at})
		}
		if err := c.t.GetPages(ctx, reads, pages[:len(reads)]); err != nil {
			return err
		}
		for i, page := range pages[:len(reads)] {
			if redo.IsZero(page) {
				continue
			}
			if err := put(pgkey.Block(c.of(from.Rel), from.Fork, reads[i].Block), lsm.Image, page); err != nil {
				return err
			}
		}
	}
	return nil
}

// sizes gives the copy's forks their sizes, and ends those that were there and are not in
// the source.
func (c *databaseCopy) sizes(ctx context.Context, put putKey) error {
	sources, lefts := c.t.walkForks(c.SourceTablespace, c.SourceDB, c.at), c.t.walkForks(c.Tablespace, c.DB, c.at)
	var value [pgkey.SizeBytes]byte
	for {
		source, err := sources.next(ctx)
		if err != nil {
			return err
		}
		left, err := lefts.next(ctx)
		if err != nil || source == nil && left == nil {
			return err
		}
		var made, ended lsm.Key
		if source != nil {
			made = pgkey.Size(c.of(source.Rel), source.Fork)
		}
		if left != nil {
			ended = pgkey.Size(left.Rel, left.Fork)
		}
		if source == nil || left != nil && ended.Less(made) {
			err = put(ended, lsm.Tombstone, nil)
			lefts.take()
		} else {
			size := pgkey.SizeValue{Blocks: source.Blocks, Since: c.since}
			err = put(made, lsm.Image, size.AppendTo(value[:0]))
			sources.take()
			if left != nil && ended == made {
				lefts.take()
			}
		}
		if err != nil {
			return err
		}
	}
}
