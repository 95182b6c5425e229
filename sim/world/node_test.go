package world_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/sim/world"
	"github.com/varvedb/varve/wal/assert"
	"github.com/varvedb/varve/wal/env"
)

func TestADeathFencesEnvBeforeAnythingUnwinds(t *testing.T) {
	for name, die := range map[string]func(*world.Node){"power": (*world.Node).Kill, "process": (*world.Node).Crash} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, world.Config{})
			n := w.Node("n")
			var unwound []error
			var seen context.Context
			n.Start(func(ctx context.Context, e env.Env) error {
				seen = ctx
				f, err := e.FS.Create(ctx, "f")
				require.NoError(t, err)
				// What a deferred call does to repair the damage comes to nothing.
				defer func() {
					_, err := f.WriteAt(ctx, []byte("repaired"), 0)
					unwound = append(unwound, err)
					unwound = append(unwound, f.Sync(ctx), e.FS.SyncDir(ctx, "."), e.FS.Remove(ctx, "f"))
					_, err = e.Bucket.Put(ctx, "repaired", nil, env.Condition{})
					unwound = append(unwound, err)
					_, err = e.Net.Dial(ctx, "tcp:a:1")
					unwound = append(unwound, err, e.Clock.Sleep(ctx, 0), e.Tasks.Offload(ctx, func() { t.Error("runs") }))
					e.Tasks.NewGroup(ctx).Go("late", func(context.Context) error { t.Error("runs"); return nil })
				}()
				return e.Clock.Sleep(ctx, time.Hour)
			})
			require.NoError(t, w.Run(time.Minute))
			events := w.Events()
			die(n)
			require.False(t, n.Running())
			require.Empty(t, unwound, "nothing unwinds before the scheduler's next step")
			require.NoError(t, w.Run(2*time.Hour))
			must(t, w.Node("other"), w, func(context.Context, env.Env) {})
			require.Len(t, unwound, 8)
			for _, err := range unwound {
				require.ErrorIs(t, err, world.ErrKilled)
			}
			require.NoError(t, seen.Err(), "a killed program is told by its calls, not by its context")
			require.Equal(t, events+1, w.Events(), "the dead make no steps")
			require.Empty(t, w.Objects())
			content, ok := n.Disk().ReadFile("f")
			require.True(t, ok, "without faults the loss of power loses nothing")
			require.Empty(t, content)
		})
	}
}

func TestATaskThatRetriesForEverIsEnded(t *testing.T) {
	w := newWorld(t, world.Config{})
	n := w.Node("n")
	tries := 0
	n.Start(func(ctx context.Context, e env.Env) error {
		var mu sync.Mutex
		cond := e.Tasks.NewCond(&mu)
		mu.Lock()
		defer mu.Unlock()
		for ; ; tries++ {
			_ = cond.Wait(ctx)
		}
	})
	require.NoError(t, w.Run(time.Second))
	n.Kill()
	w.Close()
	require.Equal(t, 1000, tries)
}

func TestAPanicIsTheRunsFailure(t *testing.T) {
	w := newWorld(t, world.Config{})
	w.Node("n").Start(func(ctx context.Context, e env.Env) error {
		group := e.Tasks.NewGroup(ctx)
		group.Go("bug", func(context.Context) error { assert.Failf("this cannot be"); return nil })
		return group.Wait()
	})
	err := w.Run(time.Second)
	require.ErrorContains(t, err, "node n, task bug: panic: assertion failed: this cannot be")
	require.ErrorContains(t, err, "node_test.go", "it has the stack")
	var failed *assert.Error
	require.ErrorAs(t, err, &failed)
	require.Equal(t, err, w.Run(time.Hour), "a failed world does not go on")
}

func TestAPanicOfTheDeadIsOfNoAccount(t *testing.T) {
	w := newWorld(t, world.Config{})
	n := w.Node("n")
	n.Start(func(ctx context.Context, e env.Env) error {
		assert.That(e.Clock.Sleep(ctx, time.Hour) == nil, "a sleep without end of context succeeds")
		return nil
	})
	require.NoError(t, w.Run(time.Second))
	n.Kill()
	must(t, w.Node("other"), w, func(context.Context, env.Env) {})
}

func TestALivelockIsFound(t *testing.T) {
	w := newWorld(t, world.Config{})
	w.Node("n").Start(func(ctx context.Context, e env.Env) error {
		for {
			e.Trace.Yield(ctx, "spin")
		}
	})
	require.ErrorIs(t, w.Run(time.Second), world.ErrStuck)
}

