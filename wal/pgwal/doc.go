// Package pgwal reads and writes the write-ahead log of PostgreSQL 15: page framing,
// records, block references, page images, and what each resource manager's records say.
//
// The one promise: what it accepts is what PostgreSQL wrote. Every byte of the log is
// covered by a check (a record's CRC-32C, an exact page header, or a zero that must be
// zero), so any flipped, missing or misplaced byte is an error that matches
// [wal.ErrCorruption], never a record. Any input gives a record or an error, never a
// panic, in memory bounded by what was fed.
//
// The package is a core: bytes in, values out; no files, no clock, no tasks.
//
// # Pages
//
// The log is a sequence of 16 MiB segments of 8 KiB pages. Integers are little endian.
// A page begins with a header, short (24 bytes) or, at the start of a segment and only
// there, long (40 bytes):
//
//	 0        2        4             8               16            20        24
//	+--------+--------+-------------+---------------+-------------+---------+
//	| magic  | info   | timeline    | page LSN      | rem_len     | zero    |
//	| 0xD110 |        | 1           | 8 bytes       |             |         |
//	+--------+--------+-------------+---------------+-------------+---------+
//	24                               32              36            40
//	+-------------------------------+---------------+-------------+
//	| system identifier             | segment size  | page size   |
//	+-------------------------------+---------------+-------------+
//
// Info bits: 1 a record continues here from the page before, and rem_len is how many
// of its bytes are left; 2 long header; 4 a backup may leave out the images on this page (no
// meaning here); 8 the record that ran into this page was abandoned by a crash, and an
// OVERWRITE_CONTRECORD record that names it comes first.
//
// # Records
//
// A record begins at a multiple of 8, wherever on a page, and runs across pages and
// segments as it must; zeros pad it to a multiple of 8.
//
//	 0          4        8         16     17     18     20       24
//	+----------+--------+---------+------+------+------+--------+------------
//	| tot_len  | xid    | prev    | info | rmgr | zero | crc    | fragments
//	+----------+--------+---------+------+------+------+--------+------------
//
// The CRC covers the fragments first, then the first 20 bytes. Fragment headers come
// first, then the payloads in the order image, data per block, and main data at the end:
//
//	block      id(0..32) flags data_len:2 [image header] [spc db rel: 12] block:4
//	image      length:2 hole_offset:2 info:1 [hole_length:2 if compressed with a hole]
//	origin     253 origin:2
//	top xid    252 xid:4
//	main data  255 length:1   or   254 length:4
//
// # Where a record ends
//
// A record's end is PostgreSQL's EndRecPtr: its last byte rounded up to a multiple of 8.
// When that is a page boundary it is the boundary itself, before the next page's header,
// and the next record's LSN is past that header. XLOG_SWITCH ends at the start of the
// next segment, and the bytes up to there are zeros. A record is whole only when every
// byte below its end has been seen, padding included.
//
// # What it does not do
//
// It does not find a record in the middle of the log (callers know a record boundary),
// does not follow timelines other than 1, other segment sizes or other versions, and
// does not apply records to pages.
package pgwal
