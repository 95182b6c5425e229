package control

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/pageserver/pageapi"
	"github.com/varvedb/varve/wal"
)

func TestADamagedTimelineGoesByItsID(t *testing.T) {
	meta, err := newLabel("main")
	require.NoError(t, err)
	for _, c := range []struct {
		info pageapi.TimelineInfo
		name string
	}{
		{pageapi.TimelineInfo{ID: wal.TimelineID{1}, Meta: meta}, "main"},
		{pageapi.TimelineInfo{ID: wal.TimelineID{1}, Meta: meta, Stopped: "no image"}, "main"},
		{pageapi.TimelineInfo{ID: wal.TimelineID{1}, Stopped: "corruption"}, wal.TimelineID{1}.String()},
	} {
		l, err := labelOf(c.info)
		require.NoError(t, err)
		require.Equal(t, c.name, l.Name)
	}
	_, err = labelOf(pageapi.TimelineInfo{ID: wal.TimelineID{1}})
	require.ErrorContains(t, err, "read the name")
}
