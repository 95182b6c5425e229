// Package memtable keeps versions in memory until they are written as a layer.
//
// It is append only. A version's bytes go to the end of an arena; the version
// itself becomes an entry that links to the key's older entry, and a hash map has
// the newest. So an insert costs one map access and no sorting, and a chain is
// read by walking links from new to old. Each entry has a second link that jumps
// further back, so that finding the newest version at or below an LSN takes O(log n)
// steps of a key's n versions: of most entries to the last one that was the eighth, of each
// eighth to another such, chosen as in a skew-binary list. To choose means to look at
// entries that have left the processor's cache.
//
// The map is Go's: a table of our own over kv.Key.Hash, probed slot by slot, took 1.4
// times as long for 100,000 keys. A google/btree of versions takes six times as long and
// allocates for every version.
//
// Order among keys is made only when asked for: by [Table.All], which sorts, and by
// [Table.NextKeys], in a B-tree that takes each key once.
//
// One task inserts; any number read meanwhile. A reader that asks for nothing
// above an LSN whose versions were all inserted never sees a half of a record.
//
// A table does no I/O and knows no other table.
package memtable

import (
	"cmp"
	"encoding/binary"
	"runtime"
	"slices"
	"sync"

	"github.com/google/btree"

	"github.com/varvedb/varve/lsm/kv"
	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/assert"
)

const (
	// entriesPerChunk entries are allocated at a time: 160 KiB. The first chunk
	// grows, so that a table of little takes little.
	entriesPerChunk = 4096
	// arenaChunkBytes of values are allocated at a time, less for the first ones; a value
	// that does not fit what is left starts a new chunk, so at most one value's size is
	// wasted.
	arenaChunkBytes = 1 << 20
	arenaFirstBytes = 4 << 10
	// entryBytes is what one version costs beside its value, and keyBytes what a
	// key costs once: map slot, key, head, each with room to grow.
	entryBytes = 40
	keyBytes   = 96

	// One in jumpEvery versions of a key chooses its jump link.
	jumpEvery = 8

	btreeDegree = 32
	// orderedAtOnce is how many keys go into the B-tree before others get the lock: a
	// millisecond or two of work.
	orderedAtOnce = 4096
)

// none is the link of a key's oldest entry. Entry 0 is never used.
const none = 0

type entry struct {
	lsn   wal.LSN
	chunk uint32 // of the arena
	off   uint32
	size  uint32
	prev  uint32 // next older entry of the key, or none
	jump  uint32 // some older entry of the key, or none
	depth uint32 // number of older entries of the key
	key   uint32 // its number
	kind  kv.Kind
}

// head is a key's newest entry, with what an insert needs of it: the entry itself
// has long left the processor's cache.
type head struct {
	entry  uint32
	depth  uint32
	eighth uint32 // the newest entry whose depth is a multiple of jumpEvery
	lsn    wal.LSN
}

// Table holds the versions with LSN in (Lo, last]. Make it with [New].
type Table struct {
	lo wal.LSN

	mu      sync.RWMutex
	numbers map[kv.Key]uint32 // of keys, in order of first insert
	keys    []kv.Key          // by number
	heads   []head            // by number
	chunks  [][]entry
	count   uint32
	arena   [][]byte
	bytes   int64
	ordered *btree.BTreeG[kv.Key] // nil before it is asked for
	indexed int                   // keys[:indexed] are in ordered
}

// New makes an empty table for versions above lo.
func New(lo wal.LSN) *Table {
	return &Table{
		lo:    lo,
		count: 1,
	}
}

// Lo is the LSN that all versions lie above.
func (t *Table) Lo() wal.LSN { return t.lo }

// Bytes is the memory taken, nearly.
func (t *Table) Bytes() int64 {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.bytes
}

// Len is the number of versions.
func (t *Table) Len() int {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return int(t.count - 1)
}

// Insert adds versions, copying their values. Per key, LSNs must ascend.
func (t *Table) Insert(versions []kv.Version) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := range versions {
		t.insert(&versions[i])
	}
}

