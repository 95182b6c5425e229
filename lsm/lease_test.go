package lsm_test

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/lsm"
	"github.com/varvedb/varve/lsm/manifest"
)

// TestACollectionForgetsLeasesThatHaveEnded: though the cutoff stands. An explanation of what
// is there has them, and one of what a collection drops has not.
func TestACollectionForgetsLeasesThatHaveEnded(t *testing.T) {
	ctx := t.Context()
	s, tl := start(t, withBucket(t, newMemBucket()))
	apply(t, tl, put(1, 20, "Ia"), put(1, 30, "Ib"), put(1, 40, "Ic"))
	flush(t, tl)
	require.NoError(t, tl.Lease(ctx, lsm.LeaseID{1}, 25, time.Now().Add(time.Hour)))
	_, err := tl.Collect(ctx, lsm.CollectOptions{Cutoff: 40})
	require.NoError(t, err)
	require.NoError(t, tl.Lease(ctx, lsm.LeaseID{1}, 25, time.Now().Add(-time.Hour)))
	require.Equal(t, "Ia", get(t, tl, 1, 25))

	e, err := tl.Explain(ctx, 0)
	require.NoError(t, err)
	require.Len(t, e.Pins, 1)
	require.Positive(t, e.Pins[0].Only)
	require.Zero(t, e.Garbage)
	after, err := tl.Explain(ctx, 40)
	require.NoError(t, err)
	require.Empty(t, after.Pins)
	require.Equal(t, e.Pins[0].Only, after.Garbage)
	dry, err := tl.Collect(ctx, lsm.CollectOptions{Cutoff: 40, DryRun: true})
	require.NoError(t, err)
	require.Empty(t, dry.Pins)
	require.Len(t, tl.Leases(), 1)

	c, err := tl.Collect(ctx, lsm.CollectOptions{Cutoff: 40})
	require.NoError(t, err)
	require.Equal(t, after.Garbage, c.Dropped)
	require.Equal(t, dry.Layers, c.Layers)
	require.Empty(t, tl.Leases())
	require.ErrorIs(t, tl.Get(ctx, []lsm.Read{{Key: key(1), LSN: 25}}, make([]lsm.Chain, 1)), lsm.ErrBelowHorizon)
	require.NoError(t, s.Close(ctx))
}

// TestLeasesThatHaveEndedMakeRoom for new ones, whether history is ever collected or not.
func TestLeasesThatHaveEndedMakeRoom(t *testing.T) {
	ctx := t.Context()
	b := newMemBucket()
	w := withBucket(t, b)
	s, tl := start(t, w)
	apply(t, tl, put(1, 20, "Ia"))
	flush(t, tl)
	require.NoError(t, s.Close(ctx))
	index := b.keys("/index")[0]
	x, err := manifest.Decode(index, b.objects[index])
	require.NoError(t, err)
	for i := range manifest.LeasesMax {
		l := manifest.Lease{LSN: 20, End: time.Now().Add(time.Hour).Unix()}
		if i%2 == 0 {
			l.End = 1
		}
		binary.BigEndian.PutUint32(l.ID[:], uint32(i))
		x.Leases = append(x.Leases, l)
	}
	b.objects[index] = x.AppendTo(nil)

	s = w.openSmall()
	tl = attach(t, s, timelineID(1))
	require.Len(t, tl.Leases(), manifest.LeasesMax)
	require.NoError(t, tl.Lease(ctx, lsm.LeaseID{1}, 20, time.Now().Add(time.Hour)))
	require.Len(t, tl.Leases(), manifest.LeasesMax/2+1)
	require.NoError(t, s.Close(ctx))
}
