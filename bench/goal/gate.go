package goal

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"
)

// Baseline lists the goals that were reached once, and so must not be lost. Its file is
// its JSON.
type Baseline struct {
	Commit  string             `json:"commit"`
	Reached map[string]float64 `json:"reached"` // by goal: what was measured
}

// ReadBaseline reads a baseline's file. One that is not there has no goals.
func ReadBaseline(path string) (b Baseline, err error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return Baseline{}, nil
	}
	if err != nil {
		return b, fmt.Errorf("read baseline: %w", err)
	}
	if err := json.Unmarshal(text, &b); err != nil {
		return b, fmt.Errorf("read baseline %s: %w", path, err)
	}
	return b, nil
}

// Write writes the baseline's file.
func (b Baseline) Write(path string) error {
	text, err := json.MarshalIndent(b, "", "  ")
	if err != nil {
		return fmt.Errorf("encode baseline: %w", err)
	}
	if err := os.WriteFile(path, append(text, '\n'), 0o644); err != nil {
		return fmt.Errorf("write baseline: %w", err)
	}
	return nil
}

// Raise returns the baseline with the goals that outcomes reached. Goals that it had
// stay: a baseline is never lowered by a run. Of smoke runs, and of those with too few
// quiet rounds, only counters count.
func (b Baseline) Raise(commit string, outcomes []Outcome) Baseline {
	raised := Baseline{Commit: commit, Reached: map[string]float64{}}
	for id, measured := range b.Reached {
		raised.Reached[id] = measured
	}
	for _, o := range outcomes {
		if o.Met && o.judged() {
			raised.Reached[o.ID] = o.Measured
		}
	}
	return raised
}

// Lost are the goals that the baseline reached and the outcomes do not, among them those
// that a full run has not measured: a run of record has all suites and all their cases.
// Neither smoke nor too few quiet rounds lose a time.
func (b Baseline) Lost(outcomes []Outcome) (lost []Outcome) {
	for _, o := range outcomes {
		_, had := b.Reached[o.ID]
		if had && !o.Met && o.judged() {
			lost = append(lost, o)
		}
	}
	return lost
}

// verdict is the outcome in a word or two.
func (o *Outcome) verdict() string {
	switch {
	case o.Missing != "":
		return "not built"
	case o.Why != "":
		return "not measured"
	case o.Met:
		return "reached" + o.Reserve()
	case o.Short() == 0:
		return "missed" + o.Reserve()
	default:
		return "short by " + Number(o.Short()) + "x" + o.Reserve()
	}
}

// Short is the factor between what was measured and the bound: above 1 the goal is
// missed by so much. A bound or a measurement of 0 has no factor; then it is 0.
func (o *Outcome) Short() float64 {
	if o.Bound == 0 || o.Measured == 0 {
		return 0
	}
	if o.MoreIsBetter() {
		return o.Bound / o.Measured
	}
	return o.Measured / o.Bound
}

// Of says what the goal measures, for a reader.
func (o *Outcome) Of() string {
	if o.Suite == "" {
		return ""
	}
	of := o.Suite + " " + o.Case + ": " + o.Metric
	if o.Arm != "varve" {
		of += " of " + o.Arm
	}
	if o.Peer != "" {
		of += " / " + o.Peer
	}
	return of
}

// Number prints a figure with three significant digits and no exponent.
func Number(v float64) string {
	switch {
	case v >= 1e6:
		return strconv.FormatFloat(v/1e6, 'g', 3, 64) + "M"
	case v >= 1000:
		return strconv.FormatFloat(v, 'f', 0, 64)
	case v != 0 && v < 0.001 && v > -0.001:
		return strconv.FormatFloat(v, 'f', 6, 64)
	default:
		return strconv.FormatFloat(v, 'g', 3, 64)
	}
}

// Print writes the table of all goals, and why those are missing that are.
func Print(w io.Writer, outcomes []Outcome) error {
	tab := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tab, "goal\tkind\tmeasured by\twanted\tpessimistic quartile\tmedian\trounds\t")
	for i := range outcomes {
		o := &outcomes[i]
		if o.Why != "" {
			fmt.Fprintf(tab, "%s\t%s\t%s\t\t\t\t\t%s\n", o.ID, o.Kind, o.Of(), o.verdict())
			continue
		}
		fmt.Fprintf(tab, "%s\t%s\t%s\t%s %s\t%s\t%s\t%s\t%s\n", o.ID, o.Kind, o.Of(), o.Op, strconv.FormatFloat(o.Bound, 'g', 4, 64),
			Number(o.Measured), Number(o.Spread.Median), o.rounds(), o.verdict())
	}
	if err := tab.Flush(); err != nil {
		return fmt.Errorf("print goals: %w", err)
	}
	var reasons strings.Builder
	for _, o := range outcomes {
		if o.Why != "" {
			fmt.Fprintf(&reasons, "%s: %s\n", o.ID, o.Why)
		}
	}
	_, err := fmt.Fprint(w, "\n", reasons.String())
	return err
}

func (o *Outcome) rounds() string {
	if o.Dropped == 0 {
		return strconv.Itoa(o.Spread.N)
	}
	return fmt.Sprintf("%d (%d dropped)", o.Spread.N, o.Dropped)
}

// Tally is how many outcomes there are of each kind.
type Tally struct {
	Goals    int
	Reached  int
	Missed   int
	Unjudged int // measured in too few quiet rounds for a verdict
	Unknown  int // not measured
}

// Count sums up outcomes.
func Count(outcomes []Outcome) (t Tally) {
	t.Goals = len(outcomes)
	for _, o := range outcomes {
		switch {
		case o.Why != "":
			t.Unknown++
		case o.Few:
			t.Unjudged++
		case o.Met:
			t.Reached++
		default:
			t.Missed++
		}
	}
	return t
}

// String says so in words; that none is unjudged goes without saying.
func (t Tally) String() string {
	unjudged := ""
	if t.Unjudged > 0 {
		unjudged = fmt.Sprintf("%d judged by nobody (too few quiet rounds), ", t.Unjudged)
	}
	return fmt.Sprintf("%d goals: %d reached, %d missed, %s%d not measured", t.Goals, t.Reached, t.Missed, unjudged, t.Unknown)
}
