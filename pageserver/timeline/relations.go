package timeline

import (
	"context"

	"github.com/varvedb/varve/lsm"
	"github.com/varvedb/varve/pageserver/pgkey"
	"github.com/varvedb/varve/pageserver/redo"
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
	return t.DatabaseRelations(ctx, spc, db, t.store.LastLSN(), func(r RelationSize) error {
		t.setSize(forkID{r.Rel, r.Fork}, forkSize{})
		return nil
	})
}

// copyDatabase makes a database equal to another one as of this record. All of it
// is one batch, in memory: databases are copied this way from small templates.
func (t *Timeline) copyDatabase(ctx context.Context, c pgwal.DatabaseCopy) error {
	if err := t.settle(ctx); err != nil {
		return err
	}
	if err := t.dropDatabase(ctx, c.Tablespace, c.DB); err != nil {
		return err
	}
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
	var forks []RelationSize
	err := t.DatabaseRelations(ctx, c.SourceTablespace, c.SourceDB, at, func(r RelationSize) error {
		forks = append(forks, r)
		return nil
	})
	if err != nil {
		return err
	}
	for _, fork := range forks {
		if err := t.copyFork(ctx, fork, c); err != nil {
			return err
		}
	}
	return nil
}

// copyPages is how many pages of a fork are copied at a time.
const copyPages = 64

func (t *Timeline) copyFork(ctx context.Context, from RelationSize, c pgwal.DatabaseCopy) error {
	to := forkID{pgwal.RelFileNode{Spc: c.Tablespace, DB: c.DB, Rel: from.Rel.Rel}, from.Fork}
	t.setSize(to, forkSize{exists: true, SizeValue: pgkey.SizeValue{Blocks: from.Blocks, Since: t.since()}})
	at := t.store.LastLSN()
	for block := uint32(0); block < from.Blocks; {
		var reads []PageRead
		for ; block < from.Blocks && len(reads) < copyPages; block++ {
			reads = append(reads, PageRead{Rel: from.Rel, Fork: from.Fork, Block: block, LSN: at})
		}
		pages := make([][]byte, len(reads))
		if err := t.GetPages(ctx, reads, pages); err != nil {
			return err
		}
		for i, page := range pages {
			if !redo.IsZero(page) {
				t.batch.image(pgkey.Block(to.rel, to.fork, reads[i].Block), page)
			}
		}
	}
	return nil
}
