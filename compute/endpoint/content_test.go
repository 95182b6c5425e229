package endpoint

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/pgwal/pgtest"
)

// head is an end of the log, once every record below it is committed.
func head(t *testing.T, s *pgtest.Server) wal.LSN {
	t.Helper()
	lsn, err := wal.ParseLSN(s.SQL(t, "SELECT pg_current_wal_insert_lsn()"))
	require.NoError(t, err)
	// A commit that has something to write waits for all before it.
	s.SQL(t, "SELECT pg_logical_emit_message(true, '', '')")
	return lsn
}

const unfinished = `
CREATE TABLE t (id int PRIMARY KEY, x text);
INSERT INTO t SELECT i, 'first' FROM generate_series(1, 100) i;
CREATE SEQUENCE counted; SELECT count(nextval('counted')) FROM generate_series(1, 40);
CREATE SEQUENCE cached CACHE 20; SELECT nextval('cached');
CREATE UNLOGGED SEQUENCE loose; SELECT nextval('loose');
CREATE TABLE wide (id int, x text); ALTER TABLE wide ALTER x SET STORAGE EXTERNAL;
CREATE TABLE dropped AS SELECT 1 x;
INSERT INTO wide SELECT i, repeat(md5(i::text), 500) FROM generate_series(1, 40) i;
CREATE UNLOGGED TABLE scratch (id serial PRIMARY KEY, x text, p point, a int[]);
CREATE INDEX ON scratch USING hash (x); CREATE INDEX ON scratch USING gist (p); CREATE INDEX ON scratch USING spgist (p);
CREATE INDEX ON scratch USING gin (a); CREATE INDEX ON scratch USING brin (id); CREATE INDEX ON scratch (x);
INSERT INTO scratch (x, p, a) SELECT repeat('x', 3000), point(i, i), ARRAY[i] FROM generate_series(1, 500) i;
BEGIN; INSERT INTO t VALUES (1001, 'kept'); SAVEPOINT a; INSERT INTO t VALUES (1002, 'gone'); ROLLBACK TO a;
	SAVEPOINT b; INSERT INTO t VALUES (1003, 'kept'); RELEASE b; COMMIT;
BEGIN; SELECT count(*) FROM (SELECT 1 FROM t WHERE id <= 10 FOR KEY SHARE) x; SAVEPOINT a; UPDATE t SET x = 'multi' WHERE id <= 10; COMMIT;
BEGIN; SELECT count(*) FROM (SELECT 1 FROM t WHERE id BETWEEN 20 AND 25 FOR KEY SHARE) x;
	INSERT INTO t VALUES (2001, 'prepared'); SAVEPOINT a; INSERT INTO t VALUES (2002, 'prepared'); CREATE TABLE made AS SELECT 1 x; PREPARE TRANSACTION 'to commit';
BEGIN; SELECT count(*) FROM (SELECT 1 FROM t WHERE id BETWEEN 20 AND 25 FOR KEY SHARE) x;
	INSERT INTO t VALUES (3001, 'prepared'); CREATE TABLE unmade AS SELECT 1 x; DROP TABLE dropped; PREPARE TRANSACTION 'to roll back';
SELECT pg_logical_emit_message(true, 'a', 'b'); SELECT pg_logical_emit_message(false, 'a', 'b');`

