package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/bench/latency"
	"github.com/varvedb/varve/bench/paired"
)

func options(t *testing.T) Options {
	return Options{Rounds: 3, Quick: true, Seed: 7, Out: t.TempDir(), Scratch: t.TempDir()}
}

func quiet() *Progress { return NewProgress(&bytes.Buffer{}, false, 1) }

// counting measures the number of its calls so far, and fails at call stop.
func counting(name string, calls *int, stop int) paired.Arm {
	return paired.Arm{Name: name, Settings: "counts", Run: func(context.Context, int) (paired.Sample, error) {
		*calls++
		if *calls == stop {
			return paired.Sample{}, errors.New("interrupted")
		}
		h := latency.New()
		h.Record(time.Duration(*calls) * time.Millisecond)
		return paired.Sample{Metrics: map[string]float64{"calls": float64(*calls)}, Latency: h}, nil
	}}
}

func TestAResultSurvivesItsFile(t *testing.T) {
	opts, calls, cleaned := options(t), 0, false
	suite := Suite{Name: "s", Letter: "a", Title: "t", About: "b", Run: func(ctx context.Context, s *Session) error {
		dir, err := s.Dir("d")
		if err != nil {
			return err
		}
		s.Cleanup(func() error { cleaned = true; _, err := os.Stat(dir); return err })
		s.Note("a %s", "note")
		s.Miss("etcd", "not there")
		s.Plot(Series{Figure: "f", Name: "n", X: "x", Y: "y", XS: []float64{1, 2}, YS: []float64{3, 4}})
		if err := s.configured(struct{ Ops int }{5}); err != nil {
			return err
		}
		if err := s.Measure(ctx, paired.Case{Name: "c", Arms: []paired.Arm{counting("A", &calls, -1), counting("B", &calls, -1)}}); err != nil {
			return err
		}
		return s.Measure(ctx, paired.Case{Name: "later", Arms: []paired.Arm{counting("A", &calls, -1)}})
	}}
	made, err := Run(t.Context(), suite, opts, quiet())
	require.NoError(t, err)
	require.True(t, cleaned)
	results, err := Load(opts.Out)
	require.NoError(t, err)
	require.Len(t, results, 1)
	read := results[0]
	require.Equal(t, made.Commit, read.Commit)
	require.Equal(t, made.Machine, read.Machine)
	require.EqualValues(t, 7, read.Seed)
	require.Equal(t, map[string]string{"A": "counts", "B": "counts"}, read.Settings)
	require.Equal(t, `{"Ops":5}`, MarshalConfig(read.Options))
	require.Equal(t, []string{"a note"}, read.Notes)
	require.Equal(t, made.Series, read.Series)
	require.Len(t, read.Rounds, 3, "cases that are measured later join the same rounds")
	require.Equal(t, []float64{1, 4, 5}, paired.Values(read.Rounds, "c", "A", "", "calls"))
	require.Equal(t, []float64{7, 8, 9}, paired.Values(read.Rounds, "later", "A", "", "calls"))
	require.Equal(t, "c", read.Pairs()[0].Name)
	require.Len(t, read.Pairs()[0].Arms, 2)
	h, err := read.Latencies[0].Histogram()
	require.NoError(t, err)
	require.EqualValues(t, read.Latencies[0].Rounds, h.Count(), "one operation in each round")
	require.Equal(t, made.Latencies, read.Latencies)

	csv, err := os.ReadFile(filepath.Join(opts.Out, "s.csv"))
	require.NoError(t, err)
	lines := strings.Split(strings.TrimSpace(string(csv)), "\n")
	require.Equal(t, "round,quiet,case,arm,metric,value", lines[0])
	require.Regexp(t, `^0,(true|false),c,A,calls,1$`, lines[1])
	require.Len(t, lines, 1+3*3*2, "each round has three samples of two metrics")
	left, err := os.ReadDir(opts.Scratch)
	require.NoError(t, err)
	require.Empty(t, left)
}

func TestSettingsOfCasesStandSideBySide(t *testing.T) {
	s := &Session{Result: &Result{Settings: map[string]string{}}}
	for _, c := range []string{"c", "d", "e"} {
		s.keepSettings(c, paired.Arm{Name: "A", Settings: map[string]string{"c": "so", "d": "so", "e": "otherwise"}[c]})
	}
	require.Equal(t, map[string]string{"A": "so", "e A": "otherwise"}, s.Result.Settings)
}

