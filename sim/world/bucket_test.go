package world_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/sim/world"
	"github.com/varvedb/varve/wal/env"
)

func TestADefiniteErrorOfTheBucketChangedNothing(t *testing.T) {
	w := newWorld(t, world.Config{Faults: always(world.BucketError)})
	must(t, w.Node("n"), w, func(ctx context.Context, e env.Env) {
		_, err := e.Bucket.Put(ctx, "a", []byte("1"), env.Condition{})
		require.ErrorIs(t, err, world.ErrUnavailable)
		require.False(t, env.IsUnknown(err))
		require.ErrorIs(t, e.Bucket.Delete(ctx, "a"), world.ErrUnavailable)
		_, err = e.Bucket.List(ctx, "")
		require.ErrorIs(t, err, world.ErrUnavailable)
		require.NoError(t, e.Clock.Sleep(ctx, time.Hour))
	})
	require.Empty(t, w.Objects())
}

// tries puts many objects under faults, and returns how many puts were reported
// done, and how many objects are there at their end and an hour later.
func tries(t *testing.T, faults world.Faults, puts int) (done, at, later int) {
	w := newWorld(t, world.Config{Faults: faults})
	must(t, w.Node("n"), w, func(ctx context.Context, e env.Env) {
		for i := range puts {
			_, err := e.Bucket.Put(ctx, fmt.Sprint(i), nil, env.IfAbsent())
			if err == nil {
				done++
				continue
			}
			require.True(t, env.IsUnknown(err), "%v", err)
		}
		at = len(w.Objects())
		require.NoError(t, e.Clock.Sleep(ctx, time.Hour))
	})
	return done, at, len(w.Objects())
}

func TestAnUnknownOutcomeIsEither(t *testing.T) {
	done, at, later := tries(t, always(world.BucketUnknown), 100)
	require.Zero(t, done)
	require.InDelta(t, 50, at, 20)
	require.Equal(t, at, later)
}

func TestALatePutHappensInTheEnd(t *testing.T) {
	done, at, later := tries(t, always(world.BucketLate), 100)
	require.Zero(t, done)
	require.Less(t, at, 100)
	require.Equal(t, 100, later)
}

// A condition is tested when the request arrives, not when it was sent.
func TestALatePutLosesToOneThatCameBeforeIt(t *testing.T) {
	w := newWorld(t, world.Config{})
	old, fresh := w.Node("old"), w.Node("fresh")
	old.Faults()[world.BucketLate] = world.Fault{PerMillion: 1_000_000, Lasts: world.Range{Lo: time.Minute, Hi: time.Minute}}
	must(t, old, w, func(ctx context.Context, e env.Env) {
		_, err := e.Bucket.Put(ctx, "index", []byte("old"), env.IfAbsent())
		require.True(t, env.IsUnknown(err))
	})
	must(t, fresh, w, func(ctx context.Context, e env.Env) {
		_, err := e.Bucket.Put(ctx, "index", []byte("fresh"), env.IfAbsent())
		require.NoError(t, err)
	})
	require.NoError(t, w.Run(time.Hour))
	body, _ := w.Object("index")
	require.Equal(t, "fresh", string(body))
}

// What a dead node has sent may arrive.
func TestTheDeadsRequestsArrive(t *testing.T) {
	w := newWorld(t, world.Config{})
	n := w.Node("n")
	n.Start(func(ctx context.Context, e env.Env) error {
		_, err := e.Bucket.Put(ctx, "a", []byte("late"), env.Condition{})
		return err
	})
	require.NoError(t, w.Run(time.Millisecond))
	n.Kill()
	require.NoError(t, w.Run(time.Minute))
	require.Equal(t, []string{"a"}, w.Objects())
}

func TestACallWhoseContextEndsIsOfUnknownOutcome(t *testing.T) {
	there := 0
	for seed := range uint64(40) {
		w := newWorld(t, world.Config{Seed: seed})
		must(t, w.Node("n"), w, func(ctx context.Context, e env.Env) {
			short, cancel := e.Tasks.WithTimeout(ctx, time.Millisecond)
			defer cancel()
			_, err := e.Bucket.Put(short, "a", nil, env.Condition{})
			require.True(t, env.IsUnknown(err))
			require.ErrorIs(t, err, context.DeadlineExceeded)
			_, err = e.Bucket.Put(short, "b", nil, env.Condition{})
			require.False(t, env.IsUnknown(err), "what was never sent did not happen")
			require.ErrorIs(t, err, context.DeadlineExceeded)
			require.NoError(t, e.Clock.Sleep(ctx, time.Minute))
		})
		there += len(w.Objects())
	}
	require.InDelta(t, 20, there, 12)
}

