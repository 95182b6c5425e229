package lsm_test

import (
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/lsm"
	"github.com/varvedb/varve/lsm/manifest"
	"github.com/varvedb/varve/lsm/remote"
	"github.com/varvedb/varve/wal"
)

// TestAMergeThatDropsNothingNeedNotKnowOfNewcomers: the first cutoff landed, and this store was
// not told. A branch below it that is attached meanwhile is new to the merges, none of
// which lists branches before there is a cutoff.
func TestAMergeThatDropsNothingNeedNotKnowOfNewcomers(t *testing.T) {
	b := newMemBucket()
	s, tl := start(t, withBucket(t, b))
	for i, v := range []string{"Ia", "Ib", "Ic"} {
		apply(t, tl, put(1, 20+10*wal.LSN(i), v))
		flush(t, tl)
	}
	require.NoError(t, s.Branch(t.Context(), timelineID(1), timelineID(2), 25, nil))
	parent := b.keys("/root/" + timelineID(1).String())[0]
	b.setFate(func(op, key string) fate {
		if op == "put" && key == parent {
			return unheard
		}
		return succeeds
	})
	b.setBefore(func(op, key string, _ []byte) error {
		if op == "get" && key == parent {
			return errBucket
		}
		return nil
	})
	_, err := tl.Collect(t.Context(), lsm.CollectOptions{Cutoff: 35})
	require.ErrorIs(t, err, errBucket)
	b.setFate(nil)
	b.setBefore(nil)
	child := attach(t, s, timelineID(2))

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	layers := 0
	b.setBefore(func(op, key string, _ []byte) error {
		if op == "put" && strings.Contains(key, "/layers/") {
			if layers++; layers > 10 {
				cancel() // it would go on for ever
			}
		}
		return nil
	})
	require.NoError(t, tl.Compact(ctx))
	require.Equal(t, 1, layers)
	_, err = tl.Collect(ctx, lsm.CollectOptions{Cutoff: 35})
	require.NoError(t, err)
	require.Equal(t, "Ia", get(t, child, 1, 25))
	require.NoError(t, s.Close(t.Context()))
}

// TestALateBranchMeetsTheDeletionOfItsParent: it arrives when the children were looked for.
// Either it keeps its parent from being deleted, or it never was.
func TestALateBranchMeetsTheDeletionOfItsParent(t *testing.T) {
	ctx := t.Context()
	for _, decided := range []bool{false, true} {
		b := newMemBucket()
		s, tl := start(t, withBucket(t, b))
		apply(t, tl, put(1, 20, "Ia"), put(1, 30, "Ib"))
		flush(t, tl)
		arrive := branchLate(t, b, s, 20)
		other := withBucket(t, b).openSmall()
		b.setBefore(func(op, key string, body []byte) error {
			switch x, err := manifest.Decode(key, body); {
			case op == "delete":
				return errBucket
			case op == "put" && err == nil && x.State == manifest.Doomed && !decided:
				b.setBefore(nil)
				arrive()
				attach(t, other, timelineID(2))
			}
			return nil
		})
		err := s.Delete(ctx, timelineID(1))
		b.setBefore(nil)
		if decided {
			require.ErrorIs(t, err, errBucket)
			arrive()
			_, err := other.Attach(ctx, timelineID(2))
			require.ErrorIs(t, err, lsm.ErrNoTimeline)
			require.NoError(t, s.Delete(ctx, timelineID(1)), "it is taken up again")
			require.Empty(t, b.keys(""))
		} else {
			require.ErrorIs(t, err, remote.ErrTaken)
			require.Equal(t, "Ia", get(t, other.Attached(timelineID(2)), 1, 20))
			var children *lsm.HasChildrenError
			require.ErrorAs(t, s.Delete(ctx, timelineID(1)), &children)
			require.Equal(t, "Ib", get(t, attach(t, s, timelineID(1)), 1, 30), "it lives on")
		}
		require.NoError(t, s.Close(ctx))
		require.NoError(t, other.Close(ctx))
	}
}
