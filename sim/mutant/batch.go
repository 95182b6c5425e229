package mutant

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/varvedb/varve/sim"
	"github.com/varvedb/varve/sim/search"
	"github.com/varvedb/varve/wal/assert"
)

// Batch is a row of seeds that one process runs, one after the other.
type Batch struct {
	Profile string
	First   uint64
	Seeds   int
	Without []string // faults that are off
	Off     []string // finders that do not count
	Stop    bool     // at the first seed that fails
	Search  bool     // every other run has a changed tape: see package search
}

// Args are the arguments of the command that runs the batch.
func (b Batch) Args() []string {
	return []string{
		"batch", "--profile", b.Profile, "--seed", fmt.Sprint(b.First), "--count", fmt.Sprint(b.Seeds),
		"--without", strings.Join(b.Without, ","), "--off", strings.Join(b.Off, ","), fmt.Sprintf("--stop=%v", b.Stop), fmt.Sprintf("--search=%v", b.Search),
	}
}

// Line is what a batch prints of each seed: a line of JSON.
type Line struct {
	Seed    uint64
	Failed  []string      // who failed it, of those that count
	Says    string        // what the first of them says
	Virtual time.Duration // of the run
	CPU     time.Duration // of the process, since the batch began
}

// Run runs the batch here and prints its lines.
func (b Batch) Run(w io.Writer) error {
	out, runs := json.NewEncoder(w), search.New(b.First, b.draw)
	var began atomic.Int64 // of the run, in this process's time
	defer watch(&began)()
	for i := range b.Seeds {
		began.Store(int64(processorTime()))
		plan, err := b.plan(i, runs)
		if err != nil {
			return err
		}
		r := sim.Run(plan.Options, sim.Play{Tape: plan.Tape})
		line := Line{Seed: plan.Options.Seed, Virtual: r.Virtual, CPU: processorTime()}
		line.Failed, line.Says = FailedBy(r, b.Off...)
		if err := out.Encode(line); err != nil {
			return err
		}
		if b.Stop && len(line.Failed) > 0 {
			return nil
		}
		if b.Search {
			runs.Add(r)
		}
	}
	return nil
}

// runMax is what a run may use of the processor, far more than the longest does: one
// that is past it goes round in a loop of the code, which no virtual time bounds.
const runMax = 2 * time.Minute

// watch ends the process when a run is past runMax. It returns what ends the watch.
func watch(began *atomic.Int64) (end func()) {
	tick := time.NewTicker(time.Second)
	done := make(chan struct{})
	go func() {
		for {
			select {
			case <-done:
				return
			case <-tick.C:
			}
			if used := processorTime() - time.Duration(began.Load()); used > runMax {
				fmt.Fprintf(os.Stderr, "one run has used %v of the processor and has not ended\n", used)
				os.Exit(1)
			}
		}
	}()
	return func() {
		tick.Stop()
		close(done)
	}
}

// plan plans run i of the batch.
func (b Batch) plan(i int, runs *search.Search) (plan search.Plan, err error) {
	if b.Search {
		return runs.Next()
	}
	plan.Options, err = b.draw(b.First + uint64(i))
	return plan, err
}

// draw draws the options of a fresh run.
func (b Batch) draw(seed uint64) (sim.Options, error) {
	opts, err := sim.Draw(seed, b.Profile)
	if err == nil {
		err = opts.Without(b.Without...)
	}
	return opts, err
}

// saysMax bounds what a line says, in bytes: a panic has a long stack.
const saysMax = 400

// FailedBy names who failed a run, but for those that are off, and what the first of
// them says.
func FailedBy(r *sim.Result, off ...string) (finders []string, says string) {
	add := func(finder, text string) {
		if slices.Contains(off, finder) {
			return
		}
		if finders = append(finders, finder); len(finders) == 1 {
			says = text[:min(len(text), saysMax)]
		}
	}
	if r.Err != nil {
		add(kindOf(r.Err), r.Err.Error())
	}
	for i := range r.Verdicts {
		if v := &r.Verdicts[i]; !v.OK {
			add(v.Checker, v.Detail)
		}
	}
	return finders, says
}

// kindOf says which finder an error of a run is of.
func kindOf(err error) string {
	var failed *assert.Error
	switch {
	case errors.As(err, &failed):
		return Assertion
	case strings.Contains(err.Error(), ": panic: "):
		return Panic
	}
	return Phases
}

// processorTime is what this process has used.
func processorTime() time.Duration {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		return 0
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}
