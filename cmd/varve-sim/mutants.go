package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/varvedb/varve/sim"
	"github.com/varvedb/varve/sim/mutant"
)

// mutants is one run of the command.
type mutants struct {
	bench mutant.Bench
	dir   string
	only  []string
	quick bool
	keep  string
	write string

	search bool
	times  int // hunts of a comparison, each way
	runs   int // the most of each

	workers int
	began   time.Time
	trials  []*mutant.Trial
}

func newMutantsCommand() *cobra.Command {
	var m mutants
	cmd := &cobra.Command{
		Use:   "mutants",
		Short: "Plant bugs, one at a time, and see whether they are found",
		Long: `Plant bugs, one at a time, and see whether they are found.

For each: seeds are run until one fails; that seed is run without the bug and must pass; then twice as many seeds are run, at
least 50, with the faults off that the bug needs, and must all pass. What a file of a mutant holds: go doc ./sim/mutant.

Run it in Varve's source tree, which it does not touch, and which must stay as it is meanwhile. It fails if a bug survives that must not,
or a control does not.`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			return m.run(ctx)
		},
	}
	cmd.Flags().StringVar(&m.dir, "dir", "", "directory of mutants (default: the bank, sim/mutant/bank)")
	cmd.Flags().StringSliceVar(&m.only, "only", nil, "only those mutants whose names contain one of these")
	cmd.Flags().BoolVar(&m.search, "search", false, "compare instead how many runs it takes to find each, with fresh seeds and with changed tapes; --cpu bounds all of it")
	cmd.Flags().IntVar(&m.times, "times", 5, "hunts of each way in a comparison")
	cmd.Flags().IntVar(&m.runs, "runs", 60, "runs of such a hunt, at most")
	cmd.Flags().BoolVar(&m.quick, "quick", false, "only those that are marked as quick, with controls of ten seeds")
	cmd.Flags().Uint64Var(&m.bench.First, "seed", 1, "the first seed")
	cmd.Flags().IntVar(&m.bench.Seeds, "seeds", 0, "bound of every hunt in seeds (default: what each mutant says)")
	cmd.Flags().DurationVar(&m.bench.CPU, "cpu", mutant.HuntCPU, "bound of every hunt in processor time")
	cmd.Flags().IntVar(&m.bench.ControlMin, "control", mutant.ControlSeeds, "seeds of a control, at least; 0: no controls")
	cmd.Flags().StringSliceVar(&m.bench.Off, "off", nil, "checkers that do not count")
	cmd.Flags().StringVar(&m.bench.Results, "results", "", "a file in which results are kept, for a run that goes on where another one was interrupted")
	cmd.Flags().IntVarP(&m.workers, "workers", "j", 1, "mutants that are tried at once")
	cmd.Flags().StringVar(&m.keep, "keep", "", "leave the mutated simulators in this directory")
	cmd.Flags().StringVar(&m.write, "write", "", "put the table into this document, between its marks")
	return cmd
}

// quickControl is how many seeds a control has at least if it is to be quick.
const quickControl = 10

func (m *mutants) run(ctx context.Context) (err error) {
	if m.bench.Root, err = mutant.Root(ctx); err != nil {
		return err
	}
	all, err := m.load()
	if err != nil {
		return err
	}
	if m.write != "" && !m.search && !m.isWhole() {
		return errors.New("a table that is not of the whole bank, with its budgets and controls, is not written")
	}
	if m.quick {
		m.bench.ControlMin = min(m.bench.ControlMin, quickControl)
	}
	if m.bench.Work = m.keep; m.keep == "" {
		if m.bench.Work, err = os.MkdirTemp("", "varve-mutants-"); err != nil {
			return err
		}
		defer os.RemoveAll(m.bench.Work)
	} else if m.bench.Work, err = filepath.Abs(m.keep); err != nil {
		return err
	}
	if m.bench.Results != "" {
		if err := os.MkdirAll(filepath.Dir(m.bench.Results), 0o755); err != nil {
			return err
		}
	}
	m.began = time.Now()
	if m.search {
		return m.compare(ctx, all)
	}
	err = m.tryAll(ctx, all)
	fmt.Print(mutant.Table(m.trials))
	if ctx.Err() != nil {
		return fmt.Errorf("interrupted: %d of %d mutants were tried", len(m.trials), len(all))
	}
	if err != nil {
		return err
	}
	if m.write != "" {
		table := fmt.Sprintf("Of commit %s, %d at a time.\n\n%s", sim.Commit(), m.workers, mutant.Table(m.trials))
		if err := m.insert(mutant.Insert, table); err != nil {
			return err
		}
	}
	return m.verdict()
}

