// Package postgres runs vanilla PostgreSQL 15, the peer of whatever a real PostgreSQL on
// Varve does, and its programs: initdb, pgbench, pg_waldump, pg_receivewal.
//
// The promise: servers and receivers that were started are ended by Close, files and
// all processes; and a setting that is not in the given map is PostgreSQL's default,
// but for those that put it on a unix socket in a directory of its own.
//
// What it does not do: measure.
package postgres
