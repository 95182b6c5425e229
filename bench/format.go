package bench

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/varvedb/varve/bench/latency"
	"github.com/varvedb/varve/bench/paired"
)

// Version is that of the result's format.
const Version = 2

// Result is what a run of a suite leaves behind. Its file is its JSON.
type Result struct {
	Version int    `json:"version"`
	Suite   string `json:"suite"`
	Letter  string `json:"letter"` // of the goals' list
	Title   string `json:"title"`  // what is measured, and what stands in for what
	About   string `json:"about"`  // how, and how far off it is

	Commit      string    `json:"commit"` // "+" at its end: with uncommitted changes
	Machine     Machine   `json:"machine"`
	Seed        uint64    `json:"seed"`
	Quick       bool      `json:"quick"` // for smoke only
	RoundsAsked int       `json:"rounds_asked"`
	Started     time.Time `json:"started"`
	Finished    time.Time `json:"finished"`       // of the last complete round
	SetUp       float64   `json:"set_up_seconds"` // all but the rounds
	Failure     string    `json:"failure,omitempty"`

	Options  json.RawMessage   `json:"options"`  // the suite's Config
	Settings map[string]string `json:"settings"` // by arm: how it is tuned
	Notes    []string          `json:"notes,omitempty"`
	Missing  []Missing         `json:"missing,omitempty"`

	Rounds    []paired.Round `json:"rounds"`
	Latencies []Latencies    `json:"latencies,omitempty"`
	Series    []Series       `json:"series,omitempty"`
}

// Missing is something that could not be measured here.
type Missing struct {
	What string `json:"what"`
	Why  string `json:"why"`
}

// Latencies are those of one arm of one case, of the quiet rounds.
type Latencies struct {
	Case      string           `json:"case"`
	Arm       string           `json:"arm"`
	Rounds    int              `json:"rounds"`               // that they are of; absent in older files: all
	Disturbed bool             `json:"disturbed,omitempty"`  // no round was quiet, so all are in it
	Rate      float64          `json:"rate_per_s,omitempty"` // of arrivals, from which they count; 0: each began when the one before had ended
	Buckets   []latency.Bucket `json:"-"`
	// Flat is Buckets as pairs of nanoseconds and count, which takes a quarter of the space.
	Flat []int64 `json:"ns_count"`
}

// Series is a curve or a row of points of a picture.
type Series struct {
	Figure string    `json:"figure"` // which picture it belongs to
	Name   string    `json:"name"`
	X      string    `json:"x"` // what the axis shows, with its unit
	Y      string    `json:"y"`
	XS     []float64 `json:"xs"`
	YS     []float64 `json:"ys"`
	Labels []string  `json:"labels,omitempty"` // of the points, or of bands and events
	Seed   uint64    `json:"seed,omitempty"`   // of the run that it shows, where that is not the result's
	Rounds int       `json:"rounds,omitempty"` // quiet ones, whose medians it shows; 0: it is of all, or of none
	Title  string    `json:"title,omitempty"`  // of the picture; empty: that of its kind
}

// Machine is where a result comes from.
type Machine struct {
	CPU        string `json:"cpu"`
	Cores      int    `json:"cores"`
	MemoryMiB  int64  `json:"memory_mib"`
	Kernel     string `json:"kernel"`
	Filesystem string `json:"filesystem"` // of what is measured
	Go         string `json:"go"`
	Postgres   string `json:"postgres,omitempty"`
}

// pack and unpack turn Buckets into Flat and back.
func (l *Latencies) pack() {
	l.Flat = l.Flat[:0]
	for _, b := range l.Buckets {
		l.Flat = append(l.Flat, b.Nanos, b.Count)
	}
}

func (l *Latencies) unpack() error {
	if len(l.Flat)%2 != 0 {
		return fmt.Errorf("latencies of %s of %s: an odd number of numbers", l.Arm, l.Case)
	}
	l.Buckets = nil
	for pair := range slices.Chunk(l.Flat, 2) {
		l.Buckets = append(l.Buckets, latency.Bucket{Nanos: pair[0], Count: pair[1]})
	}
	return nil
}

// Histogram is the histogram of the latencies.
func (l *Latencies) Histogram() (*latency.Histogram, error) { return latency.FromBuckets(l.Buckets) }

