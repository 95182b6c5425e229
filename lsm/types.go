package lsm

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/varvedb/varve/lsm/kv"
	"github.com/varvedb/varve/wal"
)

// Key names a value: 18 bytes, compared bytewise.
type Key = kv.Key

// Kind says what a version is: [Image], [Delta] or [Tombstone].
type Kind = kv.Kind

// Version is one state of, or change to, a key's value.
type Version = kv.Version

// The kinds of versions.
const (
	Image     = kv.Image     // a whole value
	Delta     = kv.Delta     // a change to what lies below
	Tombstone = kv.Tombstone // nothing from this LSN on
)

// Errors that callers tell apart with errors.Is.
var (
	// ErrNoTimeline: the tenant has no timeline by that id.
	ErrNoTimeline = errors.New("no such timeline")
	// ErrTimelineExists: the id is taken.
	ErrTimelineExists = errors.New("timeline exists")
	// ErrAttached: the timeline is attached to this store.
	ErrAttached = errors.New("timeline is attached")
	// ErrNotAttached: the timeline is not attached to this store, and must be.
	ErrNotAttached = errors.New("timeline is not attached")
	// ErrDetached: the timeline was detached from this store.
	ErrDetached = errors.New("timeline is detached")
	// ErrFenced: another attachment of the timeline took over, or has to, for this one does
	// not know what the index says. It is final.
	ErrFenced = errors.New("attachment is fenced")
	// ErrFutureLSN: the LSN is above what was applied.
	ErrFutureLSN = errors.New("LSN is ahead of what was applied")
	// ErrBelowHorizon: history at the LSN was, or may be, collected; or it lies
	// before the timeline's beginning.
	ErrBelowHorizon = errors.New("LSN is below the retention horizon")
	// ErrAncestorNotReady: an ancestor has not yet applied what the read needs.
	ErrAncestorNotReady = errors.New("ancestor has not reached the LSN")
	// ErrNotEmpty: images may be imported only into an empty root timeline.
	ErrNotEmpty = errors.New("timeline is not an empty root")
)

// HasChildrenError refuses to delete a timeline that others branch from.
type HasChildrenError struct {
	Timeline wal.TimelineID
	Children []wal.TimelineID // sorted
}

func (e *HasChildrenError) Error() string {
	names := make([]string, len(e.Children))
	for i, id := range e.Children {
		names[i] = id.String()
	}
	return fmt.Sprintf("timeline %s has children: %s; delete them first, or detach them from it", e.Timeline, strings.Join(names, ", "))
}

// Read asks for one key at one LSN.
type Read struct {
	Key   Key
	LSN   wal.LSN
	Floor wal.LSN // versions with an LSN at or below it are invisible
}

// Chain determines a key's value: Base, then Deltas applied in order. Its bytes
// are shared with the store and must not be changed.
type Chain struct {
	HasBase bool
	BaseLSN wal.LSN
	Base    []byte    // nil if there is none
	Deltas  []Version // oldest first, all above the base
}

// Empty reports whether nothing is visible.
func (c *Chain) Empty() bool { return !c.HasBase && len(c.Deltas) == 0 }

// Info describes a timeline as its index object does.
type Info struct {
	ID         wal.TimelineID
	Parent     wal.TimelineID // zero for a root
	BranchLSN  wal.LSN        // where it leaves its parent; zero for a root
	Start      wal.LSN        // first LSN of its own history
	Durable    wal.LSN        // everything up to it is in the bucket
	Cutoff     wal.LSN        // reads below it are refused
	Generation wal.Generation
	Layers     int
	Bytes      int64 // size of its own layers
	Meta       []byte
	// Damage is why the index cannot be read, nil if it can. Where it is set, all but
	// ID and Parent is not known.
	Damage error
}

// Stats are counters of one timeline since it was attached. Gauges say so.
type Stats struct {
	Layers        int   // gauge: own layers
	LayerBytes    int64 // gauge: their size
	ImageBytes    int64 // gauge: of those, image layers
	MemtableBytes int64 // gauge: active and frozen memtables
	Frozen        int   // gauge: memtables that wait to be written
	// Pressure is a gauge from 0 to 1: how much Apply is slowed down. Eased is how long
	// it was in all.
	Pressure float64
	Eased    time.Duration
	Flushed  int // gauge: own layers that were not merged yet
	Dead     int // gauge: layers that are replaced and whose objects are not deleted yet
	Aside    int // gauge: damaged layers that merges leave alone

	Reads         uint64 // keys read
	TablesVisited uint64 // memtables looked into
	LayersVisited uint64 // layers looked into
	LayersSkipped uint64 // layers that a key filter spared
	ReadsAgain    uint64 // batches read again because a layer had been replaced
	Versions      uint64 // versions applied
	Flushes       uint64 // delta layers written
	FlushedBytes  uint64 // their size
	Merges        uint64 // jobs of the compaction
	MergedBytes   uint64 // size of the layers they wrote
	Images        uint64 // values they put in place of a chain
	Dropped       uint64 // bytes of versions they found that nobody can read
	Deleted       uint64 // layer objects deleted
}
