package check

import (
	"slices"
	"sort"

	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/pgwal"
)

// Replay answers what every page holds at every LSN of every branch, by nothing but
// the log. It is made from a log that [Truth] accepts; of another it answers
// something, and ends.
type Replay struct {
	branches map[wal.TimelineID]*Branch
	pages    map[Place][]Version // of the branch's own log, by LSN
	sizes    map[relation][]Size // the same
}

// relation is a relation of a branch.
type relation struct {
	branch wal.TimelineID
	rel    pgwal.RelFileNode
}

// NewReplay indexes a log.
func NewReplay(log *Log) *Replay {
	x := &Replay{
		branches: make(map[wal.TimelineID]*Branch, len(log.Branches)),
		pages:    map[Place][]Version{},
		sizes:    map[relation][]Size{},
	}
	for _, s := range log.Sizes {
		of := relation{s.Branch, s.Rel}
		x.sizes[of] = append(x.sizes[of], s)
	}
	for i := range log.Branches {
		x.branches[log.Branches[i].ID] = &log.Branches[i]
	}
	for _, v := range log.Versions {
		at := Place{v.Branch, v.Page}
		x.pages[at] = append(x.pages[at], v)
	}
	//varve:unordered each list is sorted by itself
	for _, versions := range x.pages {
		slices.SortStableFunc(versions, func(a, b Version) int { return compareLSN(a.LSN, b.LSN) })
	}
	return x
}

func compareLSN(a, b wal.LSN) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// Branch returns a branch of the log, nil if it has none by that id.
func (x *Replay) Branch(id wal.TimelineID) *Branch { return x.branches[id] }

// start is where a branch's own log begins, zero if the log has no such branch.
func (x *Replay) start(branch wal.TimelineID) wal.LSN {
	if b := x.branches[branch]; b != nil {
		return b.Start
	}
	return 0
}

// Owner returns the branch whose own log holds the history of branch at lsn, and the
// LSN up to which branch sees that log; nil if the log does not have it. At the LSN
// where a branch leaves its parent, the parent's log is the one.
func (x *Replay) Owner(branch wal.TimelineID, lsn wal.LSN) (owner *Branch, end wal.LSN) {
	b := x.branches[branch]
	if b == nil {
		return nil, 0
	}
	end = b.End
	for range len(x.branches) {
		if lsn > b.Start || b.Parent.IsZero() {
			return b, end
		}
		end = min(end, b.Start)
		if b = x.branches[b.Parent]; b == nil {
			return nil, 0
		}
	}
	return nil, 0 // a ring of parents
}

// At returns what the page holds on the branch at lsn: the newest version at or below
// it. A page that was not written by then has the zero Version.
func (x *Replay) At(branch wal.TimelineID, page PageID, lsn wal.LSN) Version {
	owner, _ := x.Owner(branch, lsn)
	for range len(x.branches) {
		if owner == nil {
			break
		}
		versions := x.pages[Place{owner.ID, page}]
		n := sort.Search(len(versions), func(i int) bool { return versions[i].LSN > lsn })
		if n > 0 {
			return versions[n-1]
		}
		lsn = min(lsn, owner.Start)
		owner = x.branches[owner.Parent]
	}
	return Version{}
}

// Blocks returns how many blocks a relation has on the branch at lsn: none if it is not
// there. It is known of logs with sizes only.
func (x *Replay) Blocks(branch wal.TimelineID, rel pgwal.RelFileNode, lsn wal.LSN) (blocks pgwal.BlockNumber, known bool) {
	if len(x.sizes) == 0 {
		return 0, false
	}
	owner, _ := x.Owner(branch, lsn)
	for range len(x.branches) {
		if owner == nil {
			break
		}
		sizes := x.sizes[relation{owner.ID, rel}]
		n := sort.Search(len(sizes), func(i int) bool { return sizes[i].LSN > lsn })
		if n > 0 {
			return sizes[n-1].Blocks, true
		}
		lsn = min(lsn, owner.Start)
		owner = x.branches[owner.Parent]
	}
	return 0, true
}
