package layer

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"sort"

	"github.com/varvedb/varve/lsm/kv"
	"github.com/varvedb/varve/wal"
)

// placeKindBits of the place of a version are its kind.
const placeKindBits = 2

// blockBuilder is the data block under construction.
type blockBuilder struct {
	keys   []blockKeyStart
	lsns   []wal.LSN // of versions
	places []uint64  // of versions: where their values end, and their kinds
	values []byte
}

// blockKeyStart is a key and the number of its first version in the block.
type blockKeyStart struct {
	key   kv.Key
	first int
}

func (b *blockBuilder) len() int { return len(b.lsns) }

// bytesWith is about the size of the payload, were v added.
func (b *blockBuilder) bytesWith(v *kv.Version) int {
	const keyBytes, versionBytes = kv.KeySize + 2, 8
	return keyBytes*(len(b.keys)+1) + versionBytes*(len(b.lsns)+1) + len(b.values) + len(v.Value)
}

// add appends a version. newKey reports whether it is the first of its key.
func (b *blockBuilder) add(v *kv.Version, newKey bool) {
	if newKey || len(b.keys) == 0 {
		b.keys = append(b.keys, blockKeyStart{v.Key, len(b.lsns)})
	}
	b.values = append(b.values, v.Value...)
	b.lsns = append(b.lsns, v.LSN)
	b.places = append(b.places, uint64(len(b.values))<<placeKindBits|uint64(v.Kind))
}

func (b *blockBuilder) reset() {
	b.keys, b.lsns, b.places, b.values = b.keys[:0], b.lsns[:0], b.places[:0], b.values[:0]
}

// appendTo appends the payload. There is at least one version.
func (b *blockBuilder) appendTo(dst []byte) []byte {
	first, last := &b.keys[0], &b.keys[len(b.keys)-1]
	prefix := commonPrefix(&first.key, &last.key)
	base, most := b.lsns[0], b.lsns[0]
	for _, lsn := range b.lsns {
		base, most = min(base, lsn), max(most, lsn)
	}
	firstBytes, lsnBytes, placeBytes := bytesFor(uint64(last.first)), bytesFor(uint64(most-base)), bytesFor(b.places[len(b.places)-1])
	dst = append(dst, byte(prefix), byte(firstBytes), byte(lsnBytes), byte(placeBytes))
	dst = binary.AppendUvarint(dst, uint64(len(b.lsns)))
	dst = binary.AppendUvarint(dst, uint64(len(b.keys)))
	dst = binary.AppendUvarint(dst, uint64(base))
	dst = append(dst, first.key[:prefix]...)
	for i := range b.keys {
		dst = append(dst, b.keys[i].key[prefix:]...)
		dst = appendBytes(dst, uint64(b.keys[i].first), firstBytes)
	}
	at := len(dst)
	// Eight bytes are written for each number, whatever it takes: what follows it is
	// written after it.
	dst = slices.Grow(dst, len(b.lsns)*(lsnBytes+placeBytes)+8+len(b.values))
	room := dst[:cap(dst)]
	for _, lsn := range b.lsns {
		binary.BigEndian.PutUint64(room[at:], uint64(lsn-base)<<(64-8*lsnBytes))
		at += lsnBytes
	}
	for _, place := range b.places {
		binary.BigEndian.PutUint64(room[at:], place<<(64-8*placeBytes))
		at += placeBytes
	}
	return append(room[:at], b.values...)
}

// commonPrefix is the number of bytes that both keys begin with.
func commonPrefix(a, b *kv.Key) (n int) {
	for n < kv.KeySize && a[n] == b[n] {
		n++
	}
	return n
}

// dataBlock is a data block's payload that passed parseDataBlock. It is searched as it is.
type dataBlock []byte

// columns is where things lie in a data block.
type columns struct {
	raw      []byte
	prefix   []byte // of all keys
	base     wal.LSN
	keys     int
	versions int

	keysAt, firstAt, keyWidth int // entries of keys: the rest of a key, and at firstAt the number of its first version
	lsnsAt, lsnBytes          int
	placesAt, placeBytes      int
	valuesAt                  int
}