func TestTheEndOfAProgramEndsItsTasks(t *testing.T) {
	w := newWorld(t, world.Config{})
	n := w.Node("n")
	boom := errors.New("boom")
	var ended error
	n.OnEnd(func(err error) { ended = err })
	var left error
	n.Start(func(ctx context.Context, e env.Env) error {
		e.Tasks.NewGroup(ctx).Go("left", func(ctx context.Context) error {
			left = e.Clock.Sleep(ctx, time.Hour)
			return nil
		})
		return errors.Join(e.Clock.Sleep(ctx, time.Second), boom)
	})
	require.NoError(t, w.Run(time.Minute))
	require.False(t, n.Running())
	require.ErrorIs(t, n.Err(), boom)
	require.ErrorIs(t, ended, boom)
	require.ErrorIs(t, left, world.ErrKilled)
	n.Restart()
	require.True(t, n.Running())
	require.Equal(t, 2, n.Starts())
}

func TestAPausedNodeRunsOnFromWhereItWas(t *testing.T) {
	w := newWorld(t, world.Config{})
	n := w.Node("n")
	var slept, wall time.Duration
	n.Start(func(ctx context.Context, e env.Env) error {
		began, beganWall := e.Clock.Now(), e.Clock.Wall()
		err := e.Clock.Sleep(ctx, time.Second)
		slept, wall = e.Clock.Now()-began, e.Clock.Wall().Sub(beganWall)
		return err
	})
	require.NoError(t, w.Run(0))
	w.Node("m").Start(func(ctx context.Context, e env.Env) error {
		n.Pause()
		defer n.Resume()
		return e.Clock.Sleep(ctx, time.Minute)
	})
	require.NoError(t, w.Run(time.Hour))
	require.NoError(t, n.Err())
	require.False(t, n.Paused())
	require.Equal(t, time.Minute, slept, "time went on without it")
	require.Equal(t, time.Minute, wall)
}

// On a slow node turns come one after the other, and CPU work is slow; elsewhere, and
// when it is over, they cost nothing.
func TestASlowNodeTakesItsTime(t *testing.T) {
	const tasks, turns = 10, 100
	work := func(slow bool) (yields, offload time.Duration) {
		faults := world.Worst().Only(world.CPUSlow)
		faults[world.CPUSlow].Every = world.Range{Lo: time.Second, Hi: time.Second}
		faults[world.CPUSlow].Lasts = world.Range{Lo: time.Hour, Hi: time.Hour}
		w := newWorld(t, world.Config{Faults: faults})
		n, other := w.Node("n"), w.Node("other")
		n.Start(func(ctx context.Context, e env.Env) error {
			if err := e.Clock.Sleep(ctx, 2*time.Second); err != nil {
				return err
			}
			began := e.Clock.Now()
			group := e.Tasks.NewGroup(ctx)
			for range tasks {
				group.Go("task", func(ctx context.Context) error {
					for range turns {
						e.Trace.Yield(ctx, "turn")
					}
					return nil
				})
			}
			err := group.Wait()
			yields = e.Clock.Now() - began
			err = errors.Join(err, e.Tasks.Offload(ctx, func() {}))
			offload = e.Clock.Now() - began - yields
			return err
		})
		among := map[bool]*world.Node{true: n, false: other}
		w.Storm(among[slow])
		require.NoError(t, w.Run(time.Hour))
		require.False(t, n.Running())
		require.NoError(t, n.Err())
		return yields, offload
	}
	fastYields, fastOffload := work(false)
	slowYields, slowOffload := work(true)
	require.Zero(t, fastYields)
	require.GreaterOrEqual(t, slowYields, tasks*turns*20*time.Microsecond)
	require.LessOrEqual(t, slowYields, (tasks*(turns+1)+10)*time.Millisecond)
	require.Greater(t, slowOffload, fastOffload+200*time.Microsecond)
}

func TestClocksDriftAndAreStepped(t *testing.T) {
	faults := world.Worst().Only(world.ClockDrift, world.ClockOffset)
	fast, slow, off := 0, 0, 0
	for seed := range uint64(50) {
		w := newWorld(t, world.Config{Seed: seed, Faults: faults})
		n := w.Node("n")
		var took time.Duration
		must(t, n, w, func(ctx context.Context, e env.Env) {
			n.StepClock(-time.Hour)
			before, wall := e.Clock.Now(), e.Clock.Wall()
			n.StepClock(time.Hour)
			require.Equal(t, before, e.Clock.Now(), "a step does not move monotonic time")
			require.Equal(t, time.Hour, e.Clock.Wall().Sub(wall))
			if wall.Year() != 2026 || wall.Add(time.Hour) != time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC) {
				off++
			}
			began := w.Now()
			require.NoError(t, e.Clock.Sleep(ctx, 1_000_003*time.Microsecond))
			require.GreaterOrEqual(t, e.Clock.Now()-before, 1_000_003*time.Microsecond, "a sleep is not too short by the sleeper's clock")
			require.LessOrEqual(t, e.Clock.Now()-before, 1_000_003*time.Microsecond+2)
			took = w.Now() - began
		})
		require.InDelta(t, 1.000003, took.Seconds(), 0.0006)
		if took < 1_000_003*time.Microsecond {
			fast++
		} else if took > 1_000_003*time.Microsecond {
			slow++
		}
	}
	require.NotZero(t, fast)
	require.NotZero(t, slow)
	require.NotZero(t, off)
}

