package oracle

import (
	"fmt"

	"github.com/varvedb/varve/pageserver/pagediff"
	"github.com/varvedb/varve/pageserver/pgkey"
	"github.com/varvedb/varve/pageserver/redo"
	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/pgwal"
)

// Comparison is a page that a record changes: what redo is given, and what PostgreSQL
// made of it. Pages are 8192 bytes.
type Comparison struct {
	Kind   Kind
	LSN    wal.LSN // start of the record
	End    wal.LSN
	Ref    uint8 // number of the page in the record
	Rel    pgwal.RelFileNode
	Fork   pgwal.Fork
	Block  uint32
	Copied bool   // the page was once logged without its content
	Before []byte // the page as redo made it
	Delta  []byte // what the storage keeps of the record for the page
	Image  []byte // the page after, as PostgreSQL has it
}

// Try redoes the page once more and compares. It returns false, and what is wrong, if
// redo does not make PostgreSQL's page of it.
func (c *Comparison) Try(comparer *pagediff.Comparer) (Divergence, bool) {
	page := append([]byte(nil), c.Before...)
	return c.compare(comparer, page, c.redo(page))
}

// redo makes of page, the one before, the one after.
func (c *Comparison) redo(page []byte) error {
	key := pgkey.Parsed{Class: pgkey.ClassBlock, Spc: c.Rel.Spc, DB: c.Rel.DB, Rel: c.Rel.Rel, Fork: c.Fork, Block: c.Block}
	_, err := redo.Change(page, key, c.End, c.Delta)
	return err
}

// compare compares what redo made with the image; failed is redo's error. Both sides get
// the LSN from the record, so that none of the reasons counts for which it may differ on disk.
func (c *Comparison) compare(comparer *pagediff.Comparer, made []byte, failed error) (Divergence, bool) {
	d := Divergence{LSN: c.LSN, Kind: c.Kind, Ref: c.Ref, Rel: c.Rel, Fork: c.Fork, Block: c.Block}
	if failed != nil {
		d.Offset, d.Got = -1, failed.Error()
		return d, false
	}
	comparer.At, comparer.Copied = c.End, c.Copied
	offset, kind := comparer.Compare(c.Fork, c.Block, made, c.Image)
	if redo.PageLSN(made) != redo.PageLSN(c.Image) {
		offset = 0
	}
	if offset < 0 {
		return d, true
	}
	d.Offset, d.Field = offset, pagediff.Field(c.Image, kind, offset)
	d.Got, d.Want = fmt.Sprintf("0x%02x", made[offset]), fmt.Sprintf("0x%02x", c.Image[offset])
	return d, false
}
