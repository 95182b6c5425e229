package oracle

import (
	"slices"

	"github.com/varvedb/varve/pageserver/redo"
	"github.com/varvedb/varve/wal/pgwal"
)

// files follows the records that shorten, drop and copy whole files.
func (o *Oracle) files(rec *pgwal.Record) error {
	switch rec.RMgr {
	case pgwal.RMgrStorage:
		if rec.Op() == pgwal.OpSmgrTruncate {
			return o.truncate(rec)
		}
	case pgwal.RMgrTransaction:
		switch rec.Op() {
		case pgwal.OpXactCommit, pgwal.OpXactAbort, pgwal.OpXactCommitPrepared, pgwal.OpXactAbortPrepared:
			var end pgwal.XactCompletion
			if err := pgwal.ParseCommit(rec, &end); err != nil {
				return err
			}
			if len(end.Rels) > 0 {
				o.drop(func(f fork) bool { return slices.Contains(end.Rels, f.rel) })
			}
		}
	case pgwal.RMgrDatabase:
		return o.database(rec)
	}
	return nil
}

func (o *Oracle) drop(match func(fork) bool) {
	//varve:unordered what is deleted does not depend on the order
	for f := range o.forks {
		if match(f) {
			delete(o.forks, f)
		}
	}
}

func (o *Oracle) truncate(rec *pgwal.Record) error {
	c, err := pgwal.ParseSmgrTruncate(rec)
	if err != nil {
		return err
	}
	if c.Flags&pgwal.SmgrTruncateHeap != 0 {
		o.cut(fork{c.Rel, pgwal.MainFork}, c.Blocks)
	}
	if c.Flags&pgwal.SmgrTruncateVM == 0 {
		return nil
	}
	block, whole := redo.VMPlace(c.Blocks)
	if whole {
		o.cut(fork{c.Rel, pgwal.VMFork}, block)
		return nil
	}
	o.cut(fork{c.Rel, pgwal.VMFork}, block+1)
	o.delta = redo.AppendVMTruncate(o.delta[:0], c.Blocks)
	return o.changeMap(rec, c.Rel, block)
}

// cut forgets the pages of a fork from blocks on.
func (o *Oracle) cut(f fork, blocks uint32) {
	//varve:unordered what is deleted does not depend on the order
	for block := range o.forks[f] {
		if block >= blocks {
			delete(o.forks[f], block)
		}
	}
}

// database follows what copies or drops all files of a database.
func (o *Oracle) database(rec *pgwal.Record) error {
	switch rec.Op() {
	case pgwal.OpDatabaseCreateFileCopy:
		c, err := pgwal.ParseDatabaseCopy(rec)
		if err != nil {
			return err
		}
		copies := map[fork]map[uint32]*page{}
		//varve:unordered each fork is copied by itself
		for f, pages := range o.forks {
			if f.rel.Spc != c.SourceTablespace || f.rel.DB != c.SourceDB {
				continue
			}
			to := f
			to.rel.Spc, to.rel.DB = c.Tablespace, c.DB
			copies[to] = map[uint32]*page{}
			//varve:unordered each page is copied by itself
			for block, p := range pages {
				twin := *p
				twin.copied = p.copied || f.fork == pgwal.VMFork
				copies[to][block] = &twin
			}
		}
		//varve:unordered the copies have keys of their own
		for f, pages := range copies {
			o.forks[f] = pages
		}
	case pgwal.OpDatabaseDrop:
		d, err := pgwal.ParseDatabaseDrop(rec)
		if err != nil {
			return err
		}
		o.drop(func(f fork) bool { return f.rel.DB == d.DB && slices.Contains(d.Tablespaces, f.rel.Spc) })
	}
	return nil
}
