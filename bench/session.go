package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"time"

	"github.com/varvedb/varve/bench/paired"
)

// Suite is a named set of measurements.
type Suite struct {
	Name   string
	Letter string // of the goals' list
	Title  string // what is measured; says what stands in for what is not built yet
	About  string // how, and how far off it is
	Weight int    // its part of a run's time: about the seconds that it takes with nine rounds
	Run    func(ctx context.Context, s *Session) error
}

// Options say how suites are run.
type Options struct {
	Rounds  int            // 0: DefaultRounds, or QuickRounds
	Quick   bool           // small and few: for smoke, never for claims
	Seed    uint64         // of everything that is drawn
	Out     string         // directory for results
	Scratch string         // directory on the file system to be measured; emptied at the end
	Peers   string         // program with the heavy peers; empty: they are missing
	Cases   *regexp.Regexp // measure only cases whose names match; nil: all
	Keep    *Keep          // what suites of one run share; nil: nothing is shared
	Until   time.Time      // no round begins that would end later; zero: as many as were asked for are done
}

// Rounds where none are asked for. Nine give quartiles of three values each.
const (
	DefaultRounds = 9
	QuickRounds   = 3
)

func (o Options) rounds() int {
	if o.Rounds > 0 {
		return o.Rounds
	}
	if o.Quick {
		return QuickRounds
	}
	return DefaultRounds
}

// Session is one run of one suite.
type Session struct {
	Options
	Result   *Result
	progress *Progress
	begun    time.Time
	rounds   time.Duration // that they took
	cleanups []func() error
	scratch  string
	pending  []recorded // of the round that runs
	recorded []recorded // of complete rounds
}

// Run runs a suite and saves its result after every round. When ctx ends, or the suite
// fails, the complete rounds stay and the error is returned.
func Run(ctx context.Context, suite Suite, opts Options, progress *Progress) (*Result, error) {
	scratch, err := os.MkdirTemp(opts.Scratch, "bench-"+suite.Name+"-")
	if err != nil {
		return nil, fmt.Errorf("make scratch directory: %w", err)
	}
	if err := os.Chmod(scratch, 0o755); err != nil { // PostgreSQL's user must get through it.
		return nil, fmt.Errorf("make scratch directory: %w", err)
	}
	s := &Session{
		Options: opts, progress: progress, begun: time.Now(), scratch: scratch,
		Result: &Result{
			Version: Version, Suite: suite.Name, Letter: suite.Letter, Title: suite.Title, About: suite.About,
			Commit: Commit(ctx), Machine: ThisMachine(scratch), Seed: opts.Seed, Quick: opts.Quick,
			RoundsAsked: opts.rounds(), Started: time.Now().UTC().Truncate(time.Second), Settings: map[string]string{},
		},
	}
	if s.Keep == nil {
		s.Keep = NewKeep(opts.Scratch)
		s.Cleanup(s.Keep.Close)
	}
	progress.suite(suite.Name)
	err = suite.Run(ctx, s)
	if err != nil {
		s.Result.Failure = err.Error()
	}
	for _, cleanup := range slices.Backward(s.cleanups) {
		err = errors.Join(err, cleanup())
	}
	err = errors.Join(err, os.RemoveAll(scratch))
	if len(s.Result.Rounds)+len(s.Result.Series) > 0 {
		s.Result.SetUp = (time.Since(s.begun) - s.rounds).Seconds()
		err = errors.Join(err, s.Result.Save(opts.Out))
	}
	progress.done(s.Result)
	return s.Result, err
}

// Dir makes a directory of the suite's own, which goes away with the session.
func (s *Session) Dir(name string) (string, error) {
	dir := filepath.Join(s.scratch, name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("make scratch directory: %w", err)
	}
	return dir, nil
}

// Cleanup has fn called when the session ends, the latest first.
func (s *Session) Cleanup(fn func() error) { s.cleanups = append(s.cleanups, fn) }

// Step tells what is being prepared.
func (s *Session) Step(format string, args ...any) { s.progress.step(fmt.Sprintf(format, args...)) }

// Note adds a remark to the result.
func (s *Session) Note(format string, args ...any) {
	s.Result.Notes = append(s.Result.Notes, fmt.Sprintf(format, args...))
}

// Miss says that something is not measured here, and why.
func (s *Session) Miss(what, why string) {
	s.Result.Missing = append(s.Result.Missing, Missing{What: what, Why: why})
}

// configured records the suite's Config.
func (s *Session) configured(cfg any) error {
	text, err := json.Marshal(cfg)
	if err != nil {
		return fmt.Errorf("encode options of %s: %w", s.Result.Suite, err)
	}
	s.Result.Options = text
	return nil
}

