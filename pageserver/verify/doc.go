// Package verify is the truth meter: it compares a cleanly stopped data directory,
// file by file and page by page, with what the storage says it holds at the end of
// that directory's log.
//
// The promise: a [Report] without mismatches means that every byte of every compared
// page and file is equal, but for bytes that PostgreSQL itself changes without logging
// them. Those are named, and counted, by masks (mask.go), each tied to the kind of
// page and to the direction in which PostgreSQL changes the bit. What is not
// compared is counted by reason.
//
// # What is compared
//
//	relations     every page of main, visibility-map and init forks of every permanent
//	              relation, in both directions: pages and forks that only one side has
//	              are mismatches. Pages of zeros beyond the other side's end are none:
//	              PostgreSQL extends files before it logs what it puts there
//	databases     PG_VERSION and pg_filenode.map of each
//	transactions  pg_xact from pg_control's oldest to its next transaction; pg_multixact
//	              and pg_commit_ts in their live ranges likewise
//	prepared      the state files of prepared transactions
//	pg_control    the counters of its checkpoint
//
// # What is not
//
// Free-space maps, whose changes are not logged. Unlogged relations (they have an init fork)
// but for their init forks; temporary relations; caches; what lies outside the live
// ranges of transaction facts.
//
// The storage is read through [Storage]: pages and fork sizes, and the start state that
// a Postgres would be given, so that what is verified is what is served.
//
// The package reads the directory through fs.FS and changes nothing.
package verify
