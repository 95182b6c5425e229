package endpoint

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/pgwal/pgtest"
	"github.com/varvedb/varve/wal/proposer"
)

// load is clients that run TPC-B transactions, each noting which of its own were
// acknowledged.
type load struct {
	acknowledged []int // by client: transactions 1 to n
	total        atomic.Int64
	clients      sync.WaitGroup
}

const tpcb = `UPDATE pgbench_accounts SET abalance = abalance + $1 WHERE aid = $2;
	UPDATE pgbench_tellers SET tbalance = tbalance + $1 WHERE tid = $3;
	UPDATE pgbench_branches SET bbalance = bbalance + $1 WHERE bid = 1;
	INSERT INTO pgbench_history (tid, bid, aid, delta, mtime) VALUES ($3, 1, $2, $1, CURRENT_TIMESTAMP);
	INSERT INTO acknowledged VALUES ($4, $5)`

// startLoad runs clients until their connections break. enough is called once, when
// so many transactions were acknowledged.
func startLoad(t *testing.T, s *pgtest.Server, clients int, many int64, enough func()) *load {
	t.Helper()
	l := &load{acknowledged: make([]int, clients)}
	for client := range clients {
		config, err := pgx.ParseConfig(s.ConnString())
		require.NoError(t, err)
		config.DefaultQueryExecMode = pgx.QueryExecModeSimpleProtocol
		conn, err := pgx.ConnectConfig(t.Context(), config)
		require.NoError(t, err)
		l.clients.Go(func() {
			// The server is gone by then.
			defer conn.Close(context.Background())
			for n := 1; ; n++ {
				// In the simple protocol several statements are one transaction.
				if _, err := conn.Exec(context.Background(), tpcb, n%7-3, (client*7919+n*31)%100000+1, n%10+1, client, n); err != nil {
					return
				}
				l.acknowledged[client] = n
				if l.total.Add(1) == many {
					enough()
				}
			}
		})
	}
	return l
}

// check demands that every acknowledged transaction is there, that a client has at
// most one more, and that the sums of TPC-B agree.
func (l *load) check(t *testing.T, s *pgtest.Server) {
	t.Helper()
	conn := connect(t, s.ConnString())
	for client, acknowledged := range l.acknowledged {
		var count, highest int
		err := conn.QueryRow(t.Context(), "SELECT count(*), coalesce(max(n), 0) FROM acknowledged WHERE client = $1", client).Scan(&count, &highest)
		require.NoError(t, err)
		require.Equal(t, count, highest, "client %d has gaps", client)
		require.GreaterOrEqual(t, count, acknowledged, "client %d has lost acknowledged transactions", client)
		require.LessOrEqual(t, count, acknowledged+1, "client %d has more than one unknown transaction", client)
		t.Logf("client %d: acknowledged %d, found %d", client, acknowledged, count)
	}
	var agree bool
	err := conn.QueryRow(t.Context(), `SELECT a = b AND b = t AND t = h FROM
		(SELECT sum(abalance) a FROM pgbench_accounts) a, (SELECT sum(bbalance) b FROM pgbench_branches) b,
		(SELECT sum(tbalance) t FROM pgbench_tellers) t, (SELECT coalesce(sum(delta), 0) h FROM pgbench_history) h`).Scan(&agree)
	require.NoError(t, err)
	require.True(t, agree, "the sums of TPC-B agree")
}

func inode(t *testing.T, path string) uint64 {
	t.Helper()
	info, err := os.Stat(path)
	require.NoError(t, err)
	stat, ok := info.Sys().(*syscall.Stat_t)
	require.True(t, ok)
	return stat.Ino
}

