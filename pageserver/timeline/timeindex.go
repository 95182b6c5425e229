package timeline

import (
	"math/bits"
	"sort"
	"sync"

	"github.com/varvedb/varve/pageserver/pgkey"
	"github.com/varvedb/varve/wal"
)

const (
	// momentsMax bounds the commit times that are kept decoded for one timeline whose times
	// are asked for: 4 MiB. Fewer: what is asked for over a longer history reads a chunk of
	// it again, some hundred microseconds each.
	momentsMax = 4 << 20 / 16
	// boundsMax bounds the ends of chunks that are kept: half a MiB or so, those of 8 GiB of
	// log and more. Fewer: a search over more log reads chunks on its way.
	boundsMax = 8192
)

// moment is a commit time and the end of the record before that commit.
type moment struct {
	time int64
	prev wal.LSN
}

// bound says which chunk is the first, from some chunk on, that has commit times, and the
// last of them up to a head.
type bound struct {
	chunk uint64
	last  int64
	head  wal.LSN
}

// chunkMoments are the decoded commit times of a chunk.
type chunkMoments struct {
	moments []moment
	head    wal.LSN // all up to here
	used    uint64
}

// timeIndex keeps what lookups by time have read. Log is only appended, so a chunk below
// the head's never changes. It takes nothing before it is asked for.
type timeIndex struct {
	mu     sync.Mutex
	bounds map[uint64]bound
	chunks map[uint64]*chunkMoments
	size   int    // moments in chunks
	uses   uint64 // counts
}

// holds reports whether what was read of a chunk at one head is what is there at another:
// when the log has left a chunk, nothing is added to it.
func holds(chunk uint64, read, head wal.LSN) bool {
	return read == head || chunk < uint64(min(read, head))/pgkey.CommitTimeChunk
}

// bound returns what is known of the first chunk at or above one.
func (x *timeIndex) bound(from uint64) (bound, bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	b, known := x.bounds[from]
	return b, known
}

// moments returns the commit times of a chunk up to a head, nil if they are not kept.
func (x *timeIndex) moments(chunk uint64, head wal.LSN) []moment {
	x.mu.Lock()
	defer x.mu.Unlock()
	c := x.chunks[chunk]
	if c == nil || !holds(chunk, c.head, head) {
		return nil
	}
	x.uses++
	c.used = x.uses
	return c.moments
}

// note remembers a bound of the chunks from one on.
func (x *timeIndex) note(from uint64, b bound) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if len(x.bounds) >= boundsMax {
		clear(x.bounds)
	}
	if x.bounds == nil {
		x.bounds = map[uint64]bound{}
	}
	x.bounds[from] = b
}

// keep remembers the commit times of a chunk as of a head, and returns them.
func (x *timeIndex) keep(chunk uint64, head wal.LSN, values []pgkey.CommitTimeValue) []moment {
	moments := make([]moment, len(values))
	for i, v := range values {
		moments[i] = moment{v.Time, v.Prev}
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.chunks == nil {
		x.chunks = map[uint64]*chunkMoments{}
	}
	x.drop(chunk)
	x.uses++
	x.chunks[chunk] = &chunkMoments{moments, head, x.uses}
	for x.size += len(moments); x.size > momentsMax && len(x.chunks) > 1; {
		x.drop(x.oldest())
	}
	return moments
}

func (x *timeIndex) drop(chunk uint64) {
	if c := x.chunks[chunk]; c != nil {
		x.size -= len(c.moments)
		delete(x.chunks, chunk)
	}
}

// oldest is the chunk that was used longest ago.
func (x *timeIndex) oldest() (found uint64) {
	least := ^uint64(0)
	//varve:unordered no two were used at once
	for chunk, c := range x.chunks {
		if c.used < least {
			found, least = chunk, c.used
		}
	}
	return found
}

// split returns the number in [low, high) that the most powers of two divide: whatever the
// bounds are, searches meet at few numbers, which are remembered.
func split(low, high uint64) uint64 {
	if low == 0 {
		return 0
	}
	// The highest bit in which low-1 and high-1 differ is where they part.
	bit := bits.Len64((low - 1) ^ (high - 1))
	return (high - 1) >> (bit - 1) << (bit - 1)
}

// after returns the first of moments later than stamp, which rise.
func after(moments []moment, stamp int64) int {
	return sort.Search(len(moments), func(i int) bool { return moments[i].time > stamp })
}
