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
