package endpoint

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/lsm"
	"github.com/varvedb/varve/pageserver"
	"github.com/varvedb/varve/pageserver/pageapi"
	"github.com/varvedb/varve/pageserver/timeline"
	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/env/osenv"
	"github.com/varvedb/varve/wal/frame"
	"github.com/varvedb/varve/wal/pgwal"
	"github.com/varvedb/varve/wal/pgwal/pgtest"
	"github.com/varvedb/varve/wal/proposer"
	"github.com/varvedb/varve/wal/proposer/proptest"
	"github.com/varvedb/varve/wal/walapi"
)

// pageserverVariable makes this test binary a pageserver: it holds its configuration.
const pageserverVariable = "VARVE_TEST_PAGESERVER"

type pageserverConfig struct {
	Root, Bucket, Listen string
	Safekeepers          []string
}

// TestPageserverProcess is a pageserver of other tests, no test. Its memtables are so
// small that it is always in the middle of writing one.
func TestPageserverProcess(t *testing.T) {
	text := os.Getenv(pageserverVariable)
	if text == "" {
		t.Skip("runs only as another test's child")
	}
	var cfg pageserverConfig
	require.NoError(t, json.Unmarshal([]byte(text), &cfg))
	e, err := osenv.New(osenv.Config{Root: cfg.Root, Bucket: cfg.Bucket})
	require.NoError(t, err)
	server := pageserver.New(e, pageserver.Config{
		Tenant: testTenant, Listen: cfg.Listen, Safekeepers: cfg.Safekeepers,
		OpenDir: func(path string) (fs.FS, error) { return os.DirFS(path), nil },
		Ready:   func(string) { fmt.Println("ready") },
		Store:   lsm.Options{MemtableBytes: 128 << 10},
	})
	require.NoError(t, server.Run(t.Context()))
}

// pageserverProcess is a pageserver that can be killed.
type pageserverProcess struct {
	cmd    *exec.Cmd
	client *pageapi.Client
	root   string
}

// launchPageserver starts a pageserver with an empty local directory, which endpoints
// that start from now on use.
func (w *world) launchPageserver(t *testing.T, name string) *pageserverProcess {
	t.Helper()
	cfg := pageserverConfig{
		Root: filepath.Join(w.dir, name), Bucket: filepath.Join(w.dir, "bucket"), Listen: fmt.Sprintf("unix:%s/%s.sock", w.dir, name),
		Safekeepers: Config{Safekeepers: w.safekeepers}.safekeeperAddrs(),
	}
	text, err := json.Marshal(cfg)
	require.NoError(t, err)
	p := &pageserverProcess{root: cfg.Root, cmd: exec.Command(os.Args[0], "-test.run", "^TestPageserverProcess$")}
	p.cmd.Env = append(os.Environ(), pageserverVariable+"="+string(text))
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	output, err := p.cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, p.cmd.Start())
	line, err := bufio.NewReader(output).ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "ready\n", line)
	p.client, err = pageapi.Dial(t.Context(), w.Env, cfg.Listen)
	require.NoError(t, err)
	t.Cleanup(func() { p.kill(t) })
	w.client, w.pageserver = p.client, cfg.Listen
	return p
}

// kill ends the process as a crash would, and its disk with it.
func (p *pageserverProcess) kill(t *testing.T) {
	t.Helper()
	if p.cmd.ProcessState != nil {
		return
	}
	require.NoError(t, p.cmd.Process.Kill())
	require.Error(t, p.cmd.Wait())
	_ = p.client.Close()
	require.NoError(t, os.RemoveAll(p.root))
}

// samePages demands that a pageserver gives every page of a relation as another does
// at an LSN, or refuses.
func samePages(t *testing.T, id wal.TimelineID, want, got *pageapi.Client, rel pgwal.RelFileNode, at wal.LSN) {
	t.Helper()
	blocks, err := want.Timeline(id).RelSize(t.Context(), rel, pgwal.MainFork, at)
	require.NoError(t, err)
	reads := make([]timeline.PageRead, blocks)
	for i := range reads {
		reads[i] = timeline.PageRead{Rel: rel, Block: uint32(i), LSN: at}
	}
	right, other := make([][]byte, blocks), make([][]byte, blocks)
	require.NoError(t, want.Timeline(id).GetPages(t.Context(), reads, right))
	if err := got.Timeline(id).GetPages(t.Context(), reads, other); err == nil {
		require.Equal(t, right, other)
	} else {
		t.Logf("the fenced pageserver refuses: %v", err)
	}
}

