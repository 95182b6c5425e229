package world

import (
	"math/bits"
	"time"

	"github.com/varvedb/varve/wal/assert"
	"github.com/varvedb/varve/wal/env"
)

// million is the whole in chances per million.
const million = 1_000_000

// splitmix is Steele, Lea and Flood's SplitMix64 generator.
type splitmix uint64

func (s *splitmix) Uint64() uint64 {
	*s += 0x9E3779B97F4A7C15
	z := uint64(*s)
	z = (z ^ z>>30) * 0xBF58476D1CE4E5B9
	z = (z ^ z>>27) * 0x94D049BB133111EB
	return z ^ z>>31
}

// seedOf hashes a seed with names and numbers to the seed of a sub-stream (FNV-1a,
// then one round of splitmix to spread it).
func seedOf(seed uint64, number uint64, names ...string) splitmix {
	h := uint64(14695981039346656037)
	add := func(b byte) { h = (h ^ uint64(b)) * 1099511628211 }
	for i := range 8 {
		add(byte(seed >> (8 * i)))
		add(byte(number >> (8 * i)))
	}
	for _, name := range names {
		for i := range len(name) {
			add(name[i])
		}
		add(0)
	}
	s := splitmix(h)
	return splitmix(s.Uint64())
}

// NewStream is randomness that depends on the seed and the name alone. It is no world's.
func NewStream(seed uint64, name string) env.Stream {
	s := seedOf(seed, 0, "stream", name)
	return &s
}

// Choices is one named sub-stream of the world's decisions. Each decision is a
// number below a bound, 0 being the least eventful, and is recorded on the tape.
type Choices struct {
	random    splitmix
	made      []uint32
	replay    []uint32
	replaying bool
}

// Below decides on a number in [0, n). n must be positive. A replayed decision
// beyond the tape's end is 0; one that is too large for n wraps.
func (c *Choices) Below(n uint32) uint32 {
	var v uint32
	switch {
	case n == 0:
		assert.Failf("a decision is made among at least one")
	case !c.replaying:
		v = uint32((c.random.Uint64() >> 32) * uint64(n) >> 32)
	case len(c.made) < len(c.replay):
		v = c.replay[len(c.made)] % n
	}
	c.made = append(c.made, v)
	return v
}

// Hit decides whether something of so many chances per million happens. Where
// there is no chance there is no decision.
func (c *Choices) Hit(perMillion uint32) bool {
	return perMillion > 0 && c.Below(million) >= million-min(perMillion, million)
}

// Between decides on a duration in the range, its end included.
func (c *Choices) Between(r Range) time.Duration {
	return c.scaled(r, func(u uint32) uint32 { return u })
}

// Skewed decides on a duration in the range: most near its beginning, a few far
// out (the fourth power of an even draw).
func (c *Choices) Skewed(r Range) time.Duration {
	return c.scaled(r, func(u uint32) uint32 {
		square := uint64(u) * uint64(u) >> 32
		return uint32(square * square >> 32)
	})
}

func (c *Choices) scaled(r Range, shape func(uint32) uint32) time.Duration {
	if r.Hi <= r.Lo {
		return r.Lo
	}
	u := shape(c.Below(1<<32 - 1))
	above, _ := bits.Mul64(uint64(r.Hi-r.Lo+1), uint64(u)<<32)
	return r.Lo + time.Duration(above)
}

// Range is a range of durations, both ends included.
type Range struct{ Lo, Hi time.Duration }

// randomness is a life's env.Rand. Its streams are no decisions: they depend on the
// seed, the node, how often it was started and the name, and not on each other.
type randomness struct{ l *life }

func (r randomness) Stream(name string) env.Stream {
	r.l.streams[name]++
	s := seedOf(r.l.n.w.seed, uint64(r.l.number)<<32|uint64(r.l.streams[name]), "node", r.l.n.name, name)
	return &s
}
