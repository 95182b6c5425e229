package remote_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/lsm/layer"
	"github.com/varvedb/varve/lsm/remote"
	"github.com/varvedb/varve/wal"
)

func TestKeysRoundTrip(t *testing.T) {
	for _, parent := range []wal.TimelineID{{}, {9}} {
		key := remote.IndexKey(tenant, parent, timeline)
		gotParent, got, ok := remote.ParseIndexKey(tenant, key)
		require.True(t, ok)
		require.Equal(t, []wal.TimelineID{parent, timeline}, []wal.TimelineID{gotParent, got})
		for _, bad := range []string{"", key + "x", key[1:], fmt.Sprintf("%s/more", key)} {
			_, _, ok := remote.ParseIndexKey(tenant, bad)
			require.False(t, ok, "%q", bad)
		}
	}
	_, _, ok := remote.ParseIndexKey(wal.TenantID{3}, remote.IndexKey(tenant, wal.TimelineID{}, timeline))
	require.False(t, ok, "of another tenant")
}

// FuzzKeys: whatever the name of an object is, it is read as a key only if that key is
// written so.
func FuzzKeys(f *testing.F) {
	f.Add(remote.IndexKey(tenant, wal.TimelineID{}, timeline))
	f.Add(remote.IndexKey(tenant, wal.TimelineID{9}, timeline))
	f.Add(remote.LayerKey(tenant, layer.ID{Timeline: timeline, LSNLo: 1, LSNHi: 2}))
	f.Add(remote.LayersPrefix(tenant, timeline))
	f.Add(strings.ToUpper(remote.IndexKey(tenant, wal.TimelineID{0xab}, timeline)))
	f.Add("")
	f.Fuzz(func(t *testing.T, key string) {
		parent, child, isIndex := remote.ParseIndexKey(tenant, key)
		if isIndex {
			require.Equal(t, key, remote.IndexKey(tenant, parent, child))
		}
		owner, isLayer := remote.ParseLayerKey(tenant, key)
		if isLayer {
			require.True(t, strings.HasPrefix(key, remote.LayersPrefix(tenant, owner)))
		}
		require.False(t, isIndex && isLayer)
	})
}
