package pgkey

import (
	"encoding/binary"
	"fmt"

	"github.com/varvedb/varve/lsm"
	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/pgwal"
)

// Class says what a key stands for.
type Class uint8

// The classes of keys.
const (
	ClassBlock Class = iota + 1
	ClassSize
	ClassSLRU
	ClassRelMap
	ClassDatabase
	ClassTablespace
	ClassTwoPhase
	ClassReplOrigin
	ClassCounter
	ClassCommitTime
)

// classTags is indexed by Class.
var classTags = [...]byte{
	ClassBlock: tagBlock, ClassSize: tagSize, ClassSLRU: tagSLRU, ClassRelMap: tagRelMap,
	ClassDatabase: tagDatabase, ClassTablespace: tagTablespace, ClassTwoPhase: tagTwoPhase,
	ClassReplOrigin: tagOrigin, ClassCounter: tagCounter, ClassCommitTime: tagCommitTime,
}

// Parsed is what a key says. Fields that its class lacks are zero.
type Parsed struct {
	Class   Class
	SLRU    SLRU
	Counter Counter
	Spc, DB uint32 // tablespace (also of ClassTablespace), database
	Rel     uint32
	Fork    pgwal.Fork
	Block   uint32 // block of a relation, page of an SLRU
	XID     uint32
	Origin  uint16
	Chunk   uint64 // of log, CommitTimeChunk bytes each
}

// ParseKey is the inverse of the functions that make keys. It refuses a key that
// none of them makes.
func ParseKey(k lsm.Key) (Parsed, error) {
	p := parse(k)
	if p.Class == 0 || p.key() != k {
		return Parsed{}, fmt.Errorf("parse key %s: no PostgreSQL object has such a key", k)
	}
	return p, nil
}

func parse(k lsm.Key) (p Parsed) {
	for class, tag := range classTags {
		if tag == k[0] && tag != 0 {
			p.Class = Class(class)
		}
	}
	first, second := binary.BigEndian.Uint32(k[1:]), binary.BigEndian.Uint32(k[5:])
	switch p.Class {
	case ClassBlock, ClassSize:
		p.Spc, p.DB, p.Rel = first, second, binary.BigEndian.Uint32(k[9:])
		p.Fork, p.Block = pgwal.Fork(k[13]), binary.BigEndian.Uint32(k[14:])
	case ClassSLRU:
		p.SLRU, p.Block = SLRU(k[1]), binary.BigEndian.Uint32(k[2:])
	case ClassRelMap, ClassDatabase:
		p.Spc, p.DB = first, second
	case ClassTablespace:
		p.Spc = first
	case ClassTwoPhase:
		p.XID = first
	case ClassReplOrigin:
		p.Origin = binary.BigEndian.Uint16(k[1:])
	case ClassCounter:
		p.Counter = Counter(k[1])
	case ClassCommitTime:
		p.Chunk = binary.BigEndian.Uint64(k[1:])
	}
	return p
}

// RelFileNode is the relation that a key of ClassBlock or ClassSize belongs to.
func (p Parsed) RelFileNode() pgwal.RelFileNode {
	return pgwal.RelFileNode{Spc: p.Spc, DB: p.DB, Rel: p.Rel}
}

// key is the key that p was parsed from.
func (p Parsed) key() (k lsm.Key) {
	switch p.Class {
	case ClassBlock:
		return Block(p.RelFileNode(), p.Fork, p.Block)
	case ClassSize:
		return Size(p.RelFileNode(), p.Fork)
	case ClassSLRU:
		return SLRUPage(p.SLRU, p.Block)
	case ClassRelMap:
		return RelMap(p.Spc, p.DB)
	case ClassDatabase:
		return Database(p.Spc, p.DB)
	case ClassTablespace:
		return Tablespace(p.Spc)
	case ClassTwoPhase:
		return TwoPhase(p.XID)
	case ClassReplOrigin:
		return ReplOrigin(p.Origin)
	case ClassCounter:
		return counter(p.Counter)
	}
	return commitTimeChunk(p.Chunk)
}

// String says in words what the key stands for, for errors and inspection.
func (p Parsed) String() string {
	switch p.Class {
	case ClassBlock:
		return fmt.Sprintf("relation %v fork %v block %d", p.RelFileNode(), p.Fork, p.Block)
	case ClassSize:
		return fmt.Sprintf("size of relation %v fork %v", p.RelFileNode(), p.Fork)
	case ClassSLRU:
		return fmt.Sprintf("%v page %d", p.SLRU, p.Block)
	case ClassRelMap:
		return fmt.Sprintf("relation map of %d/%d", p.Spc, p.DB)
	case ClassDatabase:
		return fmt.Sprintf("database %d/%d", p.Spc, p.DB)
	case ClassTablespace:
		return fmt.Sprintf("tablespace %d", p.Spc)
	case ClassTwoPhase:
		return fmt.Sprintf("prepared transaction %d", p.XID)
	case ClassReplOrigin:
		return fmt.Sprintf("replication origin %d", p.Origin)
	case ClassCounter:
		return p.Counter.String()
	case ClassCommitTime:
		return fmt.Sprintf("commit times from %v", wal.LSN(p.Chunk*CommitTimeChunk))
	}
	return "no key"
}

// Describe says in words what a key stands for.
func Describe(k lsm.Key) string {
	p, err := ParseKey(k)
	if err != nil {
		return "unknown key " + k.String()
	}
	return p.String()
}
