package report

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/bench"
	"github.com/varvedb/varve/bench/paired"
)

func TestConditionsAreThoseOfAllRounds(t *testing.T) {
	r := &bench.Result{Rounds: []paired.Round{
		{Canary: paired.Canary{CopyNanos: 100, CRCNanos: 10, SyncNanos: 1000, EchoNanos: 5}, Conditions: paired.Conditions{Load1: 2, CPUPressure: 10, IOPressure: 1, StolenTicks: 3, GCs: 4}},
		{Canary: paired.Canary{CopyNanos: 110, CRCNanos: 10, SyncNanos: 3000, EchoNanos: 4}, Conditions: paired.Conditions{Load1: 1, CPUPressure: 20, IOPressure: 0, StolenTicks: 9, GCs: 4}},
	}}
	var d document
	d.conditions(r)
	require.Equal(t, "In a round: load 1..2; tasks waited for CPU 10..20 % of the time, for disks 0..1 %; the host stole 3..9 hundredths of a second; garbage was collected 4..4 times.\n"+
		"Canary, worst over best: copy 1.1, CRC 1, flush 3, echo 1.25.\n", d.String())
	r.Rounds[1].Conditions.OthersShare = 0.25
	d.Reset()
	d.conditions(r)
	require.Contains(t, d.String(), "for disks 0..1 %; others used 0..25 % of the CPU time; the host")
	d.Reset()
	d.conditions(&bench.Result{})
	require.Empty(t, d.String())
}
