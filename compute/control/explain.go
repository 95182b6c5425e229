package control

import (
	"context"
	"encoding/hex"

	"github.com/varvedb/varve/wal"
)

// Explanation says what keeps the bytes that a branch has of its own in the bucket; those
// that it shares are its parent's. Layers are counted as stored, versions as they were
// before compression.
type Explanation struct {
	Branch   string         `json:"branch"`
	Timeline wal.TimelineID `json:"timeline"`
	Horizon  wal.LSN        `json:"horizon_lsn"` // every LSN from here on is readable
	Durable  wal.LSN        `json:"durable_lsn"`

	Layers     int   `json:"layers"`
	LayerBytes int64 `json:"layer_bytes"`
	Versions   int64 `json:"versions"`
	Bytes      int64 `json:"bytes"`

	Keepers []Keeper `json:"keepers"`
	// Damage names what could not be read, and why: a layer in it is not counted, and what
	// a branch in it reads counts as kept by nobody.
	Damage []string `json:"damaged_objects,omitempty"`
}

// Keeper is a reason why versions are kept, or none.
type Keeper struct {
	Kind  string  `json:"kind"`           // history, current, branch, lease, nobody
	Name  string  `json:"name,omitempty"` // of a branch or lease
	LSN   wal.LSN `json:"lsn,omitzero"`   // that a branch or lease reads at
	Bytes int64   `json:"bytes"`          // that it keeps
	Only  int64   `json:"only,omitempty"` // of those, that nobody else keeps
}

// The kinds of keepers.
const (
	KeeperHistory = "history" // versions above the horizon
	KeeperCurrent = "current" // what a read at the horizon meets
	KeeperBranch  = "branch"
	KeeperLease   = "lease"
	KeeperNobody  = "nobody" // waits to be collected
)

// Explain says what keeps the bytes of a branch in the bucket. All of its layers are read
// for it.
func (s *Supervisor) Explain(ctx context.Context, branch string) (Explanation, error) {
	return s.explain(ctx, branch, 0)
}

// explain is Explain with a horizon to come, if that is above the branch's.
func (s *Supervisor) explain(ctx context.Context, branch string, horizon wal.LSN) (Explanation, error) {
	branches, err := s.Branches(ctx)
	if err != nil {
		return Explanation{}, err
	}
	names := map[wal.TimelineID]string{}
	id := wal.TimelineID{}
	for _, b := range branches {
		names[b.Timeline] = b.Name
		if b.Name == branch {
			id = b.Timeline
		}
	}
	if id.IsZero() {
		return Explanation{}, Errorf(CodeNotFound, "there is no branch %s: see `varve branch list`", branch)
	}
	x, err := s.storage.explain(ctx, id, horizon)
	if err != nil {
		return Explanation{}, Coded(err)
	}
	e := Explanation{
		Branch: branch, Timeline: id, Horizon: x.Cutoff, Durable: x.Durable,
		Layers: x.Layers, LayerBytes: x.LayerBytes, Versions: x.Versions, Bytes: x.Bytes,
		Keepers: []Keeper{{Kind: KeeperHistory, LSN: x.Cutoff, Bytes: x.History}, {Kind: KeeperCurrent, LSN: x.Cutoff, Bytes: x.Current}},
	}
	e.Damage = x.Damage
	for _, p := range x.Pins {
		k := Keeper{Kind: KeeperBranch, Name: names[p.Branch], LSN: p.LSN, Bytes: p.Bytes, Only: p.Only}
		if p.Branch.IsZero() {
			k.Kind, k.Name = KeeperLease, hex.EncodeToString(p.Lease[:])
		}
		e.Keepers = append(e.Keepers, k)
	}
	e.Keepers = append(e.Keepers, Keeper{Kind: KeeperNobody, Bytes: x.Garbage})
	return e, nil
}