func (t *Table) insert(v *kv.Version) {
	if v.LSN <= t.lo || !v.Kind.Valid() || len(v.Value) > kv.ValueBytesMax {
		assert.Failf("version %v of %v has an LSN above %v, a valid kind %v and a size %d within bounds",
			v.LSN, v.Key, t.lo, v.Kind, len(v.Value))
	}
	e := entry{lsn: v.LSN, kind: v.Kind, size: uint32(len(v.Value))}
	if t.numbers == nil {
		// The table of an idle timeline takes next to nothing.
		t.numbers, t.chunks = make(map[kv.Key]uint32), [][]entry{make([]entry, 1, 8)}
	}
	number, known := t.numbers[v.Key]
	if known {
		older := &t.heads[number]
		if older.lsn >= v.LSN {
			assert.Failf("versions of %v ascend: %v comes after %v", v.Key, v.LSN, older.lsn)
		}
		e.prev, e.depth, e.jump = older.entry, older.depth+1, older.eighth
		if e.depth%jumpEvery == 0 {
			e.jump = t.jumpFrom(older.eighth)
		}
	} else {
		number = uint32(len(t.keys))
		t.numbers[v.Key] = number
		t.keys = append(t.keys, v.Key)
		t.heads = append(t.heads, head{})
		t.bytes += keyBytes
	}
	e.key = number
	e.chunk, e.off = t.store(v.Value)
	h := &t.heads[number]
	h.entry, h.depth, h.lsn = t.push(e), e.depth, e.lsn
	if e.depth%jumpEvery == 0 {
		h.eighth = h.entry
	}
	t.bytes += entryBytes + int64(len(v.Value))
}

// newest returns the key's newest entry, or none.
func (t *Table) newest(key kv.Key) uint32 {
	if number, known := t.numbers[key]; known {
		return t.heads[number].entry
	}
	return none
}

// jumpFrom picks the jump link of a new eighth entry, the one before being i: if the last
// two jumps from i covered equal distances, one jump covers both.
func (t *Table) jumpFrom(i uint32) uint32 {
	e := t.entry(i)
	if e.jump == none {
		return i
	}
	j := t.entry(e.jump)
	if j.jump == none || e.depth-j.depth != j.depth-t.entry(j.jump).depth {
		return i
	}
	return j.jump
}

func (t *Table) entry(i uint32) *entry {
	return &t.chunks[i/entriesPerChunk][i%entriesPerChunk]
}

func (t *Table) push(e entry) uint32 {
	i := t.count
	assert.That(i != ^uint32(0), "a table holds fewer than 2^32 versions")
	last := len(t.chunks) - 1
	if len(t.chunks[last]) == entriesPerChunk {
		t.chunks = append(t.chunks, make([]entry, 0, entriesPerChunk))
		last++
	}
	t.chunks[last] = append(t.chunks[last], e)
	t.count++
	return i
}

func (t *Table) store(value []byte) (chunk, off uint32) {
	if len(value) == 0 {
		return 0, 0
	}
	last := len(t.arena) - 1
	if last < 0 || cap(t.arena[last])-len(t.arena[last]) < len(value) {
		t.arena = append(t.arena, make([]byte, 0, max(min(arenaFirstBytes<<min(len(t.arena), 20), arenaChunkBytes), len(value))))
		last++
	}
	off = uint32(len(t.arena[last]))
	t.arena[last] = append(t.arena[last], value...)
	return uint32(last), off
}

func (t *Table) value(e *entry) []byte {
	if e.size == 0 {
		return nil
	}
	end := e.off + e.size
	return t.arena[e.chunk][e.off:end:end]
}

// Walk appends to dst the versions of key with LSN in (floor, ceil], newest
// first, down to the first that is no delta. done reports whether there was one.
// The values are the table's own.
func (t *Table) Walk(key kv.Key, ceil, floor wal.LSN, dst []kv.Version) (_ []kv.Version, done bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	for i, _ := t.newestAt(t.newest(key), ceil); i != none; {
		e := t.entry(i)
		if e.lsn <= floor {
			break
		}
		dst = append(dst, kv.Version{Key: key, LSN: e.lsn, Kind: e.kind, Value: t.value(e)})
		if e.kind != kv.Delta {
			return dst, true
		}
		i = e.prev
	}
	return dst, false
}

// newestAt returns the newest entry at or behind i whose LSN is at or below ceil,
// and how many entries it went past.
func (t *Table) newestAt(i uint32, ceil wal.LSN) (_ uint32, steps int) {
	for i != none {
		e := t.entry(i)
		if e.lsn <= ceil {
			return i, steps
		}
		if e.jump != none && t.entry(e.jump).lsn > ceil {
			i = e.jump
		} else {
			i = e.prev
		}
		steps++
	}
	return none, steps
}

