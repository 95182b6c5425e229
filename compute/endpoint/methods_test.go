package endpoint

import (
	"fmt"
	"math/rand"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/pgwal/pgtest"
)

const methods = `
CREATE EXTENSION bloom; CREATE EXTENSION pageinspect;
CREATE TABLE items (id int PRIMARY KEY, k int, x text, p point, a int[], r int4range) WITH (fillfactor = 70);
CREATE INDEX items_btree ON items (k) WITH (deduplicate_items = on);
CREATE INDEX items_text ON items (x COLLATE "C");
CREATE INDEX items_hash ON items USING hash (k);
CREATE INDEX items_gin ON items USING gin (a) WITH (gin_pending_list_limit = 64);
CREATE INDEX items_gist ON items USING gist (p);
CREATE INDEX items_quad ON items USING spgist (p);
CREATE INDEX items_trie ON items USING spgist (x);
CREATE INDEX items_range ON items USING gist (r);
CREATE INDEX items_brin ON items USING brin (id) WITH (pages_per_range = 2, autosummarize = on);
CREATE INDEX items_bloom ON items USING bloom (k, id);`

// fill inserts rows [from, to).
func fill(from, to int) string {
	return fmt.Sprintf(`INSERT INTO items SELECT i, i %% 101, md5(i::text) || repeat('z', i %% 60), point(i %% 97, i / 97), ARRAY[i %% 7, i %% 53, i], int4range(i, i + i %% 20)
		FROM generate_series(%d, %d) i ON CONFLICT DO NOTHING;`, from, to-1)
}

// questions can each be answered by a scan of the table, or through an index.
var questions = []string{
	"id BETWEEN 100 AND 4000", "k = 7", "k BETWEEN 5 AND 20", "x > 'a' COLLATE \"C\"", "x = md5('150') || repeat('z', 150 % 60)",
	"a @> ARRAY[3]", "a && ARRAY[5, 52]", "p <@ box '((0,0),(30,30))'", "r && int4range(500, 900)", "k = 9 AND id > 50",
}

// sameAnswers asks through every index, and without any.
func sameAnswers(t *testing.T, s *pgtest.Server) {
	t.Helper()
	ask := func(settings string) string {
		text := settings + ";\n"
		for _, question := range questions {
			text += "SELECT count(*), sum(id), sum(hashtext(x)::bigint), sum(k) FROM items WHERE " + question + ";\n"
		}
		return s.SQL(t, text)
	}
	want := ask("SET enable_indexscan = off; SET enable_bitmapscan = off; SET enable_indexonlyscan = off")
	require.Equal(t, want, ask("SET enable_seqscan = off; SET enable_bitmapscan = off"))
	indexes := strings.Fields(s.SQL(t, "SELECT indexrelid::regclass FROM pg_index WHERE indrelid = 'items'::regclass ORDER BY 1"))
	for _, alone := range indexes {
		// Others are made invalid for the length of a session only.
		text := "BEGIN; SET LOCAL enable_seqscan = off; SET LOCAL enable_indexscan = off; UPDATE pg_index SET indisvalid = false WHERE indrelid = 'items'::regclass AND indexrelid <> '" + alone + "'::regclass;\n"
		for _, question := range questions {
			text += "SELECT count(*), sum(id), sum(hashtext(x)::bigint), sum(k) FROM items WHERE " + question + ";\n"
		}
		require.Equal(t, want, s.SQL(t, text+"ROLLBACK"), alone)
	}
	s.Exec(t, "pg_amcheck", "--install-missing", "--heapallindexed", "--parent-check", "-d", "postgres")
}

