package pgwal

// The operations of CLOG records (clog.h).
const (
	OpCLOGZeroPage = 0x00
	OpCLOGTruncate = 0x10
)

// ParseCLOGZeroPage reads a CLOG ZEROPAGE record: the number of the new page.
func ParseCLOGZeroPage(rec *Record) (page uint32, err error) { return parsePage(rec) }

// parsePage reads a record that holds the number of a page and nothing else.
func parsePage(rec *Record) (uint32, error) {
	f := mainData(rec)
	page := f.u32()
	return page, f.done()
}

// CLOGTruncate is what a CLOG TRUNCATE record says: segments that lie wholly before
// Page go away.
type CLOGTruncate struct {
	Page        uint32
	OldestXID   XID
	OldestXIDDB uint32
}

// ParseCLOGTruncate reads a CLOG TRUNCATE record.
func ParseCLOGTruncate(rec *Record) (CLOGTruncate, error) {
	f := mainData(rec)
	t := CLOGTruncate{Page: f.u32(), OldestXID: f.u32(), OldestXIDDB: f.u32()}
	return t, f.done()
}
