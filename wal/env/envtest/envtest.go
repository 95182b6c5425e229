// Package envtest is the conformance suite of [env.Env]: what every world must do
// alike. The real world and the simulated one run the same tests.
package envtest

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/wal/env"
)

// World is one world under test.
type World struct {
	// Run runs body as a task of a fresh node, and returns when it has ended.
	Run func(t *testing.T, body func(ctx context.Context, e env.Env))
	// Addr returns an address that nobody listens on yet.
	Addr func(t *testing.T) string
	// Near says that the bucket is near, so that what that promises is tested too.
	Near bool
}

// Run runs the suite.
func Run(t *testing.T, w World) {
	t.Run("Clock", func(t *testing.T) { testClock(t, w) })
	t.Run("Tasks", func(t *testing.T) { testTasks(t, w) })
	t.Run("Files", func(t *testing.T) { testFiles(t, w) })
	t.Run("Net", func(t *testing.T) { testNet(t, w) })
	t.Run("Bucket", func(t *testing.T) { RunBucket(t, w) })
	t.Run("Rand", func(t *testing.T) { testRand(t, w) })
}

// far is a time limit that no sound test reaches.
const far = time.Minute

func testClock(t *testing.T, w World) {
	w.Run(t, func(ctx context.Context, e env.Env) {
		before := e.Clock.Now()
		require.NoError(t, e.Clock.Sleep(ctx, time.Millisecond))
		require.GreaterOrEqual(t, e.Clock.Now()-before, time.Millisecond)

		cancelled, cancel := e.Tasks.WithCancel(ctx)
		cancel()
		require.ErrorIs(t, e.Clock.Sleep(cancelled, far), context.Canceled)

		short, cancel := e.Tasks.WithTimeout(ctx, time.Millisecond)
		defer cancel()
		require.ErrorIs(t, e.Clock.Sleep(short, far), context.DeadlineExceeded)
	})
}

func testRand(t *testing.T, w World) {
	w.Run(t, func(_ context.Context, e env.Env) {
		a, b := e.Rand.Stream("a"), e.Rand.Stream("b")
		require.NotEqual(t, a.Uint64(), b.Uint64())
		p := make([]byte, 13)
		env.FillRandom(a, p)
		require.NotEqual(t, make([]byte, 13), p)
		for range 100 {
			require.Less(t, env.IntN(a, 3), 3)
		}
	})
}

// errBoom is the failure of a task in these tests.
var errBoom = errors.New("boom")
