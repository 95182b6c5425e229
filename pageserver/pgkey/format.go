package pgkey

import (
	"encoding/binary"

	"github.com/varvedb/varve/wal"
)

// Values, little-endian as PostgreSQL's own files. The layers that hold them carry
// version and checksum.
//
//	Size           | blocks (4) | since (8) |
//	NextXID        | full transaction id (8) |
//	NextMulti      | multixact (4) | member offset (4) |
//	NextOID        | oid (4) |
//	OldestXID      | xid (4) | database (4) |
//	OldestMulti    | multixact (4) | database (4) |
//	CommitTsRange  | oldest xid (4) | newest xid (4) |
//	LastRecord     | LSN of the record's start (8) |
//	ReplOrigin     | remote LSN (8) | local LSN (8) |
//	CommitTime     | time (8) | record start (8) | end of the record before (8) | ...
//
// Control, RelMap, Database, Tablespace, TwoPhase and all pages are PostgreSQL's
// bytes as they are.
const (
	SizeBytes       = 12 // of a SizeValue
	CommitTimeBytes = 24 // of a CommitTimeValue

	pairValueBytes = 8
	originBytes    = 16
)

// SizeValue is the size of a relation's fork.
type SizeValue struct {
	Blocks uint32
	// Since is the greatest LSN at which the fork was not there yet, or the last
	// before it was truncated to nothing. Page versions at or below it are dead.
	Since wal.LSN
}

// AppendTo appends the value's bytes to dst.
func (v SizeValue) AppendTo(dst []byte) []byte {
	dst = binary.LittleEndian.AppendUint32(dst, v.Blocks)
	return binary.LittleEndian.AppendUint64(dst, uint64(v.Since))
}

// DecodeSize reads a value of [Size].
func DecodeSize(b []byte) (v SizeValue, err error) {
	if err := checkLength("size", b, SizeBytes); err != nil {
		return v, err
	}
	v.Blocks = binary.LittleEndian.Uint32(b)
	v.Since = wal.LSN(binary.LittleEndian.Uint64(b[4:]))
	return v, nil
}

// NextMultiValue is where the next multixact goes.
type NextMultiValue struct {
	Multi  uint32
	Offset uint32 // of its first member
}

// AppendTo appends the value's bytes to dst.
func (v NextMultiValue) AppendTo(dst []byte) []byte { return appendPair(dst, v.Multi, v.Offset) }

// DecodeNextMulti reads a value of [NextMulti].
func DecodeNextMulti(b []byte) (v NextMultiValue, err error) {
	v.Multi, v.Offset, err = decodePair("next multixact", b)
	return v, err
}

// OldestValue is the oldest transaction or multixact that may still be looked up.
type OldestValue struct {
	ID uint32
	DB uint32 // the database that holds it back; 0 if unknown
}

// AppendTo appends the value's bytes to dst.
func (v OldestValue) AppendTo(dst []byte) []byte { return appendPair(dst, v.ID, v.DB) }

// DecodeOldest reads a value of [OldestXID] or [OldestMulti].
func DecodeOldest(b []byte) (v OldestValue, err error) {
	v.ID, v.DB, err = decodePair("oldest id", b)
	return v, err
}

// CommitTsRangeValue bounds the transactions that have a commit timestamp. Both
// are 0 if none has.
type CommitTsRangeValue struct {
	Oldest uint32
	Newest uint32
}

// AppendTo appends the value's bytes to dst.
func (v CommitTsRangeValue) AppendTo(dst []byte) []byte { return appendPair(dst, v.Oldest, v.Newest) }

// DecodeCommitTsRange reads a value of [CommitTsRange].
func DecodeCommitTsRange(b []byte) (v CommitTsRangeValue, err error) {
	v.Oldest, v.Newest, err = decodePair("commit timestamp range", b)
	return v, err
}