// churn is what rewrites, shortens and replaces relations.
var churn = []string{
	"DELETE FROM items WHERE id % 3 = 0", "VACUUM items", "VACUUM (FREEZE, INDEX_CLEANUP on) items", "VACUUM FULL items", "CLUSTER items USING items_btree",
	"REINDEX TABLE items", "REINDEX INDEX CONCURRENTLY items_gin", "UPDATE items SET k = k + 1 WHERE id % 5 = 0", "UPDATE items SET x = x || 'u', p = point(id % 13, id) WHERE id % 11 = 0",
	"DELETE FROM items WHERE id > 6000; VACUUM items", "TRUNCATE items", "BEGIN; TRUNCATE items; " + "ROLLBACK",
	"SELECT brin_summarize_new_values('items_brin'), gin_clean_pending_list('items_gin')", "SELECT brin_desummarize_range('items_brin', 0)",
	"ALTER TABLE items ALTER x TYPE varchar; ALTER TABLE items ALTER x TYPE text", "VACUUM FULL pg_class; VACUUM FULL pg_authid; REINDEX SYSTEM postgres",
	"CREATE TABLE other AS SELECT * FROM items; DROP TABLE items CASCADE; ALTER TABLE other RENAME TO items; ALTER TABLE items ADD PRIMARY KEY (id); " + methods[strings.Index(methods, "CREATE INDEX"):],
	"DROP INDEX items_hash; CREATE INDEX items_hash ON items USING hash (k)", "BEGIN; DELETE FROM items; SAVEPOINT a; " + "INSERT INTO items VALUES (-1, 7); ROLLBACK TO a; ROLLBACK",
	"BEGIN; CREATE TABLE never AS SELECT * FROM items; CREATE INDEX ON never USING gist (p); ROLLBACK",
	"ALTER TABLE items SET UNLOGGED; ALTER TABLE items SET LOGGED", "BEGIN; TRUNCATE items; COPY items (id, k, x) FROM PROGRAM 'seq 20000 20400 | sed \"s/.*/&\\t7\\tcopied/\"' WITH (FREEZE); COMMIT",
	"SET enable_seqscan = off; SELECT count(*) FROM items WHERE k = 7", "CHECKPOINT",
}

// TestAccessMethodsAcrossLives changes a table with every kind of index, at random and
// the same every time, kills PostgreSQL between, and asks through every index.
func TestAccessMethodsAcrossLives(t *testing.T) {
	lives, steps := 1, 5
	if full {
		lives, steps = 6, 25
	}
	random := rand.New(rand.NewSource(11))
	w := newWorld(t, 3)
	s := pgtest.Init(t, pgtest.Options{})
	b := w.importBranch(t, s)
	r := b.start(t, s, "main", 0)
	s.SQL(t, methods+fill(1, 5000))
	var at wal.LSN
	for range lives {
		for range steps {
			from := random.Intn(8000)
			step := churn[random.Intn(len(churn))]
			t.Log(step)
			s.SQL(t, fill(from, from+1+random.Intn(1500))+step)
		}
		s.SQL(t, fill(1, 1000))
		at = head(t, s)
		want := s.SQL(t, "SELECT count(*), sum(id), sum(k) FROM items")
		// An open transaction that has written everywhere.
		open := connect(t, s.ConnString())
		_, err := open.Exec(t.Context(), "BEGIN; "+fill(9000, 9500)+" DELETE FROM items WHERE id % 7 = 0; UPDATE items SET k = 1 WHERE id % 9 = 0")
		require.NoError(t, err)
		s.SQL(t, "SELECT pg_logical_emit_message(true, '', '')")
		r.kill(t)
		r = b.start(t, s, "main", 0)
		require.Equal(t, want, s.SQL(t, "SELECT count(*), sum(id), sum(k) FROM items"))
		sameAnswers(t, s)
	}
	s.SQL(t, "DELETE FROM items WHERE id % 2 = 0; VACUUM items;"+fill(1, 9000)+"VACUUM FULL items")
	if full {
		sameAnswers(t, s)
	}
	r.end(t)
	b.compare(t, w.dataDir("main"))

	child := b.branch(t, at)
	r = child.start(t, s, "child", 0)
	s.SQL(t, "VACUUM items; "+fill(1, 9000)+"DELETE FROM items WHERE id % 4 = 0; VACUUM items; REINDEX TABLE items")
	sameAnswers(t, s)
	r.end(t)
	child.compare(t, w.dataDir("child"))
}
