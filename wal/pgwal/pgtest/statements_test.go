package pgtest_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/wal/pgwal/pgtest"
)

// TestStatementsAreValid runs some hundreds of each of a few seeds: the first error fails it.
func TestStatementsAreValid(t *testing.T) {
	s := pgtest.Start(t, pgtest.Options{Conf: map[string]string{"autovacuum": "off"}})
	for seed := range uint64(3) {
		script := pgtest.NewStatements(seed, false).Take(150)
		require.Equal(t, script, pgtest.NewStatements(seed, false).Take(150))
		s.SQL(t, "DROP SCHEMA IF EXISTS public CASCADE; CREATE SCHEMA public")
		s.SQL(t, script)
	}
}
