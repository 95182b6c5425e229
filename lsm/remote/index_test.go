package remote_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/lsm/manifest"
	"github.com/varvedb/varve/lsm/remote"
	"github.com/varvedb/varve/wal"
)

// TestAnIndexElsewhereIsDamage: an index that was copied below another parent is not one
// of its children, unless it has no parent any more.
func TestAnIndexElsewhereIsDamage(t *testing.T) {
	ctx := context.Background()
	e, _ := newEnv(t)
	below := func(parent, timeline wal.TimelineID) remote.Index {
		return remote.Index{Env: e, Key: remote.IndexKey(tenant, parent, timeline), Timeline: timeline, Parent: parent}
	}
	mother, other := wal.TimelineID{8}, wal.TimelineID{9}
	child := manifest.Head{Timeline: timeline, Parent: mother, BranchLSN: 20, Start: 20, Durable: 20}
	left := manifest.Head{Timeline: timeline, Start: 20, Durable: 20, Cutoff: 20}
	for _, c := range []struct {
		name  string
		at    remote.Index
		head  manifest.Head
		wrong string
	}{
		{"in its place", below(mother, timeline), child, ""},
		{"one that has left, where it was made", below(other, timeline), left, ""},
		{"below another parent", below(wal.TimelineID{7}, timeline), child, "offset 32: parent"},
		{"among the roots", below(wal.TimelineID{}, timeline), child, "offset 32: parent"},
		{"of another timeline", below(mother, wal.TimelineID{3}), child, "offset 16: timeline"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := c.at.Create(ctx, &manifest.Index{Head: c.head})
			require.NoError(t, err)
			_, _, whole := c.at.Load(ctx)
			_, head := c.at.LoadHead(ctx)
			for _, err := range []error{whole, head} {
				if c.wrong == "" {
					require.NoError(t, err)
				} else {
					require.ErrorIs(t, err, wal.ErrCorruption)
					require.ErrorContains(t, err, c.at.Key+" at "+c.wrong)
				}
			}
		})
	}
}