// columns finds them where parseDataBlock found them.
func (b dataBlock) columns() columns {
	c, _ := layColumns(b)
	return c
}

// layColumns finds the columns by what the payload begins with; ok is false if they do not
// lie inside it, or no column can have such a width.
func layColumns(raw []byte) (c columns, ok bool) {
	if len(raw) < 4 || raw[0] > kv.KeySize || raw[1] > 4 || raw[2] > 8 || raw[3] == 0 || raw[3] > 8 {
		return c, false
	}
	at := 4
	number := func() uint64 {
		n, size := binary.Uvarint(raw[at:])
		at += max(size, 0) // with no size the number is 0
		return n
	}
	versions, keys, base := number(), number(), number()
	if keys == 0 || keys > versions || versions > uint64(len(raw)) {
		return c, false
	}
	c.raw, c.versions, c.keys, c.base = raw, int(versions), int(keys), wal.LSN(base)
	c.lsnBytes, c.placeBytes = int(raw[2]), int(raw[3])
	c.keysAt, c.firstAt = at+int(raw[0]), kv.KeySize-int(raw[0])
	c.keyWidth = c.firstAt + int(raw[1])
	c.lsnsAt = c.keysAt + c.keys*c.keyWidth
	c.placesAt = c.lsnsAt + c.versions*c.lsnBytes
	c.valuesAt = c.placesAt + c.versions*c.placeBytes
	if c.valuesAt > len(raw) {
		return c, false
	}
	c.prefix = raw[at:c.keysAt]
	return c, true
}

// parseDataBlock checks that the columns and all values lie inside the payload, in order.
// off is the block's offset in the file, for the error.
func parseDataBlock(name string, off int64, raw []byte) (dataBlock, error) {
	refuse := func(what string, want, got any) (dataBlock, error) {
		return nil, wal.Corruptf(name, off, what, want, got)
	}
	c, ok := layColumns(raw)
	if !ok {
		return refuse("columns of a data block", fmt.Sprintf("ones that lie inside %d bytes", len(raw)), fmt.Sprintf("%x", raw[:min(len(raw), 16)]))
	}
	for k := range c.keys {
		first, next := c.first(k), c.first(k+1)
		if k == 0 && first != 0 || next <= first || next > c.versions {
			return refuse(fmt.Sprintf("first version of key %d", k), "numbers in order", fmt.Sprintf("%d, then %d", first, next))
		}
		if k > 0 && bytes.Compare(c.rest(k-1), c.rest(k)) >= 0 {
			return refuse(fmt.Sprintf("key %d", k), "keys in order", "one out of order")
		}
		for i := first; i < next; i++ {
			if lsn := c.lsn(i); lsn < c.base || i > first && lsn <= c.lsn(i-1) {
				return refuse(fmt.Sprintf("LSN of version %d", i), "LSNs in order", lsn)
			}
		}
	}
	end := 0
	for i := range c.versions {
		begin, kind := end, kv.Kind(0)
		if end, kind = c.place(i); end < begin || end > len(raw)-c.valuesAt {
			return refuse(fmt.Sprintf("end of value %d", i), "one inside the block", end)
		}
		if !kind.Valid() {
			return refuse(fmt.Sprintf("kind of version %d", i), "image, delta or tombstone", kind)
		}
	}
	if end != len(raw)-c.valuesAt {
		return refuse("end of the last value", len(raw)-c.valuesAt, end)
	}
	return raw, nil
}

// numberAt is the number of a size that begins at a place of b. Most lie so far from the
// end that one load has them.
func numberAt(b []byte, at, size int) uint64 {
	if at+8 <= len(b) {
		return binary.BigEndian.Uint64(b[at:]) >> (64 - 8*size)
	}
	return number(b[at : at+size])
}

// rest is what key k has after the prefix.
func (c *columns) rest(k int) []byte { return c.raw[c.keysAt+k*c.keyWidth:][:c.firstAt] }

