// Package basebackup is the way into and out of the storage for whole clusters: it
// imports a cleanly stopped data directory, and makes everything that a Postgres
// needs besides relation pages to start at an LSN.
//
// The promise: a directory made of [StartState] at X and the relation pages at X
// starts as a cleanly stopped one does, without replay, and holds what replaying the
// log up to X would have made of it. Transactions that were open at X are gone;
// prepared ones are still prepared.
//
// # In: Import
//
// [Import] takes a directory that PostgreSQL 15 has shut down. The last record of its
// log is the shutdown checkpoint; its end is X0, and every page, counter and file
// becomes an image at X0: no history below it exists. Not imported are free-space
// maps, temporary relations, statistics, and what an unlogged relation holds beyond
// its init fork. [Inspect] finds X0 and says, by a [RefusedError] that names the
// fix, why a directory cannot be imported.
//
// # Out: StartState
//
//	PG_VERSION                       the major version
//	global/pg_control                state "shut down", last checkpoint at X
//	global, base/*, pg_tblspc/*/*/*  PG_VERSION and pg_filenode.map of each database
//	pg_xact, pg_multixact, pg_commit_ts
//	                                 segments, zeros where the log has no page; the
//	                                 page that the next id falls on is always there
//	pg_twophase                      the state files of prepared transactions
//	pg_logical/replorigin_checkpoint progress of replication origins, if any
//	and the directories that PostgreSQL expects, empty
//
// The last checkpoint is a record that is not in the log yet. [State.WAL] holds its
// bytes, to be appended at exactly [State.Start]; [State.Segments] makes of them the
// segment files that the Postgres starts from: page headers, this record, zeros.
//
// The checkpoint's counters are as of X: the next transaction id is past all that the
// log names, and no transaction is active. Its redo pointer is the record itself,
// which is what tells PostgreSQL that there is nothing to replay.
//
// # What it does not do
//
// Settings, ownership and the relations' files are written by package pgdata of
// compute; the record is appended by whoever holds the term.
package basebackup
