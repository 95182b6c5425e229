package endpoint

import (
	"fmt"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/pgwal/pgtest"
)

// columnQuestions are what is asked of a column of each type, so that an index on it can answer.
var columnQuestions = map[string]string{
	"integer": "%[1]s < 500", "bigint": "%[1]s BETWEEN 1000000 AND 900000000", "numeric": "%[1]s > 100", "text": "%[1]s > 'c'",
	"integer[]": "%[1]s @> '{3}'", "point": "%[1]s <@ box '((10,10),(60,60))'", "int4range": "%[1]s && '[10,20)'", "jsonb": `%[1]s @> '{"a": 2}'`,
	"boolean": "%[1]s",
}

// answers is all that the tables of a database say, with plans that read them and with
// plans that use indexes.
func answers(t *testing.T, s *pgtest.Server) string {
	t.Helper()
	relations := s.SQL(t, "SELECT relname, relkind FROM pg_class WHERE relnamespace = 'public'::regnamespace ORDER BY 1")
	columns := s.SQL(t, `SELECT relname, attname, format_type(atttypid, NULL) FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid
		WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND attnum > 0 AND NOT attisdropped ORDER BY 1, attnum`)
	var script strings.Builder
	rows := map[string]bool{}
	for line := range strings.Lines(columns) {
		c := strings.Split(strings.TrimSpace(line), "|")
		if !rows[c[0]] {
			rows[c[0]] = true
			fmt.Fprintf(&script, "SELECT '%[1]s', count(*), md5(string_agg(r, ',' ORDER BY r)) FROM (SELECT x::text AS r FROM %[1]s x) y;\n", c[0])
		}
		question, known := columnQuestions[c[2]]
		require.True(t, known, "there is a question for type %s", c[2])
		fmt.Fprintf(&script, "SELECT '%[1]s.%[2]s', count(*), sum(id) FROM %[1]s WHERE %[3]s;\n", c[0], c[1], fmt.Sprintf(question, c[1]))
	}
	// Without jit: plans that are forced look so dear that they would be compiled.
	read := s.SQL(t, "SET jit = off; SET enable_indexscan = off; SET enable_indexonlyscan = off; SET enable_bitmapscan = off;\n"+script.String())
	require.Equal(t, read, s.SQL(t, "SET jit = off; SET enable_seqscan = off; SET enable_bitmapscan = off;\n"+script.String()), "indexes say what the tables do")
	require.Equal(t, read, s.SQL(t, "SET jit = off; SET enable_seqscan = off; SET enable_indexscan = off; SET enable_indexonlyscan = off;\n"+script.String()), "bitmaps say what the tables do")
	return relations + "\n" + read
}

// TestAnswersAreThoseOfPostgres feeds the same random statements to an ordinary PostgreSQL
// and to Varve, where the Postgres is stopped, killed and made anew, and a branch made in
// the middle goes its own way, beside an ordinary twin that was fed the same.
func TestAnswersAreThoseOfPostgres(t *testing.T) {
	const statements = 50
	w := newWorld(t, 3)
	s, twin := pgtest.Init(t, pgtest.Options{}), pgtest.Start(t, pgtest.Options{})
	b := w.importBranch(t, s)
	random := pgtest.NewStatements(11, true)
	var fed string
	feed := func() {
		script := random.Take(statements)
		s.SQL(t, script)
		twin.SQL(t, script)
		fed += script
	}

	life := b.start(t, s, "main", 0)
	feed()
	require.Equal(t, answers(t, twin), answers(t, s))
	life.stop()
	require.NoError(t, life.wait())
	life = b.start(t, s, "main", 0)
	require.Equal(t, answers(t, twin), answers(t, s), "after a stop")

	feed()
	at, err := wal.ParseLSN(s.SQL(t, "SELECT pg_current_wal_insert_lsn()"))
	require.NoError(t, err)
	apart := random.Fork(12)
	prefix := fed
	feed()
	require.NoError(t, syscall.Kill(life.PID, syscall.SIGKILL))
	var exit *ExitError
	require.ErrorAs(t, life.wait(), &exit)
	life = b.start(t, s, "main", 0)
	require.Equal(t, answers(t, twin), answers(t, s), "after a kill")
	life.stop()
	require.NoError(t, life.wait())
	b.verify(t, filepath.Join(w.dir, "main", "data"), life.stopped)

	other := *s
	other.Dir = s.MkdirAll(t, "other")
	otherTwin := pgtest.Start(t, pgtest.Options{})
	otherTwin.SQL(t, prefix)
	child := b.branch(t, at)
	first := child.start(t, &other, "child", 0)
	require.Equal(t, answers(t, otherTwin), answers(t, &other), "a branch is its parent at its LSN")
	script := apart.Take(statements)
	other.SQL(t, script)
	otherTwin.SQL(t, script)
	first.stop()
	require.NoError(t, first.wait())
	child.start(t, &other, "child", 0)
	require.Equal(t, answers(t, otherTwin), answers(t, &other))
}
