package endpoint

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/wal/pgwal/pgtest"
	"github.com/varvedb/varve/wal/proposer"
)

// config is that of a read-write endpoint in directory "main".
func (b *branch) config(s *pgtest.Server) Config {
	return Config{
		Name: "test", Dir: filepath.Join(b.w.dir, "main"), Identity: b.id, Pageserver: b.w.pageserver,
		Proposer: 100, Safekeepers: b.w.safekeepers, SocketDir: s.Dir,
	}
}

// TestStartWithoutAMajorityTellsAndGivesUp, and when the safekeepers are back it starts.
func TestStartWithoutAMajorityTellsAndGivesUp(t *testing.T) {
	w := newWorld(t, 3)
	s := pgtest.Init(t, pgtest.Options{})
	b := w.importBranch(t, s)
	r := b.start(t, s, "main", 0)
	s.SQL(t, "CREATE TABLE t AS SELECT 1 AS a")
	r.end(t)
	w.stopSafekeeper(t, 0)
	w.stopSafekeeper(t, 1)

	cfg := b.config(s)
	cfg.quietTime, cfg.majorityTimeout = 1, time.Hour
	heard := errors.New("heard")
	ctx, cancel := context.WithCancelCause(t.Context())
	err := Run(ctx, w.Env, cfg, Events{Step: func(text string) {
		if strings.HasPrefix(text, "waiting for a majority of safekeepers: 1 of 3 safekeepers answer (safekeeper 1 does not answer, safekeeper 2 does not answer)") {
			cancel(heard)
		}
	}})
	require.ErrorIs(t, err, heard)
	require.NotErrorIs(t, err, ErrNoMajority)

	cfg.majorityTimeout = time.Millisecond
	err = Run(t.Context(), w.Env, cfg, Events{})
	require.ErrorIs(t, err, ErrNoMajority)
	require.ErrorContains(t, err, "win a term: no majority of the safekeepers answers within 1ms: ")
	require.ErrorContains(t, err, "safekeeper 1 does not answer, safekeeper 2 does not answer")
	require.ErrorContains(t, err, "see `varve status`")
	require.NoDirExists(t, w.dataDir("main"))

	w.startSafekeeper(t, 0)
	b.start(t, s, "main", 0)
	require.Equal(t, "1", s.SQL(t, "SELECT a FROM t"))
}

// TestStopWithoutAMajorityEndsAndLosesNothing: what nobody acknowledges, the next life
// does not need.
func TestStopWithoutAMajorityEndsAndLosesNothing(t *testing.T) {
	w := newWorld(t, 3)
	s := pgtest.Init(t, pgtest.Options{})
	b := w.importBranch(t, s)
	cfg := b.config(s)
	cfg.stopTimeout = time.Millisecond
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ready, ended := make(chan Ready, 1), make(chan error, 1)
	go func() { ended <- Run(ctx, w.Env, cfg, Events{Ready: func(r Ready) { ready <- r }}) }()
	select {
	case <-ready:
	case err := <-ended:
		require.NoError(t, err)
	}
	s.SQL(t, "CREATE TABLE t AS SELECT 1 AS a")
	w.stopSafekeeper(t, 0)
	w.stopSafekeeper(t, 1)
	cancel()
	err := <-ended
	require.ErrorContains(t, err, "stop: PostgreSQL did not end within 1ms and is killed")
	require.Empty(t, processesIn(w.dataDir("main")))
	require.NoDirExists(t, w.dataDir("main"))

	w.startSafekeeper(t, 0)
	b.start(t, s, "main", 0)
	require.Equal(t, "1", s.SQL(t, "SELECT a FROM t"))
}

// TestTheFixOfALostMajority: nobody is sent to start what runs.
func TestTheFixOfALostMajority(t *testing.T) {
	require.Contains(t, majorityFix(proposer.Presence{Answer: 1, Majority: 2, Members: 3, Lost: 1}), "start the safekeepers that are missing")
	lost := majorityFix(proposer.Presence{Answer: 1, Majority: 2, Members: 3, Lost: 2})
	require.Contains(t, lost, "`varve branch create NAME --parent BRANCH@LSN`")
	require.NotContains(t, lost, "start")
}
