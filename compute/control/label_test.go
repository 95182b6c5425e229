package control

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/pageserver/pageapi"
	"github.com/varvedb/varve/wal"
)

func TestADamagedTimelineGoesByWhatIsKnownOfIt(t *testing.T) {
	meta, err := newLabel("main", wal.TimelineID{})
	require.NoError(t, err)
	known := map[wal.TimelineID]branchRecord{{2}: {Name: "remembered"}}
	for _, c := range []struct {
		info pageapi.TimelineInfo
		name string
	}{
		{pageapi.TimelineInfo{ID: wal.TimelineID{1}, Meta: meta}, "main"},
		{pageapi.TimelineInfo{ID: wal.TimelineID{1}, Meta: meta, Stopped: "no image"}, "main"},
		{pageapi.TimelineInfo{ID: wal.TimelineID{1}, Stopped: "corruption"}, wal.TimelineID{1}.String()},
		{pageapi.TimelineInfo{ID: wal.TimelineID{2}, Stopped: "corruption"}, "remembered"},
	} {
		l, err := labelOf(c.info, known)
		require.NoError(t, err)
		require.Equal(t, c.name, l.Name)
	}
	_, err = labelOf(pageapi.TimelineInfo{ID: wal.TimelineID{1}}, known)
	require.ErrorContains(t, err, "read the name")
}
