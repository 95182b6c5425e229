package lsm_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/lsm"
	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/env"
)

// pauseClock notes pauses and makes none.
type pauseClock struct {
	env.Clock
	mu     sync.Mutex
	pauses []time.Duration
}

func (c *pauseClock) Sleep(ctx context.Context, d time.Duration) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pauses = append(c.pauses, d)
	return ctx.Err()
}

func (c *pauseClock) taken() (sum, most time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, d := range c.pauses {
		sum, most = sum+d, max(most, d)
	}
	c.pauses = nil
	return sum, most
}

// TestPressureRisesByDegrees: while no layer can be written, writers are slowed down
// more and more as the last memtable fills, never at once, and then not at all.
func TestPressureRisesByDegrees(t *testing.T) {
	ctx := context.Background()
	b := newMemBucket()
	gate := make(chan struct{})
	b.setBefore(func(op, key string, _ []byte) error {
		if op == "put" && strings.Contains(key, "/layers/") {
			<-gate
		}
		return nil
	})
	w := withBucket(t, b)
	clock := &pauseClock{Clock: hostEnv.Clock}
	w.env.Clock = clock
	const memtable = 400_000
	s := w.openWith(w.env, lsm.Options{MemtableBytes: memtable, FrozenMax: 1})
	require.NoError(t, s.Create(ctx, timelineID(1), 10, nil))
	tl := attach(t, s, timelineID(1))
	value := "D" + strings.Repeat("x", 999)
	lsn := wal.LSN(10)
	write := func() { lsn++; apply(t, tl, put(int(lsn%7), lsn, value)) }
	for tl.Stats().Frozen == 0 {
		write()
	}
	sum, _ := clock.taken()
	require.Zero(t, sum, "while there is room nobody waits")

	pressures, pauses := []float64{}, []time.Duration{}
	for range 8 {
		for range memtable / 1000 / 10 {
			write()
		}
		sum, most := clock.taken()
		require.LessOrEqual(t, most, 50*time.Millisecond)
		pressures, pauses = append(pressures, tl.Stats().Pressure), append(pauses, sum)
	}
	require.IsIncreasing(t, pressures)
	require.IsIncreasing(t, pauses)
	require.Less(t, pressures[7], 1.0)
	require.Positive(t, tl.Stats().Eased)
	close(gate)
	flush(t, tl)
	require.Zero(t, tl.Stats().Pressure)
	require.NoError(t, s.Close(ctx))
}
