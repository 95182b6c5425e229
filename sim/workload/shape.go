package workload

import (
	"time"

	"github.com/varvedb/varve/sim/check"
	"github.com/varvedb/varve/sim/world"
	"github.com/varvedb/varve/wal/pgwal"
)

// Shape is how busy the clients are and what they do: weights are relative.
type Shape struct {
	Relations  int           // of which the last are not imported, but made in the run
	Blocks     uint32        // of each relation, some of which are made in the run
	PagesMax   uint32        // of one transaction or snapshot
	PieceBytes uint32        // at most, of the log given to the proposer at once
	Lazy       bool          // the log is sent when a client waits for it, as PostgreSQL's is, not record by record
	Think      time.Duration // at most, between two operations of a client

	Write, Latest, Snapshot, Branch uint32 // weights of a session's operations
	Truncate, Drop                  uint32 // the same
	BranchesMax                     int

	AbortPerMillion       uint32 // of transactions
	UnconfirmedPerMillion uint32 // of latest reads and snapshots
	RestatePerMillion     uint32 // of records: a hint's image comes before it
	PausePerMillion       uint32 // of records: the session pauses after it
}

// pick draws some distinct pages.
func (s *Shape) pick(c *world.Choices, most uint32) []check.PageID {
	n := 1 + int(c.Below(most))
	seen := map[check.PageID]bool{}
	var ids []check.PageID
	for range n {
		id := PageOf(int(c.Below(uint32(s.Relations))), pgwal.BlockNumber(c.Below(s.Blocks)))
		if !seen[id] {
			seen[id] = true
			ids = append(ids, id)
		}
	}
	return ids
}

// think is a pause: most are short.
func (s *Shape) think(c *world.Choices) time.Duration {
	return c.Skewed(world.Range{Lo: s.Think / 50, Hi: s.Think})
}

// Pages is all pages that a run may have.
func (s *Shape) Pages() []check.PageID {
	var ids []check.PageID
	for relation := range s.Relations {
		for block := range s.Blocks {
			ids = append(ids, PageOf(relation, block))
		}
	}
	return ids
}
