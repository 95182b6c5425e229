package lsm

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/lsm/manifest"
)

// TestBranchesAreListedAgainWhenALeaseHasGone: one may have been made where it was.
func TestBranchesAreListedAgainWhenALeaseHasGone(t *testing.T) {
	low, high := manifest.Lease{ID: LeaseID{1}, LSN: 30}, manifest.Lease{ID: LeaseID{2}, LSN: 50}
	again := manifest.Lease{ID: LeaseID{3}, LSN: 30}
	p := pinned{cutoff: 40, leases: []manifest.Lease{low, high}, children: []Pin{}}
	require.True(t, p.holds(&manifest.Index{Cutoff: 40, Leases: []manifest.Lease{low, high}}))
	require.True(t, p.holds(&manifest.Index{Cutoff: 40, Leases: []manifest.Lease{low}}), "where it was, branches are made without")
	require.True(t, p.holds(&manifest.Index{Cutoff: 40, Leases: []manifest.Lease{again}}), "the LSN is still kept")
	require.False(t, p.holds(&manifest.Index{Cutoff: 40, Leases: []manifest.Lease{high}}))
	require.False(t, p.holds(&manifest.Index{Cutoff: 41, Leases: []manifest.Lease{low, high}}))
}
