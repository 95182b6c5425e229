package oracle

import (
	"fmt"
	"io"
	"io/fs"

	"github.com/varvedb/varve/pageserver/datadir"
	"github.com/varvedb/varve/pageserver/pagediff"
	"github.com/varvedb/varve/pageserver/pgkey"
	"github.com/varvedb/varve/pageserver/redo"
	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/pgwal"
)

// fork is one file of a relation.
type fork struct {
	rel  pgwal.RelFileNode
	fork pgwal.Fork
}

// page is a page as redo made it.
type page struct {
	bytes [pgwal.PageSize]byte
	// copied: the page belongs to a visibility map that CREATE DATABASE logged without
	// its content.
	copied bool
}

// Oracle replays a log. Pages take 8 KiB of memory each.
type Oracle struct {
	// Made, if set, is called with each page that redo made as PostgreSQL did, and the
	// page itself, all valid during the call.
	Made func(c *Comparison, after []byte)

	decoder *pgwal.Decoder
	record  pgwal.Record
	forks   map[fork]map[uint32]*page
	compare pagediff.Comparer
	report  Report
	clears  []pgwal.VMClear
	early   []earlyClear
	delta   []byte
	next    page // the page in the making
	image   [pgwal.PageSize]byte
}

// New returns an oracle of the log from start on: the end of a record. base is a data
// directory that was stopped cleanly there. name is the log's name in errors.
func New(name string, start wal.LSN, base fs.FS) (*Oracle, error) {
	o := &Oracle{decoder: pgwal.NewDecoder(name, start), forks: map[fork]map[uint32]*page{}}
	o.report.Kinds = map[Kind]*Hits{}
	tree, err := datadir.Scan(base)
	if err != nil {
		return nil, err
	}
	unlogged := tree.Unlogged()
	for i := range tree.Forks {
		f := &tree.Forks[i]
		if f.Fork == pgwal.FSMFork || unlogged[f.Rel] && f.Fork != pgwal.InitFork {
			continue
		}
		if err := o.load(base, f); err != nil {
			return nil, fmt.Errorf("read the base: %w", err)
		}
	}
	return o, nil
}

// load reads the pages of a fork.
func (o *Oracle) load(base fs.FS, f *datadir.Fork) error {
	if _, err := f.Blocks(); err != nil {
		return err
	}
	reader := datadir.NewReader(base, f)
	defer reader.Close()
	for {
		block, bytes, err := reader.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if !redo.IsZero(bytes) {
			copy(o.page(fork{f.Rel, f.Fork}, block).bytes[:], bytes)
		}
	}
}

// page returns a page, which is one of zeros if it was never written.
func (o *Oracle) page(f fork, block uint32) *page {
	pages := o.forks[f]
	if pages == nil {
		pages = map[uint32]*page{}
		o.forks[f] = pages
	}
	p := pages[block]
	if p == nil {
		p = new(page)
		pages[block] = p
	}
	return p
}

// Feed replays the next bytes of the log, cut anywhere. An error says that it cannot
// go on: damage, or a page of which the log does not say what it becomes.
func (o *Oracle) Feed(log []byte) error {
	o.decoder.Feed(log)
	for {
		ok, err := o.decoder.Next(&o.record)
		if err != nil {
			return err
		}
		if !ok {
			return nil
		}
		if err := o.take(&o.record); err != nil {
			return fmt.Errorf("record %v %s at %v: %w", o.record.RMgr, o.record.Kind(), o.record.LSN, err)
		}
	}
}

// Position returns the end of the last record replayed.
func (o *Oracle) Position() wal.LSN { return o.decoder.Position() }

// Report says what was found so far.
func (o *Oracle) Report() *Report {
	r := new(Report)
	o.report.Masked = o.compare.Masked
	r.Add(&o.report)
	for _, e := range o.early {
		r.diverge(r.Kinds[e.Kind], e.Divergence)
	}
	return r
}