func TestAnInterruptedRunLeavesCompleteRounds(t *testing.T) {
	opts, calls := options(t), 0
	suite := Suite{Name: "s", Run: func(ctx context.Context, s *Session) error {
		return s.Measure(ctx, paired.Case{Name: "c", Arms: []paired.Arm{counting("A", &calls, 4), counting("B", &calls, -1)}})
	}}
	_, err := Run(t.Context(), suite, opts, quiet())
	require.ErrorContains(t, err, "round 1: measure A of c: interrupted")
	results, err := Load(opts.Out)
	require.NoError(t, err)
	require.Len(t, results[0].Rounds, 1)
	require.Contains(t, results[0].Failure, "interrupted")
}

func TestLatenciesAreOfQuietRounds(t *testing.T) {
	s := &Session{Result: &Result{}}
	round := func(n int, echo, took time.Duration) {
		h := latency.New()
		h.Record(took)
		s.record("c", "A", paired.Sample{Latency: h})
		s.add(paired.Round{Number: n, Canary: paired.Canary{EchoNanos: float64(echo)}})
	}
	merged := func() (ms []int64) {
		for _, b := range s.Result.Latencies[0].Buckets {
			require.EqualValues(t, 1, b.Count)
			ms = append(ms, b.Nanos/1e6)
		}
		return ms
	}
	round(0, 20*time.Microsecond, 50*time.Millisecond)
	require.Equal(t, []int64{50}, merged())
	round(1, 10*time.Microsecond, 5*time.Millisecond)
	require.Equal(t, []int64{5}, merged(), "a later round shows that the first was disturbed")
	round(2, 10*time.Microsecond, 2*time.Millisecond)
	require.Equal(t, []int64{2, 5}, merged())
	require.Equal(t, "2 quiet rounds of 3", s.Result.Latencies[0].From(s.Result))

	h := latency.New()
	h.Record(time.Second)
	s.record("c", "A", paired.Sample{Latency: h})
	s.pending = nil // What Measure does with a round that failed.
	round(3, 10*time.Microsecond, 9*time.Millisecond)
	require.Equal(t, []int64{2, 5, 9}, merged())

	s.Result.Rounds[3].Canary.CopyNanos = 1
	for n := range 3 {
		s.Result.Rounds[n].Canary.CopyNanos = 10
	}
	s.Result.Rounds[3].Canary.EchoNanos = 100_000
	s.Result.Latencies = latenciesOf(s.recorded, s.Result.Rounds)
	require.Equal(t, []int64{2, 5, 9, 50}, merged(), "each is disturbed in one way or the other")
	require.Equal(t, "4 rounds, NONE of them quiet", s.Result.Latencies[0].From(s.Result))
	require.Equal(t, "all 4 rounds, 4 of them disturbed", (&Latencies{}).From(s.Result), "a file from before")
}

func TestRoundsEndWhenTheTimeIsUp(t *testing.T) {
	opts, calls := options(t), 0
	opts.Rounds, opts.Until = 5, time.Now()
	suite := Suite{Name: "s", Run: func(ctx context.Context, s *Session) error {
		return s.Measure(ctx, paired.Case{Name: "c", Arms: []paired.Arm{counting("A", &calls, -1)}})
	}}
	_, err := Run(t.Context(), suite, opts, quiet())
	require.NoError(t, err)
	results, err := Load(opts.Out)
	require.NoError(t, err)
	require.Len(t, results[0].Rounds, QuickRounds)
	require.Equal(t, []string{"the time was up after 3 of 5 rounds"}, results[0].Notes)
}

func TestASuiteGoesOnWhileTooFewRoundsWereQuiet(t *testing.T) {
	rounds := func(asked, noisy int, until time.Time, quick bool) int {
		s := &Session{Options: Options{Until: until, Quick: quick}, Result: &Result{RoundsAsked: asked}, progress: quiet()}
		for n := 0; s.another(n, time.Minute); n++ {
			r := paired.Round{Number: n}
			if n < noisy {
				r.Conditions.OthersShare = 1
			}
			s.Result.Rounds = append(s.Result.Rounds, r)
		}
		return len(s.Result.Rounds)
	}
	later := time.Now().Add(time.Hour)
	require.Equal(t, 9, rounds(9, 4, later, false), "five were quiet")
	require.Equal(t, 11, rounds(9, 6, later, false))
	require.Equal(t, 18, rounds(9, 100, later, false), "twice as many, and no more")
	require.Equal(t, 9, rounds(9, 100, time.Time{}, false), "nobody gave it time")
	require.Equal(t, 3, rounds(9, 100, time.Now().Add(time.Second), false), "no round fits into the time")
	require.Equal(t, 3, rounds(3, 100, later, true), "smoke")
	require.Equal(t, 2, rounds(2, 0, later, false))
}