// TestNothingAcknowledgedIsLost kills Postgres under load and starts it again from
// storage; then it looks back in time, stops in order, and starts once more.
func TestNothingAcknowledgedIsLost(t *testing.T) {
	w := newWorld(t, 3)
	s := pgtest.Init(t, pgtest.Options{})
	b := w.importBranch(t, s)
	data := filepath.Join(w.dir, "main", "data")

	first := b.start(t, s, "main", 0)
	require.Equal(t, b.id.Start, first.Start)
	s.Exec(t, "pgbench", "-i", "-q", "-s", "1")
	s.SQL(t, "CREATE TABLE acknowledged (client int, n int)")
	before, err := wal.ParseLSN(s.SQL(t, "SELECT pg_current_wal_insert_lsn()"))
	require.NoError(t, err)

	// Held open, so that the number of the old directory is not given out again.
	old, err := os.Open(data)
	require.NoError(t, err)
	defer old.Close()
	oldInode := inode(t, data)
	killed := make(chan error, 1)
	l := startLoad(t, s, 4, 400, func() { killed <- syscall.Kill(first.PID, syscall.SIGKILL) })
	require.NoError(t, <-killed)
	l.clients.Wait()
	var exit *ExitError
	require.ErrorAs(t, first.wait(), &exit)
	require.Equal(t, syscall.SIGKILL, exit.Signal)
	require.Empty(t, processesIn(data))
	require.NoDirExists(t, data)

	second := b.start(t, s, "main", 0)
	require.NotEqual(t, oldInode, inode(t, data))
	require.Greater(t, second.Start, first.Start)
	require.Greater(t, second.Term, first.Term)
	l.check(t, s)
	s.SQL(t, "INSERT INTO acknowledged VALUES (99, 1)")
	second.stop()
	require.NoError(t, second.wait())
	require.Greater(t, second.stopped, second.Start)
	b.verify(t, data, second.stopped)

	past := b.start(t, s, "past", before)
	require.Equal(t, "0", s.SQL(t, "SELECT count(*) FROM acknowledged"))
	require.Equal(t, "100000|0", s.SQL(t, "SELECT count(*), sum(abalance) FROM pgbench_accounts"))
	out, err := s.Command("psql", "-c", "INSERT INTO acknowledged VALUES (1, 1)").CombinedOutput()
	require.Error(t, err)
	require.Contains(t, string(out), "cannot execute INSERT in a read-only transaction")
	past.stop()
	require.NoError(t, past.wait())
	require.NoDirExists(t, filepath.Join(w.dir, "past", "data"))

	third := b.start(t, s, "main", 0)
	require.Equal(t, second.stopped, third.Start, "after an ordinary stop the log ends where it ended")
	l.check(t, s)
	require.Equal(t, "1", s.SQL(t, "SELECT n FROM acknowledged WHERE client = 99"))
	third.stop()
	require.NoError(t, third.wait())
}

// verify seals the log of an endpoint that stopped at an LSN, and compares its directory.
func (b *branch) verify(t *testing.T, dir string, stopped wal.LSN) {
	t.Helper()
	head, err := proposer.Seal(t.Context(), b.w.Env, proposer.Config{ID: 200, Identity: b.id, Safekeepers: b.w.safekeepers})
	require.NoError(t, err)
	require.Equal(t, stopped, head)
	b.compare(t, dir)
}

// TestBranchHasItsParentsPastAndAFutureOfItsOwn runs parent and child at once.
func TestBranchHasItsParentsPastAndAFutureOfItsOwn(t *testing.T) {
	w := newWorld(t, 3)
	s := pgtest.Init(t, pgtest.Options{})
	parent := w.importBranch(t, s)
	main := parent.start(t, s, "main", 0)
	s.SQL(t, "CREATE TABLE t AS SELECT n FROM generate_series(1, 10000) n; CREATE INDEX ON t (n)")
	at, err := wal.ParseLSN(s.SQL(t, "SELECT pg_current_wal_insert_lsn()"))
	require.NoError(t, err)
	s.SQL(t, "DELETE FROM t WHERE n > 10; VACUUM t; CREATE TABLE later ()")

	other := *s
	other.Dir = s.MkdirAll(t, "other")
	child := parent.branch(t, at)
	first := child.start(t, &other, "child", 0)
	require.Equal(t, "10000|50005000", other.SQL(t, "SELECT count(*), sum(n) FROM t"))
	require.Equal(t, "f", other.SQL(t, "SELECT to_regclass('later') IS NOT NULL"))
	other.SQL(t, "INSERT INTO t VALUES (0), (-1)")
	require.Equal(t, "10", s.SQL(t, "SELECT count(*) FROM t"))
	main.stop()
	require.NoError(t, main.wait())
	first.stop()
	require.NoError(t, first.wait())
	child.verify(t, filepath.Join(w.dir, "child", "data"), first.stopped)
	parent.verify(t, filepath.Join(w.dir, "main", "data"), main.stopped)

	child.start(t, &other, "child", 0)
	require.Equal(t, "10002|50004999", other.SQL(t, "SELECT count(*), sum(n) FROM t"))
}

// TestOneSafekeeperMayDie takes the three away in turn, under load.
func TestOneSafekeeperMayDie(t *testing.T) {
	w := newWorld(t, 3)
	s := pgtest.Init(t, pgtest.Options{})
	b := w.importBranch(t, s)
	r := b.start(t, s, "main", 0)
	s.SQL(t, "CREATE TABLE t (n int)")
	for i := range w.safekeepers {
		w.stopSafekeeper(t, i)
		for n := range 20 {
			s.SQL(t, fmt.Sprintf("INSERT INTO t VALUES (%d)", n))
		}
		w.startSafekeeper(t, i)
	}
	r.stop()
	require.NoError(t, r.wait())
	b.verify(t, filepath.Join(w.dir, "main", "data"), r.stopped)
}

