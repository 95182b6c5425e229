package main

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/varvedb/varve/sim"
)

// soak is a long row of seeds, run by several workers.
type soak struct {
	profiles []string
	out      output
	began    time.Time
	beganCPU time.Duration

	mu    sync.Mutex
	next  uint64
	last  uint64 // 0: none
	ends  time.Time
	tally sim.Tally
	err   error
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
			if count > 0 {
				s.last = s.next + count
			} else {
				s.ends = s.began.Add(length)
			}
			return s.run(workers)
		},
	}
	cmd.Flags().DurationVar(&length, "for", 10*time.Minute, "how long")
	cmd.Flags().Uint64Var(&count, "count", 0, "run so many seeds instead")
	cmd.Flags().IntVarP(&workers, "workers", "j", 1, "runs at once")
	cmd.Flags().Uint64Var(&s.next, "seed", 1, "the first seed")
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
	fmt.Println(s.rates())
	if s.err == nil && s.tally.Failures > 0 {
		return errFailed
	}
	return s.err
}

// work runs seeds until there are no more.
func (s *soak) work() {
	for seed, ok := s.take(); ok; seed, ok = s.take() {
		opts, err := sim.Draw(seed, s.profiles[seed%uint64(len(s.profiles))])
		if err == nil {
			err = opts.Without(s.out.off...)
		}
		if err != nil {
			s.fail(err)
			return
		}
		s.done(sim.Run(opts, sim.Play{}))
	}
}

func (s *soak) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
}

func (s *soak) take() (seed uint64, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil || s.last > 0 && s.next >= s.last || s.last == 0 && time.Now().After(s.ends) {
		return 0, false
	}
	s.next++
	return s.next - 1, true
}

func (s *soak) done(r *sim.Result) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tally.Add(r)
	if r.OK() {
		return
	}
	fmt.Print(r.Report())
	if err := s.out.keep(r); err != nil {
		s.err = err
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
	return fmt.Sprintf("%v: %d seeds, %d failures, %v of virtual time; per second of CPU time %.0f of virtual time and %.0f events",
		time.Since(s.began).Round(time.Second), s.tally.Runs, s.tally.Failures, s.tally.Virtual.Round(time.Second),
		s.tally.Virtual.Seconds()/cpu.Seconds(), float64(s.tally.Events)/cpu.Seconds())
}
