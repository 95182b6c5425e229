package layer

import "sync"

// Cache keeps decoded blocks in memory, the recently used ones, up to a number of
// bytes. It is safe for use by many tasks. Make it with [NewCache].
//
// It is CLOCK over shards: a hit sets a bit under the shard's lock; a miss that
// needs room drops blocks whose bit was not set since the hand last passed.
type Cache struct {
	shards [cacheShards]cacheShard
	nextID uint64
	idLock sync.Mutex
}

// cacheShards keeps readers on two to a few dozen cores from meeting.
const cacheShards = 16

// slotBytes is what a cached block costs beside its bytes.
const slotBytes = 96

type blockKey struct {
	reader uint64
	offset int64
}

type cacheSlot struct {
	key   blockKey
	block []byte
	used  bool
}

type cacheShard struct {
	mu    sync.Mutex
	max   int64
	bytes int64
	index map[blockKey]int
	slots []cacheSlot // some empty: block == nil
	free  []int
	hand  int
}

// NewCache makes a cache of at most maxBytes, though each shard may keep one
// block, whatever its size.
func NewCache(maxBytes int64) *Cache {
	c := &Cache{}
	for i := range c.shards {
		c.shards[i].max = maxBytes / cacheShards
		c.shards[i].index = make(map[blockKey]int)
	}
	return c
}

// register gives a reader a number of its own. Numbers are not used again, so
// blocks of a reader that is gone are never hit and age out.
func (c *Cache) register() uint64 {
	c.idLock.Lock()
	defer c.idLock.Unlock()
	c.nextID++
	return c.nextID
}

func (c *Cache) shard(key blockKey) *cacheShard {
	hash := (key.reader ^ uint64(key.offset)*0x9E3779B97F4A7C15) * 0x9E3779B97F4A7C15
	return &c.shards[hash>>60]
}

func (c *Cache) get(key blockKey) []byte {
	s := c.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	i, ok := s.index[key]
	if !ok {
		return nil
	}
	s.slots[i].used = true
	return s.slots[i].block
}

func (c *Cache) put(key blockKey, block []byte) {
	s := c.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.index[key]; ok {
		return
	}
	need := int64(len(block)) + slotBytes
	for s.bytes > 0 && s.bytes+need > s.max {
		s.evictOne()
	}
	if len(s.free) == 0 {
		s.free = append(s.free, len(s.slots))
		s.slots = append(s.slots, cacheSlot{})
	}
	i := s.free[len(s.free)-1]
	s.free = s.free[:len(s.free)-1]
	s.slots[i] = cacheSlot{key: key, block: block}
	s.index[key] = i
	s.bytes += need
}

// evictOne drops the next block whose bit is clear; there is at least one block.
func (s *cacheShard) evictOne() {
	for {
		slot := &s.slots[s.hand]
		i := s.hand
		s.hand = (s.hand + 1) % len(s.slots)
		if slot.block == nil {
			continue
		}
		if slot.used {
			slot.used = false
			continue
		}
		s.bytes -= int64(len(slot.block)) + slotBytes
		delete(s.index, slot.key)
		*slot = cacheSlot{}
		s.free = append(s.free, i)
		return
	}
}

// Bytes is the memory taken.
func (c *Cache) Bytes() (bytes int64) {
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		bytes += s.bytes
		s.mu.Unlock()
	}
	return bytes
}
