package sim

import (
	"fmt"
	"time"

	"github.com/varvedb/varve/sim/workload"
	"github.com/varvedb/varve/sim/world"
)

// Pace is what a driven run did.
type Pace struct {
	Events  uint64
	Virtual time.Duration
	Commits int // acknowledged transactions
	Hash    uint64
}

// Drive runs the set-up and the storm of a run, and nothing that looks at it: no
// sample is taken, nothing is read in the end and nothing judged. It is the engine in
// its world alone, by which their speed is measured.
func Drive(opts Options) (Pace, error) {
	c := newCluster(opts, world.Config{})
	defer c.w.Close()
	c.unwatched = true
	err := c.setUp()
	if err == nil {
		err = c.storm(c.w.Now() + c.opts.Storm)
	}
	p := Pace{Events: c.w.Events(), Virtual: c.w.Now(), Hash: c.w.Hash()}
	for _, b := range c.ledger.Branches {
		p.Commits += b.Acks
	}
	if err != nil {
		return p, fmt.Errorf("drive seed %d of profile %s: %w", opts.Seed, opts.Profile, err)
	}
	return p, nil
}

// Idle is a cluster of three safekeepers and a pageserver whose one compute has no
// sessions.
func Idle() Options {
	opts := still()
	opts.Storm = 10 * time.Minute
	return opts
}

// Steady is the same cluster with sessions that commit some 200 transactions a second,
// of up to four pages each.
func Steady() Options {
	opts := still()
	opts.Storm = 20 * time.Second
	opts.Sessions = 10
	opts.Shape.Think = 230 * time.Millisecond
	return opts
}

// still is a cluster in which nothing fails, moves or asks for the past.
func still() Options {
	return Options{
		Seed: 1, Profile: "quiet", Safekeepers: 3, Pageservers: 1, Computes: 1, Core: 3,
		Conduct: world.Range{Lo: 24 * time.Hour, Hi: 24 * time.Hour}, CachePages: 8,
		// As production has it: zero is the store's default.
		Shape: workload.Shape{Relations: 2, Blocks: 8, PagesMax: 4, PieceBytes: 128 << 10, Lazy: true, Write: 1, BranchesMax: 1},
	}
}
