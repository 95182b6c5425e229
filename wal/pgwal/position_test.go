package pgwal

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/wal"
)

func TestPositionsOfRecords(t *testing.T) {
	for _, c := range []struct{ at, position, start wal.LSN }{
		{0x1000000, 0x1000000, 0x1000028}, // a segment's start
		{0x1000001, 0x1000028, 0x1000028},
		{0x1000028, 0x1000028, 0x1000028},
		{0x1000029, 0x1000030, 0x1000030},
		{0x1002000, 0x1002000, 0x1002018}, // a page's start
		{0x1002001, 0x1002018, 0x1002018},
		{0x1002018, 0x1002018, 0x1002018},
		{0x1001FF9, 0x1002000, 0x1002018}, // the last bytes of a page
	} {
		require.Equal(t, c.position, RecordPosition(c.at), "%v", c.at)
		require.Equal(t, c.start, RecordStart(c.at), "%v", c.at)
		require.Equal(t, c.at == c.position, IsRecordPosition(c.at), "%v", c.at)
		require.True(t, IsRecordPosition(c.start))
	}
	require.False(t, IsRecordPosition(0))
}
