package lsm_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/lsm"
)

// TestOnlyLayersOfMemtablesCountAsFlushed: not those of an import, and each once, however often
// it was sent.
func TestOnlyLayersOfMemtablesCountAsFlushed(t *testing.T) {
	b := newMemBucket()
	s, tl := start(t, withBucket(t, b))
	n := 0
	require.NoError(t, tl.ImportImages(t.Context(), 20, func() (lsm.Key, []byte, bool, error) {
		n++
		return key(n), []byte("Ione"), n < 4, nil
	}))
	require.Zero(t, tl.Stats().Flushes)
	require.Zero(t, tl.Stats().FlushedBytes)
	b.setBefore(func(op, key string, _ []byte) error {
		if op == "put" && strings.HasSuffix(key, "index") {
			return errBucket
		}
		return nil
	})
	before := tl.Stats().LayerBytes
	apply(t, tl, put(1, 30, "Da"))
	require.ErrorIs(t, tl.Flush(t.Context()), errBucket)
	b.setBefore(nil)
	flush(t, tl)
	st := tl.Stats()
	require.EqualValues(t, 1, st.Flushes)
	require.EqualValues(t, st.LayerBytes-before, st.FlushedBytes)
	require.NoError(t, s.Close(t.Context()))
}
