package plot_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/bench"
	"github.com/varvedb/varve/bench/goal"
	"github.com/varvedb/varve/bench/latency"
	"github.com/varvedb/varve/bench/paired"
	"github.com/varvedb/varve/bench/plot"
)

// results have something for every kind of picture.
func results() []*bench.Result {
	series := func(figure, name string, xs, ys []float64, labels ...string) bench.Series {
		return bench.Series{Figure: figure, Name: name, X: "x, seconds", Y: "y, microseconds", XS: xs, YS: ys, Labels: labels}
	}
	r := &bench.Result{Version: bench.Version, Suite: "append", Letter: "a", Commit: "abc123", Seed: 42, Rounds: make([]paired.Round, 3)}
	for _, arm := range []string{"varve", "floor"} {
		r.Latencies = append(r.Latencies, bench.Latencies{Case: "commit/8KiB/c1", Arm: arm, Rounds: 2, Buckets: []latency.Bucket{{Nanos: 1000, Count: 90}, {Nanos: 10_000, Count: 9}, {Nanos: 100_000, Count: 1}}})
	}
	timed := series("read-cost-size", "varve", []float64{16, 64}, []float64{1, 2})
	timed.Rounds, timed.Title = 2, "a title of its own"
	r.Series = []bench.Series{
		timed,
		series("read-cost-deltas", "varve", []float64{0, 10, 100}, []float64{1, 2, 30}),
		series("amplification", "m1", []float64{1.5}, []float64{20}),
		series("wal-per-transaction", "TPC-B", []float64{0, 1}, []float64{9000, 400}, "a", "b"),
		series("coldstart", "varve", []float64{0, 3, 0}, []float64{3, 10, 5}, "one", "two", "vanilla"),
		series("throughput-faults", "load", []float64{0, 1, 2}, []float64{5, 0, 6}),
		series("throughput-faults", "bands", []float64{0.5}, []float64{1.5}, "away"),
		series("throughput-faults", "events", []float64{0.5}, []float64{0}, "stopped"),
		series("heatmap-latency", "events", []float64{0.5}, []float64{0}, "stopped"),
		series("heatmap-latency", "100", []float64{0, 1, 2}, []float64{5, 0, 6}),
		series("heatmap-latency", "1000", []float64{0, 1, 2}, []float64{0, 4, 0}),
	}
	return []*bench.Result{r}
}

func outcomes() []goal.Outcome {
	return []goal.Outcome{
		{Goal: goal.Goal{ID: "a.x", Op: "<=", Bound: 2}, Measured: 1},
		{Goal: goal.Goal{ID: "a.y", Op: ">=", Bound: 2}, Measured: 0.5},
		{Goal: goal.Goal{ID: "a.z"}, Why: "not measured"},
	}
}

func TestEveryKindOfPictureIsDrawn(t *testing.T) {
	dir := t.TempDir()
	figures, err := plot.All(results(), outcomes(), plot.Bank{Mutants: []plot.Mutant{{Name: "m", Seeds: 7}, {Name: "never"}}, Commit: "def456"})
	require.NoError(t, err)
	var names []string
	captions := map[string]string{}
	for _, f := range figures {
		names = append(names, f.Name)
		require.NoError(t, f.Save(dir))
		for _, suffix := range []string{".svg", ".png", ".csv"} {
			info, err := os.Stat(filepath.Join(dir, f.Name+suffix))
			require.NoError(t, err)
			require.Positive(t, info.Size())
		}
		captions[f.Name] = f.Caption
	}
	require.Equal(t, map[string]string{
		"latency-append-commit-8KiB-c1": "n = 200 operations of 2 quiet rounds of 3; seed 42; commit abc123",
		"cdf-append-commit-8KiB-c1":     "n = 200 operations of 2 quiet rounds of 3; seed 42; commit abc123",
		"read-cost-size":                "n = 2 points, medians of 2 quiet rounds of 3; seed 42; commit abc123",
		"read-cost-deltas":              "n = 3 points, medians of all 3 rounds; seed 42; commit abc123",
		"amplification":                 "n = 1 points, medians of all 3 rounds; seed 42; commit abc123",
		"wal-per-transaction":           "TPC-B; n = 3 rounds, all of them, medians; seed 42; commit abc123",
		"coldstart":                     "n = 3 rounds, all of them, medians; times are this machine's, under this run's load; seed 42; commit abc123",
		"throughput-faults":             "n = 3 points of one run; seed 42; commit abc123",
		"heatmap-latency":               "n = 15 transactions of one run, each in the cell of its end; seed 42; commit abc123",
		"goals":                         "n = 2 goals with a bound other than 0, of quiet rounds, counters of all; grey: judged by nobody; cut at 1000; seed 42; commit abc123",
		"mutants":                       "n = 2 mutants; seeds from 1; commit def456",
	}, captions)
	require.Equal(t, []string{
		"latency-append-commit-8KiB-c1", "cdf-append-commit-8KiB-c1", "read-cost-size", "read-cost-deltas", "amplification",
		"wal-per-transaction", "coldstart", "throughput-faults", "heatmap-latency", "goals", "mutants",
	}, names)
}