// saver is a small program: it replaces a file's content the safe way, and says so.
func saver(content string, said *bool) func(context.Context, env.Env) error {
	return func(ctx context.Context, e env.Env) error {
		f, err := e.FS.Create(ctx, "new")
		if errors.Is(err, env.ErrExist) {
			f, err = e.FS.Open(ctx, "new")
		}
		if err != nil {
			return err
		}
		if err := f.Truncate(ctx, 0); err != nil {
			return err
		}
		if _, err := f.WriteAt(ctx, []byte(content), 0); err != nil {
			return err
		}
		if err := f.Sync(ctx); err != nil {
			return err
		}
		if err := e.FS.Rename(ctx, "new", "state"); err != nil {
			return err
		}
		if err := e.FS.SyncDir(ctx, "."); err != nil {
			return err
		}
		*said = true
		return e.Clock.Sleep(ctx, 1)
	}
}

// The safe way is safe: killed before and after each call of Env, with everything
// unsynced at risk, the file has the old content or the new, and the new if that was
// said.
func TestKilledAtEachCallTheSafeWayIsSafe(t *testing.T) {
	outcomes := exhaust(t, saver)
	require.NotZero(t, outcomes["old"])
	require.NotZero(t, outcomes["new"])
	require.Zero(t, outcomes["neither"])
	require.Zero(t, outcomes["lost"])
}

// Without its syncs it is not, and the kills show that.
func TestKilledAtEachCallTheHastyWayIsNot(t *testing.T) {
	outcomes := exhaust(t, func(content string, said *bool) func(context.Context, env.Env) error {
		program := saver(content, said)
		return func(ctx context.Context, e env.Env) error {
			e.FS = hasty{e.FS}
			return program(ctx, e)
		}
	})
	require.NotZero(t, outcomes["neither"])
	require.NotZero(t, outcomes["lost"])
}

// hasty syncs nothing.
type hasty struct{ env.FS }

func (h hasty) Create(ctx context.Context, name string) (env.File, error) {
	f, err := h.FS.Create(ctx, name)
	return hastyFile{f}, err
}

func (h hasty) SyncDir(context.Context, string) error { return nil }

type hastyFile struct{ env.File }

func (hastyFile) Sync(context.Context) error { return nil }

func exhaust(t *testing.T, program func(string, *bool) func(context.Context, env.Env) error) map[string]int {
	faults := world.Worst().Only(world.DiskLoss, world.DiskTorn)
	old, fresh := string(make([]byte, 10_000)), fmt.Sprintf("%010000d", 7)
	outcomes := map[string]int{}
	for seed := range uint64(40) {
		for k := uint64(1); ; k++ {
			finished := false
			for _, point := range []world.CrashPoint{world.Before, world.After} {
				w := newWorld(t, world.Config{Seed: seed, Faults: faults})
				n := w.Node("n")
				saidOld, said := false, false
				require.NoError(t, do(t, n, w, saver(old, &saidOld)))
				at := n.Calls() + k
				n.KillAtCall(at, point)
				require.NoError(t, do(t, n, w, program(fresh, &said)))
				finished = n.Calls() < at
				content, ok := n.Disk().ReadFile("state")
				outcomes[outcome(string(content), ok, said, old, fresh)]++
			}
			if finished {
				break // there is no call k
			}
		}
	}
	return outcomes
}

func outcome(content string, ok, said bool, old, fresh string) string {
	switch {
	case content == fresh:
		return "new"
	case said:
		return "lost"
	case ok && content == old:
		return "old"
	}
	return "neither"
}

func TestANodeFallsAtAMarkedPlace(t *testing.T) {
	faults := world.Faults{world.CrashCover: {PerMillion: 1_000_000}}
	w := newWorld(t, world.Config{Seed: 1, Faults: faults})
	n, other := w.Node("n"), w.Node("other")
	starts, marked := 0, 0
	program := func(ctx context.Context, e env.Env) error {
		starts++
		for {
			if err := e.Clock.Sleep(ctx, time.Second); err != nil {
				return err
			}
			e.Trace.Cover("here")
			marked++
		}
	}
	w.Storm(n)
	n.Start(program)
	other.Start(func(ctx context.Context, e env.Env) error {
		e.Trace.Cover("there")
		return e.Clock.Sleep(ctx, time.Second)
	})
	require.NoError(t, w.RunWhile(w.Now()+1500*time.Millisecond, func() bool { return true }))
	require.Equal(t, []int{1, 1}, []int{starts, marked}, "the place is reached, and no call of Env after it")
	require.False(t, n.Running())
	require.NoError(t, other.Err(), "no storm blows there")
	require.EqualValues(t, 1, w.Fired(world.CrashCover))
	w.Calm()
	require.NoError(t, w.RunWhile(w.Now()+10*time.Second, func() bool { return true }))
	require.Equal(t, 2, starts)
	require.Greater(t, marked, 5, "in a calm it is a place like any other")
}
