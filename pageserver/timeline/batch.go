package timeline

import (
	"github.com/varvedb/varve/lsm"
	"github.com/varvedb/varve/pageserver/pgkey"
	"github.com/varvedb/varve/pageserver/redo"
	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/pgwal"
)

const (
	// batchBytesMax is the size at which a batch of versions goes to the store. Smaller:
	// the store's lock is taken more often. Larger: what was gathered has left the
	// processor's cache when the store copies it.
	batchBytesMax = 256 << 10

	// roomFirstBytes is what the room for values begins with. It doubles up to roomBytesMax,
	// so that a timeline that takes in little keeps little.
	roomFirstBytes = 4 << 10

	// roomBytesMax is the size of a batch, and of what the record may bring that fills it.
	// Without that each batch would end in a room of its own.
	roomBytesMax = batchBytesMax + 64<<10

	// roomKeptBytes bounds the room that is kept for the next batch. Smaller than a batch:
	// it is made anew each time. Larger: one great value costs its bytes for ever.
	roomKeptBytes = 1 << 20

	// lookedThrough versions of one record are looked through for a key; nearly all records
	// have fewer than ten. Those that have more, which may be thousands, get a map.
	lookedThrough = 32
)

// batch gathers the versions of records on their way to the store.
type batch struct {
	versions []lsm.Version
	bytes    int // of values
	lsn      wal.LSN
	first    int             // index of the current record's first version
	index    map[lsm.Key]int // the current record's versions, if they are more than lookedThrough
	room     []byte          // holds values that were made or copied here
}

func newBatch() *batch { return &batch{index: map[lsm.Key]int{}} }

// begin starts a record: its versions have its end as LSN.
func (b *batch) begin(lsn wal.LSN) {
	b.lsn, b.first = lsn, len(b.versions)
	b.forgetIndex()
}

// abandon forgets the current record.
func (b *batch) abandon() {
	b.versions = b.versions[:b.first]
	b.forgetIndex()
}

func (b *batch) reset() {
	clear(b.versions)
	b.versions, b.bytes, b.first = b.versions[:0], 0, 0
	b.room = b.room[:0]
	if cap(b.room) > roomKeptBytes {
		b.room = nil
	}
	b.forgetIndex()
}

func (b *batch) forgetIndex() {
	if len(b.index) > 0 {
		clear(b.index)
	}
}

// find returns where the current record's version of key is.
func (b *batch) find(key lsm.Key) (i int, ok bool) {
	if len(b.index) > 0 {
		i, ok = b.index[key]
		return i, ok
	}
	for i := b.first; i < len(b.versions); i++ {
		if b.versions[i].Key == key {
			return i, true
		}
	}
	return 0, false
}

// add appends a version of a key that the current record has none of.
func (b *batch) add(version lsm.Version) {
	b.versions = append(b.versions, version)
	switch n := len(b.versions) - b.first; {
	case len(b.index) > 0:
		b.index[version.Key] = len(b.versions) - 1
	case n > lookedThrough:
		for i := b.first; i < len(b.versions); i++ {
			b.index[b.versions[i].Key] = i
		}
	}
}

// space returns size bytes, of any content, that last until the batch is reset.
func (b *batch) space(size int) []byte {
	begin := len(b.room)
	if cap(b.room)-begin < size {
		// What is in the old room stays where it is until the versions are gone.
		b.room, begin = make([]byte, 0, max(roomFirstBytes, min(2*cap(b.room), roomBytesMax), size)), 0
	}
	b.room = b.room[:begin+size]
	return b.room[begin : begin+size : begin+size]
}

// copied returns a copy of value that lasts until the batch is reset.
func (b *batch) copied(value []byte) []byte {
	space := b.space(len(value))
	copy(space, value)
	return space
}

// newPage returns a page of zeros that lasts until the batch is reset.
func (b *batch) newPage() []byte {
	page := b.space(pgwal.PageSize)
	clear(page)
	return page
}

// image makes value, which lasts as long as the batch, the key's value.
func (b *batch) image(key lsm.Key, value []byte) { b.set(key, lsm.Image, value) }

// imageOf makes a copy of value the key's value.
func (b *batch) imageOf(key lsm.Key, value []byte) { b.set(key, lsm.Image, b.copied(value)) }

// tombstone ends the key.
func (b *batch) tombstone(key lsm.Key) { b.set(key, lsm.Tombstone, nil) }

func (b *batch) set(key lsm.Key, kind lsm.Kind, value []byte) {
	b.bytes += len(value)
	version := lsm.Version{Key: key, LSN: b.lsn, Kind: kind, Value: value}
	if i, ok := b.find(key); ok {
		b.versions[i] = version
		return
	}
	b.add(version)
}

// delta adds an operation of package redo to what the record does to a page or
// value. The operation's bytes are copied.
func (b *batch) delta(key lsm.Key, operation []byte) error {
	i, ok := b.find(key)
	if !ok {
		b.bytes += len(operation)
		b.add(lsm.Version{Key: key, LSN: b.lsn, Kind: lsm.Delta, Value: b.copied(operation)})
		return nil
	}
	v := &b.versions[i]
	if v.Kind == lsm.Delta {
		b.bytes += len(operation)
		v.Value = append(v.Value, operation...)
		return nil
	}
	// The same record has already said what the whole page is.
	if v.Kind == lsm.Tombstone {
		v.Kind, v.Value = lsm.Image, b.newPage()
	}
	parsed, err := pgkey.ParseKey(key)
	if err != nil {
		return err
	}
	v.Value, err = redo.Change(v.Value, parsed, b.lsn, operation)
	return err
}
