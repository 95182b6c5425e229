package sim

import (
	"bytes"
	"fmt"
	"path"
	"slices"
	"time"

	"github.com/varvedb/varve/sim/check"
	"github.com/varvedb/varve/sim/workload"
	"github.com/varvedb/varve/sim/world"
	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/segment"
)

const (
	liveBound  = 4 * time.Minute  // in which everything must move once faults have ended
	liveGoal   = 3                // transactions of each branch that is served
	shortBound = 15 * time.Second // for which a core that is too small is looked at
)

// live makes all nodes outside of a drawn core dead for good, has each served branch
// served once, and sees to it that everything moves. A core that is too small is made
// whole after it was seen to stand still, and then everything must move.
func (c *cluster) live() error {
	c.out = map[*world.Node]bool{}
	for i, n := range c.shuffled(c.safekeepers) {
		c.remove(n, i >= c.opts.Core)
	}
	for i, n := range c.pageservers {
		c.remove(n, i != c.home)
	}
	if c.opts.PowerCut {
		for _, n := range c.nodes() {
			n.Kill()
		}
	}
	c.serveEach()
	if c.opts.Core < c.quorum() {
		if err := c.moves("with a core that is too small", shortBound); err != nil {
			return err
		}
		for _, n := range c.safekeepers {
			c.out[n] = false
		}
	}
	if err := c.moves("after the storm", liveBound); err != nil {
		return err
	}
	for _, n := range c.safekeepers {
		c.out[n] = false
	}
	return nil
}

func (c *cluster) quorum() int { return len(c.safekeepers)/2 + 1 }

func (c *cluster) shuffled(nodes []*world.Node) []*world.Node {
	nodes = append([]*world.Node(nil), nodes...)
	for i := len(nodes) - 1; i > 0; i-- {
		j := c.conductor.Below(uint32(i + 1))
		nodes[i], nodes[j] = nodes[j], nodes[i]
	}
	return nodes
}

// remove makes a node dead for good, or leaves it.
func (c *cluster) remove(n *world.Node, gone bool) {
	if c.out[n] = gone; gone {
		n.Kill()
	}
}

// serveEach gives each slot a branch of its own, those first that have a log already: the
// oldest, or, after a power cut, the youngest, whose parents then need not have a writer.
func (c *cluster) serveEach() {
	var branches []*workload.Branch
	// What is first now is last if the order is turned round.
	for _, served := range []bool{!c.opts.PowerCut, c.opts.PowerCut} {
		for _, b := range c.ledger.Branches {
			if c.hasLog(b) == served {
				branches = append(branches, b)
			}
		}
	}
	if c.opts.PowerCut {
		slices.Reverse(branches)
	}
	for i, s := range c.slots {
		if i < len(branches) {
			s.assign(branches[i])
		} else {
			s.assign(nil)
		}
	}
}

// hasLog reports whether the bucket says that a branch's log was made.
func (c *cluster) hasLog(b *workload.Branch) bool {
	_, ok := c.w.Object(fmt.Sprintf("tenants/%v/logs/%v", tenant, b.ID))
	return ok
}

// moves waits until every served branch has commits, and records how it went, with the
// proof of a legitimate stall for those that may have none. It ends as soon as all
// that may move have moved.
func (c *cluster) moves(when string, bound time.Duration) error {
	if c.opts.Operations > 0 {
		return c.pass(shortBound)
	}
	var branches []*workload.Branch
	var progress []check.Progress
	for _, s := range c.slots {
		if s.branch == nil {
			continue
		}
		branches = append(branches, s.branch)
		progress = append(progress, check.Progress{
			What: fmt.Sprintf("commits of branch %v %s", s.branch.ID, when), Healed: c.w.Now(), Bound: bound,
			Goal:    uint64(s.branch.Acks + liveGoal),
			Samples: []check.ProgressSample{{Time: c.w.Now(), Count: uint64(s.branch.Acks)}},
		})
	}
	for end := c.w.Now() + bound; c.w.Now() < end; {
		if err := c.tick(); err != nil {
			return err
		}
		waiting := false
		for i, b := range branches {
			p := &progress[i]
			p.Samples = append(p.Samples, check.ProgressSample{Time: c.w.Now(), Count: uint64(b.Acks)})
			p.Stall = c.stall(b)
			proved := len(p.Stall.Sound) < p.Stall.Need
			waiting = waiting || uint64(b.Acks) < p.Goal && (!proved || bound == shortBound)
		}
		if !waiting {
			break
		}
	}
	for i := range progress {
		p := &progress[i]
		if uint64(branches[i].Acks) < p.Goal && len(p.Stall.Sound) >= p.Stall.Need {
			stall, err := c.excuse(branches[i])
			if err != nil {
				return err
			}
			p.Stall = stall
		}
		if len(p.Stall.Sound) >= p.Stall.Need {
			p.Stall = nil
		}
	}
	c.run.Progress = append(c.run.Progress, progress...)
	return nil
}

