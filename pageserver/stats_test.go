package pageserver

import (
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/lsm"
	"github.com/varvedb/varve/lsm/remote"
	"github.com/varvedb/varve/pageserver/pageapi"
)

// TestEveryMetricIsToldAndDescribed: what the store counts is among the metrics, and each of
// those is in the documentation of the command that shows them.
func TestEveryMetricIsToldAndDescribed(t *testing.T) {
	text, err := os.ReadFile("../docs/CLI.md")
	require.NoError(t, err)
	s := &Server{calls: new(remote.Counted)}
	told := func(of []pageapi.Metric) (n int) {
		for _, m := range of {
			require.True(t, strings.Contains(string(text), "`"+m.Name+"`"), "%s is described", m.Name)
			if m.Value != 0 {
				n++
			}
		}
		return n
	}
	told(s.ownMetrics(lsm.Metrics{}))
	// One counter at a time: some metric has to change with it.
	stats := reflect.TypeFor[lsm.Stats]()
	for i := range stats.NumField() {
		var st lsm.Stats
		if field := reflect.ValueOf(&st).Elem().Field(i); field.CanInt() {
			field.SetInt(1_000_000)
		} else if field.CanUint() {
			field.SetUint(1_000_000)
		} else {
			field.SetFloat(1)
		}
		require.Positive(t, told(timelineMetrics(&st)), stats.Field(i).Name)
	}
}
