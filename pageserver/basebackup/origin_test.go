package basebackup

import (
	"encoding/hex"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/wal"
)

// goldenOrigins is the file that PostgreSQL 15.18 wrote for origin 1 at 0/123456.
const goldenOrigins = "deda571201000000000000005634120000000000c349ab3f"

func TestOriginsGolden(t *testing.T) {
	b, err := hex.DecodeString(goldenOrigins)
	require.NoError(t, err)
	origins, err := decodeOrigins(b)
	require.NoError(t, err)
	require.Equal(t, []origin{{1, 0x123456}}, origins)
	require.Equal(t, b, appendOrigins(nil, origins))
	for i := range b {
		b[i] ^= 1
		_, err := decodeOrigins(b)
		require.ErrorIs(t, err, wal.ErrCorruption, "byte %d", i)
		b[i] ^= 1
	}
}

func FuzzOrigins(f *testing.F) {
	golden, err := hex.DecodeString(goldenOrigins)
	require.NoError(f, err)
	f.Add(golden)
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		origins, err := decodeOrigins(b)
		if err != nil {
			require.ErrorIs(t, err, wal.ErrCorruption)
			return
		}
		again, err := decodeOrigins(appendOrigins(nil, origins))
		require.NoError(t, err)
		require.Equal(t, origins, again)
	})
}