// TestUnfinishedTransactionsAcrossLivesAndBranches: what is prepared stays so, what is
// open is gone, whatever the life or the branch, and each ends it in its own way.
func TestUnfinishedTransactionsAcrossLivesAndBranches(t *testing.T) {
	w := newWorld(t, 3)
	s := pgtest.Init(t, pgtest.Options{})
	b := w.importBranch(t, s)
	r := b.start(t, s, "main", 0)
	s.SQL(t, unfinished)
	open := connect(t, s.ConnString())
	_, err := open.Exec(t.Context(), "BEGIN; INSERT INTO t VALUES (4001, 'open'); SAVEPOINT a; UPDATE t SET x = 'open' WHERE id < 5; CREATE TABLE opened AS SELECT 1 x; TRUNCATE scratch")
	require.NoError(t, err)
	sharer := connect(t, s.ConnString())
	_, err = sharer.Exec(t.Context(), "BEGIN; SELECT id FROM t WHERE id BETWEEN 20 AND 30 FOR KEY SHARE; SELECT nextval('counted')")
	require.NoError(t, err)
	at := head(t, s)
	r.kill(t)

	check := func(t *testing.T, reader bool) {
		t.Helper()
		require.Equal(t, "102|10", s.SQL(t, "SELECT count(*), count(*) FILTER (WHERE x = 'multi') FROM t"))
		require.Equal(t, "40|16000", s.SQL(t, "SELECT count(*), min(length(x)) FROM wide WHERE x = repeat(md5(id::text), 500)"))
		require.Equal(t, "", s.SQL(t, "SELECT to_regclass('made'), to_regclass('unmade'), to_regclass('opened')")[2:])
		if reader {
			return // a standby lists no prepared transactions
		}
		require.Equal(t, "to commit\nto roll back", s.SQL(t, "SELECT gid FROM pg_prepared_xacts ORDER BY 1"))
		require.Equal(t, "0", s.SQL(t, "SELECT count(*) FROM scratch"))
		require.Equal(t, "1", s.SQL(t, "SELECT nextval('loose')"))
		s.SQL(t, "INSERT INTO scratch (x, p, a) SELECT repeat('y', 3000), point(i, i), ARRAY[i] FROM generate_series(1, 300) i")
		require.Equal(t, "t|t", s.SQL(t, "SELECT nextval('counted') > 41, nextval('cached') > 1"))
		// The prepared transaction holds its locks.
		out, err := s.Command("psql", "-c", "SELECT * FROM t WHERE id = 20 FOR UPDATE NOWAIT").CombinedOutput()
		require.Error(t, err)
		require.Contains(t, string(out), "could not obtain lock")
		require.Equal(t, "26", s.SQL(t, "BEGIN; SELECT id FROM t WHERE id = 26 FOR UPDATE NOWAIT; ROLLBACK"))
	}
	finish := func(t *testing.T, commit, rollback string) {
		t.Helper()
		s.SQL(t, fmt.Sprintf("COMMIT PREPARED '%s'; ROLLBACK PREPARED '%s'", commit, rollback))
		s.SQL(t, "UPDATE t SET x = x || '!' WHERE id BETWEEN 15 AND 35; VACUUM FREEZE t")
	}
	after := "SELECT count(*), to_regclass('made'), to_regclass('unmade'), to_regclass('dropped') FROM t"

	r = b.start(t, s, "past", at)
	check(t, true)
	r.end(t)
	child := b.branch(t, at)
	r = child.start(t, s, "child", 0)
	check(t, false)
	finish(t, "to roll back", "to commit")
	require.Equal(t, "103||unmade|", s.SQL(t, after))
	r.kill(t)
	r = child.start(t, s, "child", 0)
	require.Equal(t, "103||unmade|", s.SQL(t, after))
	require.Equal(t, "0", s.SQL(t, "SELECT count(*) FROM pg_prepared_xacts"))
	s.SQL(t, "BEGIN; INSERT INTO t VALUES (5001); PREPARE TRANSACTION 'stays'")
	r.end(t)
	child.compare(t, w.dataDir("child"))

	r = b.start(t, s, "main", 0)
	check(t, false)
	r.kill(t)
	r = b.start(t, s, "main", 0)
	check(t, false)
	finish(t, "to commit", "to roll back")
	require.Equal(t, "104|made||dropped", s.SQL(t, after))
	s.Exec(t, "pg_amcheck", "--install-missing", "--heapallindexed", "-d", "postgres")
	r.end(t)
	b.compare(t, w.dataDir("main"))
}

