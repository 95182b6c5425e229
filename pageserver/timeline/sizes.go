package timeline

import (
	"context"
	"sync"

	"github.com/varvedb/varve/lsm"
	"github.com/varvedb/varve/pageserver/pgkey"
	"github.com/varvedb/varve/pageserver/redo"
	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/pgwal"
)

// sizesMax bounds the forks whose size is kept in memory while ingesting, some 60
// bytes each. When there are more, all are forgotten and read again from the store.
const sizesMax = 1 << 16

type forkID struct {
	rel  pgwal.RelFileNode
	fork pgwal.Fork
}

type forkSize struct {
	exists bool
	pgkey.SizeValue
}

// sizeCache holds the sizes of forks as of the last record taken in. Records name few
// forks again and again: those are found without the map.
type sizeCache struct {
	all    map[forkID]forkSize
	recent [recentSizes]recentSize
}

// recentSizes is a power of two: more forks than most transactions touch.
const recentSizes = 32

type recentSize struct {
	known bool
	id    forkID
	size  forkSize
}

func newSizeCache() *sizeCache { return &sizeCache{all: map[forkID]forkSize{}} }

// place is the only one in recent where the fork may be.
func (c *sizeCache) place(id *forkID) *recentSize {
	return &c.recent[(id.rel.Rel^uint32(id.fork)<<3)%recentSizes]
}

func (c *sizeCache) get(id forkID) (forkSize, bool) {
	r := c.place(&id)
	if r.known && r.id == id {
		return r.size, true
	}
	size, ok := c.all[id]
	if ok {
		*r = recentSize{true, id, size}
	}
	return size, ok
}

func (c *sizeCache) set(id forkID, size forkSize) {
	c.all[id] = size
	*c.place(&id) = recentSize{true, id, size}
}

func (c *sizeCache) len() int { return len(c.all) }

func (c *sizeCache) clear() {
	clear(c.all)
	c.recent = [recentSizes]recentSize{}
}

// knownSizes are sizes that were read, each with two LSNs between which the fork had it.
// What the log says of the past never changes, so neither does this, whatever is taken in,
// merged or collected: whether that history may still be read is for others to check. Pages
// are read a relation at a time, mostly at one LSN.
type knownSizes struct {
	mu    sync.Mutex
	slots []knownSize // nil until something is read
}

// knownSlots is a power of two: 4 KiB for a timeline that is read.
const knownSlots = 64

type knownSize struct {
	known    bool
	id       forkID
	from, to wal.LSN
	size     pgkey.SizeValue
}

func (k *knownSizes) slot(id *forkID) *knownSize {
	return &k.slots[(id.rel.Rel^uint32(id.fork)<<4)%knownSlots]
}

// at returns the size as of lsn if it is known.
func (k *knownSizes) at(id *forkID, lsn wal.LSN) (size pgkey.SizeValue, ok bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.slots == nil {
		return size, false
	}
	s := k.slot(id)
	if !s.known || s.id != *id || lsn < s.from || lsn > s.to {
		return size, false
	}
	return s.size, true
}

// note keeps that the size was set at from and still was so at to.
func (k *knownSizes) note(id *forkID, from, to wal.LSN, size pgkey.SizeValue) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.slots == nil {
		k.slots = make([]knownSize, knownSlots)
	}
	s := k.slot(id)
	if s.known && s.id == *id && s.from == from {
		to = max(to, s.to)
	}
	*s = knownSize{true, *id, from, to, size}
}

// size returns a fork's size as of the record before the current one, or as the
// current one has already changed it.
func (t *Timeline) size(ctx context.Context, id forkID) (forkSize, error) {
	if size, ok := t.sizes.get(id); ok {
		return size, nil
	}
	// The store is right: sizes in the unsent batch are all in the cache, which is
	// only emptied when the batch is empty too.
	value, exists, err := t.sizeAt(ctx, id, t.store.LastLSN())
	if err != nil {
		return forkSize{}, err
	}
	size := forkSize{exists: exists, SizeValue: value}
	t.sizes.set(id, size)
	return size, nil
}

