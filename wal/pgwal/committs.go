package pgwal

// The operations of CommitTs records (commit_ts.h). The timestamps themselves come
// from the commit records.
const (
	OpCommitTsZeroPage = 0x00
	OpCommitTsTruncate = 0x10
)

// ParseCommitTsZeroPage reads a CommitTs ZEROPAGE record: the number of the new page.
func ParseCommitTsZeroPage(rec *Record) (page uint32, err error) { return parsePage(rec) }

// CommitTsTruncate is what a CommitTs TRUNCATE record says: segments that lie wholly
// before Page go away.
type CommitTsTruncate struct {
	Page      uint32
	OldestXID XID
}

// ParseCommitTsTruncate reads a CommitTs TRUNCATE record.
func ParseCommitTsTruncate(rec *Record) (CommitTsTruncate, error) {
	f := mainData(rec)
	t := CommitTsTruncate{Page: f.u32(), OldestXID: f.u32()}
	return t, f.done()
}
