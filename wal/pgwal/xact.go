package pgwal

import (
	"encoding/binary"
	"hash/crc32"

	"github.com/varvedb/varve/wal"
)

// The operations of Transaction records (xact.h).
const (
	OpXactCommit         = 0x00
	OpXactPrepare        = 0x10
	OpXactAbort          = 0x20
	OpXactCommitPrepared = 0x30
	OpXactAbortPrepared  = 0x40
	OpXactAssignment     = 0x50
	OpXactInvalidations  = 0x60
)

// Flags of a commit or abort: which parts the record has, and what to do about it.
const (
	XactHasDBInfo       = 1 << 0
	XactHasSubXIDs      = 1 << 1
	XactHasRels         = 1 << 2
	XactHasInvals       = 1 << 3
	XactHasTwoPhase     = 1 << 4
	XactHasOrigin       = 1 << 5
	XactHasAELocks      = 1 << 6
	XactHasGID          = 1 << 7
	XactHasDroppedStats = 1 << 8
	XactApplyFeedback   = 1 << 29
	XactUpdateInitFile  = 1 << 30
	XactForceSyncCommit = 1 << 31
)

// XactCompletion is what a COMMIT, ABORT, COMMIT_PREPARED or ABORT_PREPARED record says.
// Its slices are reused by the next parse into it; nothing points into the record.
type XactCompletion struct {
	XID     XID // the transaction that ended: of a prepared one its own, not the ending session's
	SubXIDs []XID
	Time    Timestamp
	Flags   uint32 // Xact… flags

	DB, Tablespace uint32 // of the ending session, 0 if not recorded
	Rels           []RelFileNode
	DroppedStats   []DroppedStat
	Invals         []Invalidation // commit only

	Prepared bool   // ended by COMMIT PREPARED or ROLLBACK PREPARED
	GID      string // the prepared transaction's name, empty if not recorded

	OriginLSN  wal.LSN // with a replication origin: where it committed
	OriginTime Timestamp
}

// DroppedStat names a statistics entry that goes away with the transaction.
type DroppedStat struct {
	Kind       int32
	DB, Object uint32
}

// ParseCommit reads a COMMIT or COMMIT_PREPARED record into dst.
func ParseCommit(rec *Record, dst *XactCompletion) error { return dst.parse(rec) }

// ParseAbort reads an ABORT or ABORT_PREPARED record into dst.
func ParseAbort(rec *Record, dst *XactCompletion) error { return dst.parse(rec) }

func (x *XactCompletion) parse(rec *Record) error {
	*x = XactCompletion{XID: rec.XID, SubXIDs: x.SubXIDs[:0], Rels: x.Rels[:0], DroppedStats: x.DroppedStats[:0], Invals: x.Invals[:0]}
	f := mainData(rec)
	x.Time = f.time()
	if rec.Info&InfoXactHasInfo != 0 {
		x.Flags = f.u32()
	}
	if x.Flags&XactHasDBInfo != 0 {
		x.DB, x.Tablespace = f.u32(), f.u32()
	}
	if x.Flags&XactHasSubXIDs != 0 {
		x.SubXIDs = f.xids(x.SubXIDs, f.count(4))
	}
	if x.Flags&XactHasRels != 0 {
		x.Rels = f.rels(x.Rels, f.count(12))
	}
	if x.Flags&XactHasDroppedStats != 0 {
		x.DroppedStats = f.stats(x.DroppedStats, f.count(droppedStatSize))
	}
	if x.Flags&XactHasInvals != 0 {
		x.Invals = f.invals(x.Invals, f.count(invalidationSize))
	}
	x.parseTwoPhase(rec, &f)
	if x.Flags&XactHasOrigin != 0 {
		x.OriginLSN, x.OriginTime = f.lsn(), f.time()
	}
	return f.done()
}

func (x *XactCompletion) parseTwoPhase(rec *Record, f *fields) {
	op := rec.Op()
	x.Prepared = op == OpXactCommitPrepared || op == OpXactAbortPrepared
	if x.Flags&XactHasTwoPhase != 0 {
		x.XID = f.u32()
		if x.Flags&XactHasGID != 0 {
			x.GID = f.cstring()
		}
	}
	// Without the prepared transaction's id there is nothing that ended.
	f.failed = f.failed || x.Prepared != (x.Flags&XactHasTwoPhase != 0)
}

