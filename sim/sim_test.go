package sim_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/sim"
	"github.com/varvedb/varve/sim/world"
)

func TestQuiet(t *testing.T) {
	opts, err := sim.Draw(1, "quiet")
	require.NoError(t, err)
	r := sim.Run(opts, sim.Play{Log: func(e world.Entry) {
		if e.Kind == world.KindEvent {
			t.Log(e)
		}
	}})
	t.Log(opts)
	t.Log(r.Virtual, r.Events, r.Covered, r.Fired)
	for _, v := range r.Verdicts {
		t.Log(v.String())
	}
	require.NoError(t, r.Err)
	require.True(t, r.OK())
}