func TestANodeThatIsCutOffFromTheBucketWaits(t *testing.T) {
	w := newWorld(t, world.Config{})
	n := w.Node("n")
	for _, oneWay := range []bool{false, true} {
		w.HealAll()
		w.Cut(nil, n)
		if !oneWay {
			w.Cut(n, nil)
		}
		must(t, n, w, func(ctx context.Context, e env.Env) {
			began := e.Clock.Now()
			_, err := e.Bucket.Put(ctx, fmt.Sprint(oneWay), nil, env.Condition{})
			require.True(t, env.IsUnknown(err))
			require.ErrorIs(t, err, world.ErrTimeout)
			require.GreaterOrEqual(t, e.Clock.Now()-began, 30*time.Second)
		})
	}
	require.Equal(t, []string{"true"}, w.Objects(), "the request arrived, its answer did not")
}

func TestACorruptBodyIsInTheAnswerOnly(t *testing.T) {
	w := newWorld(t, world.Config{Faults: always(world.BucketCorrupt), Near: true})
	must(t, w.Node("n"), w, func(ctx context.Context, e env.Env) {
		_, err := e.Bucket.Put(ctx, "a", []byte("sound"), env.Condition{})
		require.NoError(t, err)
		got, _, err := e.Bucket.Get(ctx, "a")
		require.NoError(t, err)
		require.NotEqual(t, "sound", string(got))
		part, err := e.Bucket.GetRange(ctx, "a", 1, 2)
		require.NoError(t, err)
		require.NotEqual(t, "ou", string(part))
		object, err := e.Bucket.(env.Near).Open(ctx, "a")
		require.NoError(t, err)
		_, err = object.ReadAt(ctx, part, 1)
		require.NoError(t, err)
		require.NotEqual(t, "ou", string(part))
	})
	body, _ := w.Object("a")
	require.Equal(t, "sound", string(body))
}

// TestAnOpenObjectIsReadAsAFileIs: with the disk's faults, and whatever becomes of the
// network.
func TestAnOpenObjectIsReadAsAFileIs(t *testing.T) {
	w := newWorld(t, world.Config{Faults: often(world.DiskReadError, world.DiskShortRead), Near: true})
	n := w.Node("n")
	must(t, n, w, func(ctx context.Context, e env.Env) {
		_, err := e.Bucket.Put(ctx, "a", []byte("sound"), env.Condition{})
		require.NoError(t, err)
		object, err := e.Bucket.(env.Near).Open(ctx, "a")
		require.NoError(t, err)
		w.Cut(n, nil)
		began := e.Clock.Now()
		failed, short, sound := 0, 0, 0
		for range 200 {
			p := make([]byte, 5)
			switch read, err := object.ReadAt(ctx, p, 0); {
			case err == nil:
				require.Equal(t, "sound", string(p))
				sound++
			case read == 0:
				require.ErrorIs(t, err, world.ErrIO)
				failed++
			default:
				require.ErrorIs(t, err, world.ErrIO)
				require.Equal(t, "sound"[:read], string(p[:read]))
				short++
			}
		}
		require.Less(t, e.Clock.Now()-began, time.Second)
		for _, n := range []int{failed, short, sound} {
			require.Positive(t, n)
		}
	})
}

func TestThrottlingComesAndGoes(t *testing.T) {
	w := newWorld(t, world.Config{Faults: world.Worst().Only(world.BucketThrottle, world.BucketSlow)})
	n := w.Node("n")
	refused, done, slow := 0, 0, 0
	n.Start(func(ctx context.Context, e env.Env) error {
		for {
			began := e.Clock.Now()
			_, _, err := e.Bucket.Get(ctx, "missing")
			switch {
			case e.Clock.Now()-began > time.Second:
				slow++
			case err != nil && !env.IsUnknown(err) && fmt.Sprint(err) == "get missing: bucket unavailable":
				refused++
			default:
				require.ErrorIs(t, err, env.ErrNoObject)
				done++
			}
			if err := e.Clock.Sleep(ctx, 100*time.Millisecond); err != nil {
				return err
			}
		}
	})
	w.Storm(n)
	require.NoError(t, w.Run(10*time.Minute))
	require.NotZero(t, refused)
	require.NotZero(t, done)
	require.NotZero(t, slow)
}
