// Package pgtest runs a throw-away PostgreSQL 15 for tests.
//
// It promises that a test which asked for a server either has a real one, of
// its own, on a unix socket in a directory of its own, or does not run: it is
// skipped with the reason when PostgreSQL 15 is not installed, and failed
// instead when the environment variable CI is set, so that a green run in CI
// never means that nothing ran. Whatever the test leaves behind, processes and
// files, is gone when the test ends.
//
// PostgreSQL refuses to run as root: a test that runs as root runs its programs
// as the user postgres. The programs are those of /usr/lib/postgresql/15/bin,
// or of the directory that the environment variable VARVE_PG_BIN names.
//
//	server := pgtest.Start(t, pgtest.Options{Conf: map[string]string{"wal_level": "logical"}})
//	server.SQL(t, "create table a (b int); insert into a select generate_series(1, 1000);")
//	server.Exec(t, "pgbench", "-i", "-s", "1")
//	server.Stop(t, pgtest.Fast)
//	// server.WALDir() now holds a whole log that ends in a shutdown checkpoint.
//
// It is test support: no production package may import it.
package pgtest