func TestFencedEndpointEndsAndItsPostgresWithIt(t *testing.T) {
	w := newWorld(t, 3)
	s := pgtest.Init(t, pgtest.Options{})
	b := w.importBranch(t, s)
	first := b.start(t, s, "first", 0)
	s.SQL(t, "CREATE TABLE t (n int)")

	// The second endpoint has a socket of its own.
	other := *s
	other.Dir = s.MkdirAll(t, "other")
	second := b.start(t, &other, "second", 0)
	require.ErrorContains(t, first.wait(), fmt.Sprintf("term %d was lost: fenced by term %d", first.Term, second.Term))
	require.Empty(t, processesIn(filepath.Join(w.dir, "first", "data")))
	require.NoDirExists(t, filepath.Join(w.dir, "first", "data"))
	require.Equal(t, "0", other.SQL(t, "SELECT count(*) FROM t"))
}

func TestPromotionEndsAReadOnlyEndpoint(t *testing.T) {
	w := newWorld(t, 0)
	s := pgtest.Init(t, pgtest.Options{})
	b := w.importBranch(t, s)
	r := b.start(t, s, "past", b.id.Start)
	// The answer may come before the end or not.
	_, _ = s.Command("psql", "-c", "SELECT pg_promote(wait => false)").CombinedOutput()
	require.ErrorIs(t, r.wait(), ErrPromoted)
}

func TestSecondEndpointOfADirectoryOrSocketIsRefused(t *testing.T) {
	w := newWorld(t, 0)
	s := pgtest.Init(t, pgtest.Options{})
	b := w.importBranch(t, s)
	b.start(t, s, "one", b.id.Start)
	refused := func(cfg Config, fix string) {
		t.Helper()
		cfg.Identity, cfg.At, cfg.Pageserver = b.id, b.id.Start, w.pageserver
		err := Run(t.Context(), w.Env, cfg, Events{})
		require.ErrorIs(t, err, ErrInUse)
		require.ErrorContains(t, err, fix)
	}
	refused(Config{Dir: filepath.Join(w.dir, "one")}, "stop that one first")
	refused(Config{Dir: filepath.Join(w.dir, "two"), SocketDir: s.Dir}, "choose another port")
	require.Equal(t, "1", s.SQL(t, "SELECT 1"), "the first one runs on")
}

func TestBadConfigurationsAreNamed(t *testing.T) {
	w := newWorld(t, 0)
	for complaint, cfg := range map[string]Config{
		`directory "x": want an absolute path`: {Dir: "x", At: 1},
		"port 70000: want 1 to 65535":          {Dir: w.dir, At: 1, Port: 70000},
		"choose a shorter directory":           {Dir: w.dir + "/" + string(make([]byte, 200)), At: 1},
		"no safekeepers":                       {Dir: w.dir},
		"install Debian's postgresql-15":       {Dir: w.dir, At: 1, PGBin: "/nowhere"},
	} {
		require.ErrorContains(t, Run(t.Context(), w.Env, cfg, Events{}), complaint)
	}
	if os.Getuid() == 0 {
		closed := filepath.Join(w.dir, "closed")
		require.NoError(t, os.Mkdir(closed, 0o700))
		err := Run(t.Context(), w.Env, Config{Dir: filepath.Join(closed, "endpoint"), At: 1}, Events{})
		require.ErrorContains(t, err, "must be able to enter that directory")
	}
}

// TestStopWhileStarting: the end of the context ends a start as well.
func TestStopWhileStarting(t *testing.T) {
	w := newWorld(t, 0)
	s := pgtest.Init(t, pgtest.Options{})
	b := w.importBranch(t, s)
	cause := errors.New("no longer wanted")
	for _, step := range []string{"waiting", "fetching", "starting"} {
		ctx, cancel := context.WithCancelCause(t.Context())
		dir := filepath.Join(w.dir, step)
		err := Run(ctx, w.Env, Config{Dir: dir, Identity: b.id, At: b.id.Start, Pageserver: w.pageserver}, Events{Step: func(text string) {
			if len(text) >= len(step) && text[:len(step)] == step {
				cancel(cause)
			}
		}})
		if err != nil {
			require.ErrorIs(t, err, cause)
		}
		require.Empty(t, processesIn(filepath.Join(dir, "data")))
		require.NoDirExists(t, filepath.Join(dir, "data"))
	}
}
