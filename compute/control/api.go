package control

import (
	"time"

	"github.com/varvedb/varve/wal"
)

// Status is what `varve status` shows.
type Status struct {
	Dir    string       `json:"dir"`
	PID    int          `json:"pid"` // of the supervisor
	Tenant wal.TenantID `json:"tenant"`
	Bucket string       `json:"bucket"` // a directory, or its location on an S3 server
	Window Window       `json:"history"`
	// BucketWhy is why the bucket cannot be read. Then Branches are those that have an
	// endpoint, and only that is known of them.
	BucketWhy string    `json:"bucket_why,omitempty"`
	Processes []Process `json:"processes"`
	Branches  []Branch  `json:"branches"`
	// Postgres servers that read a branch as of an LSN, for the time of a command.
	Readers []EndpointStatus `json:"readers,omitempty"`
}

// Process is one process that the supervisor owns.
type Process struct {
	Name  string `json:"name"`
	PID   int    `json:"pid"` // 0 while it does not run
	State string `json:"state"`
	Addr  string `json:"addr,omitempty"` // where it listens
	Why   string `json:"why,omitempty"`  // why its state is not running, if that is known

	// Of a safekeeper that answers: the logs of branches that it should have, and those
	// of them that it takes no part in.
	Logs   int         `json:"logs,omitempty"`
	Absent []AbsentLog `json:"absent,omitempty"`
}

// AbsentLog is a log that a safekeeper neither votes on nor acknowledges.
type AbsentLog struct {
	Branch string `json:"branch"`
	State  string `json:"state"` // amnesiac, or failed: it tries again
	Why    string `json:"why"`
}

// States of processes and endpoints.
const (
	StateRunning = "running"
	StateStopped = "stopped" // ended as asked, or never started
	StateFailed  = "failed"  // ended by itself
	// StateUnreachable is of a safekeeper whose process runs, and does not answer.
	StateUnreachable = "unreachable"
	// StateAmnesiac is of a safekeeper that has lost what it acknowledged: for good, it
	// takes no part in that log.
	StateAmnesiac = "amnesiac"
	// StateStarting is of an endpoint that does not serve yet.
	StateStarting = "starting"
)

// Branch is one branch, its storage and its endpoint.
type Branch struct {
	Name      string         `json:"name"`
	Timeline  wal.TimelineID `json:"timeline"`
	Parent    string         `json:"parent,omitempty"`     // the parent's name; empty for a root
	BranchLSN wal.LSN        `json:"branch_lsn,omitempty"` // where it left its parent
	Start     wal.LSN        `json:"start_lsn"`            // first LSN with a history of its own
	Horizon   wal.LSN        `json:"horizon_lsn"`          // below it, its history may be collected
	Ingested  wal.LSN        `json:"ingested_lsn"`         // what the pageserver can answer for
	Durable   wal.LSN        `json:"durable_lsn"`          // what is in the bucket
	Created   time.Time      `json:"created"`
	Stopped   string         `json:"stopped,omitempty"` // why ingest stopped, if it did
	// MissingIndex is the object that the bucket has lost. Nothing else is known of the
	// branch then but its name, or in its place its timeline's id.
	MissingIndex string          `json:"missing_index,omitempty"`
	Endpoint     *EndpointStatus `json:"endpoint,omitempty"`
}

// horizon is from where on the branch's own history can be read.
func (b Branch) horizon() wal.LSN { return max(b.Start, b.Horizon) }

// EndpointStatus describes a Postgres on a branch.
type EndpointStatus struct {
	ID      string  `json:"id"` // the branch's name; for a reader BRANCH.reader-N
	Branch  string  `json:"branch"`
	State   string  `json:"state"`
	Failure string  `json:"failure,omitempty"` // why it failed
	Step    string  `json:"step,omitempty"`    // what it does while it starts
	URL     string  `json:"url,omitempty"`
	PID     int     `json:"pid,omitempty"`         // of Postgres's postmaster
	Start   wal.LSN `json:"start_lsn,omitempty"`   // the LSN X it started at
	Term    uint64  `json:"term,omitempty"`        // the term it writes in
	ReadAt  wal.LSN `json:"read_at_lsn,omitempty"` // set for a reader
	DataDir string  `json:"data_dir,omitempty"`    // thrown away at the next start
}

// Resolved is where a [Point] lies.
type Resolved struct {
	Branch     string         `json:"branch"`
	Timeline   wal.TimelineID `json:"timeline"`
	LSN        wal.LSN        `json:"lsn"`
	Pageserver string         `json:"pageserver"` // its address
}

// createBranchRequest is the body of POST /v1/branches.
type createBranchRequest struct {
	Name   string `json:"name"`
	Parent string `json:"parent"` // a point
}

// resetBranchRequest is the body of POST /v1/branches/{name}/reset.
type resetBranchRequest struct {
	Moment string `json:"moment"` // of the parent; empty: its head
}

// collectRequest is the body of POST /v1/collect.
type collectRequest struct {
	Branch string `json:"branch"`
	Below  string `json:"below"` // a moment of it; empty: the history window
	DryRun bool   `json:"dry_run"`
}

// createLeaseRequest is the body of POST /v1/leases.
type createLeaseRequest struct {
	Point string        `json:"point"`
	For   time.Duration `json:"for"` // nanoseconds
}

// startEndpointRequest is the body of POST /v1/endpoints. A point that is not the
// head starts a reader.
type startEndpointRequest struct {
	Point string `json:"point"`
	Port  int    `json:"port,omitempty"` // 0: the one it had, or any free one
}

// startEvent is a line of the answer to POST /v1/endpoints: steps, and then one of the
// others.
type startEvent struct {
	Step     string          `json:"step,omitempty"`
	Endpoint *EndpointStatus `json:"endpoint,omitempty"`
	Failed   *Error          `json:"failed,omitempty"`
}

// importRequest is the body of POST /v1/import.
type importRequest struct {
	Dir    string `json:"dir"`
	Branch string `json:"branch"`
}
