package timeline

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/pageserver/pgkey"
)

func TestTheRoomOfAGreatValueIsNotKept(t *testing.T) {
	b := newBatch()
	for _, c := range []struct{ bytes, kept int }{
		{batchBytesMax, batchBytesMax},
		{roomKeptBytes, roomKeptBytes},
		{roomKeptBytes + 1, 0},
		{64 << 20, 0},
		{1, roomFirstBytes},
	} {
		b.begin(1)
		b.imageOf(pgkey.NextXID(), make([]byte, c.bytes))
		b.reset()
		require.Equal(t, c.kept, cap(b.room), "after %d bytes", c.bytes)
	}
}
