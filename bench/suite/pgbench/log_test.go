package pgbench

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Lines as PostgreSQL 15 writes them, without a rate and with one.
func TestLinesOfPgbench(t *testing.T) {
	all, err := parseLog(strings.NewReader("0 1 1520 0 1700000000 250000\n3 9 80 0 1700000001 1\n"))
	require.NoError(t, err)
	require.Equal(t, []ended{
		{at: time.Unix(1700000000, 250000000), took: 1520 * time.Microsecond},
		{at: time.Unix(1700000001, 1000), took: 80 * time.Microsecond},
	}, all)
	require.Equal(t, 751_521*time.Microsecond, span(all), "from the first begin to the last end")

	all, err = parseLog(strings.NewReader("0 1 5200 0 1700000000 250000 4000\n"))
	require.NoError(t, err)
	require.Equal(t, []ended{{at: time.Unix(1700000000, 250000000), took: 5200 * time.Microsecond, late: 4000 * time.Microsecond, rate: true}}, all)
	for bad, why := range map[string]string{
		"0 1 5200 0 1700000000": "5 fields", "0 1 5200 0 1700000000 250000 4000 1": "8 fields", "0 1 x 0 1 2": "invalid syntax",
		"0 1 skipped 0 1700000000 250000 4000": "skipped", "0 1 100 0 1700000000 250000 4000": "a lag longer than the transaction",
	} {
		_, err := parseLog(strings.NewReader(bad))
		require.ErrorContains(t, err, why, "%q", bad)
	}
}