// TestPageserversAreFencedAndKilledUnderLoad: under a load whose log never stops, a
// pageserver is fenced by another, then both are killed, and so on; PostgreSQL and its
// clients never notice, and what they wrote is there.
func TestPageserversAreFencedAndKilledUnderLoad(t *testing.T) {
	rounds := 2
	if full {
		rounds = 10
	}
	w := newWorld(t, 3)
	s := pgtest.Init(t, pgtest.Options{})
	old := w.launchPageserver(t, "ps")
	b := w.importInto(t, s)
	r := b.start(t, s, "main", 0)
	s.Exec(t, "pgbench", "-i", "-q", "-s", "1")
	s.SQL(t, "CREATE TABLE acknowledged (client int, n int)")
	rel := pgwal.RelFileNode{Spc: 1663, DB: 5}
	_, err := fmt.Sscan(s.SQL(t, "SELECT pg_relation_filenode('pgbench_tellers')"), &rel.Rel)
	require.NoError(t, err)
	l := startLoad(t, s, 3, 0, func() {})

	const step = 2 << 20 // of log that a pageserver takes in before the next event
	at := r.CommitLSN()
	for round := range rounds {
		require.NoError(t, old.client.Timeline(b.id.Timeline).WaitLSN(t.Context(), at+step))
		next := w.launchPageserver(t, fmt.Sprint("ps", round))
		require.NoError(t, next.client.Timeline(b.id.Timeline).WaitLSN(t.Context(), at+step))
		samePages(t, b.id.Timeline, next.client, old.client, rel, at+step)
		at = max(at+step, r.CommitLSN())
		require.NoError(t, next.client.Timeline(b.id.Timeline).WaitLSN(t.Context(), at))
		samePages(t, b.id.Timeline, next.client, old.client, rel, at)
		old.kill(t)
		next.kill(t)
		old = w.launchPageserver(t, fmt.Sprint("ps", round, "b"))
	}
	r.kill(t)
	l.clients.Wait()
	r = b.start(t, s, "main", 0)
	l.check(t, s)
	s.Exec(t, "pg_amcheck", "--install-missing", "--heapallindexed", "-d", "postgres")
	r.end(t)
	b.compare(t, w.dataDir("main"))
}

// TestRivalEndpointsLoseNothing: again and again a second endpoint takes the branch
// over from one that is under load.
func TestRivalEndpointsLoseNothing(t *testing.T) {
	rounds := 2
	if full {
		rounds = 10
	}
	w := newWorld(t, 3)
	s := pgtest.Init(t, pgtest.Options{})
	b := w.importBranch(t, s)
	r := b.start(t, s, "0", 0)
	s.Exec(t, "pgbench", "-i", "-q", "-s", "1")
	s.SQL(t, "CREATE TABLE acknowledged (client int, n int)")
	for round := 1; round <= rounds; round++ {
		enough := make(chan struct{})
		l := startLoad(t, s, 3, 50, func() { close(enough) })
		<-enough
		other := elsewhere(t, s, fmt.Sprint("rival", round))
		next := b.start(t, other, fmt.Sprint(round), 0)
		require.Error(t, r.wait(), "it ends by itself: fenced, or since the storage cannot go on, whichever it learns first")
		l.clients.Wait()
		require.NoDirExists(t, w.dataDir(fmt.Sprint(round-1)))
		l.check(t, other)
		other.SQL(t, "TRUNCATE acknowledged")
		s, r = other, next
	}
	r.end(t)
	b.compare(t, w.dataDir(fmt.Sprint(rounds)))
}

// TestSafekeepersForgetAndFallBehind: one safekeeper has lost everything and must not
// vote, another was away for more log than a proposer keeps; then the third goes.
func TestSafekeepersForgetAndFallBehind(t *testing.T) {
	w := newWorld(t, 3)
	s := pgtest.Init(t, pgtest.Options{})
	b := w.importBranch(t, s)
	r := b.start(t, s, "main", 0)
	s.SQL(t, "CREATE TABLE t (n int)")
	w.stopSafekeeper(t, 2)
	require.NoError(t, os.RemoveAll(filepath.Join(w.dir, "root", w.safekeeperDir(2))))
	w.startSafekeeper(t, 2)
	s.SQL(t, "INSERT INTO t VALUES (1)")
	r.kill(t)
	r = b.start(t, s, "main", 0)
	require.Equal(t, "1", s.SQL(t, "SELECT count(*) FROM t"))
	client, err := walapi.Dial(t.Context(), w.Env, w.safekeepers[2].Addr)
	require.NoError(t, err)
	_, err = client.Status(t.Context(), b.id.Timeline)
	require.Equal(t, frame.Code(walapi.CodeNoTimeline), frame.CodeOf(err), "it is not given an empty log")
	require.NoError(t, client.Close())
	r.kill(t)

	// Without it both others are needed: with one of them away nobody is elected, and
	// nothing is acknowledged. That is told, not waited out.
	w.stopSafekeeper(t, 1)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- Run(ctx, w.Env, Config{Dir: filepath.Join(w.dir, "main"), Identity: b.id, Pageserver: w.pageserver, Proposer: 101, Safekeepers: w.safekeepers, SocketDir: s.Dir}, Events{})
	}()
	w.startSafekeeper(t, 1)
	cancel()
	<-ended
	r = b.start(t, s, "main", 0)
	require.Equal(t, "1", s.SQL(t, "SELECT count(*) FROM t"))
	r.end(t)
	b.compare(t, w.dataDir("main"))
}

