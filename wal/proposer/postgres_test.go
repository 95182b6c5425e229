package proposer_test

import (
	"context"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/pgwal/pgtest"
	"github.com/varvedb/varve/wal/proposer"
	"github.com/varvedb/varve/wal/proposer/pgsource"
)

// A real PostgreSQL commits through the quorum, one safekeeper away for a while, and
// pg_waldump says the same of its own log and of a safekeeper's.
func TestARealPostgresCommitsThroughTheQuorum(t *testing.T) {
	pg := pgtest.Start(t, pgtest.Options{Conf: map[string]string{
		"wal_level": "replica", "full_page_writes": "off", "autovacuum": "off",
	}})
	system, err := strconv.ParseUint(pg.SQL(t, "SELECT system_identifier FROM pg_control_system()"), 10, 64)
	require.NoError(t, err)
	// After a restart the log ends with the start's own records, none in flight.
	pg.Stop(t, pgtest.Fast)
	pg.Up(t)
	begin, err := wal.ParseLSN(pg.SQL(t, "SELECT redo_lsn FROM pg_control_checkpoint()"))
	require.NoError(t, err)

	c := newCluster(t)
	id := identity()
	id.SystemID, id.Start = system, begin
	for _, n := range c.nodes {
		require.NoError(t, n.client().Create(t.Context(), id))
	}
	cfg := c.config(100)
	cfg.Identity = id
	p := proposer.New(c.e, cfg)
	group := c.e.Tasks.NewGroup(context.Background())
	group.Go("proposer", p.Run)
	_, x, err := p.Elected(t.Context())
	require.NoError(t, err)
	require.Equal(t, begin, x)

	source, err := pgsource.Open(t.Context(), pgsource.Config{ConnString: pg.ConnString(), Start: x, SystemID: system})
	require.NoError(t, err)
	group.Go("source", func(ctx context.Context) error { return source.Run(ctx, p) })
	pg.SQL(t, "ALTER SYSTEM SET synchronous_standby_names = 'FIRST 1 (varve)'; SELECT pg_reload_conf();")
	pg.SQL(t, "CREATE TABLE a (n int PRIMARY KEY, t text)")
	c.nodes[1].down()
	pg.SQL(t, "INSERT INTO a SELECT g, repeat('varve', 20) FROM generate_series(1, 50000) g")
	c.nodes[1].up()
	acknowledged, err := wal.ParseLSN(pg.SQL(t, "BEGIN; INSERT INTO a VALUES (0, 'last'); SELECT pg_current_wal_insert_lsn(); COMMIT;"))
	require.NoError(t, err)
	require.Greater(t, p.CommitLSN(), acknowledged, "a commit that returned is committed")
	pg.Stop(t, pgtest.Fast)
	require.NoError(t, p.WaitCommit(t.Context(), source.Received()))

	end := p.CommitLSN()
	c.nodes[1].waitReadable(id.Timeline, end)
	group.Stop()
	require.NoError(t, group.Wait())
	c.nodes[1].down()
	dir := copySegments(t, pg, c.nodes[1])
	mine := pg.Exec(t, "pg_waldump", "-p", dir, "-s", begin.String(), "-e", end.String())
	theirs := pg.Exec(t, "pg_waldump", "-p", pg.WALDir(), "-s", begin.String(), "-e", end.String())
	require.Equal(t, theirs, mine)
	t.Logf("%d records, up to %v", len(dumpLines(mine)), end)
	require.Greater(t, len(dumpLines(mine)), 50_000)
}
