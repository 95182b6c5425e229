//go:build !race

// The race detector has sync.Pool forget at random.

package layer_test

import (
	"bytes"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/lsm/kv"
	"github.com/varvedb/varve/lsm/layer"
)

// TestSettledCursorUsesMemoryAgain: blocks are decoded where those of a settled cursor were.
func TestSettledCursorUsesMemoryAgain(t *testing.T) {
	var versions []kv.Version
	value := bytes.Repeat([]byte("a page that compresses well, "), 300)
	for k := range 500 {
		versions = append(versions, kv.Version{Key: key(k), LSN: 0x101, Kind: kv.Delta, Value: value})
	}
	desc, data := build(deltaID(), 16<<10, versions)
	r := layer.NewReader(desc, "layer", &file{data: data}, layer.NewCache(1<<20), layer.NewCache(1<<20))
	walk := func() {
		c, err := r.Cursor(t.Context(), kv.Key{})
		for n := 0; err == nil && !c.Done(); n++ {
			require.Equal(t, versions[n].Value, c.Version().Value)
			err = c.Next(t.Context())
			c.Settle()
		}
		require.NoError(t, err)
	}
	walk()
	before, after := runtime.MemStats{}, runtime.MemStats{}
	const rounds = 10
	least := uint64(1 << 62) // a collection of garbage empties the pool
	for range rounds {
		runtime.ReadMemStats(&before)
		walk()
		runtime.ReadMemStats(&after)
		least = min(least, after.TotalAlloc-before.TotalAlloc)
	}
	require.Less(t, least, uint64(len(versions)*len(value)/4), "of %d bytes of values", len(versions)*len(value))
}
