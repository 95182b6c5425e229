package cluster_test

import (
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/bench/cluster"
	"github.com/varvedb/varve/lsm"
	"github.com/varvedb/varve/pageserver/pgkey"
	"github.com/varvedb/varve/pageserver/timeline"
	"github.com/varvedb/varve/wal/pgwal"
)

// A page whose rows were updated is an image and one delta for each update, and what is
// read of it is the rows, in all their versions.
func TestRowsAreUpdatedOneByOne(t *testing.T) {
	const pages, updates = 3, 61
	p, err := cluster.NewPages(t.Context(), cluster.PagesConfig{Dir: t.TempDir()})
	require.NoError(t, err)
	defer func() { require.NoError(t, p.Close(t.Context())) }()
	require.NoError(t, p.InsertRows(t.Context(), pages))
	require.NoError(t, p.UpdateRows(t.Context(), updates))
	require.NoError(t, p.Timeline.Flush(t.Context()))
	for block := range pages {
		var chains [1]lsm.Chain
		require.NoError(t, p.Under.Get(t.Context(), []lsm.Read{{Key: pgkey.Block(cluster.Rel, pgwal.MainFork, uint32(block)), LSN: p.End()}}, chains[:]))
		require.True(t, chains[0].HasBase)
		require.Len(t, chains[0].Deltas, updates)

		var dst [1][]byte
		require.NoError(t, p.Timeline.GetPages(t.Context(), []timeline.PageRead{cluster.Read(block, p.End())}, dst[:]))
		for n := 1; n <= cluster.RowsPerPage+updates; n++ {
			pointer := binary.LittleEndian.Uint32(dst[0][24+4*(n-1):])
			require.Equal(t, uint32(36), pointer>>17)
			row := dst[0][pointer&0x7FFF:][24:36]
			teller, balance := (n-1)%cluster.RowsPerPage, n
			if n <= cluster.RowsPerPage {
				balance = 0
			}
			require.Equal(t, uint32(block*cluster.RowsPerPage+teller), binary.LittleEndian.Uint32(row))
			require.Equal(t, uint32(block), binary.LittleEndian.Uint32(row[4:]))
			require.Equal(t, uint32(balance), binary.LittleEndian.Uint32(row[8:]))
		}
	}
}
