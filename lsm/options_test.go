package lsm_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/lsm"
	"github.com/varvedb/varve/lsm/layer"
)

// TestAllThatIsWrongWithOptionsIsToldAtOnce: every field out of its bounds has its line.
func TestAllThatIsWrongWithOptionsIsToldAtOnce(t *testing.T) {
	require.NoError(t, lsm.Options{Tenant: tenant}.Validate())
	err := lsm.Options{
		CacheBytes: -1, BlockCacheBytes: -1, IndexCacheBytes: -1, MemtableBytes: -1, FrozenMax: -1, BlockBytes: 1, LayerBytes: -1, FlushedMax: 33,
		TierFanout: 1, ChainMax: -1, HistoryBytes: -2, HistoryTime: -time.Second,
	}.Validate()
	require.Error(t, err)
	require.Len(t, strings.Split(err.Error(), "\n"), 13, "%v", err)
	require.NoError(t, lsm.Options{Tenant: tenant, BlockBytes: layer.BlockBytesMax}.Validate())
	require.Error(t, lsm.Options{Tenant: tenant, BlockBytes: layer.BlockBytesMax + 1}.Validate())
}
