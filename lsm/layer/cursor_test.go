package layer_test

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/lsm/kv"
	"github.com/varvedb/varve/lsm/layer"
)

// TestACursorHoldsLittleOfWhatCompressesWell: pages of zeros, of which what is read at a time
// comes to some hundred times as much. A request is still made for as much as before.
func TestACursorHoldsLittleOfWhatCompressesWell(t *testing.T) {
	page := make([]byte, 8192)
	var versions []kv.Version
	for k := range 8000 {
		versions = append(versions, kv.Version{Key: key(k), LSN: 0x101, Kind: kv.Image, Value: page})
	}
	desc, data := build(deltaID(), 16<<10, versions)
	require.Less(t, len(data), len(versions)*len(page)/50)
	require.Greater(t, len(data), 2*layer.CursorBytes)
	source := &file{data: data}
	c, err := layer.NewReader(desc, "layer", source, layer.NewCache(0), layer.NewCache(1<<20)).Cursor(t.Context(), kv.Key{})
	require.NoError(t, err)
	for _, want := range versions {
		got := c.Version()
		require.True(t, got.Key == want.Key && bytes.Equal(got.Value, page), "%v", got.Key)
		require.LessOrEqual(t, c.Held(), 3*layer.CursorBytes)
		require.NoError(t, c.Next(t.Context()))
		if want.Key[17]%4 == 0 {
			c.Settle()
		}
	}
	require.True(t, c.Done())
	require.LessOrEqual(t, source.reads, 2+len(data)/layer.CursorBytes, "one of the index, and of data as few as there can be")
	c.Settle()
	require.Zero(t, c.Held())
}

// TestACursorReadsALargeBlockAlone: one that is larger than what is read at a time.
func TestACursorReadsALargeBlockAlone(t *testing.T) {
	var versions []kv.Version
	for k := range 6 {
		value := make([]byte, 100)
		if k%2 == 1 {
			value = make([]byte, 3*layer.CursorBytes)
		}
		versions = append(versions, kv.Version{Key: key(k), LSN: 0x101, Kind: kv.Image, Value: value})
	}
	desc, data := build(deltaID(), 16<<10, versions)
	c, err := layer.NewReader(desc, "layer", &file{data: data}, layer.NewCache(0), layer.NewCache(1<<20)).Cursor(t.Context(), kv.Key{})
	require.NoError(t, err)
	for _, want := range versions {
		require.Equal(t, want, c.Version())
		require.NoError(t, c.Next(t.Context()))
	}
	require.True(t, c.Done())
}
