package goal

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/varvedb/varve/bench"
	"github.com/varvedb/varve/bench/paired"
)

//go:embed goals.json
var text []byte

// Kind says how a goal is measured, and so when it can be judged.
type Kind string

// The kinds.
const (
	Counter Kind = "counter"
	CPU     Kind = "cpu"
	Time    Kind = "time"
)

// Goal is one goal.
type Goal struct {
	ID      string  `json:"id"` // the letter of performance's key path, a dot, a word
	Text    string  `json:"text"`
	Suite   string  `json:"suite"`
	Case    string  `json:"case"`
	Arm     string  `json:"arm"`
	Peer    string  `json:"peer"` // empty: the metric itself is compared
	Metric  string  `json:"metric"`
	Op      string  `json:"op"` // <=, < or >=
	Bound   float64 `json:"bound"`
	Kind    Kind    `json:"kind"`
	Missing string  `json:"missing"` // why it cannot be measured yet; then the others but ID and Text are empty
}

// All are the goals, in their order.
func All() ([]Goal, error) { return Parse(text) }

// Parse reads a list of goals and checks each.
func Parse(text []byte) (goals []Goal, err error) {
	if err := json.Unmarshal(text, &goals); err != nil {
		return nil, fmt.Errorf("read goals: %w", err)
	}
	seen := map[string]bool{}
	for _, g := range goals {
		if err := g.validate(); err != nil {
			return nil, fmt.Errorf("goal %q: %w", g.ID, err)
		}
		if seen[g.ID] {
			return nil, fmt.Errorf("goal %q is there twice", g.ID)
		}
		seen[g.ID] = true
	}
	return goals, nil
}

func (g *Goal) validate() error {
	if g.ID == "" || g.Text == "" {
		return fmt.Errorf("no id or no text")
	}
	if g.Missing != "" {
		return nil
	}
	if !slices.Contains([]Kind{Counter, CPU, Time}, g.Kind) {
		return fmt.Errorf("kind %q is none", g.Kind)
	}
	if !slices.Contains([]string{"<=", "<", ">="}, g.Op) {
		return fmt.Errorf("operator %q is none", g.Op)
	}
	if g.Suite == "" || g.Case == "" || g.Arm == "" || g.Metric == "" {
		return fmt.Errorf("it does not say what is measured")
	}
	return nil
}

// MoreIsBetter reports which way the goal points.
func (g *Goal) MoreIsBetter() bool { return g.Op == ">=" }

// Reached reports whether a value satisfies the goal.
func (g *Goal) Reached(value float64) bool {
	switch g.Op {
	case "<=":
		return value <= g.Bound
	case "<":
		return value < g.Bound
	default:
		return value >= g.Bound
	}
}

// Outcome is a goal and what was measured for it.
type Outcome struct {
	Goal
	Why      string        // not measured; empty if it was
	Measured float64       // the pessimistic quartile
	Spread   paired.Spread // of the rounds that were judged
	Dropped  int           // rounds that were disturbed, and so not judged
	Quick    bool          // the run was
	Few      bool          // too few rounds were quiet for a verdict about time
	Met      bool
}

// judged reports whether the outcome is a verdict: a counter that was measured always is,
// a time or CPU time only of enough quiet rounds, and not of smoke. That something was not
// measured is one too, except of smoke, which may leave out what it likes.
func (o *Outcome) judged() bool {
	return o.Kind == Counter && o.Why == "" || !o.Quick && !o.Few
}

// Reserve says of a measurement that is no verdict why it is none, to stand behind a word
// about it.
func (o *Outcome) Reserve() string {
	if o.Few {
		return ", too few quiet rounds"
	}
	return ""
}

// Judge measures each goal by the results.
func Judge(goals []Goal, results []*bench.Result) []Outcome {
	outcomes := make([]Outcome, len(goals))
	for i, g := range goals {
		outcomes[i] = judge(g, results)
	}
	return outcomes
}

func judge(g Goal, results []*bench.Result) Outcome {
	quick := slices.ContainsFunc(results, func(r *bench.Result) bool { return r.Quick })
	o := Outcome{Goal: g, Why: g.Missing, Quick: quick}
	if o.Why != "" {
		return o
	}
	i := slices.IndexFunc(results, func(r *bench.Result) bool { return r.Suite == g.Suite })
	if i < 0 {
		o.Why = "suite " + g.Suite + " was not run"
		return o
	}
	r := results[i]
	o.Quick = r.Quick
	rounds := r.Rounds
	if g.Kind != Counter {
		rounds, o.Dropped = paired.Quiet(rounds)
	}
	values := paired.Values(rounds, g.Case, g.Arm, g.Peer, g.Metric)
	o.Few = g.Kind != Counter && len(values) < bench.EnoughQuiet && len(paired.Values(r.Rounds, g.Case, g.Arm, g.Peer, g.Metric)) > 0
	if len(values) == 0 {
		o.Why = absent(g, r)
		return o
	}
	o.Spread = paired.SpreadOf(values)
	o.Measured = o.Spread.Pessimistic(g.MoreIsBetter())
	o.Met = g.Reached(o.Measured)
	return o
}

// absent says why a result has no values for a goal.
func absent(g Goal, r *bench.Result) string {
	for _, m := range r.Missing {
		if m.What == g.Case || g.Peer != "" && m.What == g.Peer {
			return m.What + ": " + m.Why
		}
	}
	if len(paired.Values(r.Rounds, g.Case, g.Arm, g.Peer, g.Metric)) > 0 {
		return "no round was quiet"
	}
	return fmt.Sprintf("%s of %s was not measured", g.Metric, strings.TrimSuffix(g.Arm+" against "+g.Peer, " against "))
}
