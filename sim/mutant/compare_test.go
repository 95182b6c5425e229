package mutant

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestComparisonsTellMedians(t *testing.T) {
	m := &Mutant{Name: "half-is-enough"}
	table := CompareTable([]*Comparison{
		{Mutant: m, Runs: 60, Fresh: []int{9, 61, 3}, Search: []int{2, 61, 1}},
		{Mutant: m, Runs: 60, Fresh: []int{61, 4, 61}, Search: []int{61, 61, 61}},
		{Mutant: m, Runs: 60, Fresh: []int{5}, Search: []int{6}},
		{Mutant: m, Runs: 60},
	})
	require.Equal(t, `| mutant | hunts, each way | median, fresh seeds | median, search | fresh | search |
|---|---|---|---|---|---|
| `+"`half-is-enough`"+` | 3 | 9 | 2 | 9 - 3 | 2 - 1 |
| `+"`half-is-enough`"+` | 3 | none in 60 | none in 60 | - 4 - | - - - |
| `+"`half-is-enough`"+` | 1 | 5 | 6 | 5 | 6 |

By the medians, search finds 1 sooner and 1 later than fresh seeds, of 3.
`, table)
	text, err := InsertComparisons([]byte(SearchBegin+"\nold\n"+SearchEnd+"\n"), "new\n")
	require.NoError(t, err)
	require.Equal(t, SearchBegin+"\nnew\n"+SearchEnd+"\n", string(text))
}
