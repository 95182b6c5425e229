package control

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/lsm"
	"github.com/varvedb/varve/pageserver/pageapi"
	"github.com/varvedb/varve/wal"
)

func TestALeaseEnds(t *testing.T) {
	end := time.Unix(1_700_000_000, 0)
	l := lsm.LeaseInfo{ID: lsm.LeaseID{0xab}, LSN: 7, End: end.Unix()}
	require.False(t, leaseOf("main", l, end.Add(-time.Second)).Ended)
	ended := leaseOf("main", l, end)
	require.True(t, ended.Ended)
	require.Equal(t, "ab000000000000000000000000000000", ended.ID)
	require.Equal(t, end.UTC(), ended.Until)
}

// TestAWindowIsChangedInParts: what is not set stays, and for ever is for ever.
func TestAWindowIsChangedInParts(t *testing.T) {
	w := Window{Seconds: 60}.over(Window{}).over(defaultWindow)
	require.Equal(t, Window{60, 64 << 20}, w)
	require.Equal(t, Window{60, 5}, Window{Bytes: 5}.over(w))
	tuned := func(w Window) (opts lsm.Options) {
		w.Tune(&opts)
		return opts
	}
	require.Equal(t, lsm.Options{HistoryTime: time.Minute, HistoryBytes: 64 << 20}, tuned(w))
	require.Equal(t, lsm.Options{HistoryBytes: -1}, tuned(Window{Seconds: WindowForever, Bytes: 5}))
	require.Equal(t, lsm.Options{}, tuned(Window{}), "the store's own defaults")
}

// TestWhatAResetReplacesGivesUpItsName: of two timelines of one name, a reset that was cut
// short has left one.
func TestWhatAResetReplacesGivesUpItsName(t *testing.T) {
	before, after := wal.TimelineID{1}, wal.TimelineID{2}
	first, err := newLabel("fix", wal.TimelineID{})
	require.NoError(t, err)
	require.NotContains(t, string(first), "replaces")
	second, err := newLabel("fix", before)
	require.NoError(t, err)
	infos := []pageapi.TimelineInfo{{ID: before, Meta: first}, {ID: after, Meta: second}, {ID: wal.TimelineID{3}, Stopped: "its index is damaged"}}
	require.Equal(t, map[wal.TimelineID]wal.TimelineID{before: after}, replacedBy(infos))
	l, err := labelOf(infos[1], nil)
	require.NoError(t, err)
	require.Equal(t, "fix", l.Name)
}