func (t *Timeline) setSize(id forkID, size forkSize) {
	t.sizes.set(id, size)
	key := pgkey.Size(id.rel, id.fork)
	if !size.exists {
		t.batch.tombstone(key)
		return
	}
	var value [pgkey.SizeBytes]byte
	t.batch.imageOf(key, size.AppendTo(value[:0]))
}

// since is the Since of a fork that begins with the current record.
func (t *Timeline) since() wal.LSN { return t.batch.lsn - 1 }

// create makes an empty fork unless it exists.
func (t *Timeline) create(ctx context.Context, id forkID) error {
	size, err := t.size(ctx, id)
	if err != nil || size.exists {
		return err
	}
	t.setSize(id, forkSize{exists: true, SizeValue: pgkey.SizeValue{Since: t.since()}})
	return nil
}

// touch makes the fork exist and hold the block.
func (t *Timeline) touch(ctx context.Context, id forkID, block uint32) error {
	size, err := t.size(ctx, id)
	if err != nil || size.exists && block < size.Blocks {
		return err
	}
	if !size.exists {
		size = forkSize{exists: true, SizeValue: pgkey.SizeValue{Since: t.since()}}
	}
	size.Blocks = block + 1
	t.setSize(id, size)
	return nil
}

// drop ends a fork if it exists.
func (t *Timeline) drop(ctx context.Context, id forkID) error {
	size, err := t.size(ctx, id)
	if err != nil || !size.exists {
		return err
	}
	t.setSize(id, forkSize{})
	return nil
}

// dropRelation ends all forks of a relation.
func (t *Timeline) dropRelation(ctx context.Context, rel pgwal.RelFileNode) error {
	for _, fork := range storedForks {
		if err := t.drop(ctx, forkID{rel, fork}); err != nil {
			return err
		}
	}
	return nil
}

var storedForks = []pgwal.Fork{pgwal.MainFork, pgwal.VMFork, pgwal.InitFork}

// truncate shortens a fork to blocks if it is longer. Cut pages get tombstones, so
// that they are pages of zeros when the fork grows again; one for each page, which
// somebody wrote before. Cut to nothing, Since does it for all at once.
func (t *Timeline) truncate(ctx context.Context, id forkID, blocks uint32) error {
	size, err := t.size(ctx, id)
	if err != nil || !size.exists || size.Blocks <= blocks {
		return err
	}
	if blocks == 0 {
		size.Since = t.since()
	} else if err := t.many(ctx, pgkey.Block(id.rel, id.fork, blocks), uint64(size.Blocks-blocks), cutBlocks(id, blocks, size.Blocks)); err != nil {
		return err
	}
	size.Blocks = blocks
	t.setSize(id, size)
	return nil
}

// cutBlocks ends the blocks of a fork from one on up to another.
func cutBlocks(id forkID, from, to uint32) effect {
	return func(_ context.Context, put putKey) error {
		for block := from; block < to; block++ {
			if err := put(pgkey.Block(id.rel, id.fork, block), lsm.Tombstone, nil); err != nil {
				return err
			}
		}
		return nil
	}
}

// truncateVM shortens a visibility map to what heapBlocks need, and clears the bits
// of cut blocks on its last page.
func (t *Timeline) truncateVM(ctx context.Context, rel pgwal.RelFileNode, heapBlocks uint32) error {
	id := forkID{rel, pgwal.VMFork}
	page, whole := redo.VMPlace(heapBlocks)
	if whole {
		return t.truncate(ctx, id, page)
	}
	size, err := t.size(ctx, id)
	if err != nil || !size.exists || size.Blocks <= page {
		return err
	}
	t.operation = redo.AppendVMTruncate(t.operation[:0], heapBlocks)
	if err := t.batch.delta(pgkey.Block(rel, pgwal.VMFork, page), t.operation); err != nil {
		return err
	}
	return t.truncate(ctx, id, page+1)
}
