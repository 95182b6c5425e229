package layer

import (
	"github.com/varvedb/varve/lsm/kv"
	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/assert"
)

// Builder makes a layer file in memory from versions in order. Make it with
// [NewBuilder].
type Builder struct {
	id         ID // key range unknown until Finish
	blockBytes int

	file    []byte
	open    blockBuilder
	payload []byte // of the block that is closed
	blocks  []blockPlace
	hashes  []uint64 // of keys
	last    kv.Key
	lastLSN wal.LSN
	count   int64
	poor    int // data blocks in a row, up to the last, that did not compress
}

// After poorBlocks that did not compress, only one block in poorEvery is tried: what lies
// side by side is alike, and trying in vain takes longer than all else that is done to a
// block. More tries: more of that; fewer: more blocks are stored as they are when
// compressible ones begin.
const (
	poorBlocks = 16
	poorEvery  = 8
)

const hashBytes = 8

// NewBuilder starts a layer. The key range in id is ignored: it becomes that of
// what is added. blockBytes is the size at which a block is closed, at most BlockBytesMax.
func NewBuilder(id ID, blockBytes int) *Builder {
	return &Builder{id: id, blockBytes: blockBytes, file: make([]byte, headerSize)}
}

// Reserve makes room for a file of so many bytes, so that it is not copied as it grows.
func (b *Builder) Reserve(bytes int64) {
	if room := int64(cap(b.file) - len(b.file)); room < bytes {
		b.file = append(make([]byte, 0, int64(len(b.file))+bytes), b.file...)
	}
}

// Add appends a version, which must lie above the last by (key, LSN) and inside
// the layer's LSN range.
func (b *Builder) Add(v *kv.Version) {
	order := 0 // of the key, after the last one
	if b.count == 0 {
		order = 1
	} else if !v.Key.Is(&b.last) {
		order = v.Key.Compare(b.last)
	}
	b.check(v, order)
	if b.open.len() > 0 && b.open.bytesWith(v) > b.blockBytes {
		b.closeBlock()
	}
	if b.open.len() == 0 {
		b.openBlock(v, order)
	}
	if b.count == 0 {
		b.id.KeyLo = v.Key
	}
	if order > 0 {
		b.hashes = append(b.hashes, v.Key.Hash())
	}
	b.open.add(v, order > 0)
	b.count++
	b.last, b.lastLSN = v.Key, v.LSN
}

func (b *Builder) check(v *kv.Version, order int) {
	inOrder := order > 0 || order == 0 && v.LSN > b.lastLSN
	ok := v.LSN > b.id.LSNLo && v.LSN <= b.id.LSNHi && v.Kind.Valid()
	if b.id.Kind == Image {
		inOrder = order > 0
		ok = v.LSN <= b.id.LSNHi && v.Kind == kv.Image
	}
	if !inOrder || !ok || len(v.Value) > kv.ValueBytesMax {
		assert.Failf("%v of %v at %v with %d bytes follows %v at %v in %v layer %v..%v",
			v.Kind, v.Key, v.LSN, len(v.Value), b.last, b.lastLSN, b.id.Kind, b.id.LSNLo, b.id.LSNHi)
	}
}

// Count is the number of versions added.
func (b *Builder) Count() int64 { return b.count }

// Size is what the file has grown to, in bytes, with what is kept of each key until it is
// finished: many small versions take more of that than of the file. The open block is not
// counted.
func (b *Builder) Size() int64 { return int64(len(b.file)) + hashBytes*int64(len(b.hashes)) }

func (b *Builder) openBlock(first *kv.Version, order int) {
	place := blockPlace{key: first.Key, off: int64(len(b.file))}
	if order == 0 {
		place.since = first.LSN
	}
	b.blocks = append(b.blocks, place)
}

func (b *Builder) closeBlock() {
	b.payload = b.open.appendTo(b.payload[:0])
	b.open.reset()
	begin, compress := len(b.file), b.poor < poorBlocks || b.poor%poorEvery == 0
	b.file = appendBlock(b.file, typeData, b.payload, compress)
	if b.poor++; b.file[begin+13] != codecNone {
		b.poor = 0
	}
}

// Finish returns the file. At least one version must have been added.
func (b *Builder) Finish() (Desc, []byte) {
	assert.That(b.count > 0, "a layer holds at least one version")
	b.closeBlock()
	b.id.KeyHi = b.last
	invalid := b.id.Validate()
	assert.That(invalid == nil, "a finished layer's identity is possible: %v", invalid)
	filterOffset := int64(len(b.file))
	b.file = appendBlock(b.file, typeFilter, appendFilter(nil, b.hashes), false) // its bits are as good as random
	indexOffset := int64(len(b.file))
	b.file = appendBlock(b.file, typeIndex, appendIndex(nil, b.blocks, b.id.LSNLo), true)
	f := footer{
		indexOffset: indexOffset,
		indexSize:   int32(int64(len(b.file)) - indexOffset),
		filterSize:  int32(indexOffset - filterOffset),
		blocks:      len(b.blocks),
		versions:    b.count,
		keys:        int64(len(b.hashes)),
	}
	b.seal(filterOffset, indexOffset)
	b.file = f.appendTo(b.file, b.id.seed(), int64(len(b.file)))
	return Desc{
		ID:          b.id,
		Size:        int64(len(b.file)),
		CRC:         Checksum(b.file),
		IndexOffset: indexOffset,
		IndexSize:   f.indexSize,
		FilterSize:  f.filterSize,
		Versions:    b.count,
		Keys:        f.keys,
	}, b.file
}

// seal writes what could not be known before the last key: the header, and the
// checksums that begin with it.
func (b *Builder) seal(filterOffset, indexOffset int64) {
	b.id.AppendTo(b.file[:0])
	seed := b.id.seed()
	for i := range b.blocks {
		off, end := b.blocks[i].off, filterOffset
		if i+1 < len(b.blocks) {
			end = b.blocks[i+1].off
		}
		sealBlock(b.file[off:end], seed, off)
	}
	sealBlock(b.file[filterOffset:indexOffset], seed, filterOffset)
	sealBlock(b.file[indexOffset:], seed, indexOffset)
}
