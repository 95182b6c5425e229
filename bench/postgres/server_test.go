package postgres_test

import (
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/bench/meter"
	"github.com/varvedb/varve/bench/postgres"
)

func TestAServerWithReceiversServesAndEnds(t *testing.T) {
	programs, err := postgres.Find(t.Context())
	if err != nil && os.Getenv("CI") == "" {
		t.Skip(err)
	}
	require.NoError(t, err)
	dir, err := os.MkdirTemp("", "pg")
	require.NoError(t, err)
	require.NoError(t, os.Chmod(dir, 0o755))
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })

	s, err := programs.Init(dir+"/a", map[string]string{"fsync": "off", "cluster_name": "it's set"})
	require.NoError(t, err)
	require.NoError(t, s.Start(t.Context()))
	name, err := s.SQL("SHOW cluster_name")
	require.NoError(t, err)
	require.Equal(t, "it's set", name)
	require.NoError(t, s.Receive(t.Context(), 3, 2))
	require.Len(t, s.PIDs(), 4)
	_, err = s.SQL("CREATE TABLE a (b int); INSERT INTO a VALUES (1)")
	require.NoError(t, err)
	used, err := meter.Tree(s.PIDs()...)
	require.NoError(t, err)
	require.Positive(t, used)
	require.NoError(t, s.Close())
	require.Empty(t, s.PIDs())

	c, err := s.Clone(dir + "/b")
	require.NoError(t, err)
	require.NoError(t, c.Configure(map[string]string{"synchronous_standby_names": ""}))
	require.NoError(t, os.Remove(c.DataDir+"/postgresql.auto.conf"))
	require.NoError(t, c.Start(t.Context()))
	rows, err := c.SQL("SELECT b FROM a")
	require.NoError(t, err)
	require.Equal(t, "1", rows)
	require.NoError(t, c.Stop(syscall.SIGQUIT))
	require.NotContains(t, strings.ToLower(c.Log()), "panic")
	_, err = c.SQL("SELECT 1")
	require.Error(t, err)
}
