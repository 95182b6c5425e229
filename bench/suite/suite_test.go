package suite_test

import (
	"bytes"
	"context"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/bench"
	"github.com/varvedb/varve/bench/goal"
	"github.com/varvedb/varve/bench/paired"
	"github.com/varvedb/varve/bench/postgres"
	"github.com/varvedb/varve/bench/stage"
	"github.com/varvedb/varve/bench/suite"
	"github.com/varvedb/varve/bench/suite/appendlog"
	"github.com/varvedb/varve/bench/suite/getpage"
	"github.com/varvedb/varve/bench/suite/ingest"
	"github.com/varvedb/varve/bench/suite/redo"
	"github.com/varvedb/varve/bench/suite/travel"
)

func TestSuitesHaveTheLettersOfTheGoals(t *testing.T) {
	letters, names := "", map[string]bool{}
	for _, s := range suite.All() {
		letters += s.Letter
		require.False(t, names[s.Name])
		names[s.Name] = true
		require.NotEmpty(t, s.Title)
		require.NotEmpty(t, s.About)
	}
	require.Equal(t, "abcdefghijk", letters)
	goals, err := goal.All()
	require.NoError(t, err)
	for _, g := range goals {
		require.True(t, g.Missing != "" || names[g.Suite], "goal %s is measured by a suite", g.ID)
	}
}

func TestSuitesAreFoundByNameAndLetter(t *testing.T) {
	found, err := suite.Named([]string{"getpage", "a"})
	require.NoError(t, err)
	require.Equal(t, "getpage", found[0].Name)
	require.Equal(t, "append", found[1].Name)
	all, err := suite.Named([]string{"all"})
	require.NoError(t, err)
	require.Len(t, all, len(suite.All()))
	_, err = suite.Named([]string{"speed"})
	require.ErrorContains(t, err, "there is no suite speed: there are append, ingest")
}

// Suites that need no PostgreSQL run, tiny, and leave what their goals are judged by.
func TestTinyRunsMeasureWhatTheGoalsAsk(t *testing.T) {
	tiny := map[string]func(context.Context, *bench.Session) error{
		"append": func(ctx context.Context, s *bench.Session) error {
			return appendlog.Run(ctx, s, appendlog.Config{NodeOps: 20, CommitOps: 32, Clients: []int{1, 16}, Stream: 1 << 20, SlowOps: 2, Paced: 0.1, PacedOps: 10})
		},
		"getpage": func(ctx context.Context, s *bench.Session) error {
			return getpage.Run(ctx, s, getpage.Config{Pages: 20, DeltaBytes: 50, Ops: 20, Deltas: []int{0, 10, 100}, Layers: []int{1, 16}, Sizes: []int{1}, WireOps: 100})
		},
		"redo": func(ctx context.Context, s *bench.Session) error {
			return redo.Run(ctx, s, redo.Config{Pages: 20, PageOps: 20})
		},
		"travel": func(ctx context.Context, s *bench.Session) error {
			return travel.Run(ctx, s, travel.Config{Pages: 20, Updates: 10, Depths: []int{1, 64}, Ops: 20, History: 2, Commits: 50})
		},
	}
	scratch, err := os.MkdirTemp("", "b")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(scratch)) })
	opts := bench.Options{Rounds: 2, Quick: true, Seed: 1, Out: t.TempDir(), Scratch: scratch}
	opts.Cases = regexp.MustCompile(`^(node|commit/8KiB|stream|slow|paced|hot|file|lz4|layers|wire|size|page|records/generic|depth|history|time)`)
	progress := bench.NewProgress(&bytes.Buffer{}, false, 4)
	goals, err := goal.All()
	require.NoError(t, err)
	judged := 0
	for _, s := range suite.All() {
		if tiny[s.Name] == nil {
			continue
		}
		s.Run = tiny[s.Name]
		r, err := bench.Run(t.Context(), s, opts, progress)
		require.NoError(t, err, s.Name)
		require.Len(t, r.Rounds, 2)
		for _, g := range goals {
			if g.Suite != s.Name || g.Missing != "" || g.Peer == "etcd" || g.Peer == "pebble" || !opts.Cases.MatchString(g.Case) {
				continue
			}
			require.NotEmpty(t, paired.Values(r.Rounds, g.Case, g.Arm, g.Peer, g.Metric), "goal %s finds what it is judged by", g.ID)
			judged++
		}
	}
	require.Greater(t, judged, 15)
}

