package world_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/sim/world"
	"github.com/varvedb/varve/wal/env"
	"github.com/varvedb/varve/wal/env/envtest"
)

// long is a virtual time that no sound test reaches.
const long = 24 * time.Hour

// newWorld makes a world that is closed at the end of the test.
func newWorld(t testing.TB, cfg world.Config) *world.World {
	w := world.New(cfg)
	t.Cleanup(w.Close)
	return w
}

// do runs a program on a node to its end.
func do(t testing.TB, n *world.Node, w *world.World, body func(ctx context.Context, e env.Env) error) error {
	n.Start(body)
	require.NoError(t, w.RunWhile(w.Now()+long, n.Running))
	require.False(t, n.Running(), "the program ends")
	return n.Err()
}

// must is do for a program that succeeds.
func must(t testing.TB, n *world.Node, w *world.World, body func(ctx context.Context, e env.Env)) {
	require.NoError(t, do(t, n, w, func(ctx context.Context, e env.Env) error { body(ctx, e); return nil }))
}

func conformance(t *testing.T, cfg world.Config) {
	run := func(t *testing.T, body func(context.Context, env.Env)) {
		w := newWorld(t, cfg)
		must(t, w.Node("n"), w, body)
	}
	for name, addr := range map[string]string{"Unix": "unix:dir/socket", "TCP": "tcp:127.0.0.1:0"} {
		t.Run(name, func(t *testing.T) {
			envtest.Run(t, envtest.World{Run: run, Near: cfg.Near, Addr: func(*testing.T) string { return addr }})
		})
	}
}

func TestConformance(t *testing.T) {
	for seed := range uint64(20) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { conformance(t, world.Config{Seed: seed, Near: seed%2 == 1}) })
	}
}

// Faults that only delay or divide may not be felt.
func TestConformanceUnderHarmlessFaults(t *testing.T) {
	harmless := world.Worst().Only(world.NetDelay, world.NetShortRead, world.DiskSlow, world.DiskEarly, world.DiskTorn,
		world.ClockOffset, world.ClockDrift, world.SchedYield, world.SchedOffload, world.BucketSlow)
	harmless[world.BucketSlow].Lasts.Hi = time.Second
	for seed := range uint64(20) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { conformance(t, world.Config{Seed: seed, Faults: harmless}) })
	}
}
