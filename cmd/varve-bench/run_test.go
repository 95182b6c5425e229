package main

import (
	"regexp"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/bench"
)

// Smoke and parts of a run keep off the committed one, unless somebody says so.
func TestOnlyAWholeRunReplacesTheRunOfRecord(t *testing.T) {
	some := regexp.MustCompile("hot")
	require.Equal(t, "bench/results/latest", outOf(bench.Options{}, ""))
	require.Equal(t, "out/bench-quick", outOf(bench.Options{Quick: true}, ""))
	require.Equal(t, "out/bench-quick", outOf(bench.Options{Quick: true, Cases: some}, "p"))
	require.Equal(t, "out/bench", outOf(bench.Options{Cases: some}, ""))
	require.Equal(t, "out/bench", outOf(bench.Options{}, "cpu.prof"))
	require.Equal(t, "here", outOf(bench.Options{Out: "here", Quick: true, Cases: some}, "p"))
}

// A suite that takes long gets more of a run's time, and none gets what is not there.
func TestTimeIsSharedByWeight(t *testing.T) {
	now := time.Unix(0, 0)
	end := now.Add(1000 * time.Second)
	suites := []bench.Suite{{Weight: 10}, {Weight: 50}, {Weight: 40}}
	require.Equal(t, now.Add(125*time.Second), share(now, end, suites))
	require.Equal(t, now.Add(1000*time.Second*50*5/(90*4)), share(now, end, suites[1:]))
	require.Equal(t, end, share(now, end, suites[2:]))
	require.Equal(t, end, share(end.Add(-time.Minute), end, suites[2:]))
	require.False(t, share(end.Add(time.Minute), end, suites).After(end), "the time is up")
}