// Sized is a suite's Run in two sizes: full, and quick for smoke. Which one it was is in
// the result's options.
func Sized[C any](full, quick C, run func(ctx context.Context, s *Session, cfg C) error) func(context.Context, *Session) error {
	return func(ctx context.Context, s *Session) error {
		cfg := full
		if s.Quick {
			cfg = quick
		}
		if err := s.configured(cfg); err != nil {
			return err
		}
		return run(ctx, s, cfg)
	}
}

// Timed are the rounds that a picture of times is drawn from: the quiet ones, or all if
// there are none. quiet is how many of them were.
func (s *Session) Timed() (rounds []paired.Round, quiet int) {
	if rounds, _ = paired.Quiet(s.Result.Rounds); len(rounds) == 0 {
		return s.Result.Rounds, 0
	}
	return rounds, len(rounds)
}

// Plot adds a curve to the result.
func (s *Session) Plot(series ...Series) { s.Result.Series = append(s.Result.Series, series...) }

// Measure takes cases through all rounds. A later call of the same session begins with
// round 0 again and adds its cases to the rounds.
func (s *Session) Measure(ctx context.Context, cases ...paired.Case) error {
	cases = slices.DeleteFunc(cases, func(c paired.Case) bool { return !s.Wants(c.Name) })
	if len(cases) == 0 {
		return nil
	}
	arms := 0
	for _, c := range cases {
		arms += len(c.Arms)
		for _, arm := range c.Arms {
			s.keepSettings(c.Name, arm)
		}
	}
	s.progress.begin(arms, s.Result.RoundsAsked)
	watch := paired.Watch{
		Begin: func(c, arm string) { s.progress.step(c + " " + arm) },
		End: func(m paired.Measured, sample paired.Sample) {
			s.progress.advance(m)
			s.record(m.Case, m.Arm, sample)
		},
	}
	longest := time.Duration(0)
	for n := 0; s.another(n, longest); n++ {
		begin := time.Now()
		s.pending = nil
		round, err := paired.Run(ctx, n, s.before(), cases, s.scratch, watch)
		s.rounds += time.Since(begin)
		longest = max(longest, time.Since(begin))
		if err != nil {
			return fmt.Errorf("round %d: %w", n, err)
		}
		s.add(round)
		s.Result.SetUp = (time.Since(s.begun) - s.rounds).Seconds()
		if err := s.Result.Save(s.Out); err != nil {
			return err
		}
	}
	return s.Result.Save(s.Out)
}

// before are the rounds by which it is judged whether the machine is quiet enough for the
// next to begin. Smoke does not wait for that.
func (s *Session) before() []paired.Round {
	if s.Quick {
		return nil
	}
	return s.Result.Rounds
}

// EnoughQuiet is how many quiet rounds there should be, and fewer say nothing about time:
// the quartiles of five are values that were measured, neither of them the least or the
// greatest.
const EnoughQuiet = 5

// another reports whether there is to be a round n, the longest of those before having
// taken so long. Where a run has a time it may use, a suite goes on while too few of its
// rounds were quiet, up to twice as many as were asked for.
func (s *Session) another(n int, longest time.Duration) bool {
	asked := s.Result.RoundsAsked
	if n < min(asked, QuickRounds) {
		return true
	}
	if n >= asked {
		quiet, _ := paired.Quiet(s.Result.Rounds)
		if s.Until.IsZero() || s.Quick || n >= 2*asked || len(quiet) >= min(EnoughQuiet, asked) {
			return false
		}
	}
	if !s.Until.IsZero() && time.Now().Add(longest).After(s.Until) {
		if n < asked {
			s.Note("the time was up after %d of %d rounds", n, asked)
		}
		return false
	}
	if n >= asked {
		s.progress.more()
	}
	return true
}

// add puts a round's samples into the result's round of that number.
func (s *Session) add(round paired.Round) {
	r := s.Result
	r.Finished = time.Now().UTC().Truncate(time.Second)
	if round.Number < len(r.Rounds) {
		have := &r.Rounds[round.Number]
		have.Samples = append(have.Samples, round.Samples...)
		have.Canary = have.Canary.Worse(round.Canary)
	} else {
		r.Rounds = append(r.Rounds, round)
	}
	for i := range s.pending {
		s.pending[i].round = round.Number
	}
	s.recorded, s.pending = append(s.recorded, s.pending...), nil
	r.Latencies = latenciesOf(s.recorded, r.Rounds)
}

// keepSettings notes how an arm is tuned: by its name alone, unless another case has an
// arm of that name that is tuned otherwise.
func (s *Session) keepSettings(c string, arm paired.Arm) {
	name := arm.Name
	if had, ok := s.Result.Settings[name]; ok && had != arm.Settings {
		name = c + " " + name
	}
	s.Result.Settings[name] = arm.Settings
}

// MarshalConfig prints a Config for a reader.
func MarshalConfig(raw json.RawMessage) string {
	var out bytes.Buffer
	if err := json.Compact(&out, raw); err != nil {
		return string(raw)
	}
	return out.String()
}
