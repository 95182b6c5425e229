package control

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/env"
	"github.com/varvedb/varve/wal/env/osenv"
	"github.com/varvedb/varve/wal/quorum"
	"github.com/varvedb/varve/wal/safekeeper"
	"github.com/varvedb/varve/wal/walapi"
)

// runSafekeeper runs one in dir and returns its address and what ends it.
func runSafekeeper(t *testing.T, e env.Env, dir string) (addr string, stop func()) {
	t.Helper()
	group := e.Tasks.NewGroup(context.WithoutCancel(t.Context()))
	s := safekeeper.New(e, safekeeper.Config{ID: 2, Dir: "sk", Listen: "unix:" + filepath.Join(dir, "sock")})
	group.Go("safekeeper", s.Run)
	addr, err := s.Ready(t.Context())
	require.NoError(t, err)
	return addr, func() {
		group.Stop()
		require.NoError(t, group.Wait())
	}
}

// TestSurveyTellsWhatASafekeeperHasLost: one of three logs is gone, one has a damaged
// state; and then the safekeeper is gone too.
func TestSurveyTellsWhatASafekeeperHasLost(t *testing.T) {
	dir := t.TempDir()
	e, err := osenv.New(osenv.Config{Root: dir, Bucket: dir + "/bucket"})
	require.NoError(t, err)
	logs := []branchLog{{"main", wal.TimelineID{1}}, {"dev", wal.TimelineID{2}}, {"fix", wal.TimelineID{3}}}
	addr, stop := runSafekeeper(t, e, dir)
	client, err := walapi.Dial(t.Context(), e, addr)
	require.NoError(t, err)
	for _, log := range logs {
		require.NoError(t, client.Create(t.Context(), quorum.Identity{Timeline: log.timeline, SystemID: 7, PGVersion: 15, Start: 0x1500000}))
	}
	require.NoError(t, client.Close())
	survey := func() Process {
		p := Process{Name: "safekeeper-2", State: StateRunning, Addr: addr}
		surveySafekeeper(t.Context(), e, &p, logs)
		return p
	}
	require.Equal(t, Process{Name: "safekeeper-2", State: StateRunning, Addr: addr, Logs: 3}, survey())
	stop()

	timeline := func(i int) string { return filepath.Join(dir, "sk/timelines", logs[i].timeline.String()) }
	require.NoError(t, os.RemoveAll(timeline(0)))
	state, err := os.ReadFile(timeline(2) + "/state")
	require.NoError(t, err)
	state[len(state)/2] ^= 1
	require.NoError(t, os.WriteFile(timeline(2)+"/state", state, 0o600))
	_, stop = runSafekeeper(t, e, dir)
	p := survey()
	require.Equal(t, StateAmnesiac, p.State)
	require.Equal(t, 3, p.Logs)
	require.Len(t, p.Absent, 2)
	require.Equal(t, AbsentLog{"main", StateAmnesiac, "status of timeline " + logs[0].timeline.String() + ": safekeeper 2 has no timeline " + logs[0].timeline.String()}, p.Absent[0])
	require.Equal(t, "fix", p.Absent[1].Branch)
	require.Contains(t, p.Absent[1].Why, "checksum")
	require.Contains(t, p.Why, "takes no part in 2 of 3 logs: main (")
	stop()

	p = survey()
	require.Equal(t, StateUnreachable, p.State)
	require.NotEmpty(t, p.Why)

	state1, why := standing([]AbsentLog{{"main", StateFailed, "the disk is full"}}, 2)
	require.Equal(t, StateFailed, state1)
	require.Equal(t, "takes no part in 1 of 2 logs: main (the disk is full)", why)
}
