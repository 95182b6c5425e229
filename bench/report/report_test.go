package report_test

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/bench"
	"github.com/varvedb/varve/bench/goal"
	"github.com/varvedb/varve/bench/paired"
	"github.com/varvedb/varve/bench/report"
)

func input(quick bool) report.Input {
	r := &bench.Result{Suite: "append", Letter: "a", Title: "the log", About: "As it was measured.", Quick: quick, Commit: "abc123", Settings: map[string]string{"varve": "tuned so", "floor": "plain"}, Options: json.RawMessage(`{"Ops": 5}`)}
	for n := range 3 {
		r.Rounds = append(r.Rounds, paired.Round{Number: n, Samples: []paired.Measured{
			{Case: "c", Arm: "varve", Metrics: map[string]float64{"p50_us": 30 + float64(n), "flushes_per_commit": 3}},
			{Case: "c", Arm: "floor", Metrics: map[string]float64{"p50_us": 10}},
		}})
	}
	goals := []goal.Goal{
		{ID: "a.floor", Text: "near the floor", Suite: "append", Case: "c", Arm: "varve", Peer: "floor", Metric: "p50_us", Op: "<=", Bound: 1.25, Kind: goal.Time},
		{ID: "a.flushes", Text: "few flushes", Suite: "append", Case: "c", Arm: "varve", Metric: "flushes_per_commit", Op: "<=", Bound: 4, Kind: goal.Counter},
		{ID: "a.later", Text: "some day", Missing: "no such thing"},
	}
	results := []*bench.Result{r}
	return report.Input{
		Suites:  []bench.Suite{{Name: "append", Letter: "a", Title: "the log of today", About: "As it is today."}},
		Results: results, Outcomes: goal.Judge(goals, results), Figures: []string{"goals", "throughput-faults"}, Folder: "figures/bench",
	}
}

func TestTheDocumentSaysRatiosCountersAndWhatIsLost(t *testing.T) {
	text, err := report.Document(input(false))
	require.NoError(t, err)
	for _, want := range []string{
		"3 goals: 1 reached, 0 missed, 1 judged by nobody (too few quiet rounds), 1 not measured.",
		"| c | varve / floor | p50_us | 3.1 | 3.05..3.15 | 3..3.2 | 3 |",
		"| case | arm | n | flushes_per_commit |\n|---|---|---|---|\n| c | varve | 3 | 3 |\n",
		"| a.floor: near the floor | time | &lt;= 1.25 | 3.15 | 3 | missed, too few quiet rounds |",
		"| a.later: some day |  |  |  |  | not built |", "- **a.later**: some day: no such thing\n\nNor is, though no goal stands for it:\n\n- the first query",
		"| (a) [append](#a-append-the-log) | 3 | 1 | 0 | 1 | 1 | a.floor, 2.52x, too few quiet rounds |",
		"- **a.floor**, short by 2.52x, too few quiet rounds: near the floor\n\n  Beside the flush",
		"- floor: plain", `{"Ops":5}`, "![distance from each goal](figures/bench/goals.svg)", "Commit abc123, seed 0", "of 3 rounds of all suites, 0 were disturbed",
	} {
		require.Contains(t, text, want)
	}
	require.NotContains(t, text, "| c | varve | p50_us |", "no time of a machine is stated")
	require.Contains(t, text, "\n## (a) append: the log\n\nAs it was measured.\n")
	require.NotContains(t, text, "today")
}

func TestPicturesAreShownWithTheirData(t *testing.T) {
	in := input(false)
	in.Figures = []string{"goals", "latency-append-c", "cdf-append-c", "latency-flush-c", "mutants"}
	text, err := report.Document(in)
	require.NoError(t, err)
	require.Contains(t, text, "![latency-append-c](figures/bench/latency-append-c.svg)\n\n[latency-append-c.csv](figures/bench/latency-append-c.csv) · "+
		"as a CDF: [cdf-append-c.svg](figures/bench/cdf-append-c.svg), [CSV](figures/bench/cdf-append-c.csv)\n")
	require.Contains(t, text, "[goals.csv](figures/bench/goals.csv)\n")
	require.Contains(t, text, "\n## Planted bugs\n")
	require.Contains(t, text, "(figures/bench/mutants.svg)\n\n[mutants.csv](figures/bench/mutants.csv)\n")
	require.NotContains(t, text, "latency-flush-c", "it is of a suite that has no result")
}

func TestADocumentWithoutResultsListsTheGoals(t *testing.T) {
	in := input(false)
	goals, err := goal.All()
	require.NoError(t, err)
	in.Results, in.Outcomes, in.Figures = nil, goal.Judge(goals, nil), nil
	text, err := report.Document(in)
	require.NoError(t, err)
	require.Contains(t, text, "No run of record is committed.")
	require.Contains(t, text, fmt.Sprintf("%d goals: 0 reached, 0 missed, %[1]d not measured.", len(goals)))
	require.Contains(t, text, "there is no cold tier")
}

func TestCommitsOfARunInPartsAreTold(t *testing.T) {
	in := input(false)
	in.Results = append(in.Results, &bench.Result{Suite: "flush", Commit: "def456"}, &bench.Result{Suite: "getpage", Commit: "abc123+"})
	text, err := report.Document(in)
	require.NoError(t, err)
	require.Contains(t, text, "Commits abc123 and def456 and abc123+, seed 0")
	require.Contains(t, text, "\n3 rounds of commit abc123, 0 of them dropped for times")
}

func TestSmokeFeedsNoDocument(t *testing.T) {
	_, err := report.Document(input(true))
	require.ErrorIs(t, err, report.ErrSmoke)
	_, err = report.Readme("<!-- bench:begin --><!-- bench:end -->", input(true))
	require.ErrorIs(t, err, report.ErrSmoke)
}

func TestTheReadmeIsWrittenBetweenItsMarks(t *testing.T) {
	once, err := report.Readme("a\n<!-- bench:begin -->\nold\n<!-- bench:end -->\nb\n", input(false))
	require.NoError(t, err)
	require.NotContains(t, once, "old")
	require.Contains(t, once, "| n | |\n|---|---|---|---|---|\n")
	require.Regexp(t, `(?s)^a\n<!-- bench:begin -->.*throughput-faults\.svg.*<!-- bench:end -->\nb\n$`, once)
	twice, err := report.Readme(once, input(false))
	require.NoError(t, err)
	require.Equal(t, once, twice)
	_, err = report.Readme("no marks", input(false))
	require.ErrorContains(t, err, "no marks")
}

func TestReasonsAreOfGoalsThatThereAre(t *testing.T) {
	text, err := os.ReadFile("why.json")
	require.NoError(t, err)
	var reasons map[string]string
	require.NoError(t, json.Unmarshal(text, &reasons))
	goals, err := goal.All()
	require.NoError(t, err)
	for id, reason := range reasons {
		require.NotEmpty(t, reason)
		require.NotRegexp(t, `^(As [a-z]\.[a-z0-9-]+\.|Not profiled\.)$`, report.ReasonOf(id, reasons), "what it refers to says more")
		require.True(t, slices.ContainsFunc(goals, func(g goal.Goal) bool { return g.ID == id }), id)
	}
}
