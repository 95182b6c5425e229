package pgtest_test

import (
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/wal/pgwal/pgtest"
)

func TestServerLives(t *testing.T) {
	s := pgtest.Start(t, pgtest.Options{Conf: map[string]string{"cluster_name": "it's set"}})
	require.Equal(t, "it's set", s.SQL(t, "show cluster_name"))
	require.Equal(t, "15", s.SQL(t, "select current_setting('server_version_num')::int / 10000"))

	s.SQL(t, "create table a (b int); insert into a values (1), (2);")
	s.Stop(t, pgtest.Fast)
	require.Contains(t, s.Exec(t, "pg_controldata", s.DataDir), "shut down")

	s.Up(t)
	require.Equal(t, "1\n2", s.SQL(t, "select b from a order by b"))
	s.SQL(t, "insert into a values (3)")
	s.Stop(t, pgtest.Immediate)
	require.Contains(t, s.Exec(t, "pg_controldata", s.DataDir), "in production")

	s.Up(t)
	require.Equal(t, "3", s.SQL(t, "select count(*) from a"))
	require.Contains(t, s.Log(), "not properly shut down")
	process := filepath.Join("/proc", strconv.Itoa(s.PID()))
	require.DirExists(t, process)
	s.Stop(t, pgtest.Kill)
	require.NoDirExists(t, process)
}

func TestEverythingIsGoneAfterwards(t *testing.T) {
	var dir string
	t.Run("a test that leaves a server running", func(t *testing.T) {
		s := pgtest.Start(t, pgtest.Options{})
		dir = s.Dir
		require.DirExists(t, s.WALDir())
	})
	_, err := os.Stat(dir)
	require.ErrorIs(t, err, os.ErrNotExist)
}
