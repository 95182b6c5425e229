package lsm_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/lsm"
	"github.com/varvedb/varve/lsm/manifest"
	"github.com/varvedb/varve/lsm/remote"
	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/env"
)

// TestABranchReadsTheSameHoweverLargeItsParentIs: nothing that is read or written to make
// one grows with the parent's layers.
func TestABranchReadsTheSameHoweverLargeItsParentIs(t *testing.T) {
	ctx := context.Background()
	w := withBucket(t, newMemBucket())
	counted := &remote.Counted{Bucket: w.env.Bucket}
	w.env.Bucket = counted
	s := w.openWith(w.env, lsm.Options{FlushedMax: 32}) // nothing is merged meanwhile
	require.NoError(t, s.Create(ctx, timelineID(1), 10, nil))
	tl := attach(t, s, timelineID(1))
	cost := func(n int) (bytesPut, bytesGot, puts, ranges, others uint64) {
		before := counted.Calls()
		require.NoError(t, s.Branch(ctx, timelineID(1), timelineID(n), 15, nil))
		c := counted.Calls()
		others = c.Gets + c.Heads + c.Lists + c.Deletes - before.Gets - before.Heads - before.Lists - before.Deletes
		return c.BytesPut - before.BytesPut, c.BytesGot - before.BytesGot, c.Puts - before.Puts, c.Ranges - before.Ranges, others
	}
	for i := range 20 {
		bytesPut, bytesGot, puts, ranges, others := cost(2 + i)
		require.Equal(t, []uint64{136, 2 * manifest.HeadSize, 1, 2, 0}, []uint64{bytesPut, bytesGot, puts, ranges, others}, "with %d layers", i)
		apply(t, tl, put(i, wal.LSN(20+i), "Ia"))
		flush(t, tl)
	}
	require.NoError(t, s.Close(ctx))
}

// TestABranchIsNotMadeOfADamagedHead: the whole object is read where its head is not sound,
// and says what is wrong.
func TestABranchIsNotMadeOfADamagedHead(t *testing.T) {
	ctx := context.Background()
	b := newMemBucket()
	s, tl := start(t, withBucket(t, b))
	require.NoError(t, s.Create(ctx, timelineID(2), 10, nil))
	apply(t, tl, put(1, 20, "Ia"))
	flush(t, tl)
	index, other := b.keys("/" + timelineID(1).String() + "/index")[0], b.keys("/" + timelineID(2).String() + "/index")[0]
	sound := b.objects[index]
	branch := func(body []byte) error {
		b.objects[index] = body
		err := s.Branch(ctx, timelineID(1), timelineID(3), 20, nil)
		b.objects[index] = sound
		require.Empty(t, b.keys("/"+timelineID(3).String()+"/index"))
		return err
	}
	for at := range manifest.HeadSize {
		damaged := append([]byte(nil), sound...)
		damaged[at] ^= 1 << (at % 8)
		err := branch(damaged)
		require.ErrorIs(t, err, wal.ErrCorruption, "byte %d", at)
		require.ErrorContains(t, err, "corruption in "+index+" at offset ")
		err = branch(sound[:at])
		require.ErrorIs(t, err, wal.ErrCorruption, "first %d bytes", at)
		require.ErrorContains(t, err, "corruption in "+index+" at offset ")
	}
	require.ErrorContains(t, branch(b.objects[other]), "corruption in "+index+" at offset 16: timeline")
	require.NoError(t, s.Close(ctx))
}

// TestADamagedAnswerRefusesNoBranch: the object is sound, and is asked for once more.
func TestADamagedAnswerRefusesNoBranch(t *testing.T) {
	ctx := context.Background()
	w := withBucket(t, newMemBucket())
	b := &noisyBucket{Bucket: w.env.Bucket}
	w.env.Bucket = b
	s, _ := start(t, w)
	b.flip = true
	require.NoError(t, s.Branch(ctx, timelineID(1), timelineID(2), 20, nil))
	require.Equal(t, 2, b.flipped)
	require.NoError(t, s.Close(ctx))
}

// noisyBucket flips a bit in every range that it answers with.
type noisyBucket struct {
	env.Bucket
	flip    bool
	flipped int
}

func (b *noisyBucket) GetRange(ctx context.Context, key string, off, size int64) ([]byte, error) {
	body, err := b.Bucket.GetRange(ctx, key, off, size)
	if b.flip && len(body) > 0 {
		body[b.flipped] ^= 4
		b.flipped++
	}
	return body, err
}

// TestABranchAtALeaseIsJudgedByTheWholeIndex: leases are not in the head, and one that goes
// between the two looks at the parent refuses the branch.
func TestABranchAtALeaseIsJudgedByTheWholeIndex(t *testing.T) {
	ctx := context.Background()
	b := newMemBucket()
	s, tl := start(t, withBucket(t, b))
	apply(t, tl, put(1, 20, "Ia"), put(1, 30, "Ib"), put(1, 40, "Ic"))
	flush(t, tl)
	require.NoError(t, tl.Lease(ctx, leaseID(1), 30, time.Now().Add(time.Hour)))
	_, err := tl.Collect(ctx, lsm.CollectOptions{Cutoff: 40})
	require.NoError(t, err)
	b.setBefore(func(op, key string, _ []byte) error {
		if op == "put" {
			b.setBefore(nil)
			require.NoError(t, tl.Release(ctx, leaseID(1)))
		}
		return nil
	})
	require.ErrorIs(t, s.Branch(ctx, timelineID(1), timelineID(2), 30, nil), lsm.ErrBelowHorizon)
	require.Empty(t, b.keys("/"+timelineID(2).String()+"/index"))
	require.NoError(t, s.Close(ctx))
}
