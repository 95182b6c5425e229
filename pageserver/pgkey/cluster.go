package pgkey

import (
	"encoding/binary"
	"fmt"

	"github.com/varvedb/varve/lsm"
	"github.com/varvedb/varve/wal"
)

// SLRU names one of PostgreSQL's page caches of transaction facts.
type SLRU uint8

// The SLRUs that the log describes. The numbers are part of the key format.
const (
	Xact             SLRU = 1 // pg_xact: two status bits for each transaction
	MultiXactOffsets SLRU = 2 // pg_multixact/offsets: where each multixact's members begin
	MultiXactMembers SLRU = 3 // pg_multixact/members: transaction and lock mode of each member
	CommitTs         SLRU = 4 // pg_commit_ts: time and origin of each commit
)

// SLRUs lists them all.
var SLRUs = []SLRU{Xact, MultiXactOffsets, MultiXactMembers, CommitTs}

// SLRUSegmentPages is the number of pages in an SLRU's segment file.
const SLRUSegmentPages = 32

// String is the directory in which PostgreSQL keeps the SLRU.
func (s SLRU) String() string {
	switch s {
	case Xact:
		return "pg_xact"
	case MultiXactOffsets:
		return "pg_multixact/offsets"
	case MultiXactMembers:
		return "pg_multixact/members"
	case CommitTs:
		return "pg_commit_ts"
	}
	return fmt.Sprintf("SLRU %d", uint8(s))
}

// SLRUPage is the key of one page of an SLRU.
func SLRUPage(s SLRU, page uint32) (k lsm.Key) {
	k[0], k[1] = tagSLRU, byte(s)
	binary.BigEndian.PutUint32(k[2:], page)
	return k
}

// SLRURange holds all pages of an SLRU: lo <= key < hi.
func SLRURange(s SLRU) (lo, hi lsm.Key) { return upTo(SLRUPage(s, 0), 2) }

// RelMap is the key of a relation map file, pg_filenode.map: 512 bytes. The shared
// one has database 0 and tablespace 1664.
func RelMap(spc, db uint32) lsm.Key { return twoOIDs(tagRelMap, spc, db) }

// RelMaps holds all relation maps: lo <= key < hi.
func RelMaps() (lo, hi lsm.Key) { return upTo(lsm.Key{tagRelMap}, 1) }

// Database is the key of a database's directory in a tablespace: the text of its
// PG_VERSION file.
func Database(spc, db uint32) lsm.Key { return twoOIDs(tagDatabase, spc, db) }

// Databases holds all databases: lo <= key < hi.
func Databases() (lo, hi lsm.Key) { return upTo(lsm.Key{tagDatabase}, 1) }

// Tablespace is the key of a tablespace: the text of its location.
func Tablespace(oid uint32) lsm.Key { return twoOIDs(tagTablespace, oid, 0) }

// Tablespaces holds all tablespaces: lo <= key < hi.
func Tablespaces() (lo, hi lsm.Key) { return upTo(lsm.Key{tagTablespace}, 1) }

// TwoPhase is the key of a prepared transaction's state file, whole, with the
// CRC-32C at its end.
func TwoPhase(xid uint32) lsm.Key { return twoOIDs(tagTwoPhase, xid, 0) }

// TwoPhases holds all prepared transactions: lo <= key < hi.
func TwoPhases() (lo, hi lsm.Key) { return upTo(lsm.Key{tagTwoPhase}, 1) }

// ReplOrigin is the key of a replication origin's progress: an [OriginValue].
func ReplOrigin(id uint16) (k lsm.Key) {
	k[0] = tagOrigin
	binary.BigEndian.PutUint16(k[1:], id)
	return k
}

// ReplOrigins holds all replication origins: lo <= key < hi.
func ReplOrigins() (lo, hi lsm.Key) { return upTo(lsm.Key{tagOrigin}, 1) }

func twoOIDs(tag byte, first, second uint32) (k lsm.Key) {
	k[0] = tag
	binary.BigEndian.PutUint32(k[1:], first)
	binary.BigEndian.PutUint32(k[5:], second)
	return k
}

// Counter names a value of which a cluster has exactly one.
type Counter uint8

// The counters. The numbers are part of the key format.
const (
	ctrControl       Counter = 1 // the control file with the last checkpoint's copy
	ctrNextXID       Counter = 2
	ctrNextMulti     Counter = 3
	ctrNextOID       Counter = 4
	ctrOldestXID     Counter = 5
	ctrOldestMulti   Counter = 6
	ctrCommitTsRange Counter = 7
	ctrLastRecord    Counter = 8
)

func (c Counter) String() string {
	names := [...]string{"", "control", "nextXid", "nextMulti", "nextOid", "oldestXid", "oldestMulti", "commitTsRange", "lastRecord"}
	if int(c) < len(names) && c != 0 {
		return names[c]
	}
	return fmt.Sprintf("counter %d", uint8(c))
}

// Control is the key of the control file, 8192 bytes: as imported, with the
// checkpoint copy and the settings that later records brought. Its counters are as
// of that checkpoint; the keys below hold them as of now.
func Control() lsm.Key { return counter(ctrControl) }

// NextXID is the key of the next transaction id: 8 bytes, epoch above.
func NextXID() lsm.Key { return counter(ctrNextXID) }

// NextMulti is the key of the next multixact: a [NextMultiValue].
func NextMulti() lsm.Key { return counter(ctrNextMulti) }

// NextOID is the key of the next object id: 4 bytes.
func NextOID() lsm.Key { return counter(ctrNextOID) }

// OldestXID is the key of the oldest transaction id still in pg_xact, and the
// database that holds it: an [OldestValue].
func OldestXID() lsm.Key { return counter(ctrOldestXID) }

// OldestMulti is the key of the oldest multixact, and the database that holds it:
// an [OldestValue].
func OldestMulti() lsm.Key { return counter(ctrOldestMulti) }

// CommitTsRange is the key of the oldest and newest transactions that have a
// commit timestamp: a [CommitTsRangeValue].
func CommitTsRange() lsm.Key { return counter(ctrCommitTsRange) }

// LastRecord is the key of the start of the last record of an ingested batch: 8
// bytes. Its version's LSN is that record's end.
func LastRecord() lsm.Key { return counter(ctrLastRecord) }

func counter(c Counter) lsm.Key { return lsm.Key{tagCounter, byte(c)} }

// CommitTimeChunk is the number of bytes of log that one [CommitTime] key covers.
// Smaller: more keys to search. Larger: longer chains to read; at TPC-B's 500 bytes
// a commit a chunk lists some two thousand.
const CommitTimeChunk = 1 << 20

// CommitTime is the key of the times of the commits and aborts whose records begin in
// the chunk of log that holds lsn: a row of [CommitTimeValue]s. The first of all is
// not a commit but the checkpoint at which the cluster was imported: its time, its
// record's start, and its record's end as Prev. No history is older.
func CommitTime(lsn wal.LSN) lsm.Key { return commitTimeChunk(uint64(lsn) / CommitTimeChunk) }

func commitTimeChunk(chunk uint64) (k lsm.Key) {
	k[0] = tagCommitTime
	binary.BigEndian.PutUint64(k[1:], chunk)
	return k
}
