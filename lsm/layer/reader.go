package layer

import (
	"context"
	"fmt"
	"sync/atomic"

	"github.com/varvedb/varve/lsm/kv"
	"github.com/varvedb/varve/wal"
)

// chainReadBlocks bounds the blocks that one read of a long chain fetches beyond
// its newest: 128 KiB of 16 KiB blocks, about where a request's cost is its bytes.
const chainReadBlocks = 8

// Source reads a layer file by range.
type Source interface {
	// ReadRange returns size bytes from offset off, to which sound does not
	// object. A source that keeps copies of the file goes to the original when
	// sound objects to a copy; it returns sound's error of the original.
	// The bytes are the caller's to keep.
	ReadRange(ctx context.Context, off int64, size int, sound func([]byte) error) ([]byte, error)
}

// Reader reads one layer file. It holds no block itself: all are in caches. It
// is safe for use by many tasks. Make it with [NewReader].
type Reader struct {
	desc  Desc
	name  string
	seed  uint32
	src   Source
	cache *Cache // of data blocks
	tails *Cache // of indexes and filters
	id    uint64

	walked atomic.Int64
}

// Walked counts the bytes of deltas that reads took from the layer.
func (r *Reader) Walked() int64 { return r.walked.Load() }

// NoteWalked counts bytes of deltas that a read took from the layer.
func (r *Reader) NoteWalked(bytes int64) { r.walked.Add(bytes) }

// NewReader makes a reader of the file that desc describes; name names it in
// errors. Data blocks are kept in cache, index and filter in tails. It reads nothing.
func NewReader(desc Desc, name string, src Source, cache, tails *Cache) *Reader {
	return &Reader{desc: desc, name: name, seed: desc.seed(), src: src, cache: cache, tails: tails, id: cache.register()}
}

// Desc describes the layer.
func (r *Reader) Desc() *Desc { return &r.desc }

// Walk appends to dst the versions of key with LSN in (floor, ceil], newest
// first, down to the first that is no delta. done reports whether nothing older
// can matter: there was such a version, or the layer is an image layer.
func (r *Reader) Walk(ctx context.Context, key kv.Key, ceil, floor wal.LSN, dst []kv.Version) (_ []kv.Version, done bool, err error) {
	index, filter, err := r.tail(ctx)
	if err != nil {
		return dst, false, err
	}
	done = r.desc.Kind == Image
	if !filter.mayHave(key.Hash()) {
		return dst, done, nil
	}
	// loaded holds the blocks i-len(loaded)+1 to i.
	var loaded []dataBlock
	for i := index.find(key, ceil); i >= 0; i-- {
		var block dataBlock
		if len(loaded) == 0 {
			block = r.cached(index, i)
		}
		if block == nil && len(loaded) == 0 {
			first := i
			if i+1 < index.len() && index.key(i+1) == key && index.since(i+1) <= ceil {
				first = chainStart(index, key, i)
			}
			if loaded, err = r.fetch(ctx, index, first, i); err != nil {
				return dst, false, err
			}
		}
		if block == nil {
			block = loaded[len(loaded)-1]
			loaded = loaded[:len(loaded)-1]
		}
		var whole, found bool
		if dst, whole, found = block.walk(key, ceil, floor, dst); whole {
			return dst, done || found, nil
		}
		if index.since(i) == 0 && index.key(i) == key {
			break
		}
	}
	return dst, done, nil
}

// chainStart is the number of the block from which a chain that goes on in block
// i is fetched at once.
func chainStart(index indexBlock, key kv.Key, i int) int {
	first := i
	for first > 0 && i-first+1 < chainReadBlocks && index.key(first) == key {
		first--
	}
	return first
}

// NextKeys appends to dst the keys in [lo, hi], in order, at most limit of them.
func (r *Reader) NextKeys(ctx context.Context, lo, hi kv.Key, limit int, dst []kv.Key) ([]kv.Key, error) {
	index, _, err := r.tail(ctx)
	if err != nil {
		return dst, err
	}
	for i, more := max(index.find(lo, 0), 0), true; more && i < index.len() && limit > 0; {
		block := r.cached(index, i)
		if block == nil {
			blocks, err := r.fetch(ctx, index, i, i)
			if err != nil {
				return dst, err
			}
			block = blocks[0]
		}
		c := block.columns()
		for k, _ := c.from(&lo); k < c.keys && limit > 0 && more; k++ {
			key := c.key(k)
			if hi.Less(key) {
				return dst, nil
			}
			dst = append(dst, key)
			limit--
			lo, more = key.Next()
		}
		// Blocks that hold only older keys are skipped, not read.
		i = max(index.find(lo, 0), i+1)
	}
	return dst, nil
}

// Skips reports whether what is in memory of the layer suffices to know that it has
// no version of key.
func (r *Reader) Skips(key kv.Key) bool {
	cached := r.tails.get(blockKey{r.id, r.filterOffset()})
	return cached != nil && !keyFilter(cached).mayHave(key.Hash())
}

