package pgwal

import "github.com/varvedb/varve/wal"

// PageHeaderSize returns the size in bytes of the header of the log page that starts
// at page.
func PageHeaderSize(page wal.LSN) int {
	if page.SegmentOffset() == 0 {
		return longHeaderSize
	}
	return shortHeaderSize
}

// PageStart returns the start of the log page that lsn lies on.
func PageStart(lsn wal.LSN) wal.LSN { return lsn - lsn%WALPageSize }

// IsRecordPosition reports whether a reader or a writer of the log may begin at lsn: a
// multiple of 8 that is a page's start or lies past its header.
func IsRecordPosition(lsn wal.LSN) bool { return lsn.IsValid() && lsn == RecordPosition(lsn) }

// RecordPosition is the first position at or above lsn where a reader or a writer of
// the log may begin. It may be a page's start, where the page header comes first.
func RecordPosition(lsn wal.LSN) wal.LSN {
	lsn = align(lsn)
	if lsn == PageStart(lsn) {
		return lsn
	}
	return RecordStart(lsn)
}

// RecordStart is the first LSN at or above lsn that a record can have: a multiple of 8
// past a page header.
func RecordStart(lsn wal.LSN) wal.LSN {
	lsn = align(lsn)
	page := PageStart(lsn)
	return max(lsn, page+wal.LSN(PageHeaderSize(page)))
}

// align rounds a length or position up to a multiple of 8.
func align[T ~uint64 | ~int](n T) T { return (n + 7) &^ 7 }
