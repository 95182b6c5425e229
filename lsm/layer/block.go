package layer

import (
	"cmp"
	"fmt"
	"sort"

	"github.com/varvedb/varve/lsm/kv"
	"github.com/varvedb/varve/wal"
)

// dataBlock is a data block's payload that passed parseDataBlock.
type dataBlock []byte

// parseDataBlock checks that every entry lies inside the payload, in order. off
// is the block's offset in the file, for the error.
func parseDataBlock(name string, off int64, raw []byte) (dataBlock, error) {
	refuse := func(what string, want, got any) (dataBlock, error) {
		return nil, wal.Corruptf(name, off, what, want, got)
	}
	if len(raw) < 4 {
		return refuse("data block", "a number of entries", fmt.Sprintf("%d bytes", len(raw)))
	}
	b := dataBlock(raw)
	n := b.len()
	if n == 0 || n > (len(raw)-4)/(4+entryHeader) {
		return refuse("number of entries", fmt.Sprintf("1 to fit %d bytes", len(raw)), n)
	}
	if first := b.offset(0); first != 0 {
		return refuse("offset of the first entry", 0, first)
	}
	for i := range n {
		begin, end := b.offset(i), b.offset(i+1)
		if end < begin+entryHeader || end > b.entriesEnd() {
			return refuse(fmt.Sprintf("end of entry %d", i), "an offset inside the block", end)
		}
		if kind := b.kind(i); !kind.Valid() {
			return refuse(fmt.Sprintf("kind of entry %d", i), "image, delta or tombstone", kind)
		}
		if i > 0 && b.compare(i-1, b.key(i), b.lsn(i)) >= 0 {
			return refuse(fmt.Sprintf("entry %d", i), "entries in order", "one out of order")
		}
	}
	return b, nil
}

func (b dataBlock) len() int        { return int(le.Uint32(b[len(b)-4:])) }
func (b dataBlock) entriesEnd() int { return len(b) - 4 - 4*b.len() }

// offset of entry i; the end of the entries for i = len.
func (b dataBlock) offset(i int) int {
	if i == b.len() {
		return b.entriesEnd()
	}
	return int(le.Uint32(b[b.entriesEnd()+4*i:]))
}

func (b dataBlock) key(i int) kv.Key   { return kv.Key(b[b.offset(i):][:kv.KeySize]) }
func (b dataBlock) lsn(i int) wal.LSN  { return wal.LSN(le.Uint64(b[b.offset(i)+kv.KeySize:])) }
func (b dataBlock) kind(i int) kv.Kind { return kv.Kind(b[b.offset(i)+kv.KeySize+8]) }

// version returns entry i; its value is part of the block.
func (b dataBlock) version(i int) kv.Version {
	entry := b[b.offset(i):b.offset(i+1):b.offset(i+1)]
	v := kv.Version{Key: kv.Key(entry), LSN: wal.LSN(le.Uint64(entry[kv.KeySize:])), Kind: kv.Kind(entry[kv.KeySize+8])}
	if len(entry) > entryHeader {
		v.Value = entry[entryHeader:]
	}
	return v
}

// compare places entry i against (key, lsn).
func (b dataBlock) compare(i int, key kv.Key, lsn wal.LSN) int {
	return compareAt(b.key(i), b.lsn(i), key, lsn)
}

// after returns the number of the first entry above (key, lsn).
func (b dataBlock) after(key kv.Key, lsn wal.LSN) int {
	return sort.Search(b.len(), func(i int) bool { return b.compare(i, key, lsn) > 0 })
}

func compareAt(a kv.Key, aLSN wal.LSN, b kv.Key, bLSN wal.LSN) int {
	if c := a.Compare(b); c != 0 {
		return c
	}
	return cmp.Compare(aLSN, bLSN)
}