func TestTheCSVIsWhatThePictureShows(t *testing.T) {
	dir := t.TempDir()
	figures, err := plot.All(results(), outcomes(), plot.Bank{})
	require.NoError(t, err)
	for _, f := range figures {
		require.NoError(t, f.Save(dir))
	}
	read := func(name string) string {
		text, err := os.ReadFile(filepath.Join(dir, name+".csv"))
		require.NoError(t, err)
		return string(text)
	}
	require.Equal(t, "arm,latency_us,share_longer\nvarve,1,0.1\nvarve,10,0.01\nfloor,1,0.1\nfloor,10,0.01\n", read("latency-append-commit-8KiB-c1"))
	require.Equal(t, "step,from_ms,to_ms\none,0,3\ntwo,3,10\nvanilla,0,5\n", read("coldstart"))
	require.Contains(t, read("throughput-faults"), "band: away,0.5,1.5\n")
	require.Equal(t, "goal,times_the_bound,what\na.x,0.5,\na.y,4,\n", read("goals"))
}

// Neither colour of a verdict stands for what nobody judges.
func TestWhatIsJudgedByNobodyHasAColourOfItsOwn(t *testing.T) {
	few := outcomes()
	for i := range few {
		few[i].Few = true
	}
	picture := func(outcomes []goal.Outcome) string {
		f, err := plot.Goals(outcomes, results()[0])
		require.NoError(t, err)
		dir := t.TempDir()
		require.NoError(t, f.SaveVector(dir))
		text, err := os.ReadFile(filepath.Join(dir, "goals.svg"))
		require.NoError(t, err)
		return string(text)
	}
	for _, colour := range []string{"fill:#009E73", "fill:#D55E00"} {
		require.Contains(t, picture(outcomes()), colour)
		require.NotContains(t, picture(few), colour)
	}
	require.Contains(t, picture(few), "0.5x, too few quiet rounds")
}

func TestTheCostOfLayersIsOfThoseThatAreVisited(t *testing.T) {
	r := results()
	var samples []paired.Measured
	for _, point := range []struct {
		name         string
		layers, cost float64
	}{{"depth/4", 3.5, 5}, {"depth/1", 1.5, 2}, {"depth/64", 20.75, 22}, {"depth/256", 20.74, 23}, {"history", 7, 7}} {
		samples = append(samples, paired.Measured{Case: point.name, Arm: "flat", Metrics: map[string]float64{"layers_per_read": point.layers, "p50_us": point.cost}})
	}
	r[0].Series, r[0].Latencies = nil, nil
	r[0].Rounds = []paired.Round{{Samples: samples}}
	figures, err := plot.All(r, nil, plot.Bank{})
	require.NoError(t, err)
	require.Len(t, figures, 1)
	require.Equal(t, "visits-append", figures[0].Name)
	require.Equal(t, [][]string{{"flat", "1.5", "2"}, {"flat", "3.5", "5"}, {"flat", "20.74", "23"}}, figures[0].Rows)
	require.Equal(t, "n = 3 points, medians of 1 quiet rounds of 1; seed 42; commit abc123", figures[0].Caption)
}

// A curve's picture does not grow with the precision of its histogram, and what it shows
// is true: every step that is left counts all that came before it.
func TestACurveHasAsManyStepsAsOneSees(t *testing.T) {
	r := results()
	var buckets []latency.Bucket
	for nanos := int64(100_000); nanos < 200_000; nanos += 500 { // 200 of them, a half to a quarter of a hundredth apart.
		buckets = append(buckets, latency.Bucket{Nanos: nanos, Count: 10})
	}
	buckets = append(buckets, latency.Bucket{Nanos: 50_000_000, Count: 1})
	r[0].Latencies, r[0].Series = []bench.Latencies{{Case: "commit/8KiB/c1", Arm: "varve", Rounds: 2, Buckets: buckets}}, nil
	figures, err := plot.All(r, nil, plot.Bank{})
	require.NoError(t, err)
	shares := map[string]map[string]string{}
	for _, f := range figures {
		shares[f.Name] = map[string]string{}
		for _, row := range f.Rows {
			shares[f.Name][row[1]] = row[2]
		}
	}
	cdf, tail := shares["cdf-append-commit-8KiB-c1"], shares["latency-append-commit-8KiB-c1"]
	require.Less(t, len(cdf), 45)
	require.Greater(t, len(cdf), 30, "still steps of two hundredths")
	require.Equal(t, "0.0049975", cdf["100"], "the least")
	require.Equal(t, "0.9995", cdf["199.5"], "all but one, before the long gap")
	require.Equal(t, "1", cdf["50000"])
	require.Equal(t, "0.00049975", tail["199.5"])
}

