package simulator

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/sim/world"
)

func TestAFaultThatOutlastsThePictureIsDrawn(t *testing.T) {
	p := newPicture(10 * time.Second)
	see := func(kind world.Kind, node string, at time.Duration, payload uint64) {
		p.see(world.Entry{Kind: kind, Node: node, At: at, Payload: payload})
	}
	see(world.KindPause, "a", 1*time.Second, 0)
	see(world.KindResume, "a", 2*time.Second, 0)
	see(world.KindPause, "a", 4*time.Second, 0)
	see(world.KindFull, "b", 5*time.Second, 1)
	see(world.KindPause, "b", 6*time.Second, 0)
	see(world.KindResume, "a", 7*time.Second, 0)
	see(world.KindResume, "b", 12*time.Second, 0) // No longer in the picture.
	p.close()
	require.Equal(t, []string{"a node stands still", "a disk is full", "a node stands still"}, p.bands.Labels)
	require.Equal(t, []float64{1, 5, 4}, p.bands.XS)
	require.Equal(t, []float64{2, 10, 10}, p.bands.YS)
}
