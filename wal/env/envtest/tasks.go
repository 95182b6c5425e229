package envtest

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/wal/env"
)

func testTasks(t *testing.T, w World) {
	for name, body := range map[string]func(*testing.T, context.Context, env.Env){
		"GroupWaitsForAll":          groupWaitsForAll,
		"GroupEndsWithFirstError":   groupEndsWithFirstError,
		"GroupStopIsNoError":        groupStopIsNoError,
		"CondWakesEldest":           condWakesEldest,
		"CondSignalIsNotLost":       condSignalIsNotLost,
		"LockExcludes":              lockExcludes,
		"MailboxKeepsOrder":         mailboxKeepsOrder,
		"MailboxBlocksWhenFull":     mailboxBlocksWhenFull,
		"MailboxCloseGivesTheRest":  mailboxCloseGivesTheRest,
		"OffloadRuns":               offloadRuns,
		"WaitEndsWithItsContext":    waitEndsWithItsContext,
		"TimeoutEndsLockedLockWait": timeoutEndsLockWait,
	} {
		t.Run(name, func(t *testing.T) {
			w.Run(t, func(ctx context.Context, e env.Env) { body(t, ctx, e) })
		})
	}
}

func groupWaitsForAll(t *testing.T, ctx context.Context, e env.Env) {
	g := e.Tasks.NewGroup(ctx)
	var mu sync.Mutex
	ended := 0
	for range 10 {
		g.Go("worker", func(ctx context.Context) error {
			err := e.Clock.Sleep(ctx, time.Millisecond)
			mu.Lock()
			defer mu.Unlock()
			ended++
			return err
		})
	}
	require.NoError(t, g.Wait())
	require.Equal(t, 10, ended)
}

func groupEndsWithFirstError(t *testing.T, ctx context.Context, e env.Env) {
	g := e.Tasks.NewGroup(ctx)
	g.Go("sleeper", func(ctx context.Context) error { return e.Clock.Sleep(ctx, far) })
	g.Go("failer", func(context.Context) error { return errBoom })
	err := g.Wait()
	require.ErrorIs(t, err, errBoom)
	require.ErrorContains(t, err, "failer")
}

func groupStopIsNoError(t *testing.T, ctx context.Context, e env.Env) {
	g := e.Tasks.NewGroup(ctx)
	g.Go("sleeper", func(ctx context.Context) error { return e.Clock.Sleep(ctx, far) })
	g.Stop()
	require.NoError(t, g.Wait())
}

func condWakesEldest(t *testing.T, ctx context.Context, e env.Env) {
	var mu sync.Mutex
	cond := e.Tasks.NewCond(&mu)
	arrived := env.NewMailbox[int](e.Tasks, 3)
	woken := env.NewMailbox[int](e.Tasks, 3)
	g := e.Tasks.NewGroup(ctx)
	for i := range 3 {
		g.Go("waiter", func(ctx context.Context) error {
			mu.Lock()
			defer mu.Unlock()
			// Put under the lock: the signaller, who takes it too, then
			// finds this waiter waiting.
			arrived.TryPut(i)
			err := cond.Wait(ctx)
			woken.TryPut(i)
			return err
		})
		got, err := arrived.Take(ctx)
		require.NoError(t, err)
		require.Equal(t, i, got)
	}
	for i := range 3 {
		mu.Lock()
		cond.Signal()
		mu.Unlock()
		got, err := woken.Take(ctx)
		require.NoError(t, err)
		require.Equal(t, i, got)
	}
	require.NoError(t, g.Wait())
}

// condSignalIsNotLost: the eldest waiter's context ends at the moment of the only
// signal. Either it took the signal, or the signal went on to the other waiter.
func condSignalIsNotLost(t *testing.T, ctx context.Context, e env.Env) {
	for range 100 {
		var mu sync.Mutex
		cond := e.Tasks.NewCond(&mu)
		arrived := env.NewMailbox[struct{}](e.Tasks, 2)
		wait := func(ctx context.Context) error {
			mu.Lock()
			defer mu.Unlock()
			arrived.TryPut(struct{}{})
			return cond.Wait(ctx)
		}
		impatient, giveUp := e.Tasks.WithCancel(ctx)
		first, second := e.Tasks.NewGroup(ctx), e.Tasks.NewGroup(ctx)
		var outcome error
		first.Go("impatient", func(context.Context) error { outcome = wait(impatient); return nil })
		_, err := arrived.Take(ctx)
		require.NoError(t, err)
		second.Go("patient", wait)
		_, err = arrived.Take(ctx)
		require.NoError(t, err)

		mu.Lock()
		giveUp()
		cond.Signal()
		mu.Unlock()
		require.NoError(t, first.Wait())
		if outcome == nil {
			mu.Lock()
			cond.Signal()
			mu.Unlock()
		}
		require.NoError(t, second.Wait())
	}
}

