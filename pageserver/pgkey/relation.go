package pgkey

import (
	"encoding/binary"

	"github.com/varvedb/varve/lsm"
	"github.com/varvedb/varve/wal/pgwal"
)

// The first byte of each kind of key.
const (
	tagBlock      = 0x10
	tagSize       = 0x20
	tagSLRU       = 0x30
	tagRelMap     = 0x40
	tagDatabase   = 0x41
	tagTablespace = 0x42
	tagTwoPhase   = 0x50
	tagOrigin     = 0x51
	tagCounter    = 0x60
	tagCommitTime = 0x61
)

// Block is the key of one page of a relation's fork.
func Block(rel pgwal.RelFileNode, fork pgwal.Fork, block uint32) lsm.Key {
	return relationKey(tagBlock, rel, fork, block)
}

// BlockRange holds the pages of one fork: lo <= key < hi.
func BlockRange(rel pgwal.RelFileNode, fork pgwal.Fork) (lo, hi lsm.Key) {
	return upTo(Block(rel, fork, 0), 14)
}

// RelRange holds the pages of all forks of a relation: lo <= key < hi.
func RelRange(rel pgwal.RelFileNode) (lo, hi lsm.Key) {
	return upTo(Block(rel, 0, 0), 13)
}

// DatabaseRange holds the pages of all relations of a database in one tablespace:
// lo <= key < hi.
func DatabaseRange(spc, db uint32) (lo, hi lsm.Key) {
	return upTo(Block(pgwal.RelFileNode{Spc: spc, DB: db}, 0, 0), 9)
}

// Size is the key of a fork's size; its value is a [SizeValue]. A tombstone, or
// nothing, means that there is no such fork.
func Size(rel pgwal.RelFileNode, fork pgwal.Fork) lsm.Key {
	return relationKey(tagSize, rel, fork, 0)
}

// SizeRange holds the sizes of all forks of all relations of a database in one
// tablespace: lo <= key < hi.
func SizeRange(spc, db uint32) (lo, hi lsm.Key) {
	return upTo(Size(pgwal.RelFileNode{Spc: spc, DB: db}, 0), 9)
}

// AllSizes holds the sizes of all forks of all relations: lo <= key < hi.
func AllSizes() (lo, hi lsm.Key) { return upTo(lsm.Key{tagSize}, 1) }

func relationKey(tag byte, rel pgwal.RelFileNode, fork pgwal.Fork, block uint32) (k lsm.Key) {
	k[0] = tag
	binary.BigEndian.PutUint32(k[1:], rel.Spc)
	binary.BigEndian.PutUint32(k[5:], rel.DB)
	binary.BigEndian.PutUint32(k[9:], rel.Rel)
	k[13] = byte(fork)
	binary.BigEndian.PutUint32(k[14:], block)
	return k
}

// upTo returns the range of the keys that share the first prefix bytes of lo.
func upTo(lo lsm.Key, prefix int) (lsm.Key, lsm.Key) {
	hi := lo
	for i := prefix; i < len(hi); i++ {
		lo[i], hi[i] = 0, 0
	}
	for i := prefix - 1; i >= 0; i-- {
		hi[i]++
		if hi[i] != 0 {
			break
		}
	}
	return lo, hi
}
