package world_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/varvedb/varve/sim/world"
	"github.com/varvedb/varve/wal/env"
)

// eventsPerSecond reports a benchmark's events beside its time.
func eventsPerSecond(b *testing.B, events uint64) {
	b.ReportMetric(float64(events)/b.Elapsed().Seconds(), "events/s")
}

// BenchmarkHeap is the bare peer: an event heap that pops one and pushes one, with
// nothing to do.
func BenchmarkHeap(b *testing.B) {
	run := world.BareHeap(1000)
	b.ResetTimer()
	run(b.N)
	eventsPerSecond(b, uint64(b.N))
}

// sleepers are a hundred tasks that sleep over and over.
func sleepers(w *world.World) {
	w.Node("n").Start(func(ctx context.Context, e env.Env) error {
		group := e.Tasks.NewGroup(ctx)
		for i := range 100 {
			group.Go("sleeper", func(ctx context.Context) error {
				for {
					if err := e.Clock.Sleep(ctx, time.Millisecond+time.Duration(i)); err != nil {
						return err
					}
				}
			})
		}
		return group.Wait()
	})
}

// BenchmarkSleep is an event that is a timer and a resumed task.
func BenchmarkSleep(b *testing.B) {
	w := newWorld(b, world.Config{})
	sleepers(w)
	b.ResetTimer()
	if err := w.RunWhile(1<<62, func() bool { return w.Events() < uint64(b.N) }); err != nil {
		b.Fatal(err)
	}
	eventsPerSecond(b, w.Events())
}

// BenchmarkSynctest is the same in testing/synctest.
func BenchmarkSynctest(b *testing.B) {
	done := make(chan int)
	test := func(*testing.T) {
		var running sync.WaitGroup
		for i := range 100 {
			running.Go(func() {
				for range b.N / 100 {
					time.Sleep(time.Millisecond + time.Duration(i))
				}
			})
		}
		running.Wait()
	}
	go func() {
		defer close(done)
		testing.RunTests(func(string, string) (bool, error) { return true, nil }, []testing.InternalTest{{
			Name: "bubble", F: func(t *testing.T) { synctest.Test(t, test) },
		}})
	}()
	<-done
	eventsPerSecond(b, uint64(b.N))
}

// BenchmarkPingPong is two nodes that send each other a hundred bytes.
func BenchmarkPingPong(b *testing.B) {
	w := newWorld(b, world.Config{})
	pingPong(w)
	b.ResetTimer()
	if err := w.RunWhile(1<<62, func() bool { return w.Events() < uint64(b.N) }); err != nil {
		b.Fatal(err)
	}
	eventsPerSecond(b, w.Events())
}

func pingPong(w *world.World) {
	bounce := func(ctx context.Context, c env.Conn) error {
		buf := make([]byte, 100)
		for {
			if _, err := c.Write(ctx, buf); err != nil {
				return err
			}
			if _, err := c.Read(ctx, buf); err != nil {
				return err
			}
		}
	}
	w.Node("a").Start(func(ctx context.Context, e env.Env) error {
		l, err := e.Net.Listen(ctx, "tcp:a:1")
		if err != nil {
			return err
		}
		c, err := l.Accept(ctx)
		if err != nil {
			return err
		}
		return bounce(ctx, c)
	})
	w.Node("b").Start(func(ctx context.Context, e env.Env) error {
		if err := e.Clock.Sleep(ctx, time.Millisecond); err != nil {
			return err
		}
		c, err := e.Net.Dial(ctx, "tcp:a:1")
		if err != nil {
			return err
		}
		return bounce(ctx, c)
	})
}

// BenchmarkLog is a node that writes 8 KiB to a file, syncs, and begins again after 16 MiB.
func BenchmarkLog(b *testing.B) {
	w := newWorld(b, world.Config{})
	w.Node("n").Start(func(ctx context.Context, e env.Env) error {
		f, err := e.FS.Create(ctx, "log")
		for at := int64(0); err == nil; at = (at + 8192) % (16 << 20) {
			if _, err = f.WriteAt(ctx, make([]byte, 8192), at); err == nil {
				err = f.Sync(ctx)
			}
		}
		return err
	})
	b.ResetTimer()
	if err := w.RunWhile(1<<62, func() bool { return w.Events() < uint64(b.N) }); err != nil {
		b.Fatal(err)
	}
	eventsPerSecond(b, w.Events())
}

// BenchmarkVillage is the determinism tests' program under every fault.
func BenchmarkVillage(b *testing.B) {
	events := uint64(0)
	for i := range b.N {
		events += village(b, world.Config{Seed: uint64(i), Faults: world.Worst()}, villageTime).Events()
	}
	eventsPerSecond(b, events)
	b.ReportMetric(float64(b.N)*villageTime.Seconds()/b.Elapsed().Seconds(), "virtual/real")
}
