package layer

import (
	"cmp"
	"fmt"

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
	offsets := b[b.entriesEnd() : len(b)-4]
	low, high := 0, len(offsets)/4
	for low < high {
		middle := int(uint(low+high) / 2)
		entry := b[le.Uint32(offsets[4*middle:]):]
		if compareAt(kv.Key(entry), wal.LSN(le.Uint64(entry[kv.KeySize:])), key, lsn) > 0 {
			high = middle
		} else {
			low = middle + 1
		}
	}
	return low
}

// walk appends to dst the versions of key with LSN in (floor, ceil], newest first, down
// to the first that is no delta. whole reports that nothing older in other blocks can
// matter, done that there was a version that is no delta.
func (b dataBlock) walk(key kv.Key, ceil, floor wal.LSN, dst []kv.Version) (_ []kv.Version, whole, done bool) {
	at := b.after(key, ceil)
	// Compared by words: the compiler calls a memory comparison for 18 bytes.
	k0, k1, k2 := le.Uint64(key[0:]), le.Uint64(key[8:]), le.Uint16(key[16:])
	for end := b.offset(at); at > 0; at-- {
		begin := b.offset(at - 1)
		entry := b[begin:end:end]
		lsn := wal.LSN(le.Uint64(entry[kv.KeySize:]))
		if le.Uint64(entry[0:]) != k0 || le.Uint64(entry[8:]) != k1 || le.Uint16(entry[16:]) != k2 || lsn <= floor {
			return dst, true, false
		}
		v := kv.Version{Key: key, LSN: lsn, Kind: kv.Kind(entry[kv.KeySize+8])}
		if len(entry) > entryHeader {
			v.Value = entry[entryHeader:]
		}
		dst = append(dst, v)
		if v.Kind != kv.Delta {
			return dst, true, true
		}
		end = begin
	}
	return dst, false, false
}

func compareAt(a kv.Key, aLSN wal.LSN, b kv.Key, bLSN wal.LSN) int {
	if c := a.Compare(b); c != 0 {
		return c
	}
	return cmp.Compare(aLSN, bLSN)
}