// TestSafekeeperCatchesUp: one was away for more log than the proposer keeps in
// memory, and is then needed.
func TestSafekeeperCatchesUp(t *testing.T) {
	w := newWorld(t, 3)
	s := pgtest.Init(t, pgtest.Options{})
	b := w.importBranch(t, s)
	r := b.start(t, s, "main", 0)
	s.SQL(t, "CREATE TABLE t (n int)")
	w.stopSafekeeper(t, 0)
	for range 6 {
		s.SQL(t, "SELECT pg_logical_emit_message(false, '', repeat(md5(random()::text), 500000)); INSERT INTO t VALUES (1)")
	}
	w.startSafekeeper(t, 0)
	w.stopSafekeeper(t, 1)
	s.SQL(t, "INSERT INTO t VALUES (2)") // returns only when the first has caught up
	r.kill(t)
	w.startSafekeeper(t, 1)
	w.stopSafekeeper(t, 2)
	r = b.start(t, s, "main", 0)
	require.Equal(t, "7", s.SQL(t, "SELECT count(*) FROM t"))
	r.end(t)
	b.compare(t, w.dataDir("main"))
}

// TestTimelineStopsWhereItDoesNotKnowWhatAPageBecomes: what a superuser switches on or
// off does not matter to the storage; a record of an extension's resource manager does.
// The timeline stops there, says why, and serves what came before.
func TestTimelineStopsWhereItDoesNotKnowWhatAPageBecomes(t *testing.T) {
	w := newWorld(t, 3)
	s := pgtest.Init(t, pgtest.Options{})
	b := w.importBranch(t, s)
	r := b.start(t, s, "main", 0)
	s.SQL(t, `CREATE TABLE t (n int PRIMARY KEY); CREATE INDEX ON t USING gist (int4range(n, n)); INSERT INTO t VALUES (1);
SET wal_compression = pglz; INSERT INTO t SELECT generate_series(100, 300); SET wal_compression = zstd; INSERT INTO t SELECT generate_series(400, 600);
SET wal_compression = off; INSERT INTO t SELECT generate_series(700, 900); ALTER SYSTEM SET wal_consistency_checking = 'all'; ALTER SYSTEM SET full_page_writes = on;
ALTER SYSTEM SET synchronous_standby_names = ''; SELECT pg_reload_conf(); SET wal_consistency_checking = 'all'; INSERT INTO t VALUES (2);`)
	require.Equal(t, "all|off|FIRST 1 (varve)", s.SQL(t, "SELECT current_setting('wal_consistency_checking'), current_setting('full_page_writes'), current_setting('synchronous_standby_names')"))
	at := head(t, s)
	var stopped error
	_, err := proptest.Intrude(t.Context(), w.Env, proposer.Config{ID: 103, Identity: b.id, Safekeepers: w.safekeepers}, func(ctx context.Context, end wal.LSN) error {
		stopped = w.client.Timeline(b.id.Timeline).WaitLSN(ctx, end)
		return nil
	})
	require.NoError(t, err)
	require.Error(t, r.wait(), "it ends by itself: fenced, or since the storage cannot go on, whichever it learns first")
	err = stopped
	require.ErrorIs(t, err, timeline.ErrStoppedForGood)
	require.ErrorContains(t, err, "custom128")
	require.ErrorContains(t, err, "by a resource manager of an extension")
	require.Empty(t, processesIn(w.dataDir("main")))
	err = Run(t.Context(), w.Env, Config{Dir: filepath.Join(w.dir, "main"), Identity: b.id, Pageserver: w.pageserver, Proposer: 102, Safekeepers: w.safekeepers, SocketDir: s.Dir}, Events{})
	require.ErrorIs(t, err, timeline.ErrStopped)
	require.False(t, strings.Contains(err.Error(), "\n"), err.Error())

	r = b.start(t, s, "past", at)
	require.Equal(t, "605", s.SQL(t, "SELECT count(*) FROM t"))
	r.end(t)
	child := b.branch(t, at)
	r = child.start(t, s, "child", 0)
	s.SQL(t, "INSERT INTO t VALUES (3)")
	s.Exec(t, "pg_amcheck", "--install-missing", "--heapallindexed", "-d", "postgres")
	r.end(t)
	child.compare(t, w.dataDir("child"))
}
