package cluster_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/bench/cluster"
	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/walapi"
)

// A commit leaves the third behind, and who measures what comes next waits for it.
func TestAllHaveWhatTheSlowestHasGot(t *testing.T) {
	keepers, err := cluster.StartSafekeepers(t.Context(), t.TempDir(), 3)
	require.NoError(t, err)
	defer func() { require.NoError(t, keepers.Stop()) }()
	timeline := wal.TimelineID{2}
	w, err := keepers.NewWriter(t.Context(), timeline)
	require.NoError(t, err)
	defer func() { require.NoError(t, w.Stop()) }()
	keepers.Nodes[0].World.Files.SyncDelay.Store(int64(100 * time.Millisecond))
	var end wal.LSN
	for range 20 {
		end, err = w.Write(t.Context(), cluster.Message(8000))
		require.NoError(t, err)
	}
	require.NoError(t, w.WaitAll(t.Context(), end))
	for _, n := range keepers.Nodes {
		client, err := walapi.Dial(t.Context(), keepers.Env, n.Addr)
		require.NoError(t, err)
		status, err := client.Status(t.Context(), timeline)
		require.NoError(t, err)
		require.NoError(t, client.Close())
		require.GreaterOrEqual(t, status.Flush, end, "safekeeper %d", n.ID)
	}
}