// TestDatabasesAndTablespacesAcrossLivesAndBranches.
func TestDatabasesAndTablespacesAcrossLivesAndBranches(t *testing.T) {
	w := newWorld(t, 3)
	s := pgtest.Init(t, pgtest.Options{})
	b := w.importBranch(t, s)
	r := b.start(t, s, "main", 0)
	s.SQL(t, `CREATE DATABASE seed;
\c seed
CREATE TABLE t (id int PRIMARY KEY, x text); INSERT INTO t SELECT i, md5(i::text) FROM generate_series(1, 2000) i;
CREATE UNLOGGED TABLE u (id int PRIMARY KEY); INSERT INTO u VALUES (1); VACUUM t; VACUUM FULL pg_class;`)
	before := head(t, s)
	s.SQL(t, "CREATE DATABASE filed TEMPLATE seed STRATEGY file_copy")
	filed := head(t, s)
	s.SQL(t, "CREATE DATABASE logged TEMPLATE seed STRATEGY wal_log")
	logged := head(t, s)
	s.SQL(t, strings.ReplaceAll(`CREATE TABLESPACE space LOCATION 'DIR';
SET allow_in_place_tablespaces = on; CREATE TABLESPACE inplace LOCATION '';
CREATE TABLE spaced (id int PRIMARY KEY USING INDEX TABLESPACE inplace) TABLESPACE space; INSERT INTO spaced SELECT generate_series(1, 1000);
CREATE UNLOGGED TABLE loose (id int PRIMARY KEY) TABLESPACE space; INSERT INTO loose VALUES (1);
CREATE DATABASE there TABLESPACE space TEMPLATE seed STRATEGY file_copy;
CREATE DATABASE there_too TABLESPACE inplace TEMPLATE seed STRATEGY wal_log;
ALTER DATABASE filed SET TABLESPACE space;
CREATE DATABASE gone; DROP DATABASE gone; DROP DATABASE seed;`, "DIR", s.MkdirAll(t, "space")))
	all := head(t, s)
	r.kill(t)

	databases := func(t *testing.T, b *branch, at wal.LSN, want string) {
		t.Helper()
		r := b.start(t, s, "databases", at)
		names := s.SQL(t, "SELECT datname FROM pg_database WHERE datname !~ 'template|postgres' ORDER BY 1")
		require.Equal(t, want, strings.ReplaceAll(names, "\n", " "))
		for _, name := range strings.Split(names, "\n") {
			require.Equal(t, "2000|0", s.SQL(t, "\\c "+name+"\nSET enable_seqscan = off; SELECT count(*), (SELECT count(*) FROM pg_class WHERE relkind = 'x') FROM t WHERE id > 0"))
		}
		if at == 0 {
			for _, name := range strings.Split(names, "\n") {
				s.SQL(t, "\\c "+name+"\nUPDATE t SET x = 'y' WHERE id < 100; INSERT INTO u VALUES (5); VACUUM FULL pg_attribute; REINDEX SYSTEM "+name)
			}
			s.SQL(t, "CREATE DATABASE more TEMPLATE "+strings.Fields(want)[0])
		}
		r.end(t)
		if at == 0 {
			b.compare(t, w.dataDir("databases"))
		}
	}
	databases(t, b, filed, "filed seed")
	if full {
		databases(t, b, before, "seed")
		databases(t, b.branch(t, before), 0, "seed")
		databases(t, b.branch(t, filed), 0, "filed seed")
	}
	databases(t, b.branch(t, logged), 0, "filed logged seed")
	child := b.branch(t, all)
	databases(t, child, 0, "filed logged there there_too")

	use := func(t *testing.T) {
		t.Helper()
		require.Equal(t, "1000|0", s.SQL(t, "SET enable_seqscan = off; SELECT count(*), (SELECT count(*) FROM loose) FROM spaced WHERE id > 0"))
		s.SQL(t, "INSERT INTO loose VALUES (1); ALTER TABLE spaced SET TABLESPACE pg_default; ALTER TABLE spaced SET TABLESPACE inplace; ALTER INDEX spaced_pkey SET TABLESPACE space")
		require.Equal(t, "space|inplace", s.SQL(t, "SELECT (SELECT spcname FROM pg_tablespace s WHERE s.oid = i.reltablespace), (SELECT spcname FROM pg_tablespace s WHERE s.oid = t.reltablespace) FROM pg_class i, pg_class t WHERE i.relname = 'spaced_pkey' AND t.relname = 'spaced'"))
	}
	r = child.start(t, s, "child", 0)
	use(t)
	r.end(t)
	child.compare(t, w.dataDir("child"))

	r = b.start(t, s, "main", 0)
	use(t)
	s.SQL(t, "DROP DATABASE there; DROP DATABASE filed; DROP TABLE loose; ALTER INDEX spaced_pkey SET TABLESPACE pg_default; DROP TABLESPACE space")
	// The place of the first life's tablespace is not the endpoint's to clean.
	s.SQL(t, strings.ReplaceAll("CREATE TABLESPACE space LOCATION 'DIR'; CREATE TABLE again (id int) TABLESPACE space; INSERT INTO again VALUES (1)", "DIR", s.MkdirAll(t, "space2")))
	r.kill(t)
	r = b.start(t, s, "main", 0)
	require.Equal(t, "1|1000", s.SQL(t, "SELECT (SELECT count(*) FROM again), (SELECT count(*) FROM spaced)"))
	links, err := os.ReadDir(filepath.Join(w.dataDir("main"), "pg_tblspc"))
	require.NoError(t, err)
	require.Len(t, links, 2)
	r.end(t)
	b.compare(t, w.dataDir("main"))
}