// The same numbers give the same picture, wherever it is drawn.
func TestPicturesAreReproducible(t *testing.T) {
	var texts [2]string
	for i := range texts {
		dir := t.TempDir()
		figures, err := plot.All(results(), outcomes(), plot.Bank{})
		require.NoError(t, err)
		require.NoError(t, figures[0].Save(dir))
		text, err := os.ReadFile(filepath.Join(dir, figures[0].Name+".svg"))
		require.NoError(t, err)
		texts[i] = string(text)
	}
	require.Equal(t, texts[0], texts[1])
	require.True(t, strings.Contains(texts[0], "share of operations that took longer"))
	require.Equal(t, strings.Count(texts[0], "font-family:"), strings.Count(texts[0], ",serif;"), "a reader without the font has another")
}

func TestASimulatedRunIsOneOfItsOwnSeed(t *testing.T) {
	r := results()
	r[0].Series = []bench.Series{
		{Figure: "throughput-simulated", Name: "syncs", XS: []float64{0, 1}, YS: []float64{5, 6}, Seed: 44},
		{Figure: "throughput-simulated", Name: "events", XS: []float64{0.4, 0.5}, YS: []float64{0, 0}, Labels: []string{"a dies", "b dies"}},
	}
	of := func() string {
		figures, err := plot.All(r, nil, plot.Bank{})
		require.NoError(t, err)
		dir := t.TempDir()
		for _, f := range figures {
			if f.Name == "throughput-simulated" {
				require.NoError(t, f.Save(dir))
				text, err := os.ReadFile(filepath.Join(dir, f.Name+".svg"))
				require.NoError(t, err)
				require.Contains(t, string(text), "a dies")
				require.Contains(t, string(text), "b dies", "names that would cover each other stand in rows")
				return f.Caption
			}
		}
		return ""
	}
	require.Equal(t, "n = 2 points of one run; seed 44; commit abc123", of())
	r[0].Series[0].Seed = 0
	require.Equal(t, "n = 2 points of one run; that of seeds 42 to 45 with most faults; commit abc123", of())
}

func TestAFigureOfNoKindIsRefused(t *testing.T) {
	r := results()
	r[0].Series[0].Figure = "unheard-of"
	_, err := plot.All(r, outcomes(), plot.Bank{})
	require.ErrorContains(t, err, "unheard-of")
}

func TestMutantsAreReadFromTheirTable(t *testing.T) {
	want := []plot.Mutant{{Name: "ack-early", Seeds: 12}, {Name: "quiet-one"}, {Name: "blamed"}}
	const head = "| mutant | source | killed by | seeds | virtual time | control |\n|---|---|---|---|---|---|\n"
	const rows = "| `ack-early`: answers before its sync | wal/safekeeper | order, truth | 12 | 3m0s | needs no fault |\n" +
		"| `quiet-one`: a|b | lsm | **survives** | 500 | 9h0m0s | none |\n" +
		"| `blamed`: what fails is not its doing | lsm | liveness | 154 | 3h | **seed 154 fails without the mutant too, by liveness** |\n"
	for text, commit := range map[string]string{
		"# Text of commit 0123456\nThe run below is of commit 12b98c3, and 97190af.\n<!-- mutants: begin -->\n" + head + rows:  "12b98c3",
		"Text of commit 0123456\n<!-- mutants: begin -->\nA run of commit 12b98c3.\n\n" + head + rows + "as of commit fedcba9": "12b98c3",
		"<!-- mutants: begin -->\n" + head + rows + "as of commit fedcba9":                                                     "",
	} {
		table, err := plot.ParseMutants([]byte(text))
		require.NoError(t, err)
		require.Equal(t, plot.Bank{Mutants: want, Commit: commit}, table)
	}
	list, err := plot.ParseMutants([]byte(`[{"name":"ack-early","seeds":12},{"name":"quiet-one","seeds":0}]`))
	require.NoError(t, err)
	require.Equal(t, plot.Bank{Mutants: want[:2]}, list)
	none, err := plot.ParseMutants([]byte("no table"))
	require.NoError(t, err)
	require.Empty(t, none)
	_, err = plot.ParseMutants([]byte("[1"))
	require.Error(t, err)
}
