package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime/pprof"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/varvedb/varve/bench"
	"github.com/varvedb/varve/bench/suite"
)

func newRunCommand() *cobra.Command {
	var opts bench.Options
	var cases, profile string
	var within time.Duration
	cmd := &cobra.Command{
		Use:   "run SUITE...|all",
		Short: "Run suites and save their results",
		Long: "Run suites and save their results, after each round. Ctrl-C or SIGTERM ends a run; complete rounds stay.\n" +
			"The rounds of a suite compare Varve with its peers in turns, so other load on the machine costs rounds, not truth.",
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, names []string) (err error) {
			suites, err := suite.Named(names)
			if err != nil {
				return err
			}
			if cases != "" {
				if opts.Cases, err = regexp.Compile(cases); err != nil {
					return fmt.Errorf("read --cases: %w", err)
				}
			}
			if profile != "" {
				stop, err := startProfile(profile)
				if err != nil {
					return err
				}
				defer func() { err = errors.Join(err, stop()) }()
			}
			opts.Out = outOf(opts, profile)
			return run(cmd.Context(), suites, opts, within)
		},
	}
	cmd.Flags().IntVar(&opts.Rounds, "rounds", 0, fmt.Sprintf("rounds of each suite (default %d, quick %d)", bench.DefaultRounds, bench.QuickRounds))
	cmd.Flags().BoolVar(&opts.Quick, "quick", false, "small and few, for smoke: says nothing about time")
	cmd.Flags().StringVar(&opts.Out, "out", "", fmt.Sprintf("directory for the results (default %s, the run of record; with --quick %s, with --cases or --cpuprofile %s)", recordOut, quickOut, partOut))
	cmd.Flags().StringVar(&opts.Scratch, "scratch", "", "directory on the file system to be measured (default: the system's for temporary files)")
	cmd.Flags().Uint64Var(&opts.Seed, "seed", 1, "of everything that is drawn")
	cmd.Flags().StringVar(&opts.Peers, "peers", "bin/varve-bench-peers", "the program with Pebble and etcd; make bench-peers builds it")
	cmd.Flags().StringVar(&profile, "cpuprofile", "", "write a CPU profile of this process, in which all of Varve but PostgreSQL runs")
	cmd.Flags().DurationVar(&within, "within", 0, "how long the run may take: rounds beyond the first three of a suite that do not fit are left out, and where few were quiet there are more; 0: as many rounds as were asked for")
	cmd.Flags().StringVar(&cases, "cases", "", "measure only cases whose names match this regular expression; one that matches none has them listed")
	return cmd
}

// Where results go if nobody says where. The run of record is committed, so that smoke and
// parts of a run must not replace it.
const (
	recordOut = "bench/results/latest"
	quickOut  = "out/bench-quick"
	partOut   = "out/bench"
)

func outOf(opts bench.Options, profile string) string {
	switch {
	case opts.Out != "":
		return opts.Out
	case opts.Quick:
		return quickOut
	case opts.Cases != nil || profile != "":
		return partOut
	default:
		return recordOut
	}
}

// startProfile begins a CPU profile; stop ends it.
func startProfile(path string) (stop func() error, err error) {
	f, err := os.Create(path)
	if err != nil {
		return nil, fmt.Errorf("make profile: %w", err)
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return nil, errors.Join(fmt.Errorf("make profile: %w", err), f.Close())
	}
	return func() error {
		pprof.StopCPUProfile()
		return f.Close()
	}, nil
}

// run runs suites one after the other. One that fails does not keep the others from
// running; the end of ctx does.
func run(ctx context.Context, suites []bench.Suite, opts bench.Options, within time.Duration) (err error) {
	if err := os.MkdirAll(opts.Out, 0o755); err != nil {
		return fmt.Errorf("make directory for results: %w", err)
	}
	if _, err := os.Stat(opts.Peers); err != nil {
		fmt.Fprintf(os.Stderr, "%s is not there: no comparison with Pebble and etcd (make bench-peers)\n", opts.Peers)
		opts.Peers = ""
	} else if opts.Peers, err = filepath.Abs(opts.Peers); err != nil {
		return fmt.Errorf("find peers: %w", err)
	}
	progress := bench.NewProgress(os.Stderr, isTerminal(os.Stderr), len(suites))
	opts.Keep = bench.NewKeep(opts.Scratch)
	defer func() { err = errors.Join(err, opts.Keep.Close()) }()
	var failed, empty []error
	end := time.Now().Add(within)
	for i, s := range suites {
		if within > 0 {
			opts.Until = share(time.Now(), end, suites[i:])
		}
		_, err := bench.Run(ctx, s, opts, progress)
		if ctx.Err() != nil {
			return errors.Join(errors.New("interrupted; complete rounds are in "+opts.Out), err)
		}
		if errors.Is(err, bench.ErrNoCase) {
			empty = append(empty, err)
			continue
		}
		if err != nil {
			failed = append(failed, fmt.Errorf("suite %s: %w", s.Name, err))
			fmt.Fprintln(os.Stderr, strings.TrimSpace(failed[len(failed)-1].Error()))
		}
	}
	if len(empty) == len(suites) { // A filter that finds something need not do so in every suite.
		return errors.Join(empty...)
	}
	return errors.Join(failed...)
}

// share is until when the first of the suites that are left may run: a fourth longer than
// its part of the time that is left, for some do not use theirs up.
func share(now, end time.Time, suites []bench.Suite) time.Time {
	sum := 0
	for _, s := range suites {
		sum += s.Weight
	}
	left := end.Sub(now)
	return now.Add(min(left, left*5*time.Duration(suites[0].Weight)/time.Duration(4*sum)))
}

func isTerminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}