// Prepare is what a PREPARE record says: a transaction that waits for its end.
type Prepare struct {
	XID           XID
	DB            uint32
	Owner         uint32 // the role that prepared it
	Time          Timestamp
	GID           string
	SubXIDs       []XID
	CommitRels    []RelFileNode // dropped if it commits
	AbortRels     []RelFileNode // dropped if it aborts
	CommitStats   []DroppedStat
	AbortStats    []DroppedStat
	Invals        []Invalidation
	InitFileInval bool
	OriginLSN     wal.LSN
	OriginTime    Timestamp
	State         []byte // what resource managers keep for it (locks and the like), opaque; points into the record
}

// twoPhaseMagic begins the state of a prepared transaction in PostgreSQL 15.
const twoPhaseMagic = 0x57F94534

// twoPhaseCRCSize is the size of the checksum that ends a file of pg_twophase.
const twoPhaseCRCSize = 4

// ParsePrepare reads a PREPARE record.
func ParsePrepare(rec *Record) (Prepare, error) {
	f := mainData(rec)
	if magic := f.u32(); magic != twoPhaseMagic {
		return Prepare{}, f.corrupt("magic of the prepared state", uint32(twoPhaseMagic), magic)
	}
	if length := f.u32(); uint64(length) != uint64(len(f.src))+twoPhaseCRCSize {
		return Prepare{}, f.corrupt("length of the prepared state", len(f.src)+twoPhaseCRCSize, length)
	}
	p := Prepare{XID: f.u32(), DB: f.u32(), Time: f.time(), Owner: f.u32()}
	var counts [6]uint32
	for i := range counts {
		counts[i] = f.u32()
	}
	p.InitFileInval = f.boolean()
	f.take(1) // padding
	gidLength := f.u16()
	p.OriginLSN, p.OriginTime = f.lsn(), f.time()
	p.parseLists(&f, gidLength, counts)
	p.State = f.rest()
	return p, f.done()
}

// parseLists reads what the header counts, each list padded to a multiple of 8.
func (p *Prepare) parseLists(f *fields, gidLength uint16, counts [6]uint32) {
	gid := fields{src: f.take(int(gidLength))}
	p.GID = gid.cstring()
	f.failed = f.failed || gid.failed
	f.align()
	p.SubXIDs = f.xids(nil, f.fits(counts[0], 4))
	f.align()
	p.CommitRels = f.rels(nil, f.fits(counts[1], 12))
	f.align()
	p.AbortRels = f.rels(nil, f.fits(counts[2], 12))
	f.align()
	p.CommitStats = f.stats(nil, f.fits(counts[3], droppedStatSize))
	f.align()
	p.AbortStats = f.stats(nil, f.fits(counts[4], droppedStatSize))
	f.align()
	p.Invals = f.invals(nil, f.fits(counts[5], invalidationSize))
	f.align()
}

// AppendTwoPhaseFile appends what PostgreSQL keeps in pg_twophase for the prepared
// transaction of a PREPARE record: the record's main data and their CRC-32C.
func AppendTwoPhaseFile(dst []byte, rec *Record) []byte {
	dst = append(dst, rec.MainData...)
	return binary.LittleEndian.AppendUint32(dst, crc32.Checksum(rec.MainData, crc32.MakeTable(crc32.Castagnoli)))
}

// Assignment is what an ASSIGNMENT record says: the parent of subtransactions.
type Assignment struct {
	TopXID  XID
	SubXIDs []XID
}

// ParseAssignment reads an ASSIGNMENT record.
func ParseAssignment(rec *Record) (Assignment, error) {
	f := mainData(rec)
	a := Assignment{TopXID: f.u32()}
	a.SubXIDs = f.xids(nil, f.count(4))
	return a, f.done()
}

// ParseXactInvalidations reads an INVALIDATION record of a transaction under way.
func ParseXactInvalidations(rec *Record) ([]Invalidation, error) {
	f := mainData(rec)
	list := f.invals(nil, f.count(invalidationSize))
	return list, f.done()
}

const droppedStatSize = 12

func (f *fields) stats(dst []DroppedStat, n int) []DroppedStat {
	for range n {
		dst = append(dst, DroppedStat{Kind: int32(f.u32()), DB: f.u32(), Object: f.u32()})
	}
	return dst
}
