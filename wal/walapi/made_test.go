package walapi

import (
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/quorum"
)

func TestMadeBytes(t *testing.T) {
	id := quorum.Identity{Tenant: wal.TenantID{0xaa}, Timeline: wal.TimelineID{0xbb}, SystemID: 0x0102030405060708, PGVersion: 15, Start: 0x1122334455667788}
	golden := "564c4f47" + "01000000" + "aa" + strings.Repeat("00", 15) + "bb" + strings.Repeat("00", 15) +
		"0807060504030201" + "0f000000" + "8877665544332211"
	object := AppendMade(nil, id)
	require.Equal(t, golden, hex.EncodeToString(object[:madeSize-4]))
	decoded, err := DecodeMade("key", object)
	require.NoError(t, err)
	require.Equal(t, id, decoded)
	for i := range object {
		object[i] ^= 1
		_, err := DecodeMade("key", object)
		require.ErrorIs(t, err, wal.ErrCorruption)
		object[i] ^= 1
	}
}

func FuzzDecodeMade(f *testing.F) {
	f.Add(AppendMade(nil, identity))
	f.Fuzz(func(t *testing.T, src []byte) {
		id, err := DecodeMade("key", src)
		if err == nil {
			require.Equal(t, src, AppendMade(nil, id))
		} else if !errors.Is(err, wal.ErrCorruption) {
			require.ErrorContains(t, err, "version")
		}
	})
}