func (m *mutants) load() ([]*mutant.Mutant, error) {
	if m.dir == "" {
		m.dir = m.bankDir()
	}
	all, err := mutant.Load(m.dir)
	if err != nil {
		return nil, err
	}
	all = slices.DeleteFunc(all, func(t *mutant.Mutant) bool {
		named := func(part string) bool { return strings.Contains(t.Name, part) }
		return m.quick && !t.Quick || len(m.only) > 0 && !slices.ContainsFunc(m.only, named)
	})
	if len(all) == 0 {
		return nil, fmt.Errorf("no mutant of %s is asked for", m.dir)
	}
	for _, t := range all {
		// Before any is tried: a text that is not there is known at once.
		if _, err := t.Apply(m.bench.Root); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// tryAll tries all, some at a time. One that cannot be tried keeps no other from it.
func (m *mutants) tryAll(ctx context.Context, all []*mutant.Mutant) error {
	plain, err := m.bench.Build(ctx, nil)
	if err != nil {
		return err
	}
	before, err := os.ReadFile(plain)
	if err != nil {
		return err
	}
	trials, wrong := make([]*mutant.Trial, len(all)), make([]error, len(all))
	var next, done atomic.Int64
	var workers sync.WaitGroup
	for range m.workers {
		workers.Go(func() {
			for i := int(next.Add(1)) - 1; i < len(all) && ctx.Err() == nil; i = int(next.Add(1)) - 1 {
				trials[i], wrong[i] = m.bench.Try(ctx, all[i], plain)
				if ctx.Err() == nil {
					m.report(int(done.Add(1)), len(all), all[i].Name, trials[i], wrong[i])
				}
			}
		})
	}
	workers.Wait()
	m.trials = slices.DeleteFunc(trials, func(t *mutant.Trial) bool { return t == nil })
	if ctx.Err() == nil {
		wrong = append(wrong, m.unchanged(ctx, before))
	}
	return errors.Join(wrong...)
}

// unchanged builds the simulator again: were it another one now, the trials would not be
// of one.
func (m *mutants) unchanged(ctx context.Context, before []byte) error {
	plain, err := m.bench.Build(ctx, nil)
	if err != nil {
		return err
	}
	after, err := os.ReadFile(plain)
	if err == nil && !bytes.Equal(before, after) {
		err = errors.New("the source tree changed while mutants were tried: run them again")
	}
	return err
}

// report tells how far it is.
func (m *mutants) report(done, all int, name string, t *mutant.Trial, err error) {
	took := time.Since(m.began)
	left := took / time.Duration(done) * time.Duration(all-done)
	text := fmt.Sprint(err)
	if err == nil {
		text = told(t)
	}
	fmt.Fprintf(os.Stderr, "%d of %d, about %v left: %s: %s\n", done, all, left.Round(time.Second), name, text)
}

// told is a trial in a line.
func told(t *mutant.Trial) string {
	switch {
	case !t.Killed:
		return fmt.Sprintf("SURVIVES %d seeds, %v of processor time", t.Seeds, t.CPU.Round(time.Second))
	case t.Wrong != "":
		return t.Wrong
	}
	text := fmt.Sprintf("killed at seed %d by %s, %v of processor time", t.Seed, strings.Join(t.By, ", "), t.CPU.Round(time.Second/10))
	if !t.Expected() {
		text += ", expected by " + strings.Join(t.Mutant.FoundBy, ", ")
	}
	line, _, _ := strings.Cut(t.Says, "\n")
	return text + ": " + line
}

// isWhole reports whether the trials are of the whole bank, as it is.
func (m *mutants) isWhole() bool {
	return m.dir == m.bankDir() && !m.quick && len(m.only) == 0 && len(m.bench.Off) == 0 &&
		m.bench.First == 1 && m.bench.Seeds == 0 && m.bench.CPU >= mutant.HuntCPU && m.bench.ControlMin >= mutant.ControlSeeds
}

func (m *mutants) bankDir() string { return filepath.Join(m.bench.Root, "sim", "mutant", "bank") }

// insert puts a table into the document.
func (m *mutants) insert(insert func(document []byte, table string) ([]byte, error), table string) error {
	text, err := os.ReadFile(m.write)
	if err != nil {
		return err
	}
	if text, err = insert(text, table); err != nil {
		return fmt.Errorf("write %s: %w", m.write, err)
	}
	return os.WriteFile(m.write, text, 0o644)
}

// killedMin is how many of the whole bank are to be killed, in percent, whatever excuses
// the others have.
const killedMin = 95

// verdict fails if a mutant survived or a control did not.
func (m *mutants) verdict() error {
	bad := 0
	for _, t := range m.trials {
		if !t.OK() {
			bad++
		}
	}
	if bad > 0 {
		return fmt.Errorf("%d of %d mutants survive and must not, or their controls do not", bad, len(m.trials))
	}
	if killed := mutant.Killed(m.trials); m.isWhole() && 100*killed < killedMin*len(m.trials) {
		return fmt.Errorf("%d of %d mutants are killed, less than %d %%", killed, len(m.trials), killedMin)
	}
	return nil
}
