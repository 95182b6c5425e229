// Package pgkey is the only place that knows how the things of a PostgreSQL
// cluster become keys of the layered store: [lsm.Key], 18 bytes, compared bytewise.
//
// The promise: keys are unique, and their order is useful. The blocks of a
// relation fork are contiguous and in order; so are the forks of a relation, the
// relations of a database, and the pages of an SLRU. All numbers are big-endian.
//
//	byte   0      1..4        5..8      9..12     13     14..17
//	     +-----+-----------+---------+---------+------+---------+
//	0x10 | tag | tablespace| database| relation| fork |  block  |  a page of a relation
//	0x20 | tag | tablespace| database| relation| fork |    0    |  size of a fork
//	     +-----+-----------+---------+---------+------+---------+
//	0x30 | tag | SLRU (1)  | page (4)                 |    0    |  a page of an SLRU
//	0x40 | tag | tablespace| database                 |    0    |  relation map file
//	0x41 | tag | tablespace| database                 |    0    |  a database's PG_VERSION
//	0x42 | tag | tablespace                           |    0    |  a tablespace's path
//	0x50 | tag | xid (4)                              |    0    |  state file of a prepared transaction
//	0x51 | tag | origin (2)                           |    0    |  progress of a replication origin
//	0x60 | tag | counter (1)                          |    0    |  a singleton, see [Counter]
//	0x61 | tag | chunk (8)                            |    0    |  commit times in a chunk of log
//	     +-----+--------------------------------------+---------+
//
// # What is stored under them
//
// A page of a relation or an SLRU is 8192 bytes. A page inside its fork's size
// that has no visible version is a page of zeros. A fork exists if its [Size] has
// a visible version; versions of its pages below [SizeValue.Since] belong to an
// earlier life of the fork and must not be read (that is what lsm.Read.Floor is for).
// The other values are drawn in format.go.
//
// Free-space maps are not stored: PostgreSQL does not log what changes in them. An
// unlogged relation has an init fork and no main fork.
//
// What it does not do: it neither reads nor writes; package timeline does.
package pgkey