// namesOf asks a suite what a filter can pick, by one that picks nothing. That builds
// nothing.
func namesOf(t *testing.T, s bench.Suite, opts bench.Options) []string {
	opts.Cases = regexp.MustCompile("^nothing$")
	_, err := bench.Run(t.Context(), s, opts, bench.NewProgress(&bytes.Buffer{}, false, 1))
	require.ErrorIs(t, err, bench.ErrNoCase, s.Name)
	_, list, found := strings.Cut(err.Error(), "which has: ")
	require.True(t, found, "%v", err)
	names := strings.Split(list, ", ")
	slices.Sort(names)
	require.Len(t, slices.Compact(slices.Clone(names)), len(names), "%s: no two have one name", s.Name)
	return names
}

// What a filter can pick holds every case that a goal is judged by.
func TestEverySuiteTellsItsCases(t *testing.T) {
	if _, err := postgres.Find(t.Context()); err != nil {
		t.Skip("some suites ask for PostgreSQL first: ", err)
	}
	opts := bench.Options{Out: t.TempDir(), Scratch: t.TempDir()}
	names := map[string][]string{}
	for _, s := range suite.All() {
		names[s.Name] = namesOf(t, s, opts)
		require.Positive(t, s.Weight, s.Name)
	}
	goals, err := goal.All()
	require.NoError(t, err)
	for _, g := range goals {
		require.True(t, g.Missing != "" || slices.Contains(names[g.Suite], g.Case), "goal %s is of %s of suite %s, which has %v", g.ID, g.Case, g.Suite, names[g.Suite])
	}
}

// A case's own name is a filter that picks it, and nothing else.
func TestEveryNameIsAFilter(t *testing.T) {
	scratch, err := os.MkdirTemp("", "b")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(scratch)) })
	require.NoError(t, os.Chmod(scratch, 0o755)) // PostgreSQL's user must get through it.
	opts := bench.Options{Rounds: 1, Quick: true, Seed: 1, Out: t.TempDir(), Scratch: scratch}
	tpcb := stage.TPCB{Scale: 1, Transactions: 4000} // PostgreSQL tells the time of its redo in hundredths of a second.
	for name, run := range map[string]func(context.Context, *bench.Session) error{
		"getpage": func(ctx context.Context, s *bench.Session) error {
			return getpage.Run(ctx, s, getpage.Config{Pages: 8, DeltaBytes: 50, Ops: 5, Deltas: []int{0, 10}, Layers: []int{2}, Sizes: []int{1}, WireOps: 5})
		},
		"ingest": func(ctx context.Context, s *bench.Session) error {
			return ingest.Run(ctx, s, ingest.Config{TPCB: tpcb, Copy: 100, Records: 1600, Pages: 100})
		},
	} {
		s := bench.Suite{Name: name, Run: run}
		for _, c := range namesOf(t, s, opts) {
			if _, err := postgres.Find(t.Context()); name == "ingest" && (err != nil || c != "ingest/tpcb") {
				continue // Each makes a log anew.
			}
			opts.Cases = regexp.MustCompile("^" + regexp.QuoteMeta(c) + "$")
			r, err := bench.Run(t.Context(), s, opts, bench.NewProgress(&bytes.Buffer{}, false, 1))
			require.NoError(t, err, "%s %s", name, c)
			require.Len(t, r.Rounds, 1, "%s %s", name, c)
			for _, sample := range r.Rounds[0].Samples {
				require.Equal(t, c, sample.Case)
			}
		}
	}
}
