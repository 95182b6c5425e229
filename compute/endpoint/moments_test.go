package endpoint

import (
	"context"
	"fmt"
	"math/rand"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/pgwal/pgtest"
	"github.com/varvedb/varve/wal/proposer"
)

const definitions = `
CREATE DATABASE seed STRATEGY wal_log; CREATE DATABASE copied TEMPLATE seed STRATEGY file_copy;
CREATE TABLE made (id int PRIMARY KEY, x text); INSERT INTO made SELECT i, repeat('x', i % 3000) FROM generate_series(1, 300) i;
VACUUM FULL pg_class; VACUUM FULL pg_database; CLUSTER made USING made_pkey; TRUNCATE made; INSERT INTO made SELECT generate_series(1, 500);
DELETE FROM made WHERE id > 250; VACUUM made; CREATE UNLOGGED TABLE loose (id serial PRIMARY KEY); INSERT INTO loose SELECT generate_series(1, 50);
CREATE MATERIALIZED VIEW seen AS SELECT id % 10 k, count(*) FROM made GROUP BY 1; REFRESH MATERIALIZED VIEW seen; CREATE INDEX ON seen (k);
BEGIN; INSERT INTO made VALUES (1000); PREPARE TRANSACTION 'p'; ALTER TABLE loose SET LOGGED; COMMIT PREPARED 'p';
ALTER DATABASE copied RENAME TO renamed; DROP DATABASE seed; CHECKPOINT; DROP DATABASE renamed; DROP MATERIALIZED VIEW seen; DROP TABLE made, loose;`

// TestAnyMomentIsACrash: the log up to any byte is what a crash could have left, so a
// branch made there must be whole, in the middle of whatever was going on.
func TestAnyMomentIsACrash(t *testing.T) {
	if !full {
		t.Skip("takes minutes: make endtoend-full")
	}
	const moments = 25
	w := newWorld(t, 3)
	s := pgtest.Init(t, pgtest.Options{})
	b := w.importBranch(t, s)
	r := b.start(t, s, "main", 0)
	s.Exec(t, "pgbench", "-i", "-q", "-s", "1")
	s.SQL(t, methods+fill(1, 3000))
	first := head(t, s)
	var busy sync.WaitGroup
	busy.Go(func() { s.Exec(t, "pgbench", "-n", "-c", "2", "-t", "400") })
	busy.Go(func() { s.SQL(t, definitions+definitions) })
	for i, step := range churn {
		if !strings.Contains(step, "pg_class") { // locks what the definitions rewrite
			s.SQL(t, fill(i*300, i*300+600)+step)
		}
	}
	busy.Wait()
	last := head(t, s)
	r.kill(t)

	random := rand.New(rand.NewSource(5))
	for range moments {
		at := first + wal.LSN(random.Int63n(int64(last-first)))
		t.Log(at)
		child := b.branch(t, at)
		r := child.start(t, s, "child", 0)
		s.SQL(t, "SELECT 1 / (a = b AND b = t AND t = h)::int FROM (SELECT sum(abalance) a FROM pgbench_accounts) a, (SELECT sum(bbalance) b FROM pgbench_branches) b,"+
			"(SELECT sum(tbalance) t FROM pgbench_tellers) t, (SELECT coalesce(sum(delta), 0) h FROM pgbench_history) h")
		sameAnswers(t, s)
		s.Exec(t, "pg_amcheck", "--install-missing", "--heapallindexed", "--all")
		for _, database := range strings.Fields(s.SQL(t, "SELECT datname FROM pg_database WHERE datallowconn AND datconnlimit <> -2")) {
			s.SQL(t, "\\c "+database+"\nVACUUM FREEZE; CREATE TABLE own AS SELECT * FROM pg_class; DROP TABLE own")
		}
		r.end(t)
		child.compare(t, w.dataDir("child"))
		require.NoError(t, w.client.Delete(t.Context(), child.id.Timeline))
	}
}

// TestManyStartsAtOnce: of endpoints that start on one branch at the same time the
// others are fenced, before or after they were ready, and never two can write.
func TestManyStartsAtOnce(t *testing.T) {
	w := newWorld(t, 3)
	s := pgtest.Init(t, pgtest.Options{})
	b := w.importBranch(t, s)
	const rivals = 3
	type outcome struct {
		ready chan Ready
		err   error
		done  chan struct{}
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var all [rivals]outcome
	servers := make([]*pgtest.Server, rivals)
	for i := range all {
		servers[i] = elsewhere(t, s, fmt.Sprint("many", i))
		all[i] = outcome{ready: make(chan Ready, 1), done: make(chan struct{})}
		cfg := Config{
			Name: fmt.Sprint(i), Dir: w.dir + fmt.Sprint("/many", i), Identity: b.id, Pageserver: w.pageserver,
			Proposer: wal.NodeID(300 + i), Safekeepers: w.safekeepers, SocketDir: servers[i].Dir,
		}
		go func() {
			defer close(all[i].done)
			all[i].err = Run(ctx, w.Env, cfg, Events{Ready: func(r Ready) { all[i].ready <- r }})
		}()
	}
	winner, highest := -1, wal.Term(0)
	for i := range all {
		select {
		case r := <-all[i].ready:
			if r.Term > highest {
				winner, highest = i, r.Term
			}
		case <-all[i].done:
		}
	}
	require.GreaterOrEqual(t, winner, 0, "somebody starts")
	for i := range all {
		if i != winner {
			<-all[i].done
			require.ErrorIs(t, all[i].err, proposer.ErrFenced)
		}
	}
	servers[winner].SQL(t, "CREATE TABLE t (n int); INSERT INTO t VALUES (1)")
	stop()
	<-all[winner].done
	require.NoError(t, all[winner].err)
	b.compare(t, w.dataDir(fmt.Sprint("many", winner)))
}
