package layer_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/lsm/kv"
	"github.com/varvedb/varve/lsm/layer"
)

// TestALargeFilterIsRead: one of more keys than make the largest data block.
func TestALargeFilterIsRead(t *testing.T) {
	require.NoError(t, layer.CheckFilterBlock(kv.ValueBytesMax+2<<20))
}
