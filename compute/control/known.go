package control

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/varvedb/varve/lsm/remote"
	"github.com/varvedb/varve/pageserver/pageapi"
	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/env"
)

// The bucket is the authority on which branches there are. What is remembered of them
// here only tells a branch that was never made from one whose index is gone.

// branchRecord is what is remembered of a branch.
type branchRecord struct {
	Name   string         `json:"name"`
	Parent wal.TimelineID `json:"parent,omitzero"`
}

// missingIndex is the object that a branch lacks. Of a branch that nobody remembers,
// parent is unknown.
func missingIndex(tenant wal.TenantID, id wal.TimelineID, record *branchRecord) string {
	if record == nil {
		return remote.TimelinesPrefix(tenant) + "*/" + id.String() + "/index"
	}
	return remote.IndexKey(tenant, record.Parent, id)
}

// missingError is the error of whoever asks for a branch whose index is gone.
func (s *Supervisor) missingError(name, key string) error {
	return Errorf(CodeFailed, "branch %s is lost while its index is: there is no object %s in the bucket %s: restore it", name, key, s.bucket)
}

// missingBranches returns the branches that must have been, and are not in the bucket:
// those that are remembered, and those that others branch from.
func missingBranches(tenant wal.TenantID, infos []pageapi.TimelineInfo, known map[wal.TimelineID]branchRecord) (missing []Branch) {
	there := map[wal.TimelineID]bool{}
	for _, info := range infos {
		there[info.ID] = true
	}
	add := func(id wal.TimelineID, name, key string) {
		there[id] = true
		missing = append(missing, Branch{Name: name, Timeline: id, MissingIndex: key, Stopped: "its index " + key + " is missing from the bucket: restore it"})
	}
	for id, record := range known {
		if !there[id] {
			add(id, record.Name, missingIndex(tenant, id, &record))
		}
	}
	for _, info := range infos {
		if !info.Parent.IsZero() && !there[info.Parent] {
			add(info.Parent, info.Parent.String(), missingIndex(tenant, info.Parent, nil))
		}
	}
	return missing
}

// checkIndexes refuses a project that has lost the indexes of all its branches, which
// would look like a new one. Nothing is changed.
func (s *Supervisor) checkIndexes(ctx context.Context) error {
	if s.project.Bootstrapping {
		return nil // it has no branch that counts yet
	}
	indexes, err := s.env.Bucket.List(ctx, remote.TimelinesPrefix(s.project.Tenant))
	if err != nil {
		return bucketError(s.bucket, err)
	}
	if len(indexes) > 0 {
		return nil
	}
	lost, err := s.lostIndexes(ctx)
	if err != nil || len(lost) == 0 {
		return err
	}
	return Errorf(CodeFailed, "the data of %s is lost while its indexes are: in the bucket %s there is no %s: restore what is missing, or begin anew with another --dir", s.cfg.Dir, s.bucket, strings.Join(lost, ", no "))
}

// lostIndexes names the indexes that a bucket without any should have: those of the
// branches that are remembered, or of the layers that lie there.
func (s *Supervisor) lostIndexes(ctx context.Context) (lost []string, err error) {
	known, err := s.state.branches()
	if err != nil {
		return nil, err
	}
	for id, record := range known {
		lost = append(lost, fmt.Sprintf("%s (branch %s)", missingIndex(s.project.Tenant, id, &record), record.Name))
	}
	if len(lost) == 0 {
		objects, err := s.env.Bucket.List(ctx, remote.TenantPrefix(s.project.Tenant)+"layers/")
		if err != nil {
			return nil, bucketError(s.bucket, err)
		}
		for _, object := range objects {
			if id, ok := remote.ParseLayerKey(s.project.Tenant, object.Key); ok {
				lost = append(lost, missingIndex(s.project.Tenant, id, nil))
			}
		}
	}
	slices.Sort(lost)
	return slices.Compact(lost), nil
}

// begin decides what a directory without a state file is: new, or one that has lost it.
// Then the tenant in its bucket is the one that it served, if there is only one.
func (s *Supervisor) begin(ctx context.Context) error {
	logs, err := safekeeperCount(s.cfg.Dir)
	if err != nil || logs == 0 && s.bucket != localBucket(s.cfg.Dir) {
		return err // in a bucket elsewhere, others may have theirs
	}
	tenants, err := tenantsOf(ctx, s.env.Bucket)
	if err != nil {
		return bucketError(s.bucket, err)
	}
	lost := fmt.Sprintf("%s has lost its control.db", s.cfg.Dir)
	switch {
	case len(tenants) == 1:
		s.project.Tenant, s.project.Forgot = tenants[0], true
		if logs > 0 {
			s.project.Safekeepers = logs
		}
		s.cfg.Progress(fmt.Sprintf("%s: it goes on with tenant %s, the only one in the bucket %s", lost, tenants[0], s.bucket))
		return nil
	case len(tenants) > 1:
		return Errorf(CodeConflict, "%s, and the bucket %s holds %d tenants: restore control.db, or begin anew with another --dir", lost, s.bucket, len(tenants))
	case logs > 0:
		return Errorf(CodeConflict, "%s, and the bucket %s holds nothing: restore control.db, name the bucket that it had with --bucket, or begin anew with another --dir", lost, s.bucket)
	}
	return nil
}

// safekeeperCount returns how many safekeepers a directory had, 0 if none.
func safekeeperCount(dir string) (count int, err error) {
	for _, n := range []int{1, 2, 3, 4, 5} {
		_, err := os.Stat(filepath.Join(dir, fmt.Sprintf("safekeeper-%d", n)))
		switch {
		case err == nil:
			count = n | 1 // there are 1, 3 or 5
		case !errors.Is(err, os.ErrNotExist):
			return 0, fmt.Errorf("look for the logs of safekeepers: %w", err)
		}
	}
	return count, nil
}

// tenantsOf lists the tenants that have something in a bucket. What probes it counts for
// nothing: a start that was interrupted may have left it.
func tenantsOf(ctx context.Context, bucket env.Bucket) (tenants []wal.TenantID, err error) {
	objects, err := bucket.List(ctx, "tenants/")
	if err != nil {
		return nil, err
	}
	for _, object := range objects {
		name, _, _ := strings.Cut(strings.TrimPrefix(object.Key, "tenants/"), "/")
		tenant, err := wal.ParseTenantID(name)
		if err == nil && object.Key != remote.ProbeKey(tenant) && !slices.Contains(tenants, tenant) {
			tenants = append(tenants, tenant)
		}
	}
	return tenants, nil
}

// rememberBranches remembers the branches of which an interrupted command, or the loss of
// the state file, has left no record.
func (s *Supervisor) rememberBranches(branches []Branch) error {
	known, err := s.state.branches()
	if err != nil {
		return err
	}
	ids := map[string]wal.TimelineID{}
	for _, b := range branches {
		ids[b.Name] = b.Timeline
	}
	for _, b := range branches {
		// One whose index is damaged or missing does not tell its name.
		if _, is := known[b.Timeline]; is || b.MissingIndex != "" || b.Name == b.Timeline.String() {
			continue
		}
		if err := s.state.setBranch(b.Timeline, branchRecord{Name: b.Name, Parent: ids[b.Parent]}); err != nil {
			return err
		}
	}
	return nil
}
