package main

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/varvedb/varve/sim"
	"github.com/varvedb/varve/sim/check"
	"github.com/varvedb/varve/sim/search"
)

// soak is a long row of runs, made by several workers.
type soak struct {
	profiles []string
	out      output
	began    time.Time
	beganCPU time.Duration
	first    uint64 // seed
	fresh    bool   // no tape is changed

	mu      sync.Mutex
	runs    uint64 // that were begun
	last    uint64 // of them; 0: none
	ends    time.Time
	search  *search.Search
	shown   map[uint64]*sim.Result // by run, those that the search was not told of yet
	told    uint64                 // runs that it was told of
	planned uint64                 // runs that it planned
	arrived *sync.Cond             // of shown and planned
	tally   sim.Tally
	changed sim.Tally // of the runs with changed tapes, which are in tally too
	err     error
}

func newSoakCommand() *cobra.Command {
	s := &soak{}
	var length time.Duration
	var workers int
	var count uint64
	cmd := &cobra.Command{
		Use:   "soak --for 10m",
		Short: "Run seed after seed, and count",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			s.began, s.beganCPU = time.Now(), cpuTime()
			s.search, s.shown, s.arrived = search.New(s.first, s.draw), map[uint64]*sim.Result{}, sync.NewCond(&s.mu)
			if s.last = count; count == 0 {
				s.ends = s.began.Add(length)
			}
			return s.run(workers)
		},
	}
	cmd.Flags().DurationVar(&length, "for", 10*time.Minute, "how long")
	cmd.Flags().Uint64Var(&count, "count", 0, "run so many instead")
	cmd.Flags().IntVarP(&workers, "workers", "j", 1, "runs at once")
	cmd.Flags().Uint64Var(&s.first, "seed", 1, "the first seed")
	cmd.Flags().BoolVar(&s.fresh, "fresh", false, "fresh seeds only; else every other run has the changed tape of one that showed something new")
	cmd.Flags().StringSliceVar(&s.profiles, "profile", []string{"swarm"}, "which faults, taken in turn: "+strings.Join(sim.Profiles(), ", "))
	s.out.flags(cmd)
	return cmd
}

func (s *soak) run(workers int) error {
	var group sync.WaitGroup
	for range workers {
		group.Go(s.work)
	}
	stop := make(chan struct{})
	var progress sync.WaitGroup
	progress.Go(func() { s.report(stop) })
	group.Wait()
	close(stop)
	progress.Wait()
	fmt.Print(s.tally.String())
	if !s.fresh {
		fmt.Printf("of these with changed tapes: runs %d, failures %d; kept to be changed: %d runs, which showed %d things\n",
			s.changed.Runs, s.changed.Failures, s.search.Corpus(), s.search.Shown())
	}
	fmt.Println(s.rates())
	if s.err == nil && s.tally.Failures > 0 {
		return errFailed
	}
	return s.err
}

// draw draws the options of a fresh run.
func (s *soak) draw(seed uint64) (sim.Options, error) {
	opts, err := sim.Draw(seed, s.profiles[seed%uint64(len(s.profiles))])
	if err == nil {
		err = opts.Without(s.out.off...)
	}
	return opts, err
}

// work makes runs until there are no more.
func (s *soak) work() {
	for {
		run, plan, err := s.take()
		if err != nil {
			return
		}
		s.done(run, sim.Run(plan.Options, sim.Play{Tape: plan.Tape}))
	}
}

// searchLag is how many runs lie between two of which the later is planned by what the
// earlier showed, so that the plans are the same however many workers there are, and
// none waits for long.
const searchLag = 32

var errNoMore = errors.New("there are no more")

// take plans a run.
func (s *soak) take() (run uint64, plan search.Plan, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil || s.last > 0 && s.runs >= s.last || s.last == 0 && time.Now().After(s.ends) {
		return 0, plan, errNoMore
	}
	run = s.runs
	s.runs++
	if s.fresh {
		plan.Options, err = s.draw(s.first + run)
	} else {
		plan, err = s.plan(run)
	}
	if err != nil {
		s.err = err
	}
	return run, plan, err
}

// plan has the search plan a run, when it has planned those before and knows what its plan
// rests on, and no more. The mutex is held.
func (s *soak) plan(run uint64) (search.Plan, error) {
	for s.planned < run {
		s.arrived.Wait()
	}
	for s.told+searchLag <= run {
		if s.shown[s.told] == nil {
			s.arrived.Wait()
			continue
		}
		s.search.Add(s.shown[s.told])
		delete(s.shown, s.told)
		s.told++
	}
	s.planned++
	s.arrived.Broadcast()
	return s.search.Next()
}

func (s *soak) done(run uint64, r *sim.Result) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tally.Add(r)
	if r.Options.Changed > 0 {
		s.changed.Add(r)
	}
	if !r.OK() {
		fmt.Print(r.Report())
		if err := s.out.keep(r); err != nil {
			s.err = err
		}
	}
	if !s.fresh {
		// Of the evidence, which is large, a search needs nothing.
		r.Run = check.Run{}
		s.shown[run] = r
		s.arrived.Broadcast()
	}
}

// report prints progress now and then.
func (s *soak) report(stop chan struct{}) {
	ticker := time.NewTicker(10 * time.Second)
	defer ticker.Stop()
	for {
		select {
		case <-stop:
			return
		case <-ticker.C:
			fmt.Println(s.rates())
		}
	}
}

func (s *soak) rates() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	cpu := cpuTime() - s.beganCPU
	changed := ""
	if !s.fresh {
		changed = fmt.Sprintf(" (%d and %d with changed tapes)", s.changed.Runs, s.changed.Failures)
	}
	return fmt.Sprintf("%v: %d runs, %d failures%s, %v of virtual time; per second of CPU time %.0f of virtual time and %.0f events",
		time.Since(s.began).Round(time.Second), s.tally.Runs, s.tally.Failures, changed, s.tally.Virtual.Round(time.Second),
		s.tally.Virtual.Seconds()/cpu.Seconds(), float64(s.tally.Events)/cpu.Seconds())
}
