package control

import (
	"context"

	"github.com/varvedb/varve/pageserver/pageapi"
	"github.com/varvedb/varve/wal"
)

// StorageStats are what the running pageserver has counted.
type StorageStats struct {
	Pageserver map[string]int64 `json:"pageserver"`
	Branches   []BranchStats    `json:"branches"`
}

// BranchStats are what it has counted of a branch since it attached that.
type BranchStats struct {
	Branch   string           `json:"branch"`
	Timeline wal.TimelineID   `json:"timeline"`
	Metrics  map[string]int64 `json:"metrics"`
	Aside    []string         `json:"damaged_layers,omitempty"` // damaged ones that merges leave alone, and why
}

// Stats returns what the pageserver has counted, in all and of one branch, or of each if
// none is named.
func (s *Supervisor) Stats(ctx context.Context, name string) (stats StorageStats, err error) {
	branches, err := s.Branches(ctx)
	if err != nil {
		return stats, err
	}
	names, id := map[wal.TimelineID]string{}, wal.TimelineID{}
	for _, b := range branches {
		names[b.Timeline] = b.Name
		if b.Name == name {
			id = b.Timeline
		}
	}
	if name != "" && id.IsZero() {
		return stats, Errorf(CodeNotFound, "there is no branch %s: see `varve branch list`", name)
	}
	parts, err := s.storage.stats(ctx, id)
	if err != nil {
		return stats, Coded(err)
	}
	stats.Branches = []BranchStats{}
	for _, part := range parts {
		if part.ID.IsZero() {
			stats.Pageserver = valuesOf(part.Metrics)
		} else if branch, known := names[part.ID]; known {
			stats.Branches = append(stats.Branches, BranchStats{Branch: branch, Timeline: part.ID, Metrics: valuesOf(part.Metrics), Aside: part.Aside})
		}
	}
	return stats, nil
}

func valuesOf(metrics []pageapi.Metric) map[string]int64 {
	values := make(map[string]int64, len(metrics))
	for _, m := range metrics {
		values[m.Name] = m.Value
	}
	return values
}
