package sim

import (
	"fmt"
	"math/bits"

	"github.com/varvedb/varve/sim/check"
	"github.com/varvedb/varve/sim/workload"
	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/walapi"
)

// The states that a run's protocols were seen in are tuples of a few small numbers: large
// ones are told by their number of bits. They tell one run from another; nothing is
// judged by them.

// furthest is the most that any copy of a log was seen to have.
type furthest struct {
	term  wal.Term
	flush wal.LSN
}

// noteLog notes how a safekeeper's copy of a log stands to the furthest that any was
// seen at.
func (c *cluster) noteLog(b *workload.Branch, s walapi.TimelineStatus) {
	f := c.furthest[b.ID]
	f.term, f.flush = max(f.term, s.Term), max(f.flush, s.Flush)
	c.furthest[b.ID] = f
	writers := 0
	for _, slot := range c.slots {
		if slot.branch == b {
			writers++
		}
	}
	ofTerm := len(s.History) > 0 && s.History.LastTerm(s.Flush) == s.Term
	const termsMax = 3 // behind; more are as many
	c.states[fmt.Sprintf("log %v, %d writers, %d terms behind, lag %d, tail %d, of its term %v, %d entries",
		s.Standing, writers, min(f.term-s.Term, termsMax), magnitude(f.flush-s.Flush), magnitude(s.Flush-s.Readable),
		ofTerm, bits.Len(uint(len(s.History))))]++
}

// magnitude is how large a distance is, in steps of a factor of 16.
func magnitude(distance wal.LSN) int { return (bits.Len64(uint64(distance)) + 3) / 4 }

// noteIndexes notes what the timelines' indexes are like.
func (c *cluster) noteIndexes(sample *check.BucketSample) {
	for i := range sample.Indexes {
		x := &sample.Indexes[i]
		c.states[fmt.Sprintf("index %d, root %v, generation %d, layers %d, dead %d, leases %d, collected %v, pins %d",
			x.State, x.IsRoot(), bits.Len64(uint64(x.Generation)), bits.Len(uint(len(x.Layers))), bits.Len(uint(len(x.Dead))),
			len(x.Leases), x.Cutoff > x.Start, bits.Len(uint(len(x.Pins))))]++
	}
}
