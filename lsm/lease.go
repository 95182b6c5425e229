package lsm

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/varvedb/varve/lsm/manifest"
	"github.com/varvedb/varve/wal"
)

type (
	// LeaseID names a lease.
	LeaseID = manifest.LeaseID
	// A LeaseInfo is a lease as the index has it: id, LSN, end in seconds since 1970.
	LeaseInfo = manifest.Lease
)

// Leases lists the timeline's leases in order of their ids. One whose end has passed is
// listed until it is forgotten: see isLeased.
func (t *Timeline) Leases() []LeaseInfo { return slices.Clone(t.index().Leases) }

// isLeased reports whether a lease keeps an LSN of the index's timeline readable. One that
// has ended does until the next cutoff is committed, all history is collected, or there is
// no room for another, and is in the index as long.
func isLeased(x *manifest.Index, at wal.LSN) bool {
	return slices.ContainsFunc(x.Leases, func(l manifest.Lease) bool { return l.LSN == at })
}

// notEnded is the leases whose end has not come yet.
func (t *Timeline) notEnded(leases []manifest.Lease) []manifest.Lease {
	now := t.store.env.Clock.Wall().Unix()
	return slices.DeleteFunc(slices.Clone(leases), func(l manifest.Lease) bool { return l.End <= now })
}

// Lease keeps an LSN of this timeline's own history readable until a time, whatever
// the cutoff becomes. It is durable when Lease returns: a lease is part of the index. A
// lease of the same id is replaced; one that is kept up must be renewed before its end.
func (t *Timeline) Lease(ctx context.Context, id LeaseID, at wal.LSN, until time.Time) error {
	return t.changeLeases(ctx, func(x *manifest.Index) error {
		switch {
		case at < x.Start || at < x.Cutoff && !isLeased(x, at):
			return fmt.Errorf("%w: lease at %v, kept from %v", ErrBelowHorizon, at, max(x.Start, x.Cutoff))
		case at > t.LastLSN():
			return fmt.Errorf("%w: lease at %v, applied up to %v", ErrFutureLSN, at, t.LastLSN())
		}
		x.Leases = slices.DeleteFunc(x.Leases, func(l manifest.Lease) bool { return l.ID == id })
		if len(x.Leases) == manifest.LeasesMax {
			x.Leases = t.notEnded(x.Leases)
		}
		if len(x.Leases) == manifest.LeasesMax {
			return fmt.Errorf("there are %d leases, which is the most", manifest.LeasesMax)
		}
		place, _ := slices.BinarySearchFunc(x.Leases, id, func(l manifest.Lease, id LeaseID) int { return slices.Compare(l.ID[:], id[:]) })
		x.Leases = slices.Insert(x.Leases, place, manifest.Lease{ID: id, LSN: at, End: until.Unix()})
		return nil
	})
}

// Release ends a lease. It is no error if there is none.
func (t *Timeline) Release(ctx context.Context, id LeaseID) error {
	return t.changeLeases(ctx, func(x *manifest.Index) error {
		x.Leases = slices.DeleteFunc(x.Leases, func(l manifest.Lease) bool { return l.ID == id })
		return nil
	})
}

// changeLeases commits an index with other leases.
func (t *Timeline) changeLeases(ctx context.Context, change func(x *manifest.Index) error) error {
	if err := t.flushing.Lock(ctx); err != nil {
		return err
	}
	defer t.flushing.Unlock()
	if err := t.failure(); err != nil {
		return err
	}
	x := t.nextIndex()
	x.Leases = slices.Clone(x.Leases)
	if err := change(x); err != nil {
		return fmt.Errorf("change leases of timeline %v: %w", t.node.id, err)
	}
	if err := t.commit(ctx, x); err != nil {
		return fmt.Errorf("change leases of timeline %v: %w", t.node.id, err)
	}
	return t.showIndex(x)
}