// unheard is how long a safekeeper whose disk deceives may not tell of a branch before
// it counts as lost to it: it has damage that it found, or it is gone at all.
const unheard = time.Minute

// stall says which safekeepers a branch has, which of them are sound, and how many it
// needs: a majority, or all of them before its log was made.
func (c *cluster) stall(b *workload.Branch) *check.Stall {
	stall := &check.Stall{Need: c.quorum()}
	if !c.hasLog(b) {
		stall.Need = len(c.safekeepers)
	}
	for i, n := range c.safekeepers {
		id := wal.NodeID(i + 1)
		stall.Members = append(stall.Members, id)
		lost := c.deceived(i) && c.samplers[i].seen[b.ID]+unheard < c.w.Now()
		if !c.out[n] && !lost {
			stall.Sound = append(stall.Sound, id)
		}
	}
	return stall
}

// excuse looks closer at a branch that stood still: at what safekeepers have on their disks,
// and at the log that it waits for.
func (c *cluster) excuse(b *workload.Branch) (*check.Stall, error) {
	stall := c.stall(b)
	stall.Sound = slices.DeleteFunc(stall.Sound, func(id wal.NodeID) bool { return c.hasLost(b, int(id)-1) })
	if len(stall.Sound) < stall.Need || b.Parent == (wal.TimelineID{}) {
		return stall, nil
	}
	// Its parent's log, if it needs more of that than the bucket has.
	at := slices.IndexFunc(c.ledger.Branches, func(p *workload.Branch) bool { return p.ID == b.Parent })
	if at < 0 {
		return stall, nil
	}
	indexes, err := c.indexes()
	if err != nil {
		return nil, err
	}
	if x := indexes[b.Parent]; x == nil || x.Durable >= b.Start {
		return stall, nil
	}
	return c.excuse(c.ledger.Branches[at])
}

// lookedBack is how much before the end of a log is compared, as before it is filled.
const lookedBack = 64 << 10

// hasLost reports whether a disk that deceives has, at the end of a branch's log, other bytes than
// one that does not, where by terms and LSNs they are the same. Its safekeeper cannot know,
// and is given nothing more (PROTOCOL, D3).
func (c *cluster) hasLost(b *workload.Branch, node int) bool {
	mine, told := c.samplers[node].told[b.ID]
	if !told || !c.deceived(node) {
		return false
	}
	for other, n := range c.safekeepers {
		theirs, told := c.samplers[other].told[b.ID]
		if !told || c.out[n] || c.deceived(other) {
			continue
		}
		common, ok := mine.History.CommonPoint(mine.Flush, theirs.History)
		end := min(common, mine.Flush, theirs.Flush)
		if ok && !bytes.Equal(c.logOnDisk(node, b, end), c.logOnDisk(other, b, end)) {
			return true
		}
	}
	return false
}

// logOnDisk is what a safekeeper's disk has of a branch's log before an LSN.
func (c *cluster) logOnDisk(node int, b *workload.Branch, end wal.LSN) (log []byte) {
	for at := max(b.Start, end-min(end, lookedBack)); at < end; {
		next := min(end, wal.SegmentStart(at.Segment()+1))
		name := path.Join("safekeeper/timelines", b.ID.String(), "wal", segment.Name(at.Segment()))
		if file, ok := c.safekeepers[node].Disk().ReadFile(name); ok && len(file) >= int(at.SegmentOffset())+int(next-at) {
			log = append(log, file[at.SegmentOffset():][:next-at]...)
		}
		at = next
	}
	return log
}
