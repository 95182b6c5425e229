package control

import (
	"context"
	"fmt"
	"strings"

	"github.com/varvedb/varve/lsm"
	"github.com/varvedb/varve/lsm/remote"
	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/walapi"
)

// ScrubReport is what a scrub of the bucket found.
type ScrubReport struct {
	Bucket  string `json:"bucket"`
	Branch  string `json:"branch,omitempty"` // whose objects, with its ancestors', were read; empty: all
	Indexes int    `json:"indexes"`          // objects read, by kind
	Layers  int    `json:"layers"`
	Others  int    `json:"others"`
	Bytes   int64  `json:"bytes"`
	Lost    int    `json:"lost"`  // how many of the flaws lose something: corrupt and missing objects
	Flaws   []Flaw `json:"flaws"` // in order of objects
}

// Flaw is an object of the bucket that is corrupt, missing or leaked.
type Flaw struct {
	Kind     lsm.FlawKind   `json:"kind"`
	Object   string         `json:"object"`              // its key
	Branch   string         `json:"branch,omitempty"`    // whose it is, if that has a name
	Timeline wal.TimelineID `json:"timeline,omitzero"`   // whose it is, if that is known
	What     string         `json:"what"`                // what is wrong, or who needs it
	Offset   int64          `json:"offset"`              // of a corrupt object: where it is wrong
	Wanted   string         `json:"wanted,omitempty"`    // what a sound one has there
	Got      string         `json:"got,omitempty"`       // what it has
	Bytes    int64          `json:"size_bytes,omitzero"` // of a leaked object
}

// Scrub reads every object of the project, or those that a branch lives from, from the
// bucket and checks it.
func (s *Supervisor) Scrub(ctx context.Context, branch string) (ScrubReport, error) {
	branches, err := s.Branches(ctx)
	if err != nil {
		return ScrubReport{}, err
	}
	names := map[wal.TimelineID]string{}
	remembered := func(id wal.TimelineID) bool { _, is := names[id]; return is }
	opts := lsm.ScrubOptions{Tenant: s.project.Tenant, Remembered: remembered, Foreign: s.checkLogObject}
	for _, b := range branches {
		names[b.Timeline] = b.Name
		if b.Name == branch {
			opts.Timelines = []wal.TimelineID{b.Timeline}
		}
	}
	if s.project.Forgot {
		opts.Remembered = nil // that a branch is not known is no proof that it was deleted
	}
	if branch != "" && opts.Timelines == nil {
		return ScrubReport{}, Errorf(CodeNotFound, "there is no branch %s: see `varve branch list`", branch)
	}
	found, err := lsm.Scrub(ctx, s.env, opts)
	if err != nil {
		return ScrubReport{}, bucketError(s.bucket, err)
	}
	report := ScrubReport{
		Bucket: s.bucket, Branch: branch, Indexes: found.Indexes, Layers: found.Layers, Others: found.Others, Bytes: found.Bytes,
		Flaws: make([]Flaw, len(found.Flaws)),
	}
	for i, f := range found.Flaws {
		report.Flaws[i] = Flaw{f.Kind, f.Object, names[f.Timeline], f.Timeline, f.What, f.Offset, f.Want, f.Got, f.Bytes}
		if f.Kind != lsm.FlawLeaked {
			report.Lost++
		}
	}
	return report, nil
}

// checkLogObject checks an object that says that a log was made: the store does not know
// them.
func (s *Supervisor) checkLogObject(key string, body []byte) (known bool, err error) {
	if !strings.HasPrefix(key, remote.TenantPrefix(s.project.Tenant)+"logs/") {
		return false, nil
	}
	id, err := walapi.DecodeMade(key, body)
	if err == nil && walapi.MadeKey(id) != key {
		err = wal.Corruptf(key, 8, "log that the object is of", key, fmt.Sprintf("%v of tenant %v", id.Timeline, id.Tenant))
	}
	return true, err
}
