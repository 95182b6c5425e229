package timeline

import (
	"math/bits"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/pageserver/pgkey"
	"github.com/varvedb/varve/wal"
)

func TestSplitIsTheRoundestNumberBetween(t *testing.T) {
	for low := uint64(1); low < 70; low++ {
		for high := low + 1; high < 140; high++ {
			most := low
			for n := low; n < high; n++ {
				if bits.TrailingZeros64(n) > bits.TrailingZeros64(most) {
					most = n
				}
			}
			require.Equal(t, most, split(low, high), "[%d, %d)", low, high)
		}
	}
	require.Zero(t, split(0, 5))
}

func TestTheTimeIndexIsBounded(t *testing.T) {
	var x timeIndex
	values := make([]pgkey.CommitTimeValue, momentsMax/10)
	for chunk := range uint64(100) {
		x.keep(chunk, wal.LSN(1000*pgkey.CommitTimeChunk), values)
		require.LessOrEqual(t, x.size, momentsMax)
	}
	require.Len(t, x.chunks, 10)
	require.NotNil(t, x.moments(99, 1000*pgkey.CommitTimeChunk))
	require.Nil(t, x.moments(0, 1000*pgkey.CommitTimeChunk))
	for from := range uint64(3 * boundsMax) {
		x.note(from, bound{from, 0, 1 << 60})
		require.LessOrEqual(t, len(x.bounds), boundsMax)
	}
	x.keep(7, 7*pgkey.CommitTimeChunk, values[:1])
	require.Nil(t, x.moments(7, 8*pgkey.CommitTimeChunk), "it was not complete")
}