func (c *columns) key(k int) (key kv.Key) {
	copy(key[copy(key[:], c.prefix):], c.rest(k))
	return key
}

// first is the number of key k's first version; for k = keys the number of versions.
func (c *columns) first(k int) int {
	if k == c.keys {
		return c.versions
	}
	return int(numberAt(c.raw, c.keysAt+k*c.keyWidth+c.firstAt, c.keyWidth-c.firstAt))
}

func (c *columns) lsn(i int) wal.LSN {
	return c.base + wal.LSN(numberAt(c.raw, c.lsnsAt+i*c.lsnBytes, c.lsnBytes))
}

// place is where the value of version i ends among the values, and its kind.
func (c *columns) place(i int) (end int, kind kv.Kind) {
	place := numberAt(c.raw, c.placesAt+i*c.placeBytes, c.placeBytes)
	return int(place >> placeKindBits), kv.Kind(place & (1<<placeKindBits - 1))
}

// begin is where the value of version i begins among the values.
func (c *columns) begin(i int) int {
	if i == 0 {
		return 0
	}
	end, _ := c.place(i - 1)
	return end
}

// value is a part of the values, nil if it is empty.
func (c *columns) value(begin, end int) []byte {
	if begin == end {
		return nil
	}
	begin, end = begin+c.valuesAt, end+c.valuesAt
	return c.raw[begin:end:end]
}

// from returns the number of the first key at or above key, and whether it is key.
func (c *columns) from(key *kv.Key) (k int, found bool) {
	switch bytes.Compare(key[:len(c.prefix)], c.prefix) {
	case -1:
		return 0, false
	case 1:
		return c.keys, false
	}
	low, high, rest := 0, c.keys, key[len(c.prefix):]
	for low < high {
		middle := int(uint(low+high) / 2)
		switch bytes.Compare(c.rest(middle), rest) {
		case 0:
			return middle, true
		case -1:
			low = middle + 1
		default:
			high = middle
		}
	}
	return low, false
}

// walk appends to dst the versions of key with LSN in (floor, ceil], newest first, down
// to the first that is no delta. whole reports that nothing older in other blocks can
// matter, done that there was a version that is no delta.
func (b dataBlock) walk(key kv.Key, ceil, floor wal.LSN, dst []kv.Version) (_ []kv.Version, whole, done bool) {
	c := b.columns()
	k, found := c.from(&key)
	if !found {
		return dst, k > 0, false
	}
	low, high := c.first(k), c.first(k+1)
	if c.lsn(high-1) > ceil {
		high = low + sort.Search(high-low, func(i int) bool { return c.lsn(low+i) > ceil })
	}
	for i, next := high-1, c.begin(high); i >= low; i-- {
		lsn := c.lsn(i)
		if lsn <= floor {
			return dst, true, false
		}
		_, kind := c.place(i)
		begin := c.begin(i)
		dst = append(dst, kv.Version{Key: key, LSN: lsn, Kind: kind, Value: c.value(begin, next)})
		if kind != kv.Delta {
			return dst, true, true
		}
		next = begin
	}
	return dst, k > 0, false
}

// blockCursor goes through the versions of a data block in order.
type blockCursor struct {
	columns
	at   int // the next version
	k    int // the key after its
	key  kv.Key
	next int // the first version of key k
}

func (b dataBlock) cursor() blockCursor { return blockCursor{columns: b.columns()} }

// done reports whether there are no more versions.
func (c *blockCursor) done() bool { return c.at == c.versions }

// take returns the next version.
func (c *blockCursor) take() kv.Version {
	if c.at == c.next {
		c.key = c.columns.key(c.k)
		c.k++
		c.next = c.first(c.k)
	}
	end, kind := c.place(c.at)
	v := kv.Version{Key: c.key, LSN: c.lsn(c.at), Kind: kind, Value: c.value(c.begin(c.at), end)}
	c.at++
	return v
}
