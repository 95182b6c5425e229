package control

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/varvedb/varve/lsm"
	"github.com/varvedb/varve/wal"
)

// Collected says what a collection of a branch's history did, or would do, and what keeps
// the rest.
type Collected struct {
	DryRun  bool  `json:"dry_run"`
	Dropped int64 `json:"dropped"`          // bytes of versions that nobody could read
	Merged  int   `json:"layers_rewritten"` // to be rid of them
	Explanation
}

// Collect drops the history of a branch below an LSN, which moment names as a point does,
// or below what the history window keeps if that is empty; but not what branches and
// leases read there. All layers of the branch are read for it.
func (s *Supervisor) Collect(ctx context.Context, name, moment string, dryRun bool) (Collected, error) {
	b, err := s.branch(ctx, name)
	if err != nil {
		return Collected{}, err
	}
	opts := lsm.CollectOptions{DryRun: dryRun}
	if moment != "" {
		at, err := s.Resolve(ctx, name+"@"+moment)
		if err != nil {
			return Collected{}, err
		}
		if opts.Cutoff = at.LSN; at.LSN < b.horizon() {
			return Collected{}, Errorf(CodeNotFound, "%s lies below the horizon of branch %s, %s: there is nothing to collect, name a later moment", at.LSN, name, b.horizon())
		}
		if err := s.storage.awaitLSN(ctx, b.Timeline, at.LSN); err != nil {
			return Collected{}, err
		}
	}
	c, err := s.storage.collect(ctx, b.Timeline, opts)
	if err != nil {
		return Collected{}, fmt.Errorf("collect the history of branch %s: %w", name, err)
	}
	e, err := s.explain(ctx, name, c.Cutoff)
	if err != nil {
		return Collected{}, err
	}
	done := Collected{DryRun: dryRun, Dropped: c.Dropped, Merged: c.Layers, Explanation: e}
	if dryRun {
		done.Dropped = e.Keepers[len(e.Keepers)-1].Bytes
	}
	return done, nil
}

// Lease keeps a moment of a branch readable until its end, whatever is collected.
type Lease struct {
	ID     string    `json:"id"`
	Branch string    `json:"branch"` // whose history it is: an ancestor's, if it lies below the branch point
	LSN    wal.LSN   `json:"lsn"`
	Until  time.Time `json:"until"`
	Ended  bool      `json:"ended"` // it holds nothing any more
}

func leaseOf(branch string, l lsm.LeaseInfo, now time.Time) Lease {
	until := time.Unix(l.End, 0).UTC()
	return Lease{ID: hex.EncodeToString(l.ID[:]), Branch: branch, LSN: l.LSN, Until: until, Ended: !until.After(now)}
}

// CreateLease keeps a point readable for a while, in steps of a second.
func (s *Supervisor) CreateLease(ctx context.Context, point string, lasts time.Duration) (Lease, error) {
	if lasts < time.Second {
		return Lease{}, Errorf(CodeUsage, "--for %s: want a second or more, such as 24h or 7d", lasts)
	}
	at, err := s.Resolve(ctx, point)
	if err != nil {
		return Lease{}, err
	}
	b, err := s.branch(ctx, at.Branch)
	if err != nil {
		return Lease{}, err
	}
	owner, err := s.ownerOf(ctx, b, at.LSN)
	if err != nil {
		return Lease{}, err
	}
	if err := s.storage.awaitLSN(ctx, owner.Timeline, at.LSN); err != nil {
		return Lease{}, err
	}
	lease := lsm.LeaseInfo{LSN: at.LSN, End: time.Now().Add(lasts).Unix()}
	rand.Read(lease.ID[:])
	if err := s.storage.lease(ctx, owner.Timeline, lease); err != nil {
		return Lease{}, fmt.Errorf("lease %s of branch %s: %w", at.LSN, owner.Name, err)
	}
	return leaseOf(owner.Name, lease, time.Now()), nil
}

