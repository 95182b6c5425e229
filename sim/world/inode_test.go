package world_test

import (
	"bytes"
	"context"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/varvedb/varve/sim/world"
	"github.com/varvedb/varve/wal/env"
)

// TestAFileIsItsBytes writes blocks that are kept in different ways, whole, as heads and
// as zeros, over one another and in parts, and reads the file beside a list of its bytes:
// at once, and after a loss of power, when what was synced is there and, as the faults
// have it, all or nothing of the rest.
func TestAFileIsItsBytes(t *testing.T) {
	const block = 4096
	rapid.Check(t, func(t *rapid.T) {
		faults := world.Faults{}
		loses := rapid.Bool().Draw(t, "loses")
		if loses {
			faults = always(world.DiskLoss)
		}
		w := world.New(world.Config{Seed: 1, Faults: faults})
		defer w.Close()
		n := w.Node("n")
		var want, synced []byte
		n.Start(func(ctx context.Context, e env.Env) error {
			f, err := e.FS.Create(ctx, "f")
			require.NoError(t, err)
			require.NoError(t, e.FS.SyncDir(ctx, "."))
			for range rapid.IntRange(1, 30).Draw(t, "steps") {
				switch rapid.IntRange(0, 9).Draw(t, "step") {
				case 0:
					require.NoError(t, f.Sync(ctx))
					synced = bytes.Clone(want)
				case 1:
					size := rapid.IntRange(0, len(want)).Draw(t, "size")
					require.NoError(t, f.Truncate(ctx, int64(size)))
					want = want[:size]
				default:
					at := block * rapid.IntRange(0, 5).Draw(t, "block")
					p := bytes.Repeat([]byte{rapid.Byte().Draw(t, "letter")}, rapid.SampledFrom([]int{8, 64, 65, block}).Draw(t, "letters"))
					p = append(p, make([]byte, rapid.SampledFrom([]int{0, block - len(p), 2*block - len(p)}).Draw(t, "zeros"))...)
					at += rapid.SampledFrom([]int{0, 0, 0, 100}).Draw(t, "shift")
					_, err := f.WriteAt(ctx, p, int64(at))
					require.NoError(t, err)
					want = append(want, make([]byte, max(0, at+len(p)-len(want)))...)
					copy(want[at:], p)
				}
				got, _ := n.Disk().ReadFile("f")
				require.True(t, bytes.Equal(want, got))
			}
			return nil
		})
		n.OnEnd(func(err error) { require.NoError(t, err) })
		require.NoError(t, w.Run(1<<40))
		n.Start(func(ctx context.Context, e env.Env) error { return e.Clock.Sleep(ctx, 1<<50) })
		require.NoError(t, w.Run(1<<41))
		n.Kill()
		got, ok := n.Disk().ReadFile("f")
		require.True(t, ok)
		if loses {
			want = synced
		}
		require.True(t, bytes.Equal(want, got))
	})
}