func TestAFilterLeavesOutWhatIsNotWanted(t *testing.T) {
	var built []string
	build := func(name string) Builder {
		return One(name, func(context.Context) (paired.Case, error) {
			built = append(built, name)
			return paired.Case{Name: name}, nil
		})
	}
	s := &Session{Result: &Result{Suite: "s"}}
	all := []Builder{build("a/x"), build("a/y"), build("b"), {Names: []string{"drawn"}}}
	for filter, want := range map[string][]string{"": {"a/x", "a/y", "b"}, "a/": {"a/x", "a/y"}, "^a/y$": {"a/y"}, "b|x": {"a/x", "b"}, "drawn": nil} {
		built = nil
		s.Cases = regexp.MustCompile(filter)
		cases, err := s.Build(t.Context(), all...)
		require.NoError(t, err)
		require.Len(t, cases, len(want))
		require.Equal(t, want, built, "filter %q", filter)
	}
	s.Cases = regexp.MustCompile("zzz")
	_, err := s.Build(t.Context(), all...)
	require.ErrorIs(t, err, ErrNoCase)
	require.ErrorContains(t, err, `no case matches "zzz" in suite s, which has: a/x, a/y, b, drawn`)
	s.Cases = nil
	_, err = s.Build(t.Context(), Builder{Names: []string{"c"}, Build: func(context.Context) ([]paired.Case, error) {
		return []paired.Case{{Name: "d"}}, nil
	}})
	require.ErrorContains(t, err, "has a case d that no filter finds")
}

func TestForeignFilesAreRefused(t *testing.T) {
	_, err := Parse("x", []byte(`{"version": 99}`))
	require.ErrorContains(t, err, "version 99 is not 2")
	_, err = Parse("x", []byte(`{"version": 2, "latencies": [{"case":"c","arm":"a","ns_count":[1]}]}`))
	require.ErrorContains(t, err, "odd number")
	_, err = Parse("x", []byte(`{`))
	require.Error(t, err)
	_, err = Load(t.TempDir())
	require.ErrorContains(t, err, "holds no results")
}

func TestCompactedJSONSaysTheSame(t *testing.T) {
	want := map[string]any{"a": []any{1.0, 2.5, -3e9}, "b": []any{}, "c": "1", "d": []any{[]any{1.0}, "x"}}
	text, err := json.MarshalIndent(want, "", " ")
	require.NoError(t, err)
	short := compact(append(text, '\n'))
	var got map[string]any
	require.NoError(t, json.Unmarshal(short, &got))
	require.Equal(t, want, got)
	require.Less(t, bytes.Count(short, []byte("\n")), bytes.Count(text, []byte("\n")))
}

func TestTheBarTellsTheTimeLeft(t *testing.T) {
	p := NewProgress(&bytes.Buffer{}, false, 11)
	p.suite("append")
	require.Equal(t, " 1/11 append     ........................ prepares: files", p.line("files"))
	p.begin(2, 2)
	require.Contains(t, p.line("x"), "  0% first round")
	p.advance(paired.Measured{Case: "c", Arm: "A", Seconds: 10})
	require.Contains(t, p.line("x"), " 25% first round", "nobody knows how long B takes")
	p.advance(paired.Measured{Case: "c", Arm: "B", Seconds: 50})
	require.Equal(t, " 1/11 append     ############............  50%   1m0s left  c B", p.line("c B"))
	p.advance(paired.Measured{Case: "c", Arm: "B", Seconds: 40})
	require.Contains(t, p.line("x"), " 75%    10s left", "A is as long as it was")
	p.advance(paired.Measured{Case: "c", Arm: "A", Seconds: 12})
	require.Contains(t, p.line("x"), "100%     0s left")
}

func TestWhatSuitesShareIsMadeOnce(t *testing.T) {
	scratch, calls := t.TempDir(), 0
	opts := options(t)
	opts.Keep = NewKeep(scratch)
	suite := Suite{Name: "s", Run: func(ctx context.Context, s *Session) error {
		path, err := Kept(s.Keep, "file", func(dir string) (string, error) {
			calls++
			return filepath.Join(dir, "f"), os.WriteFile(filepath.Join(dir, "f"), []byte("x"), 0o644)
		})
		if err != nil {
			return err
		}
		_, err = os.ReadFile(path)
		return err
	}}
	for range 2 {
		_, err := Run(t.Context(), suite, opts, quiet())
		require.NoError(t, err)
	}
	require.Equal(t, 1, calls)
	_, err := Kept(opts.Keep, "broken", func(string) (int, error) { return 0, errors.New("broken") })
	require.ErrorContains(t, err, "broken")
	require.NoError(t, opts.Keep.Close())
	left, err := os.ReadDir(scratch)
	require.NoError(t, err)
	require.Empty(t, left)
}
