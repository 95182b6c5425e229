package layer

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/bits"
	"sort"

	"github.com/varvedb/varve/lsm/kv"
	"github.com/varvedb/varve/wal"
)

// blockPlace is a data block as the index has it.
type blockPlace struct {
	key kv.Key
	// since is the LSN of the block's first entry if the block before ends with the same
	// key. Else it is zero: the block has that key from its beginning.
	since wal.LSN
	off   int64
}

// indexHeader comes before the bytes that all keys of an index begin with.
const indexHeader = 4

// indexBlock is an index block's payload that passed parseIndexBlock. Its entries are
// searched as they are: they are of one size, and in order as bytes.
type indexBlock struct {
	prefix  []byte
	entries []byte
	width   int     // of an entry
	lsnAt   int     // in an entry; before it is the rest of a key
	offAt   int     // in an entry; before it is an LSN
	base    wal.LSN // from which LSNs are counted
	end     int64   // of the last data block
}

// bytesFor is the number of bytes that a number takes.
func bytesFor(n uint64) int { return (bits.Len64(n) + 7) / 8 }

// appendIndex appends the index of the blocks, at least one. base is the layer's LSNLo,
// or any LSN for an image layer, whose keys have one version each.
func appendIndex(dst []byte, blocks []blockPlace, base wal.LSN) []byte {
	first, last := blocks[0].key, blocks[len(blocks)-1].key
	prefix := 0
	for prefix < kv.KeySize && first[prefix] == last[prefix] {
		prefix++
	}
	var most wal.LSN
	for i := range blocks {
		if blocks[i].since > 0 {
			most = max(most, blocks[i].since-base)
		}
	}
	lsnBytes, offBytes := bytesFor(uint64(most)), bytesFor(uint64(blocks[len(blocks)-1].off))
	dst = append(dst, byte(prefix), byte(lsnBytes), byte(offBytes), 0)
	dst = append(dst, first[:prefix]...)
	for i := range blocks {
		b := &blocks[i]
		dst = append(dst, b.key[prefix:]...)
		if b.since > 0 {
			dst = appendBytes(dst, uint64(b.since-base), lsnBytes)
		} else {
			dst = appendBytes(dst, 0, lsnBytes)
		}
		dst = appendBytes(dst, uint64(b.off), offBytes)
	}
	return dst
}

// appendBytes appends the low bytes of a number, the highest first.
func appendBytes(dst []byte, n uint64, size int) []byte {
	var all [8]byte
	binary.BigEndian.PutUint64(all[:], n)
	return append(dst, all[8-size:]...)
}

// number reads what appendBytes appends.
func number(b []byte) (n uint64) {
	for _, c := range b {
		n = n<<8 | uint64(c)
	}
	return n
}

// viewIndex lays an index over a payload that passed parseIndexBlock.
func viewIndex(raw []byte, base wal.LSN, end int64) indexBlock {
	prefix, lsnBytes, offBytes := int(raw[0]), int(raw[1]), int(raw[2])
	x := indexBlock{prefix: raw[indexHeader:][:prefix], entries: raw[indexHeader+prefix:], base: base, end: end}
	x.lsnAt = kv.KeySize - prefix
	x.offAt = x.lsnAt + lsnBytes
	x.width = x.offAt + offBytes
	return x
}

// parseIndexBlock checks that the data blocks follow each other from the header to end,
// in order of their first entries. off is the index block's own offset.
func parseIndexBlock(name string, off, end int64, base wal.LSN, raw []byte) (indexBlock, error) {
	if len(raw) < indexHeader || raw[0] > kv.KeySize || raw[1] > 8 || raw[2] == 0 || raw[2] > 8 || raw[3] != 0 {
		return indexBlock{}, wal.Corruptf(name, off, "widths of the index", "ones that fit keys, LSNs and offsets", fmt.Sprintf("%x", raw[:min(len(raw), indexHeader)]))
	}
	if size := len(raw) - indexHeader - int(raw[0]); size <= 0 || size%(kv.KeySize-int(raw[0])+int(raw[1])+int(raw[2])) != 0 {
		return indexBlock{}, wal.Corruptf(name, off, "index block size", "entries of one size", len(raw))
	}
	x := viewIndex(raw, base, end)
	if first := x.offset(0); first != headerSize {
		return indexBlock{}, wal.Corruptf(name, off, "place of data block 0", headerSize, first)
	}
	for i := range x.len() {
		if begin, size := x.place(i); size < blockHeader || size > blockHeader+rawBytesMax || begin+int64(size) > end {
			return indexBlock{}, wal.Corruptf(name, off, fmt.Sprintf("size of data block %d", i), fmt.Sprintf("at least %d, up to %d", blockHeader, end), fmt.Sprintf("%d+%d", begin, size))
		}
		if i > 0 && bytes.Compare(x.entry(i - 1)[:x.offAt], x.entry(i)[:x.offAt]) >= 0 {
			return indexBlock{}, wal.Corruptf(name, off, fmt.Sprintf("first entry of data block %d", i), "blocks in order", "one out of order")
		}
	}
	return x, nil
}

func (x *indexBlock) len() int           { return len(x.entries) / x.width }
func (x *indexBlock) entry(i int) []byte { return x.entries[i*x.width:][:x.width] }

func (x *indexBlock) offset(i int) int64 { return int64(number(x.entry(i)[x.offAt:])) }

// key is that of block i's first entry.
func (x *indexBlock) key(i int) (k kv.Key) {
	copy(k[copy(k[:], x.prefix):], x.entry(i))
	return k
}

// since is the LSN of block i's first entry, or zero if the block before does not end
// with the same key.
func (x *indexBlock) since(i int) wal.LSN {
	if n := number(x.entry(i)[x.lsnAt:x.offAt]); n > 0 {
		return x.base + wal.LSN(n)
	}
	return 0
}

// place is where block i lies.
func (x *indexBlock) place(i int) (off int64, size int) {
	off, end := x.offset(i), x.end
	if i+1 < x.len() {
		end = x.offset(i + 1)
	}
	// Damaged offsets may make any difference: it is cut to what parseIndexBlock refuses.
	return off, int(min(max(end-off, -1), 1<<31))
}

// find returns the number of the last block that begins at or below (key, lsn), or -1.
// No earlier block has versions of key above lsn.
func (x *indexBlock) find(key kv.Key, lsn wal.LSN) int {
	switch bytes.Compare(key[:len(x.prefix)], x.prefix) {
	case -1:
		return -1
	case 1:
		return x.len() - 1
	}
	var buffer [kv.KeySize + 8]byte
	want := append(buffer[:0], key[len(x.prefix):]...)
	since := uint64(0)
	if lsn > x.base {
		since = uint64(lsn - x.base)
	}
	if width := x.offAt - x.lsnAt; bytesFor(since) > width {
		since = 1<<(8*width) - 1 // above all that is here
	}
	want = appendBytes(want, since, x.offAt-x.lsnAt)
	return sort.Search(x.len(), func(i int) bool { return bytes.Compare(x.entry(i)[:x.offAt], want) > 0 }) - 1
}