// OriginValue is a replication origin's progress.
type OriginValue struct {
	Remote wal.LSN // how far the origin's log was replayed
	Local  wal.LSN // end of our record of that
}

// AppendTo appends the value's bytes to dst.
func (v OriginValue) AppendTo(dst []byte) []byte {
	dst = binary.LittleEndian.AppendUint64(dst, uint64(v.Remote))
	return binary.LittleEndian.AppendUint64(dst, uint64(v.Local))
}

// DecodeOrigin reads a value of [ReplOrigin].
func DecodeOrigin(b []byte) (v OriginValue, err error) {
	if err := checkLength("replication origin", b, originBytes); err != nil {
		return v, err
	}
	v.Remote = wal.LSN(binary.LittleEndian.Uint64(b))
	v.Local = wal.LSN(binary.LittleEndian.Uint64(b[8:]))
	return v, nil
}

// CommitTimeValue is one commit or abort stamped later than all before it.
type CommitTimeValue struct {
	Time  int64   // microseconds since 2000-01-01 00:00 UTC, as PostgreSQL counts
	Start wal.LSN // of the record
	Prev  wal.LSN // end of the record before it
}

// AppendTo appends the value's bytes to dst.
func (v CommitTimeValue) AppendTo(dst []byte) []byte {
	dst = binary.LittleEndian.AppendUint64(dst, uint64(v.Time))
	dst = binary.LittleEndian.AppendUint64(dst, uint64(v.Start))
	return binary.LittleEndian.AppendUint64(dst, uint64(v.Prev))
}

// DecodeCommitTimes reads a value of [CommitTime], in order of the log.
func DecodeCommitTimes(b []byte) ([]CommitTimeValue, error) {
	if len(b)%CommitTimeBytes != 0 {
		return nil, wal.Corruptf("value of commit times", 0, "length", "a multiple of 24", len(b))
	}
	values := make([]CommitTimeValue, 0, len(b)/CommitTimeBytes)
	for ; len(b) > 0; b = b[CommitTimeBytes:] {
		values = append(values, CommitTimeValue{
			Time:  int64(binary.LittleEndian.Uint64(b)),
			Start: wal.LSN(binary.LittleEndian.Uint64(b[8:])),
			Prev:  wal.LSN(binary.LittleEndian.Uint64(b[16:])),
		})
	}
	return values, nil
}

// AppendUint64 appends a value of [NextXID] or [LastRecord] to dst.
func AppendUint64(dst []byte, v uint64) []byte { return binary.LittleEndian.AppendUint64(dst, v) }

// DecodeUint64 reads a value of [NextXID] or [LastRecord].
func DecodeUint64(b []byte) (uint64, error) {
	if err := checkLength("64-bit counter", b, 8); err != nil {
		return 0, err
	}
	return binary.LittleEndian.Uint64(b), nil
}

// AppendUint32 appends a value of [NextOID] to dst.
func AppendUint32(dst []byte, v uint32) []byte { return binary.LittleEndian.AppendUint32(dst, v) }

// DecodeUint32 reads a value of [NextOID].
func DecodeUint32(b []byte) (uint32, error) {
	if err := checkLength("32-bit counter", b, 4); err != nil {
		return 0, err
	}
	return binary.LittleEndian.Uint32(b), nil
}

func appendPair(dst []byte, first, second uint32) []byte {
	dst = binary.LittleEndian.AppendUint32(dst, first)
	return binary.LittleEndian.AppendUint32(dst, second)
}

func decodePair(what string, b []byte) (first, second uint32, err error) {
	if err := checkLength(what, b, pairValueBytes); err != nil {
		return 0, 0, err
	}
	return binary.LittleEndian.Uint32(b), binary.LittleEndian.Uint32(b[4:]), nil
}

func checkLength(what string, b []byte, want int) error {
	if len(b) != want {
		return wal.Corruptf("value of "+what, 0, "length", want, len(b))
	}
	return nil
}
