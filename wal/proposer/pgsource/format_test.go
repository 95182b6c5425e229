package pgsource

import (
	"encoding/hex"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/wal"
)

func TestStatusBytes(t *testing.T) {
	status := appendStatus(nil, 0x0123456789abcdef, epoch.Add(time.Microsecond*0x10))
	require.Equal(t, "72"+"0123456789abcdef"+"0123456789abcdef"+"0123456789abcdef"+"0000000000000010"+"00", hex.EncodeToString(status))
	require.Len(t, status, statusSize)
}

func TestMessagesAreDecoded(t *testing.T) {
	m := decodeHex(t, "77"+"00000000016b3748"+"00000000016b374a"+"0000000000000000"+"aabb")
	require.Equal(t, message{begin: 0x16b3748, data: []byte{0xaa, 0xbb}}, m)
	m = decodeHex(t, "6b"+"00000000016b374a"+"0000000000000000"+"01")
	require.Equal(t, message{answer: true}, m)
	m = decodeHex(t, "6b"+"00000000016b374a"+"0000000000000000"+"00")
	require.Equal(t, message{}, m)
}

func decodeHex(t *testing.T, text string) message {
	t.Helper()
	p, err := hex.DecodeString(text)
	require.NoError(t, err)
	m, err := decodeMessage(p)
	require.NoError(t, err)
	return m
}

func FuzzDecodeMessage(f *testing.F) {
	f.Add([]byte{})
	f.Add(make([]byte, logDataHeaderSize))
	f.Add(append([]byte{logDataTag}, make([]byte, logDataHeaderSize)...))
	f.Add(append([]byte{keepaliveTag}, make([]byte, keepaliveSize-1)...))
	f.Fuzz(func(t *testing.T, p []byte) {
		m, err := decodeMessage(p)
		if err != nil {
			return
		}
		require.True(t, m.data == nil || m.begin >= wal.InvalidLSN && len(m.data) == len(p)-logDataHeaderSize)
	})
}
