package timeline

import (
	"github.com/varvedb/varve/lsm"
	"github.com/varvedb/varve/pageserver/pgkey"
	"github.com/varvedb/varve/pageserver/redo"
	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/pgwal"
)

// batchBytesMax is the size at which a batch of versions goes to the store. Smaller:
// the store's lock is taken more often. Larger: more memory, and pages of long
// stretches of log appear late.
const batchBytesMax = 4 << 20

// batch gathers the versions of records on their way to the store.
type batch struct {
	versions []lsm.Version
	bytes    int // of values
	lsn      wal.LSN
	first    int             // index of the current record's first version
	index    map[lsm.Key]int // the current record's versions
}

func newBatch() *batch { return &batch{index: map[lsm.Key]int{}} }

// begin starts a record: its versions have its end as LSN.
func (b *batch) begin(lsn wal.LSN) {
	b.lsn, b.first = lsn, len(b.versions)
	clear(b.index)
}

// abandon forgets the current record.
func (b *batch) abandon() {
	b.versions = b.versions[:b.first]
	clear(b.index)
}

func (b *batch) reset() {
	clear(b.versions)
	b.versions, b.bytes, b.first = b.versions[:0], 0, 0
	clear(b.index)
}

// image makes value, which the batch keeps, the key's value.
func (b *batch) image(key lsm.Key, value []byte) { b.set(key, lsm.Image, value) }

// tombstone ends the key.
func (b *batch) tombstone(key lsm.Key) { b.set(key, lsm.Tombstone, nil) }

func (b *batch) set(key lsm.Key, kind lsm.Kind, value []byte) {
	b.bytes += len(value)
	version := lsm.Version{Key: key, LSN: b.lsn, Kind: kind, Value: value}
	if i, ok := b.index[key]; ok {
		b.versions[i] = version
		return
	}
	b.index[key] = len(b.versions)
	b.versions = append(b.versions, version)
}

// delta adds an operation of package redo to what the record does to a page or
// value. The operation's bytes are copied.
func (b *batch) delta(key lsm.Key, operation []byte) error {
	i, ok := b.index[key]
	if !ok {
		b.set(key, lsm.Delta, append([]byte(nil), operation...))
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
		v.Kind, v.Value = lsm.Image, make([]byte, pgwal.PageSize)
	}
	parsed, err := pgkey.ParseKey(key)
	if err != nil {
		return err
	}
	v.Value, err = redo.Change(v.Value, parsed, b.lsn, operation)
	return err
}
