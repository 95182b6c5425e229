package redo

import "github.com/varvedb/varve/wal/pgwal"

// The special space of a BRIN page is | 0 (4) | flags (2) | type (2) |. The metapage's
// content is | magic (4) | version (4) | pages a range (4) | last page of the range map (4) |.
// A page of the range map is an array of item pointers, one for each range, to the
// tuple that sums it up.
const (
	brinSpecial = 8
	brinType    = 6

	brinMetaType    = 0xF091
	brinRevmapType  = 0xF092
	brinRegularType = 0xF093

	brinMetaBytes     = 16
	brinRangesPerPage = (pgwal.PageSize - pageHeaderBytes - brinSpecial) / rowBytes
	brinNoBlock       = 0xFFFFFFFF
)

// brin applies a BRIN record to the page that is ref.
func brin(page []byte, rec *pgwal.Record, ref *pgwal.BlockRef) error {
	switch rec.Op() {
	case pgwal.OpBRINCreateIndex:
		return brinCreate(page, rec)
	case pgwal.OpBRINInsert:
		i, err := pgwal.ParseBRINInsert(rec)
		if err != nil {
			return err
		}
		return brinInsert(page, rec, ref, &i)
	case pgwal.OpBRINUpdate:
		u, err := pgwal.ParseBRINUpdate(rec)
		if err != nil {
			return err
		}
		if ref.ID == 2 {
			return brinDelete(page, int(u.OldOffset))
		}
		return brinInsert(page, rec, ref, &u)
	case pgwal.OpBRINSamePageUpdate:
		n, err := pgwal.ParseBRINSamePageUpdate(rec)
		if err != nil {
			return err
		}
		f, err := brinFrame(page)
		if err != nil {
			return err
		}
		return f.replaceIndex(page, int(n), ref.Data)
	case pgwal.OpBRINRevmapExtend:
		return brinExtend(page, rec, ref)
	case pgwal.OpBRINDesummarize:
		d, err := pgwal.ParseBRINDesummarize(rec)
		if err != nil {
			return err
		}
		if ref.ID == 0 {
			return brinRange(page, d.PagesPerRange, d.HeapBlock, brinNoBlock, 0)
		}
		return brinDelete(page, int(d.Offset))
	}
	return unknownKind(rec)
}

// brinFrame checks a BRIN page.
func brinFrame(page []byte) (frame, error) {
	f, err := frameOf(page)
	if err == nil && f.special != pgwal.PageSize-brinSpecial {
		err = corrupt("pd_special of a BRIN page", pgwal.PageSize-brinSpecial, f.special)
	}
	return f, err
}

// brinInit starts a page from nothing.
func brinInit(page []byte, pageType uint16) frame {
	initPageSpecial(page, brinSpecial)
	special := pgwal.PageSize - brinSpecial
	put16(page, special+brinType, pageType)
	return frame{lower: pageHeaderBytes, upper: special, special: special}
}

func brinCreate(page []byte, rec *pgwal.Record) error {
	c, err := pgwal.ParseBRINCreate(rec)
	if err != nil {
		return err
	}
	f := brinInit(page, brinMetaType)
	meta := page[f.lower:]
	put32(meta, 0, 0xA8109CFA)
	put32(meta, 4, uint32(c.Version))
	put32(meta, 8, c.PagesPerRange)
	f.lower += brinMetaBytes
	f.store(page)
	return nil
}

// brinInsert adds a tuple to block 0 and leads its range, in block 1, to it.
func brinInsert(page []byte, rec *pgwal.Record, ref *pgwal.BlockRef, i *pgwal.BRINInsert) error {
	target := rec.Block(0)
	if target == nil {
		return corrupt("page of the new tuple", "a block reference", "none")
	}
	if ref.ID == 1 {
		return brinRange(page, i.PagesPerRange, i.HeapBlock, target.Block, i.Offset)
	}
	if rec.Info&pgwal.InfoInitPage != 0 {
		brinInit(page, brinRegularType)
	}
	f, err := brinFrame(page)
	if err != nil {
		return err
	}
	tuple, err := f.addAt(page, int(i.Offset), len(ref.Data))
	if err != nil {
		return err
	}
	copy(tuple, ref.Data)
	return nil
}

// brinRange leads the range of a heap block to a tuple.
func brinRange(page []byte, pagesPerRange, heapBlock, block uint32, n uint16) error {
	if _, err := brinFrame(page); err != nil {
		return err
	}
	if pagesPerRange == 0 {
		return corrupt("pages a range", "at least 1", 0)
	}
	entry := int(heapBlock / pagesPerRange % brinRangesPerPage)
	putTID(page[pageHeaderBytes+entry*rowBytes:], block, n)
	return nil
}

// brinDelete removes a tuple. The others keep their numbers: the line pointer becomes
// an unused one, unless it is the last.
func brinDelete(page []byte, n int) error {
	f, err := brinFrame(page)
	if err != nil {
		return err
	}
	p, err := f.named(page, n)
	if err != nil {
		return err
	}
	if !f.within(p) {
		return corrupt("index tuple to delete", "one in its place", p)
	}
	setPointer(page, n, pointer{})
	if n == f.count() {
		f.lower -= pointerBytes
	}
	f.shift(page, p.offset, p.aligned())
	return nil
}

// brinExtend adds block 1 to the range map; block 0 is the metapage.
func brinExtend(page []byte, rec *pgwal.Record, ref *pgwal.BlockRef) error {
	const lastRevmap = 12
	target, err := pgwal.ParseBRINRevmapExtend(rec)
	if err != nil {
		return err
	}
	if ref.ID == 1 {
		brinInit(page, brinRevmapType)
		return nil
	}
	f, err := brinFrame(page)
	if err != nil {
		return err
	}
	if f.upper < pageHeaderBytes+brinMetaBytes {
		return corrupt("room for the metapage's content", brinMetaBytes, f.upper-pageHeaderBytes)
	}
	put32(page[pageHeaderBytes:], lastRevmap, target)
	f.lower = pageHeaderBytes + brinMetaBytes
	f.store(page)
	return nil
}
