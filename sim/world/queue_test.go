package world

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/varvedb/varve/wal/env"
)

// TestTheQueueIsInOrder pushes, pops and forgets entries beside a sorted list of them.
func TestTheQueueIsInOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var q queue
		var want []entry
		sorted := func(a, b entry) int {
			if a.before(&b) {
				return -1
			}
			return 1
		}
		for serial := range uint64(rapid.IntRange(0, 200).Draw(t, "steps")) {
			switch rapid.IntRange(0, 9).Draw(t, "step") {
			case 0:
				of := uint64(rapid.IntRange(1, 4).Draw(t, "of"))
				q.forget(func(e entry) bool { return e.serial%of == 0 })
				want = slices.DeleteFunc(want, func(e entry) bool { return e.serial%of == 0 })
			case 1, 2:
				if len(q) > 0 {
					require.Equal(t, want[0], q.pop())
					want = want[1:]
				}
			default:
				e := entry{at: time.Duration(rapid.IntRange(0, 20).Draw(t, "at")), serial: serial}
				q.push(e)
				want = append(want, e)
				slices.SortFunc(want, sorted)
			}
			require.Len(t, q, len(want))
		}
		for _, e := range want {
			require.Equal(t, e, q.pop())
		}
	})
}

// TestTimeLimitsThatAreCalledOffLeaveTheQueue has one time limit come among many that do
// not.
func TestTimeLimitsThatAreCalledOffLeaveTheQueue(t *testing.T) {
	w := New(Config{Seed: 1})
	defer w.Close()
	longest := 0
	w.Node("n").Start(func(ctx context.Context, e env.Env) error {
		limited, stop := e.Tasks.WithTimeout(ctx, time.Hour)
		defer stop()
		for range 1000 {
			_, stop := e.Tasks.WithTimeout(ctx, time.Minute)
			require.NoError(t, e.Clock.Sleep(ctx, time.Millisecond))
			stop()
			longest = max(longest, len(w.queue))
		}
		require.ErrorIs(t, e.Clock.Sleep(limited, 2*time.Hour), context.DeadlineExceeded)
		require.Equal(t, time.Hour, e.Clock.Now())
		return nil
	})
	require.NoError(t, w.Run(3*time.Hour))
	require.NoError(t, w.Node("n").Err())
	require.False(t, w.Node("n").Running())
	require.Less(t, longest, 10)
}
