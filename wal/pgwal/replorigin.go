package pgwal

import "github.com/varvedb/varve/wal"

// The operations of ReplicationOrigin records (origin.h).
const (
	OpReplOriginSet  = 0x00
	OpReplOriginDrop = 0x10
)

// ReplOriginSet is what a ReplicationOrigin SET record says: how far an origin got.
type ReplOriginSet struct {
	Node      uint16
	RemoteLSN wal.LSN
	Force     bool // the origin may go back
}

// ParseReplOriginSet reads a ReplicationOrigin SET record.
func ParseReplOriginSet(rec *Record) (ReplOriginSet, error) {
	f := mainData(rec)
	s := ReplOriginSet{RemoteLSN: f.lsn(), Node: f.u16(), Force: f.boolean()}
	f.align()
	return s, f.done()
}

// ParseReplOriginDrop reads a ReplicationOrigin DROP record: the origin that is gone.
func ParseReplOriginDrop(rec *Record) (node uint16, err error) {
	f := mainData(rec)
	node = f.u16()
	return node, f.done()
}
