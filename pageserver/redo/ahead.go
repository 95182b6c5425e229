package redo

import "github.com/varvedb/varve/lsm"

// cacheLine is how many bytes a processor loads at a time.
const cacheLine = 64

// coming is what is left to be loaded of the base of the chain that comes next: copying a
// page that no cache holds takes as long as redoing half a dozen records. A part is loaded
// with each delta of the chain before. All at once would make the processor wait, which
// keeps only so many loads under way.
type coming struct {
	base []byte
	part int // of it, in lines
}

// comingAfter is what is to be loaded while so many deltas are applied.
func comingAfter(deltas int, next *lsm.Chain) coming {
	if deltas == 0 || next == nil {
		return coming{}
	}
	lines := (len(next.Base) + cacheLine - 1) / cacheLine
	return coming{base: next.Base, part: (lines + deltas - 1) / deltas}
}

// loadPart begins to load a part.
func (c *coming) loadPart() {
	if len(c.base) == 0 {
		return
	}
	prefetch(&c.base[0], c.part)
	c.base = c.base[min(c.part*cacheLine, len(c.base)):]
}