// Save writes the result's files into dir, each whole or not at all.
func (r *Result) Save(dir string) error {
	for i := range r.Latencies {
		r.Latencies[i].pack()
	}
	text, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return fmt.Errorf("encode result of %s: %w", r.Suite, err)
	}
	if err := replace(filepath.Join(dir, r.Suite+".json"), compact(text)); err != nil {
		return err
	}
	return replace(filepath.Join(dir, r.Suite+".csv"), r.AppendCSV(nil))
}

// compact puts each list of numbers on one line: a tenth of the lines for a reader of
// differences, and a third of the bytes.
func compact(text []byte) []byte {
	var out []byte
	for line := range strings.Lines(string(text)) {
		trimmed := strings.TrimSpace(line)
		number := strings.TrimSuffix(trimmed, ",")
		if _, err := strconv.ParseFloat(number, 64); err == nil || trimmed == "]" || trimmed == "]," {
			out = append(append(out[:len(out)-1], ' '), trimmed...)
			out = append(out, '\n')
			continue
		}
		out = append(out, line...)
	}
	return out
}

func replace(path string, body []byte) error {
	if err := os.WriteFile(path+".new", body, 0o644); err != nil {
		return fmt.Errorf("write result: %w", err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		return fmt.Errorf("write result: %w", err)
	}
	return nil
}

// AppendCSV appends every number of every round, one a line.
func (r *Result) AppendCSV(dst []byte) []byte {
	quiet, _ := paired.Quiet(r.Rounds)
	dst = append(dst, "round,quiet,case,arm,metric,value\n"...)
	for i := range r.Rounds {
		round := &r.Rounds[i]
		kept := slices.ContainsFunc(quiet, func(q paired.Round) bool { return q.Number == round.Number })
		for j := range round.Samples {
			s := &round.Samples[j]
			for _, metric := range sortedKeys(s.Metrics) {
				dst = fmt.Appendf(dst, "%d,%t,%s,%s,%s,%s\n", round.Number, kept, s.Case, s.Arm, metric, strconv.FormatFloat(s.Metrics[metric], 'g', 6, 64))
			}
		}
	}
	return dst
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

// Parse reads a result's JSON; name is used in errors.
func Parse(name string, text []byte) (*Result, error) {
	r := new(Result)
	if err := json.Unmarshal(text, r); err != nil {
		return nil, fmt.Errorf("read result %s: %w", name, err)
	}
	if r.Version != Version {
		return nil, fmt.Errorf("read result %s: version %d is not %d", name, r.Version, Version)
	}
	for i := range r.Latencies {
		if err := r.Latencies[i].unpack(); err != nil {
			return nil, fmt.Errorf("read result %s: %w", name, err)
		}
	}
	return r, nil
}

// Load reads all results of a directory, ordered by their letters. One that holds none
// is an error.
func Load(dir string) (results []*Result, err error) {
	names, err := fs.Glob(os.DirFS(dir), "*.json")
	if err != nil {
		return nil, fmt.Errorf("list results: %w", err)
	}
	for _, name := range names {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			return nil, fmt.Errorf("read result: %w", err)
		}
		r, err := Parse(filepath.Join(dir, name), text)
		if err != nil {
			return nil, err
		}
		results = append(results, r)
	}
	if len(results) == 0 {
		return nil, fmt.Errorf("%s holds no results: %w", dir, errNoResults)
	}
	slices.SortFunc(results, func(a, b *Result) int { return strings.Compare(a.Letter, b.Letter) })
	return results, nil
}

var errNoResults = errors.New("make some with varve-bench run")

// Pairs lists what a case compares: its cases in order, each with its arms in order, as
// the first round has them.
func (r *Result) Pairs() (cases []paired.Case) {
	if len(r.Rounds) == 0 {
		return nil
	}
	for _, s := range r.Rounds[0].Samples {
		i := slices.IndexFunc(cases, func(c paired.Case) bool { return c.Name == s.Case })
		if i < 0 {
			cases = append(cases, paired.Case{Name: s.Case})
			i = len(cases) - 1
		}
		// The first round has number 0 and goes forth.
		cases[i].Arms = append(cases[i].Arms, paired.Arm{Name: s.Arm, Settings: r.Settings[s.Arm]})
	}
	return cases
}