// Leases lists the leases of a branch, or of all if branch is empty, by branch and LSN.
func (s *Supervisor) Leases(ctx context.Context, branch string) ([]Lease, error) {
	branches, err := s.Branches(ctx)
	if err != nil {
		return nil, err
	}
	if branch != "" {
		b, err := s.branch(ctx, branch)
		if err != nil {
			return nil, err
		}
		branches = []Branch{b}
	}
	all := []Lease{}
	for _, b := range branches {
		if b.MissingIndex != "" {
			continue
		}
		leases, err := s.storage.leases(ctx, b.Timeline)
		if err != nil {
			return nil, fmt.Errorf("list the leases of branch %s: %w", b.Name, err)
		}
		slices.SortFunc(leases, func(x, y lsm.LeaseInfo) int { return int(int64(x.LSN) - int64(y.LSN)) })
		for _, l := range leases {
			all = append(all, leaseOf(b.Name, l, time.Now()))
		}
	}
	return all, nil
}

// DeleteLease ends a lease.
func (s *Supervisor) DeleteLease(ctx context.Context, id string) (Lease, error) {
	leases, err := s.Leases(ctx, "")
	if err != nil {
		return Lease{}, err
	}
	i := slices.IndexFunc(leases, func(l Lease) bool { return l.ID == strings.ToLower(id) })
	if i < 0 {
		return Lease{}, Errorf(CodeNotFound, "there is no lease %s: see `varve lease list`", id)
	}
	l := leases[i]
	if l.Ended {
		return Lease{}, Errorf(CodeNotFound, "lease %s ended at %s: there is nothing to delete, the next collection of branch %s forgets it", id, l.Until.Format(time.RFC3339), l.Branch)
	}
	b, err := s.branch(ctx, l.Branch)
	if err != nil {
		return Lease{}, err
	}
	var raw lsm.LeaseID
	if _, err := hex.Decode(raw[:], []byte(l.ID)); err != nil {
		return Lease{}, err
	}
	return l, s.storage.release(ctx, b.Timeline, raw)
}

// ownerOf finds the branch whose own history an LSN of b belongs to: b, or an ancestor.
func (s *Supervisor) ownerOf(ctx context.Context, b Branch, lsn wal.LSN) (owner Branch, err error) {
	for owner = b; err == nil && owner.Parent != "" && lsn < owner.BranchLSN; {
		owner, err = s.branch(ctx, owner.Parent)
	}
	return owner, err
}

// checkReadable refuses an LSN whose history is gone, or never was.
func (s *Supervisor) checkReadable(ctx context.Context, b Branch, lsn wal.LSN) error {
	owner, err := s.ownerOf(ctx, b, lsn)
	switch {
	case err != nil:
		return err
	case lsn < owner.Start:
		return Errorf(CodeNotFound, "%s lies before the history of branch %s, which begins at %s: name an LSN from there on", lsn, b.Name, owner.Start)
	case lsn >= owner.Horizon || lsn == owner.Start && owner.Parent != "":
		return nil
	}
	leases, err := s.storage.leases(ctx, owner.Timeline)
	if err != nil || slices.ContainsFunc(leases, func(l lsm.LeaseInfo) bool { return l.LSN == lsn }) {
		return err
	}
	return Errorf(CodeNotFound, "%s lies below the horizon of branch %s, %s: what was before it is collected, but for what `varve lease list %s` shows: name an LSN from there on", lsn, owner.Name, owner.Horizon, owner.Name)
}

// belowHorizon makes an error for who branches where nothing is kept.
func (s *Supervisor) belowHorizon(ctx context.Context, at Resolved, cause error) error {
	b, err := s.branch(ctx, at.Branch)
	if err == nil {
		b, err = s.ownerOf(ctx, b, at.LSN)
	}
	if err != nil {
		return errors.Join(cause, err)
	}
	return Errorf(CodeNotFound, "a branch cannot begin at %s, below the horizon of branch %s: name an LSN from %s on", at.LSN, b.Name, b.horizon())
}
