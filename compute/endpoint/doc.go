// Package endpoint is the life of one PostgreSQL on one branch: from an empty
// directory to a running server, and to its end.
//
// It keeps two promises. A commit that its PostgreSQL acknowledges is committed by
// the quorum of safekeepers. And nothing that a PostgreSQL left on local disk is
// ever read again: each life begins in a new directory, made from the storage.
//
// # A read-write life
//
//  1. The log is made on the safekeepers, if this is the timeline's first start; an
//     object in the bucket remembers that (package walapi), for it must happen once.
//  2. A proposer wins a term. X is where its log starts: the end of the last record.
//  3. The pageserver follows the safekeepers, and gives the start state at X.
//  4. The start state's shutdown checkpoint is appended at X and committed.
//  5. The directory is built (package pgdata): start state, relations, and one log
//     segment that holds nothing but that record. PostgreSQL starts on it as on a
//     directory that was stopped cleanly, without replay.
//  6. The source of the log (package pgsource) connects, makes a slot and streams
//     from X to the proposer, which compares the repeated record and appends the rest.
//  7. The endpoint is ready. From the start PostgreSQL has waited for the source with
//     every commit; a client that connects earlier waits.
//
// The life is one term. If the proposer is fenced, the stream breaks or PostgreSQL
// ends for whatever reason, the others are ended and the endpoint with them, with an
// error that says why. Whoever wants another life calls [Run] again.
//
// The pageserver is watched as well. When it says that it will never take in the log that
// this PostgreSQL writes, the life ends with [ErrUnreadable]: no later life could read what
// is committed from then on. A pageserver that is away, or that will try again, ends nothing.
//
// The ordinary end is that of Run's context: PostgreSQL is shut down while its log
// streams on until the shutdown checkpoint is committed. Its directory stays until
// the next start, so that it can be compared with the storage.
//
// # A read-only life
//
// It has no proposer and no term. The start state at an LSN, with a checkpoint that
// is in no log, and standby.signal without a primary make a standby that is
// consistent at once, serves queries, refuses writes, and waits for log that never
// comes. A user who promotes it ends it.
//
// # Processes and files
//
//	DIR/lock               held for the life; one endpoint a directory
//	DIR/data               PostgreSQL's directory, with DIR/data.tablespaces beside it
//	DIR/postgres.log       what this PostgreSQL has logged
//	DIR/postgres.log.old   what the one before had
//	DIR/socket             the unix socket, unless the configuration names another place
//
// PostgreSQL runs as user postgres if we are root, and dies with its endpoint: the
// kernel tells it so. All of its processes stand in DIR/data; what an earlier life
// left behind is killed before the directory is removed.
//
// The package is a thin edge: it starts processes, goroutines and timers of its own
// and is tested against real PostgreSQLs.
package endpoint
