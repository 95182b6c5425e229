package pgwal

// The operations of Standby records (standbydefs.h).
const (
	OpStandbyLock          = 0x00
	OpStandbyRunningXacts  = 0x10
	OpStandbyInvalidations = 0x20
)

// StandbyLock is an access-exclusive lock that a transaction holds.
type StandbyLock struct {
	XID     XID
	DB, Rel uint32 // OIDs
}

// ParseStandbyLocks reads a LOCK record.
func ParseStandbyLocks(rec *Record) ([]StandbyLock, error) {
	f := mainData(rec)
	n := f.count(12)
	locks := make([]StandbyLock, 0, n)
	for range n {
		locks = append(locks, StandbyLock{XID: f.u32(), DB: f.u32(), Rel: f.u32()})
	}
	return locks, f.done()
}

// RunningXacts is what a RUNNING_XACTS record says: who was running.
type RunningXacts struct {
	NextXID            XID
	OldestRunningXID   XID
	LatestCompletedXID XID
	SubXIDOverflow     bool // SubXIDs is not complete
	XIDs, SubXIDs      []XID
}

// ParseRunningXacts reads a RUNNING_XACTS record.
func ParseRunningXacts(rec *Record) (RunningXacts, error) {
	f := mainData(rec)
	top, sub := f.u32(), f.u32()
	r := RunningXacts{SubXIDOverflow: f.boolean()}
	f.take(3) // padding
	r.NextXID, r.OldestRunningXID, r.LatestCompletedXID = f.u32(), f.u32(), f.u32()
	r.XIDs = f.xids(nil, f.fits(top, 4))
	r.SubXIDs = f.xids(nil, f.fits(sub, 4))
	return r, f.done()
}

// StandbyInvalidations is what an INVALIDATIONS record says: cache entries that a
// change outside transactions made stale.
type StandbyInvalidations struct {
	DB, Tablespace uint32
	InitFileInval  bool // the relation cache's file is stale too
	Invals         []Invalidation
}

// ParseStandbyInvalidations reads an INVALIDATIONS record.
func ParseStandbyInvalidations(rec *Record) (StandbyInvalidations, error) {
	f := mainData(rec)
	s := StandbyInvalidations{DB: f.u32(), Tablespace: f.u32(), InitFileInval: f.boolean()}
	f.take(3) // padding
	s.Invals = f.invals(nil, f.count(invalidationSize))
	return s, f.done()
}

// Invalidation is one message that makes cached entries stale (sinval.h).
type Invalidation struct {
	ID     int8   // a catalog cache's number if not negative, otherwise an Inval… constant
	DB     uint32 // of InvalSmgr: the tablespace
	Object uint32 // InvalCatalog: catalog; InvalRelcache, InvalSnapshot: relation; catalog cache: hash
}

// What a negative [Invalidation] ID makes stale.
const (
	InvalCatalog  = -1
	InvalRelcache = -2
	InvalSmgr     = -3
	InvalRelmap   = -4
	InvalSnapshot = -5
)

const invalidationSize = 16

func (f *fields) invals(dst []Invalidation, n int) []Invalidation {
	for range n {
		m := Invalidation{ID: int8(f.u8())}
		f.take(3) // padding; InvalSmgr has a backend there
		m.DB, m.Object = f.u32(), f.u32()
		f.take(4)
		dst = append(dst, m)
	}
	return dst
}