func lockExcludes(t *testing.T, ctx context.Context, e env.Env) {
	lock := env.NewLock(e.Tasks)
	inside, entered := 0, 0
	g := e.Tasks.NewGroup(ctx)
	for range 5 {
		g.Go("worker", func(ctx context.Context) error {
			for range 20 {
				if err := lock.Lock(ctx); err != nil {
					return err
				}
				inside++
				e.Trace.Yield(ctx, "inside the lock")
				require.Equal(t, 1, inside)
				inside--
				entered++
				lock.Unlock()
			}
			return nil
		})
	}
	require.NoError(t, g.Wait())
	require.Equal(t, 100, entered)
}

func timeoutEndsLockWait(t *testing.T, ctx context.Context, e env.Env) {
	lock := env.NewLock(e.Tasks)
	require.NoError(t, lock.Lock(ctx))
	short, cancel := e.Tasks.WithTimeout(ctx, time.Millisecond)
	defer cancel()
	require.ErrorIs(t, lock.Lock(short), context.DeadlineExceeded)
	lock.Unlock()
	require.NoError(t, lock.Lock(ctx))
	lock.Unlock()
}

func mailboxKeepsOrder(t *testing.T, ctx context.Context, e env.Env) {
	box := env.NewMailbox[int](e.Tasks, 3)
	g := e.Tasks.NewGroup(ctx)
	g.Go("producer", func(ctx context.Context) error {
		for i := range 100 {
			if err := box.Put(ctx, i); err != nil {
				return err
			}
		}
		return nil
	})
	for i := range 100 {
		got, err := box.Take(ctx)
		require.NoError(t, err)
		require.Equal(t, i, got)
	}
	require.NoError(t, g.Wait())
}

func mailboxBlocksWhenFull(t *testing.T, ctx context.Context, e env.Env) {
	box := env.NewMailbox[int](e.Tasks, 1)
	require.True(t, box.TryPut(1))
	require.False(t, box.TryPut(2))
	short, cancel := e.Tasks.WithTimeout(ctx, time.Millisecond)
	defer cancel()
	require.ErrorIs(t, box.Put(short, 2), context.DeadlineExceeded)
	got, ok := box.TryTake()
	require.True(t, ok)
	require.Equal(t, 1, got)
	_, ok = box.TryTake()
	require.False(t, ok)
}

func mailboxCloseGivesTheRest(t *testing.T, ctx context.Context, e env.Env) {
	box := env.NewMailbox[int](e.Tasks, 2)
	require.NoError(t, box.Put(ctx, 1))
	box.Close()
	require.ErrorIs(t, box.Put(ctx, 2), env.ErrClosed)
	got, err := box.Take(ctx)
	require.NoError(t, err)
	require.Equal(t, 1, got)
	_, err = box.Take(ctx)
	require.ErrorIs(t, err, env.ErrClosed)
}

func offloadRuns(t *testing.T, ctx context.Context, e env.Env) {
	ran := false
	require.NoError(t, e.Tasks.Offload(ctx, func() { ran = true }))
	require.True(t, ran)
}

func waitEndsWithItsContext(t *testing.T, ctx context.Context, e env.Env) {
	box := env.NewMailbox[int](e.Tasks, 1)
	cancelled, cancel := e.Tasks.WithCancel(ctx)
	g := e.Tasks.NewGroup(ctx)
	g.Go("canceller", func(context.Context) error { cancel(); return nil })
	_, err := box.Take(cancelled)
	require.ErrorIs(t, err, context.Canceled)
	require.NoError(t, g.Wait())
}
