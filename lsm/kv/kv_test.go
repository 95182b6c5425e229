package kv_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/varvedb/varve/lsm/kv"
)

func drawKey(t *rapid.T, label string) (k kv.Key) {
	// Few values, so that keys often share a beginning.
	copy(k[:], rapid.SliceOfN(rapid.SampledFrom([]byte{0, 1, 0x7f, 0x80, 0xff}), kv.KeySize, kv.KeySize).Draw(t, label))
	if rapid.Bool().Draw(t, "shared beginning") {
		copy(k[:rapid.IntRange(0, kv.KeySize).Draw(t, "beginning")], bytes.Repeat([]byte{0xff}, kv.KeySize))
	}
	return k
}

func TestKeysAreOrderedBytewise(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := drawKey(t, "a"), drawKey(t, "b")
		require.Equal(t, bytes.Compare(a[:], b[:]), a.Compare(b))
		require.Equal(t, bytes.Compare(a[:], b[:]) < 0, a.Less(b))
		require.Equal(t, a == b, a.Is(&b))
		require.True(t, a.Is(&a))
		require.Zero(t, a.Compare(a))
		next, ok := a.Next()
		require.Equal(t, a != kv.MaxKey, ok)
		if ok {
			require.True(t, a.Less(next))
			require.False(t, a.Less(b) && b.Less(next), "nothing lies between a key and the next")
		}
		parsed, err := kv.ParseKey(a.String())
		require.NoError(t, err)
		require.Equal(t, a, parsed)
	})
}

func TestParseKeyRefusesWhatIsNotAKey(t *testing.T) {
	for _, text := range []string{"", "00", kv.MaxKey.String() + "0", "zz" + kv.MaxKey.String()[2:]} {
		_, err := kv.ParseKey(text)
		require.Error(t, err, "%q", text)
	}
}

func FuzzParseKey(f *testing.F) {
	f.Add(kv.MaxKey.String())
	f.Add(strings.ToUpper(kv.MaxKey.String()))
	f.Add("00")
	f.Fuzz(func(t *testing.T, text string) {
		if key, err := kv.ParseKey(text); err == nil {
			require.Equal(t, strings.ToLower(text), key.String())
		}
	})
}