// NextKeys appends to dst, in order, the keys in [lo, hi], at most limit of them.
func (t *Table) NextKeys(lo, hi kv.Key, limit int, dst []kv.Key) []kv.Key {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.keys) == 0 {
		return dst
	}
	t.order()
	taken := 0
	t.ordered.AscendGreaterOrEqual(lo, func(key kv.Key) bool {
		if taken == limit || hi.Less(key) {
			return false
		}
		dst = append(dst, key)
		taken++
		return true
	})
	return dst
}

// order puts the keys that are new into the tree. The caller holds t.mu, which others get
// now and then meanwhile: the first scan of a large table has some hundred thousand keys.
func (t *Table) order() {
	if t.ordered == nil {
		t.ordered = btree.NewG(btreeDegree, kv.Key.Less)
	}
	for {
		end := min(t.indexed+orderedAtOnce, len(t.keys))
		for _, key := range t.keys[t.indexed:end] {
			t.ordered.ReplaceOrInsert(key)
		}
		if t.indexed = end; end == len(t.keys) {
			return
		}
		t.mu.Unlock()
		t.mu.Lock()
	}
}

// place is where a version's value is, with what else its entry says: so much, that
// what is written in order need not look at entries, which lie in the order of time.
type place struct {
	lsn   wal.LSN
	chunk uint32
	off   uint32
	size  uint32
	kind  kv.Kind
}

// fetchAhead is how many values are loaded into the processor's cache at a time, about
// what a block of a layer holds. Fewer: less of their loading overlaps. Many more: the
// first ones have left the cache when they are visited.
const fetchAhead = 64

// fetch loads values that are visited next. They lie in the order of time, so that
// nearly each is a cache miss; where nothing else is done, the processor waits for many
// of them at once, and not for one after the other.
func (t *Table) fetch(places []place) {
	const line = 64
	loaded := byte(0)
	for i := range places {
		p := &places[i]
		if p.size == 0 {
			continue
		}
		value := t.arena[p.chunk][p.off : p.off+p.size]
		for at := 0; at < min(len(value), 4*line); at += line {
			loaded ^= value[at]
		}
		loaded ^= value[len(value)-1]
	}
	runtime.KeepAlive(loaded)
}

// sortKey is a key in the words that order it, and its number.
type sortKey struct {
	first, second uint64
	number        uint32
	third         uint16
}

// sorted is the keys in order. They are sorted as words, side by side: to sort their
// numbers means to look for both keys at each comparison.
func (t *Table) sorted() []sortKey {
	order := make([]sortKey, len(t.keys))
	be := binary.BigEndian
	for i := range order {
		k := &t.keys[i]
		order[i] = sortKey{be.Uint64(k[0:]), be.Uint64(k[8:]), uint32(i), be.Uint16(k[16:])}
	}
	slices.SortFunc(order, func(a, b sortKey) int {
		switch {
		case a.first != b.first:
			return cmp.Compare(a.first, b.first)
		case a.second != b.second:
			return cmp.Compare(a.second, b.second)
		}
		return cmp.Compare(a.third, b.third)
	})
	return order
}

// All visits all versions in order of key, then LSN. Their values are the table's own.
// No insert may come meanwhile.
//
// It is a counting sort: keys are sorted, and entries, which per key are in order, are
// dealt out to them in one pass. Walking each key's links took a cache miss for every
// version, each waiting for the one before.
func (t *Table) All(visit func(v *kv.Version)) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	order := t.sorted()
	next := make([]uint32, len(t.keys)) // by number: where the key's next version goes
	at := uint32(0)
	for i := range order {
		number := order[i].number
		next[number] = at
		at += t.heads[number].depth + 1
	}
	places := make([]place, t.count-1)
	for i, chunk := range t.chunks {
		if i == 0 {
			chunk = chunk[1:] // Entry 0 is never used.
		}
		for k := range chunk {
			e := &chunk[k]
			places[next[e.key]] = place{e.lsn, e.chunk, e.off, e.size, e.kind}
			next[e.key]++
		}
	}
	at = 0
	for i := range order {
		number := order[i].number
		v := kv.Version{Key: t.keys[number]}
		for ; at < next[number]; at++ {
			if at%fetchAhead == 0 {
				t.fetch(places[at:min(at+fetchAhead, uint32(len(places)))])
			}
			p := &places[at]
			v.LSN, v.Kind, v.Value = p.lsn, p.kind, nil
			if p.size > 0 {
				end := p.off + p.size
				v.Value = t.arena[p.chunk][p.off:end:end]
			}
			visit(&v)
		}
	}
}
