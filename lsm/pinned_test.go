package lsm

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/lsm/manifest"
	"github.com/varvedb/varve/wal"
)

// TestBranchesAreListedAgainWhenALeaseHasGone: one may have been made where it was.
func TestBranchesAreListedAgainWhenALeaseHasGone(t *testing.T) {
	low, high := manifest.Lease{ID: LeaseID{1}, LSN: 30}, manifest.Lease{ID: LeaseID{2}, LSN: 50}
	again := manifest.Lease{ID: LeaseID{3}, LSN: 30}
	p := pinned{cutoff: 40, leases: []manifest.Lease{low, high}, children: []Pin{}}
	require.True(t, p.holds(&manifest.Index{Head: manifest.Head{Cutoff: 40}, Leases: []manifest.Lease{low, high}}))
	require.True(t, p.holds(&manifest.Index{Head: manifest.Head{Cutoff: 40}, Leases: []manifest.Lease{low}}), "where it was, branches are made without")
	require.True(t, p.holds(&manifest.Index{Head: manifest.Head{Cutoff: 40}, Leases: []manifest.Lease{again}}), "the LSN is still kept")
	require.False(t, p.holds(&manifest.Index{Head: manifest.Head{Cutoff: 40}, Leases: []manifest.Lease{high}}))
	require.False(t, p.holds(&manifest.Index{Head: manifest.Head{Cutoff: 41}, Leases: []manifest.Lease{low, high}}))
}

// TestAPinThatHasGoneDoesNotComeBack: what is read there may have been dropped meanwhile.
func TestAPinThatHasGoneDoesNotComeBack(t *testing.T) {
	var pins []wal.LSN
	for _, collected := range []struct{ points, kept []wal.LSN }{
		{[]wal.LSN{10, 20, 40}, []wal.LSN{10, 20, 40}},
		{[]wal.LSN{10, 15, 30, 40}, []wal.LSN{10, 40}},
		{[]wal.LSN{10, 20, 40, 50, 60}, []wal.LSN{10, 40, 50, 60}},
		{[]wal.LSN{45, 50, 60}, []wal.LSN{50, 60}},
	} {
		pins = stillKept(pins, collected.points)
		require.Equal(t, collected.kept, pins)
	}
}
