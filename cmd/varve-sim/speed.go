package main

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/varvedb/varve/sim"
	"github.com/varvedb/varve/sim/world"
)

// load is something whose speed is told: runs that are done one after the other.
type load struct {
	name string
	runs []func() (sim.Pace, error)
}

// speed is a comparison of loads with a bare event heap.
type speed struct {
	rounds   int
	seeds    uint64
	profiles []string
	only     string // loads whose names match
}

func newSpeedCommand() *cobra.Command {
	s := &speed{}
	cmd := &cobra.Command{
		Use:   "speed",
		Short: "Tell events per CPU-second and virtual time per CPU time, beside a bare event heap",
		Args:  cobra.NoArgs,
		RunE:  func(*cobra.Command, []string) error { return s.run() },
	}
	cmd.Flags().IntVar(&s.rounds, "rounds", 5, "rounds, each of heap, load, load, heap")
	cmd.Flags().Uint64Var(&s.seeds, "seeds", 3, "seeds of each profile, from 1")
	cmd.Flags().StringSliceVar(&s.profiles, "profile", sim.Profiles(), "profiles")
	cmd.Flags().StringVar(&s.only, "loads", "", "only loads whose names match this regular expression")
	return cmd
}

func (s *speed) run() error {
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "load\tevents\tevents/CPU-s\tof the heap's: q1\tmedian\tq3\tvirtual/CPU\tcommits/s\t")
	loads, err := s.loads()
	if err != nil {
		return err
	}
	only, err := regexp.Compile(s.only)
	if err != nil {
		return fmt.Errorf("loads: %w", err)
	}
	for _, l := range loads {
		if !only.MatchString(l.name) {
			continue
		}
		line, err := s.measure(l)
		if err != nil {
			return err
		}
		fmt.Fprintln(table, line)
		if err := table.Flush(); err != nil {
			return err
		}
	}
	return nil
}

// loads is what is measured: the engine alone under the two loads with a goal, then
// each profile, driven and judged.
func (s *speed) loads() ([]load, error) {
	loads := []load{
		{"idle", []func() (sim.Pace, error){driven(sim.Idle())}},
		{"200 commits/s", []func() (sim.Pace, error){driven(sim.Steady())}},
	}
	for _, profile := range s.profiles {
		alone, whole := load{name: profile}, load{name: profile + ", judged"}
		for seed := range s.seeds {
			opts, err := sim.Draw(seed+1, profile)
			if err != nil {
				return nil, err
			}
			alone.runs = append(alone.runs, driven(opts))
			whole.runs = append(whole.runs, judged(opts))
		}
		loads = append(loads, alone, whole)
	}
	return loads, nil
}

func driven(opts sim.Options) func() (sim.Pace, error) {
	return func() (sim.Pace, error) { return sim.Drive(opts) }
}

// judged is a whole run with its samples, its end and its checkers.
func judged(opts sim.Options) func() (sim.Pace, error) {
	return func() (sim.Pace, error) {
		r := sim.Run(opts, sim.Play{})
		if !r.OK() {
			return sim.Pace{}, fmt.Errorf("%s", r.Report())
		}
		return sim.Pace{Events: r.Events, Virtual: r.Virtual, Hash: r.Hash}, nil
	}
}

// took is the CPU time of all that some runs did.
type took struct {
	events  uint64
	virtual time.Duration
	commits int
	cpu     time.Duration
}

func (t took) rate() float64 { return float64(t.events) / t.cpu.Seconds() }

func (t took) plus(o took) took {
	return took{t.events + o.events, t.virtual + o.virtual, t.commits + o.commits, t.cpu + o.cpu}
}

// measure compares a load with the heap in rounds, so that whatever else the machine
// does meets both alike.
func (s *speed) measure(l load) (string, error) {
	var sum took
	var ratios []float64
	for range s.rounds {
		heap := bareHeap()
		var both took
		for range 2 {
			one, err := l.once()
			if err != nil {
				return "", err
			}
			both = both.plus(one)
		}
		heap = heap.plus(bareHeap())
		ratios = append(ratios, both.rate()/heap.rate())
		sum = sum.plus(both)
	}
	slices.Sort(ratios)
	quartile := func(n int) float64 { return ratios[n*(len(ratios)-1)/4] }
	commits := ""
	if sum.commits > 0 {
		commits = fmt.Sprintf("%.0f", float64(sum.commits)/sum.virtual.Seconds())
	}
	return strings.Join([]string{
		l.name, fmt.Sprint(sum.events / uint64(2*s.rounds)), fmt.Sprintf("%.0f", sum.rate()),
		fmt.Sprintf("%.2f", quartile(1)), fmt.Sprintf("%.2f", quartile(2)), fmt.Sprintf("%.2f", quartile(3)),
		fmt.Sprintf("%.0fx", sum.virtual.Seconds()/sum.cpu.Seconds()), commits, "",
	}, "\t"), nil
}

func (l load) once() (sum took, err error) {
	begin := cpuTime()
	for _, run := range l.runs {
		p, err := run()
		if err != nil {
			return sum, err
		}
		sum = sum.plus(took{events: p.Events, virtual: p.Virtual, commits: p.Commits})
	}
	sum.cpu = cpuTime() - begin
	return sum, nil
}

const (
	heapSize   = 1000      // entries: some more than a cluster has waiting
	heapEvents = 3_000_000 // popped and pushed, about a second's
)

func bareHeap() took {
	run := world.BareHeap(heapSize)
	begin := cpuTime()
	run(heapEvents)
	return took{events: heapEvents, cpu: cpuTime() - begin}
}

// cpuTime is the process's, its collector of garbage included.
func cpuTime() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		panic(err) // there is no such error for the process itself
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