func (o *Oracle) take(rec *pgwal.Record) error {
	o.report.Records++
	hits := o.report.hits(rec)
	for i := range rec.Blocks {
		ref := &rec.Blocks[i]
		if ref.Fork == pgwal.FSMFork {
			continue
		}
		if locked := pgwal.HashLockedBucket(rec); locked != nil && locked.ID == ref.ID {
			continue // It does not change.
		}
		if err := o.change(rec, ref, hits); err != nil {
			return err
		}
	}
	if err := o.visibility(rec); err != nil {
		return err
	}
	return o.files(rec)
}

// change makes the page after the record.
func (o *Oracle) change(rec *pgwal.Record, ref *pgwal.BlockRef, hits *Hits) error {
	native := redo.Native(rec.RMgr)
	p := o.page(fork{ref.Rel, ref.Fork}, ref.Block)
	switch {
	case ref.HasImage && (ref.ApplyImage || !native):
		if err := redo.Image(rec, ref, p.bytes[:]); err != nil {
			return err
		}
		if ref.Fork == pgwal.VMFork {
			p.copied = pagediff.HasNoBits(p.bytes[:])
		}
		hits.Images++
		return nil
	case native:
		return o.redo(rec, ref, p, hits)
	case rec.RMgr == pgwal.RMgrXLOG && rec.Op() == pgwal.OpXLOGFPIForHint:
		return nil
	}
	return fmt.Errorf("block %d has no image; wal_consistency_checking must be all", ref.ID)
}

// redo makes a page as the storage would and compares it with its image, if there is one.
func (o *Oracle) redo(rec *pgwal.Record, ref *pgwal.BlockRef, p *page, hits *Hits) error {
	o.delta = redo.AppendRecord(o.delta[:0], rec, ref)
	c := Comparison{
		Kind: Kind{rec.RMgr, rec.Kind()}, LSN: rec.LSN, End: rec.End, Ref: ref.ID, Rel: ref.Rel, Fork: ref.Fork, Block: ref.Block,
		Copied: p.copied, Before: p.bytes[:], Delta: o.delta, Image: o.image[:],
	}
	o.next = *p
	failed := c.redo(o.next.bytes[:])
	if !ref.HasImage {
		if failed == nil {
			*p = o.next
		}
		return failed
	}
	if err := redo.Image(rec, ref, o.image[:]); err != nil {
		return err
	}
	hits.Compared++
	if ref.Fork == pgwal.VMFork && failed == nil {
		o.takeEarly(rec, ref)
	}
	if d, ok := c.compare(&o.compare, o.next.bytes[:], failed); !ok {
		o.report.diverge(hits, d)
		p.bytes = o.image
		return nil
	}
	if o.Made != nil {
		o.Made(&c, o.next.bytes[:])
	}
	*p = o.next
	return nil
}

// visibility clears the bits of the visibility map that a heap record clears.
func (o *Oracle) visibility(rec *pgwal.Record) (err error) {
	if o.clears, err = pgwal.AppendVMClears(o.clears[:0], rec); err != nil {
		return err
	}
	for _, c := range o.clears {
		block, _ := redo.VMPlace(c.Block)
		o.settleEarly(c)
		o.delta = redo.AppendVMClear(o.delta[:0], c.Block, c.Bits)
		if err := o.changeMap(rec, c.Rel, block); err != nil {
			return err
		}
	}
	return nil
}

// changeMap applies o.delta to a page of a visibility map.
func (o *Oracle) changeMap(rec *pgwal.Record, rel pgwal.RelFileNode, block uint32) error {
	p := o.page(fork{rel, pgwal.VMFork}, block)
	key := pgkey.Parsed{Class: pgkey.ClassBlock, Spc: rel.Spc, DB: rel.DB, Rel: rel.Rel, Fork: pgwal.VMFork, Block: block}
	_, err := redo.Change(p.bytes[:], key, rec.End, o.delta)
	return err
}
