package pgwal

// The operations of Gist records (gistxlog.h).
const (
	OpGistPageUpdate = 0x00
	OpGistDelete     = 0x10
	OpGistPageReuse  = 0x20 // a conflict for standbys; touches no page
	OpGistPageSplit  = 0x30
	OpGistPageDelete = 0x60
	OpGistAssignLSN  = 0x70 // touches no page
)

var gistKinds = [16]string{
	"PAGE_UPDATE", "DELETE", "PAGE_REUSE", "PAGE_SPLIT", "", "", "PAGE_DELETE", "ASSIGN_LSN",
	"", "", "", "", "", "", "", "",
}

// GistSplitChild returns the left page of an earlier split that this record completes
// by a downlink, or nil. Redo clears F_FOLLOW_RIGHT in that page and sets its NSN to
// the record's end, even when the record brings an image of it: the image is older.
// It is block 1 of PAGE_UPDATE and block 0 of PAGE_SPLIT, whose new pages are 1 and up.
func GistSplitChild(rec *Record) *BlockRef {
	if rec.RMgr != RMgrGist {
		return nil
	}
	switch rec.Op() {
	case OpGistPageUpdate:
		return rec.Block(1)
	case OpGistPageSplit:
		return rec.Block(0)
	}
	return nil
}

// ParseGistUpdate reads a PAGE_UPDATE record: how many tuples of block 0 go, and how
// many come. The data of block 0 are the numbers of the former and then the latter.
func ParseGistUpdate(rec *Record) (deleted, inserted uint16, err error) {
	f := mainData(rec)
	deleted, inserted = f.u16(), f.u16()
	return deleted, inserted, f.done()
}

// ParseGistDelete reads a DELETE record: the numbers of the tuples that go, two bytes
// each, pointing into the record.
func ParseGistDelete(rec *Record) (numbers []byte, err error) {
	f := mainData(rec)
	f.u32() // the newest transaction whose rows go: a conflict for standbys
	numbers = f.take(2 * int(f.u16()))
	return numbers, f.done()
}

// GistSplit is the body of a PAGE_SPLIT. The pages are blocks 1 and up; the first one
// is the page that was split. The data of each are a number of tuples (4) and these.
type GistSplit struct {
	Right       BlockNumber // of the page before
	NSN         uint64      // of the page before
	Leaf        bool
	Pages       uint16
	FollowRight bool // the pages, but the last, have no downlinks yet
}

// ParseGistSplit reads a PAGE_SPLIT record.
func ParseGistSplit(rec *Record) (GistSplit, error) {
	f := mainData(rec)
	s := GistSplit{Right: f.u32()}
	f.align()
	s.NSN, s.Leaf = f.u64(), f.boolean()
	f.take(1) // padding
	s.Pages, s.FollowRight = f.u16(), f.boolean()
	f.align()
	return s, f.done()
}

// GistPageDelete is the body of a PAGE_DELETE: block 0 goes, and its downlink in block 1.
type GistPageDelete struct {
	DeleteXID FullXID // the page is free once no older transaction runs
	Downlink  uint16
}

// ParseGistPageDelete reads a PAGE_DELETE record.
func ParseGistPageDelete(rec *Record) (GistPageDelete, error) {
	f := mainData(rec)
	d := GistPageDelete{DeleteXID: FullXID(f.u64()), Downlink: f.u16()}
	return d, f.done()
}
