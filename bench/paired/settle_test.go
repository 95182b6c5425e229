package paired

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func canaryOf(sync float64) Canary {
	return Canary{CopyNanos: 1, CRCNanos: 1, SyncNanos: sync, EchoNanos: 1}
}

// A round begins when the machine is as quiet as it was, or has been waited for.
func TestARoundWaitsForAQuietMachine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		before := []Round{{Canary: canaryOf(100)}, {Canary: canaryOf(140)}}
		takes := func(syncs ...float64) (got Canary, left int) {
			got, err := settle(t.Context(), before, func() (Canary, error) {
				c := canaryOf(syncs[0])
				syncs = syncs[1:]
				return c, nil
			})
			require.NoError(t, err)
			return got, len(syncs)
		}
		begin := time.Now()
		got, left := takes(300, 151, 149, 90)
		require.Equal(t, canaryOf(149), got)
		require.Equal(t, 1, left)
		require.Equal(t, 2*settlePause, time.Since(begin))
		got, _ = takes(300, 301, 302, 303, 304, 305, 306)
		require.Equal(t, canaryOf(305), got, "it is measured all the same, and dropped")
		got, _ = takes(50)
		require.Equal(t, canaryOf(50), got, "quieter than ever")
		before = nil
		got, _ = takes(5000)
		require.Equal(t, canaryOf(5000), got, "nobody knows better")

		broken := errors.New("broken")
		_, err := settle(t.Context(), nil, func() (Canary, error) { return Canary{}, broken })
		require.ErrorIs(t, err, broken)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err = settle(ctx, []Round{{Canary: canaryOf(1)}}, func() (Canary, error) { return canaryOf(9), nil })
		require.ErrorIs(t, err, context.Canceled)
	})
}

func TestAShareIsOfATimeThatCanBeTold(t *testing.T) {
	require.Equal(t, 0.25, share(time.Second, 4*time.Second))
	require.Zero(t, share(-20*time.Millisecond, 4*time.Second), "the kernel's figures do not quite agree")
	require.Zero(t, share(20*time.Millisecond, 20*time.Millisecond), "a tick or two of two")
}

func TestTheCanaryMeasuresEachPart(t *testing.T) {
	c, err := TakeCanary(t.TempDir())
	require.NoError(t, err)
	for _, part := range c.parts() {
		require.Positive(t, part)
	}
	_, err = TakeCanary(t.TempDir() + "/absent")
	require.Error(t, err)
}
