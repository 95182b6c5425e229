package pageapi

import (
	"time"

	"github.com/varvedb/varve/lsm"
	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/pgwal"
)

// Service is the name in the hello.
const Service = "varve-page"

// Types of frames.
const (
	TypeGetPages   uint8 = 1
	TypeRelSize    uint8 = 2
	TypeValues     uint8 = 3
	TypePosition   uint8 = 4
	TypeWaitLSN    uint8 = 5
	TypeLSNAt      uint8 = 6
	TypePrevRecord uint8 = 7
	TypeImport     uint8 = 8
	TypeBranch     uint8 = 9
	TypeDelete     uint8 = 10
	TypeList       uint8 = 11
	TypeFollow     uint8 = 12
	TypeFlush      uint8 = 13
	TypeExplain    uint8 = 14
	TypeCollect    uint8 = 15
	TypeLease      uint8 = 16
	TypeRelease    uint8 = 17
	TypeLeases     uint8 = 18
	TypeDetach     uint8 = 19
	TypeStats      uint8 = 20
)

const (
	// PagesMax bounds the pages of one GetPages: an answer of 2 MiB. Less would
	// make a scan pay for round trips, more would keep small reads waiting behind it.
	PagesMax = 256
	// valuesBytesMax is the size at which an answer to Values is closed; its last
	// value may go beyond.
	valuesBytesMax = 4 << 20
	// WaitMax bounds how long a WaitLSN waits before it answers that it has not come.
	WaitMax = 20 * time.Second
	// sourcesMax bounds the addresses in a Follow.
	sourcesMax = 64
	// textMax bounds a path or an address, in bytes.
	textMax = 4096
)

// Stats are counters and gauges of a timeline, or, if ID is zero, of all that a pageserver
// has in common.
type Stats struct {
	ID      wal.TimelineID
	Metrics []Metric
	Aside   []string // damaged layers that merges leave alone: object and cause
}

// Metric is a counter since the pageserver attached the timeline, or began, or a gauge.
type Metric struct {
	Name  string
	Value int64
}

// Position says how far a timeline has come.
type Position struct {
	Last    wal.LSN // end of the last record taken in
	Durable wal.LSN // everything up to it is in the bucket
}

// Imported says what an import found.
type Imported struct {
	SystemID   uint64
	LSN        wal.LSN // end of the cluster's log: where the timeline begins
	PrevRecord wal.LSN // start of the last record before it
}

// TimelineInfo describes a timeline.
type TimelineInfo struct {
	ID         wal.TimelineID
	Parent     wal.TimelineID // zero for a root
	BranchLSN  wal.LSN        // where it leaves its parent
	Start      wal.LSN        // first LSN of its own history
	Cutoff     wal.LSN        // reads below it are refused
	Position                  // Last is 0 while the timeline is not open
	Generation wal.Generation
	Layers     int
	Bytes      int64  // of its own layers
	Stopped    string // why it takes in no more log, or is not open; empty if all is well
	Meta       []byte // what its maker gave it to keep
}

// ImportRequest asks for a root timeline made of a data directory.
type ImportRequest struct {
	Timeline wal.TimelineID
	Path     string
	Meta     []byte // kept in the timeline's index, told by List
}

// BranchRequest asks for a timeline, Child, that equals Parent up to At.
type BranchRequest struct {
	Parent, Child wal.TimelineID
	At            wal.LSN
	Meta          []byte // kept in the timeline's index, told by List
}

// CollectRequest asks for a collection of a timeline's history.
type CollectRequest struct {
	Timeline wal.TimelineID
	lsm.CollectOptions
}

// LeaseRequest asks that an LSN of a timeline's own history stays readable.
type LeaseRequest struct {
	Timeline wal.TimelineID
	lsm.LeaseInfo
}

// FollowRequest says where a timeline's log is received from, from now on.
type FollowRequest struct {
	Timeline    wal.TimelineID
	Safekeepers []string // addresses
}

// ValuesRequest asks for all keys in [Lo, Hi) with a value at LSN.
type ValuesRequest struct {
	Timeline wal.TimelineID
	Lo, Hi   lsm.Key
	LSN      wal.LSN
}

// RelSizeRequest asks for a fork's size.
type RelSizeRequest struct {
	Timeline wal.TimelineID
	Rel      pgwal.RelFileNode
	Fork     pgwal.Fork
	LSN      wal.LSN
}
