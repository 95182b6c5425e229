// Package pgsource takes the log out of a running, unmodified PostgreSQL by its
// physical replication protocol, and gives it to a [Sink], which is a proposer.
//
// It keeps one promise: the position it reports to PostgreSQL as written, flushed
// and applied is never above what the sink has committed, nor above what it was
// sent. PostgreSQL counts this connection as its one synchronous standby
// (synchronous_standby_names = 'FIRST 1 (varve)', matched by application name), so
// a COMMIT returns to a client exactly when the sink has committed its record.
//
// # Protocol
//
// A connection is opened with replication=true. The exchange is
//
//	IDENTIFY_SYSTEM                                   system identifier, timeline id 1
//	CREATE_REPLICATION_SLOT varve PHYSICAL RESERVE_WAL
//	START_REPLICATION SLOT varve PHYSICAL X TIMELINE 1
//
// and then CopyData both ways. Integers are big-endian, times are microseconds
// since 2000-01-01 UTC. The server cuts the log anywhere, into pieces of at most
// 128 KiB:
//
//	server   'w'  start LSN 8, end of log 8, clock 8, bytes    a piece of log
//	server   'k'  end of log 8, clock 8, answer at once 1      keepalive
//	client   'r'  written 8, flushed 8, applied 8, clock 8, 0  standby status
//
// The slot makes PostgreSQL keep its local log until the sink has committed it.
// It is made once per PostgreSQL life, so finding one is an error.
//
// When PostgreSQL stops in the ordinary way, its walsender sends everything up to
// and with the shutdown checkpoint, waits until all of it is reported flushed, and
// ends the copy: then [Source.Run] returns nil and the sink has committed all.
//
// # What it does not do
//
// It does not look into the log: finding record ends and comparing repeated bytes
// is the sink's work. It does not reconnect: one connection per PostgreSQL life.
//
// The package owns a socket and goroutines of its own, through pgx's pgconn, so it
// is a thin edge like osenv and is tested against a real PostgreSQL only.
package pgsource
