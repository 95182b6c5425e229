// Package pgdata knows what a PostgreSQL 15 data directory is: where its programs
// are, whom they run as, which settings Varve imposes on them, and how a directory
// is built from a start state.
//
// It keeps one promise: a directory that [Build] has made holds exactly the given
// files and relation pages under the names, sizes and owner that PostgreSQL expects,
// or it is not there.
//
// # The directory
//
//	postgresql.conf pg_hba.conf pg_ident.conf   written here, from [Settings]
//	standby.signal                              read-only starts only
//	base/DB/REL[_FORK][.N] global/REL...        relations, from [Pages]
//	pg_tblspc/OID                               a link to the tablespace's directory
//	everything else                             the start state's files, as they come
//
// A fork is cut into segments of 1 GiB: REL, REL.1, REL.2 and so on. Pages that are
// all zeros are left as holes. Forks are written by these rules:
//
//   - Free-space maps are not read, for PostgreSQL does not log what it changes in them.
//     Where PostgreSQL will write, a heap gets one that is made of its pages: without
//     it rows would come to the end of a table, whatever room it has, until the next
//     VACUUM. An index has none until then: it keeps deleted pages a while longer, and
//     a BRIN index puts a summary that grows on a new page.
//   - A relation with an init fork is unlogged. Its main fork is a copy of the init
//     fork, and it has no other, which is how PostgreSQL itself resets unlogged
//     relations after a crash; it does not do so on a cleanly stopped directory.
//
// A tablespace's path is replaced by a directory beside the data directory, for the
// path that a user once gave may not exist here.
//
// # Settings
//
// What the promises of the storage rest on is imposed: it is given on the command
// line, which ALTER SYSTEM and postgresql.conf cannot override. Everything else is a
// default in postgresql.conf. Both live as long as the directory: an ALTER SYSTEM is
// gone at the next start, which has a new directory.
//
// # What it does not do
//
// It does not know where files and pages come from, and it never reads a directory
// back. Running PostgreSQL is package endpoint's work.
package pgdata
