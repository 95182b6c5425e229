package check

import (
	"hash/crc32"
	"time"

	"github.com/varvedb/varve/lsm/manifest"
	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/pgwal"
	"github.com/varvedb/varve/wal/quorum"
)

// Run is all that a run left behind: what clients saw, what the log holds, and what
// was sampled on the way.
type Run struct {
	Ops      []Op // in any order
	Log      Log
	Prefixes []PrefixSample
	Terms    []TermSample
	Wins     []Win
	Bucket   []BucketSample // in order of events
	Progress []Progress
	Replicas []Replica
	Faults   []Fault // for pictures
}

// Log is the truth: the committed logs of all branches, decoded after the run came
// to rest.
type Log struct {
	Branches []Branch
	Versions []Version // of one page in order of LSN
	Commits  []Commit  // of one branch in order of LSN
	Sizes    []Size    // of one relation in order of LSN
}

// Branch is one branch and its log.
type Branch struct {
	ID     wal.TimelineID
	Parent wal.TimelineID // zero for a root
	Start  wal.LSN        // a root's first readable LSN; a child's LSN on its parent
	End    wal.LSN        // of the last committed record; Start if there is none
	Terms  quorum.TermHistory
	// Prefixes holds the digest of the log from Start up to LSN, for every record end
	// at least that a sample was taken at; in order of LSN.
	Prefixes []Prefix
}

// Version is what one record of the log left in one page.
type Version struct {
	Branch wal.TimelineID // whose own log holds the record
	Page   PageID
	LSN    wal.LSN // the end of the record; a root's Start for what was imported
	Value  Value   // zero: the page is gone, or empty again
	Tx     TxID    // zero: no client's. Such a record restates a page or empties it
	Digest uint64  // PageDigest by a naive replay, zero if none was made
}

// Commit is one commit record.
type Commit struct {
	Branch wal.TimelineID
	LSN    wal.LSN // the end of the record
	Tx     TxID
}

// Size is how many blocks one record of the log left a relation's main fork.
type Size struct {
	Branch wal.TimelineID // whose own log holds the record
	Rel    pgwal.RelFileNode
	LSN    wal.LSN // the end of the record; a root's Start for what was imported
	Blocks pgwal.BlockNumber
}

// Prefix is the digest of a log up to an LSN, made with [Extend].
type Prefix struct {
	LSN    wal.LSN
	Digest uint64
}

// PrefixSample says what a node held as committed at an event of the run.
type PrefixSample struct {
	At     Event
	Node   wal.NodeID
	Branch wal.TimelineID
	Prefix
}

// TermSample says in which term a node was at an event of the run. A node whose disk
// was wiped, and which had to be admitted again, has a new Life.
type TermSample struct {
	At     Event
	Node   wal.NodeID
	Life   uint32
	Branch wal.TimelineID
	Term   wal.Term
}

// Win is a term of which a writer was told that it is won and that the log up to its start
// is committed.
type Win struct {
	At     Event
	Branch wal.TimelineID
	quorum.TermStart
}

// BucketSample is the whole bucket at an event of the run; [SampleBucket] makes it.
type BucketSample struct {
	At      Event
	Tenant  wal.TenantID
	Objects []Object         // all of them, in any order
	Indexes []manifest.Index // all of them, in any order
}

// Object is an object of the bucket.
type Object struct {
	Key  string
	Size int64
	Sum  uint32 // CRC32C of the whole body
}

// Progress says how something that should move (the commits of a branch, what a
// pageserver has ingested) moved after faults had ended: from its last count before
// that to a greater one, of at least Goal, within Bound.
type Progress struct {
	What    string
	Healed  time.Duration    // virtual time since when nothing stood in its way
	Bound   time.Duration    // after Healed
	Goal    uint64           // zero: any greater count will do
	Samples []ProgressSample // in order of time, one at or before Healed
	Stall   *Stall           // why it may stand still; nil: it may not
}

// ProgressSample is a count that rises, at a virtual time.
type ProgressSample struct {
	Time  time.Duration
	Count uint64
}

// Stall is the proof that something may stand still: fewer of its members are sound
// than it needs.
type Stall struct {
	Members []wal.NodeID
	Sound   []wal.NodeID
	Need    int
}

// Replica is the log of a branch as one safekeeper has it on its disk.
type Replica struct {
	Branch wal.TimelineID
	Node   wal.NodeID
	Start  wal.LSN // of Bytes
	Commit wal.LSN // up to which it would serve
	Bytes  []byte  // from Start to Commit at least
}

// Fault is a fault of the run, drawn beside the operations in a picture.
type Fault struct {
	Begin Event
	End   Event  // 0: it was over at once
	Lane  string // what it hit: "safekeeper 2", "bucket"
	What  string
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Extend continues the digest of a log, zero at its start, by more of its bytes.
// How the bytes are cut makes no difference. It is two CRCs whose polynomials have no
// factor in common, and so together a CRC of 64 bits: one that processors have
// instructions for.
func Extend(digest uint64, log []byte) uint64 {
	return uint64(crc32.Update(uint32(digest>>32), castagnoli, log))<<32 | uint64(crc32.Update(uint32(digest), crc32.IEEETable, log))
}

// PageDigest is the digest of a page's bytes, never zero.
func PageDigest(page []byte) uint64 { return Extend(0, page) | 1 }
