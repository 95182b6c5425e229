package main

import (
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/sim"
	"github.com/varvedb/varve/sim/check"
	"github.com/varvedb/varve/sim/search"
)

// TestPlansAreTheSameHoweverManyWork: what a run is does not depend on which runs happen to
// have ended, so that a soak's failures are found again by its seed.
func TestPlansAreTheSameHoweverManyWork(t *testing.T) {
	opts, err := sim.Draw(1, "sweep")
	require.NoError(t, err)
	tape := sim.Run(opts, sim.Play{}).Tape
	plans := func(workers int) []string {
		s := &soak{profiles: []string{"quiet"}, first: 1, last: 4 * searchLag, shown: map[uint64]*sim.Result{}}
		s.search, s.arrived = search.New(s.first, s.draw), sync.NewCond(&s.mu)
		planned := make([]string, s.last)
		var group sync.WaitGroup
		for range workers {
			group.Go(func() {
				for {
					run, plan, err := s.take()
					if err != nil {
						return
					}
					planned[run] = fmt.Sprint(plan.Options.Seed, plan.Options.Changed)
					if plan.Tape != nil {
						planned[run] += fmt.Sprint(plan.Tape.Streams)
					}
					r := &sim.Result{Options: plan.Options, Tape: tape}
					r.Covered = check.Counts{{Name: fmt.Sprint(run % 7), N: 1 << (run % 5)}}
					s.done(run, r)
				}
			})
		}
		group.Wait()
		require.NoError(t, s.err)
		return planned
	}
	want := plans(1)
	for range 5 {
		require.Equal(t, want, plans(2*searchLag))
	}
}