func (r *Reader) filterOffset() int64 { return r.desc.IndexOffset - int64(r.desc.FilterSize) }

// tail returns the index and the filter, which lie side by side.
func (r *Reader) tail(ctx context.Context) (indexBlock, keyFilter, error) {
	index := r.tails.get(blockKey{r.id, r.desc.IndexOffset})
	filter := r.tails.get(blockKey{r.id, r.filterOffset()})
	if index != nil && filter != nil {
		return viewIndex(index, r.desc.LSNLo, r.filterOffset()), keyFilter(filter), nil
	}
	return r.readTail(ctx)
}

func (r *Reader) readTail(ctx context.Context) (indexBlock, keyFilter, error) {
	begin, split := r.filterOffset(), int(r.desc.FilterSize)
	data, err := r.src.ReadRange(ctx, begin, split+int(r.desc.IndexSize), func(data []byte) error {
		if err := checkBlock(r.name, r.seed, begin, data[:split], typeFilter); err != nil {
			return err
		}
		return checkBlock(r.name, r.seed, r.desc.IndexOffset, data[split:], typeIndex)
	})
	if err != nil {
		return indexBlock{}, nil, fmt.Errorf("read index of layer: %w", err)
	}
	rawFilter, err := decodePayload(r.name, begin, data[:split])
	if err != nil {
		return indexBlock{}, nil, err
	}
	filter, err := parseFilter(r.name, begin, rawFilter)
	if err != nil {
		return indexBlock{}, nil, err
	}
	rawIndex, err := decodePayload(r.name, r.desc.IndexOffset, data[split:])
	if err != nil {
		return indexBlock{}, nil, err
	}
	index, err := parseIndexBlock(r.name, r.desc.IndexOffset, begin, r.desc.LSNLo, rawIndex)
	if err != nil {
		return indexBlock{}, nil, err
	}
	r.tails.put(blockKey{r.id, begin}, rawFilter)
	r.tails.put(blockKey{r.id, r.desc.IndexOffset}, rawIndex)
	return index, filter, nil
}

// cached returns a data block if it is in memory, else nil.
func (r *Reader) cached(index indexBlock, i int) dataBlock {
	off, _ := index.place(i)
	return dataBlock(r.cache.get(blockKey{r.id, off}))
}

// fetch reads the data blocks first to last at once, and keeps them in the cache. With an
// error come those before the one that is wrong.
func (r *Reader) fetch(ctx context.Context, index indexBlock, first, last int) ([]dataBlock, error) {
	run, err := r.read(ctx, index, first, last)
	if err != nil {
		return nil, err
	}
	blocks, err := r.decode(&run, first, last, nil)
	for i, block := range blocks {
		off, _ := index.place(first + i)
		r.cache.put(blockKey{r.id, off}, block)
	}
	return blocks, err
}

// blockRun is neighbouring data blocks as they are stored.
type blockRun struct {
	index       indexBlock
	first, last int
	data        []byte // nil if there are none
}

// end is the block after the last, 0 if there are none.
func (b *blockRun) end() int {
	if b.data == nil {
		return 0
	}
	return b.last + 1
}

// block is block i and its offset in the file.
func (b *blockRun) block(i int) (off int64, block []byte) {
	begin, _ := b.index.place(b.first)
	off, size := b.index.place(i)
	return off, b.data[off-begin:][:size]
}

// read reads the data blocks first to last at once. They pass checkBlock.
func (r *Reader) read(ctx context.Context, index indexBlock, first, last int) (blockRun, error) {
	begin, _ := index.place(first)
	end, size := index.place(last)
	end += int64(size)
	run := blockRun{index: index, first: first, last: last}
	data, err := r.src.ReadRange(ctx, begin, int(end-begin), func(data []byte) error {
		run.data = data
		for i := first; i <= last; i++ {
			off, block := run.block(i)
			if err := checkBlock(r.name, r.seed, off, block, typeData); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return blockRun{}, fmt.Errorf("read layer: %w", err)
	}
	run.data = data
	return run, nil
}

// decode decodes the blocks first to last of a run. They lie in memory, which is as large as
// all of them, or each in memory of its own if that is nil. With an error come those before
// the one that is wrong.
func (r *Reader) decode(run *blockRun, first, last int, memory []byte) ([]dataBlock, error) {
	blocks := make([]dataBlock, 0, last-first+1)
	for i := first; i <= last; i++ {
		var raw []byte
		var err error
		off, block := run.block(i)
		switch size := decodedSize(block); {
		case memory != nil:
			raw, memory = memory[:size:size], memory[size:]
			err = decodeInto(raw, r.name, off, block)
		case run.first == run.last && block[13] == codecNone:
			raw = block[blockHeader:] // all that was read: it need not be copied
		default:
			raw, err = decodePayload(r.name, off, block)
		}
		if err != nil {
			return blocks, err
		}
		parsed, err := parseDataBlock(r.name, off, raw)
		if err != nil {
			return blocks, err
		}
		blocks = append(blocks, parsed)
	}
	return blocks, nil
}
