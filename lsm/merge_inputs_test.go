package lsm_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/lsm"
)

// TestAMergeHoldsNoMoreLayersThanOverlap: a branch leaves a parent of many layers. Each is begun
// when those before it have ended, so that memory does not grow with their number.
func TestAMergeHoldsNoMoreLayersThanOverlap(t *testing.T) {
	ctx := t.Context()
	b := newMemBucket()
	w := withBucket(t, b)
	s := w.openWith(w.env, lsm.Options{CacheBytes: 1, BlockCacheBytes: 1, IndexCacheBytes: 1, BlockBytes: 64, LayerBytes: 116})
	require.NoError(t, s.Create(ctx, timelineID(1), 10, nil))
	tl := attach(t, s, timelineID(1))
	const keys, layers = 30, 15
	n := 0
	require.NoError(t, tl.ImportImages(ctx, 20, func() (lsm.Key, []byte, bool, error) {
		n++
		return key(n), fmt.Appendf(nil, "I%d %s", n, strings.Repeat("x", 100)), n <= keys, nil
	}))
	require.Len(t, b.keys(".image"), layers)
	require.NoError(t, s.Branch(ctx, timelineID(1), timelineID(2), 20, nil))
	child := attach(t, s, timelineID(2))

	read, written, ahead := map[string]bool{}, 0, 0
	b.setBefore(func(op, key string, _ []byte) error {
		switch {
		case op == "range":
			read[key] = true
			ahead = max(ahead, len(read)-written)
		case op == "put" && strings.Contains(key, "/layers/"):
			written++
		}
		return nil
	})
	require.NoError(t, child.DetachFromParent(ctx))
	b.setBefore(nil)
	require.Len(t, read, layers)
	require.Equal(t, layers, written)
	require.LessOrEqual(t, ahead, 3)
	for i := 1; i <= keys; i++ {
		require.Equal(t, get(t, tl, i, 20), get(t, child, i, 20))
	}
	require.NoError(t, s.Close(ctx))
}
