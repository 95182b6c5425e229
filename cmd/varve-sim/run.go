package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/varvedb/varve/sim"
	"github.com/varvedb/varve/sim/check"
	"github.com/varvedb/varve/sim/world"
)

// errFailed is the error of a run that was judged and found wrong; what is wrong has
// been printed.
var errFailed = errors.New("the run failed")

// output is where a run's details go.
type output struct {
	dir   string // for the files of failed runs
	off   []string
	trace string // kinds of entries to print, separated by commas
}

func (o *output) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&o.dir, "out", "out/sim", "directory for the files of failed runs")
	cmd.Flags().StringSliceVar(&o.off, "without", nil, "faults to switch off, such as disk.rot,net.reset")
	cmd.Flags().StringVar(&o.trace, "trace", "", "print entries of the trace: kinds separated by commas, such as event,kill,fault")
}

func newRunCommand() *cobra.Command {
	var seed uint64
	var profile string
	var out output
	cmd := &cobra.Command{
		Use:   "run --seed N",
		Short: "Run one seed",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			opts, err := sim.Draw(seed, profile)
			if err != nil {
				return err
			}
			if err := opts.Without(out.off...); err != nil {
				return err
			}
			return out.runOne(opts, nil)
		},
	}
	cmd.Flags().Uint64Var(&seed, "seed", 1, "the seed")
	cmd.Flags().StringVar(&profile, "profile", "swarm", "which faults: "+strings.Join(sim.Profiles(), ", "))
	out.flags(cmd)
	return cmd
}

func newReplayCommand() *cobra.Command {
	var out output
	cmd := &cobra.Command{
		Use:   "replay FILE",
		Short: "Run again what a file of a failed run says",
		Args:  cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			body, err := os.ReadFile(args[0])
			if err != nil {
				return err
			}
			record, tape, err := sim.ParseRecord(args[0], body)
			if err != nil {
				return err
			}
			if record.Commit != sim.Commit() {
				fmt.Fprintf(os.Stderr, "the file is of commit %s, this build of %s: the run may differ\n", record.Commit, sim.Commit())
			}
			fmt.Printf("recorded trace: %s\n", record.Hash)
			return out.runOne(record.Options, tape)
		},
	}
	out.flags(cmd)
	return cmd
}

// runOne runs a seed, or a tape, and prints how it went.
func (o *output) runOne(opts sim.Options, tape *world.Tape) error {
	fmt.Print(opts)
	begin := cpuTime()
	r := sim.Run(opts, sim.Play{Tape: tape, Log: o.printer()})
	took := cpuTime() - begin
	fmt.Printf("trace: %016x\n%d events in %v of virtual time and %v of CPU time: %.0f events/CPU-s, %.0fx\n",
		r.Hash, r.Events, r.Virtual, took.Round(time.Millisecond), float64(r.Events)/took.Seconds(), r.Virtual.Seconds()/took.Seconds())
	for i := range r.Verdicts {
		fmt.Println(r.Verdicts[i].String())
	}
	fmt.Printf("faults fired: %v\n", fired(r.Fired))
	fmt.Printf("labels covered: %v\n", r.Covered)
	if r.OK() {
		return nil
	}
	fmt.Print(r.Report())
	if err := o.keep(r); err != nil {
		return err
	}
	return errFailed
}

// printer prints the entries that were asked for.
func (o *output) printer() func(world.Entry) {
	if o.trace == "" {
		return nil
	}
	kinds := map[string]bool{}
	for _, kind := range strings.Split(o.trace, ",") {
		kinds[kind] = true
	}
	return func(e world.Entry) {
		if kinds[e.Kind.String()] || kinds["all"] {
			fmt.Println(e)
		}
	}
}

// keep writes the file of a failed run, and the picture of its first wrong page.
func (o *output) keep(r *sim.Result) error {
	if err := os.MkdirAll(o.dir, 0o755); err != nil {
		return err
	}
	path := filepath.Join(o.dir, r.Options.Name()+".json")
	if err := os.WriteFile(path, sim.NewRecord(r).Bytes(), 0o644); err != nil {
		return err
	}
	fmt.Printf("file: varve-sim replay %s\n", path)
	for i := range r.Verdicts {
		if v := &r.Verdicts[i]; !v.OK && v.At != (check.Place{}) {
			return drawPicture(strings.TrimSuffix(path, ".json")+".html", r, v.At)
		}
	}
	return nil
}

func drawPicture(path string, r *sim.Result, at check.Place) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := check.Picture(f, &r.Run, at); err != nil {
		fmt.Printf("no picture of %v: %v\n", at, err)
		return os.Remove(path)
	}
	fmt.Printf("picture of %v: %s\n", at, path)
	return nil
}

// fired is the counts without those of faults that never happened.
func fired(all check.Counts) (some check.Counts) {
	for _, count := range all {
		if count.N > 0 {
			some = append(some, count)
		}
	}
	return some
}
