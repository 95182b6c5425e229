package world_test

import (
	"bytes"
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/sim/world"
	"github.com/varvedb/varve/wal/env"
)

// always is one fault at every opportunity.
func always(kinds ...world.FaultKind) world.Faults {
	faults := world.Worst().Only(kinds...)
	for i := range faults {
		if !faults[i].Off() {
			faults[i].PerMillion = 1_000_000
		}
	}
	return faults
}

// often is some faults, half of the time.
func often(kinds ...world.FaultKind) world.Faults {
	faults := always(kinds...)
	for i := range faults {
		faults[i].PerMillion /= 2
	}
	return faults
}

// requireLetters keeps a failure's output short.
func requireLetters(t *testing.T, letter byte, p []byte) {
	t.Helper()
	require.Len(t, p, blocks*4096)
	require.Equal(t, len(p), bytes.Count(p, []byte{letter}), "all of it is %c", letter)
}

const blocks = 16

// letters is blocks of 4 KiB, each of one letter.
func letters(letter byte) []byte { return bytes.Repeat([]byte{letter}, blocks*4096) }

// overwrite leaves a file of synced a's with unsynced b's over them, loses the
// power, and returns what is there then.
func overwrite(t *testing.T, seed uint64, faults world.Faults, die func(*world.Node)) []byte {
	w := newWorld(t, world.Config{Seed: seed, Faults: faults})
	n := w.Node("n")
	n.Start(func(ctx context.Context, e env.Env) error {
		f, err := e.FS.Create(ctx, "f")
		require.NoError(t, err)
		_, err = f.WriteAt(ctx, letters('a'), 0)
		require.NoError(t, err)
		require.NoError(t, f.Sync(ctx))
		require.NoError(t, e.FS.SyncDir(ctx, "."))
		_, err = f.WriteAt(ctx, letters('b'), 0)
		require.NoError(t, err)
		return e.Clock.Sleep(ctx, time.Hour)
	})
	require.NoError(t, w.Run(time.Minute))
	die(n)
	content, ok := n.Disk().ReadFile("f")
	require.True(t, ok)
	return content
}

func TestUnsyncedBlocksAreLostEach(t *testing.T) {
	requireLetters(t, 'b', overwrite(t, 1, world.Faults{}, (*world.Node).Kill))
	requireLetters(t, 'a', overwrite(t, 1, always(world.DiskLoss), (*world.Node).Kill))
	requireLetters(t, 'b', overwrite(t, 1, always(world.DiskLoss), (*world.Node).Crash))
	mixed := overwrite(t, 1, often(world.DiskLoss), (*world.Node).Kill)
	require.Len(t, mixed, blocks*4096)
	seen := map[byte]int{}
	for at := 0; at < len(mixed); at += 4096 {
		require.Equal(t, bytes.Repeat(mixed[at:at+1], 4096), mixed[at:at+4096], "a block is whole")
		seen[mixed[at]]++
	}
	require.Len(t, seen, 2)
}

func TestATornBlockIsTornIntoSectors(t *testing.T) {
	torn := overwrite(t, 1, always(world.DiskTorn), (*world.Node).Kill)
	mixed := 0
	for at := 0; at < len(torn); at += 4096 {
		block := torn[at : at+4096]
		for s := 0; s < 4096; s += 512 {
			require.Equal(t, bytes.Repeat(block[s:s+1], 512), block[s:s+512], "a sector is whole")
		}
		if bytes.Contains(block, []byte("ab")) || bytes.Contains(block, []byte("ba")) {
			mixed++
		}
	}
	require.Greater(t, mixed, blocks/2)
}

// A sync covers what was written before it began, and nothing after.
func TestASyncCoversWhatWasBeforeIt(t *testing.T) {
	w := newWorld(t, world.Config{Faults: always(world.DiskLoss)})
	n := w.Node("n")
	n.Start(func(ctx context.Context, e env.Env) error {
		f, err := e.FS.Create(ctx, "f")
		require.NoError(t, err)
		require.NoError(t, e.FS.SyncDir(ctx, "."))
		_, err = f.WriteAt(ctx, []byte("before"), 0)
		require.NoError(t, err)
		group := e.Tasks.NewGroup(ctx)
		group.Go("sync", f.Sync)
		require.NoError(t, e.Clock.Sleep(ctx, 100*time.Microsecond))
		_, err = f.WriteAt(ctx, []byte("durin"), 0)
		require.NoError(t, err)
		require.NoError(t, group.Wait())
		return e.Clock.Sleep(ctx, time.Hour)
	})
	require.NoError(t, w.Run(time.Minute))
	content, _ := n.Disk().ReadFile("f")
	require.Equal(t, "durine", string(content))
	n.Kill()
	content, _ = n.Disk().ReadFile("f")
	require.Equal(t, "before", string(content))
}

func TestEntriesAreLostEach(t *testing.T) {
	seen := map[string]int{}
	for seed := range uint64(200) {
		w := newWorld(t, world.Config{Seed: seed, Faults: often(world.DiskLoss)})
		n := w.Node("n")
		n.Start(func(ctx context.Context, e env.Env) error {
			require.NoError(t, e.FS.MkdirAll(ctx, "d/e"))
			for _, name := range []string{"d/kept", "d/old", "d/gone"} {
				_, err := e.FS.Create(ctx, name)
				require.NoError(t, err)
			}
			require.NoError(t, e.FS.SyncDir(ctx, "d"))
			require.NoError(t, e.FS.Remove(ctx, "d/gone"))
			_, err := e.FS.Create(ctx, "d/new")
			require.NoError(t, err)
			require.NoError(t, e.FS.Rename(ctx, "d/old", "d/renamed"))
			return e.Clock.Sleep(ctx, time.Hour)
		})
		require.NoError(t, w.Run(time.Minute))
		n.Kill()
		seen[fmt.Sprint(n.Disk().Files())]++
	}
	require.Len(t, seen, 8, "removed or not, new or not, renamed or not, and nothing between: %v", seen)
}

// onFile runs a program on a file of the letters a, synced, and returns what is there
// after it and after a loss of power.
func onFile(t *testing.T, faults world.Faults, body func(ctx context.Context, n *world.Node, f env.File)) (before, after []byte) {
	w := newWorld(t, world.Config{Seed: 3, Faults: always(world.DiskLoss)})
	n := w.Node("n")
	n.Start(func(ctx context.Context, e env.Env) error {
		f, err := e.FS.Create(ctx, "f")
		require.NoError(t, err)
		_, err = f.WriteAt(ctx, letters('a'), 0)
		require.NoError(t, err)
		require.NoError(t, f.Sync(ctx))
		require.NoError(t, e.FS.SyncDir(ctx, "."))
		for _, kind := range world.FaultKinds() {
			if !faults[kind].Off() {
				n.Faults()[kind] = faults[kind]
			}
		}
		body(ctx, n, f)
		return e.Clock.Sleep(ctx, time.Hour)
	})
	require.NoError(t, w.Run(time.Minute))
	before, _ = n.Disk().ReadFile("f")
	n.Kill()
	after, _ = n.Disk().ReadFile("f")
	return before, after
}

func put(t *testing.T, ctx context.Context, f env.File, p []byte) {
	_, err := f.WriteAt(ctx, p, 0)
	require.NoError(t, err)
}

func TestAFailedSyncIsNotMadeUpForByTheNext(t *testing.T) {
	before, after := onFile(t, always(world.DiskSyncError), func(ctx context.Context, n *world.Node, f env.File) {
		put(t, ctx, f, letters('b'))
		require.ErrorIs(t, f.Sync(ctx), world.ErrIO)
		n.Faults()[world.DiskSyncError] = world.Fault{}
		require.NoError(t, f.Sync(ctx), "what failed counts as clean")
	})
	requireLetters(t, 'b', before)
	require.Contains(t, string(after), "ab")
}

func TestALyingSyncKeepsNothing(t *testing.T) {
	_, after := onFile(t, world.Faults{world.DiskLie: {PerMillion: 1_000_000}}, func(ctx context.Context, _ *world.Node, f env.File) {
		put(t, ctx, f, letters('b'))
		require.NoError(t, f.Sync(ctx))
	})
	requireLetters(t, 'a', after)
}

func TestALostWriteShowsOnlyAfterwards(t *testing.T) {
	before, after := onFile(t, often(world.DiskLostWrite), func(ctx context.Context, _ *world.Node, f env.File) {
		put(t, ctx, f, letters('b'))
		require.NoError(t, f.Sync(ctx))
	})
	requireLetters(t, 'b', before)
	require.Contains(t, string(after), "ab")
}

func TestAMisdirectedWriteHitsAnotherBlock(t *testing.T) {
	_, after := onFile(t, always(world.DiskMisdirect), func(ctx context.Context, _ *world.Node, f env.File) {
		_, err := f.WriteAt(ctx, bytes.Repeat([]byte{'b'}, 4096), 0)
		require.NoError(t, err)
		require.NoError(t, f.Sync(ctx))
	})
	require.Equal(t, byte('a'), after[0], "its own block is as it was")
	require.Equal(t, 4096, bytes.Count(after, []byte("b")), "and another is not")
}

func TestRotFlipsOneBit(t *testing.T) {
	before, after := onFile(t, always(world.DiskRot), func(ctx context.Context, n *world.Node, f env.File) {
		p := make([]byte, 100)
		_, err := f.ReadAt(ctx, p, 5000)
		require.NoError(t, err)
		require.NotEqual(t, letters('a')[:100], p)
		n.Faults()[world.DiskRot] = world.Fault{}
		again := make([]byte, 100)
		_, err = f.ReadAt(ctx, again, 5000)
		require.NoError(t, err)
		require.Equal(t, p, again, "it stays")
	})
	require.True(t, bytes.Equal(before, after))
}

func TestErrorsOfTheDisk(t *testing.T) {
	onFile(t, always(world.DiskReadError, world.DiskWriteError), func(ctx context.Context, _ *world.Node, f env.File) {
		_, err := f.ReadAt(ctx, make([]byte, 1), 0)
		require.ErrorIs(t, err, world.ErrIO)
		n, err := f.WriteAt(ctx, letters('b'), 0)
		require.ErrorIs(t, err, world.ErrIO)
		require.Less(t, n, blocks*4096)
	})
}

func TestAShortReadSaysSo(t *testing.T) {
	onFile(t, always(world.DiskShortRead), func(ctx context.Context, _ *world.Node, f env.File) {
		want := letters('b')
		put(t, ctx, f, want)
		got := make([]byte, len(want))
		n, err := f.ReadAt(ctx, got, 0)
		require.ErrorIs(t, err, world.ErrIO)
		require.Positive(t, n)
		require.Less(t, n, len(want))
		require.Equal(t, n, bytes.Count(got, []byte{'b'}), "what was read is right")
	})
}

// An entry that could not be changed is as it was.
func TestAnErrorOfAnEntryChangesNothing(t *testing.T) {
	w := newWorld(t, world.Config{})
	n := w.Node("n")
	must(t, n, w, func(ctx context.Context, e env.Env) {
		f, err := e.FS.Create(ctx, "f")
		require.NoError(t, err)
		put(t, ctx, f, letters('a'))
		*n.Faults() = always(world.DiskEntryError)
		_, err = e.FS.Create(ctx, "g")
		require.ErrorIs(t, err, world.ErrIO)
		require.ErrorIs(t, e.FS.Rename(ctx, "f", "h"), world.ErrIO)
		require.ErrorIs(t, e.FS.Remove(ctx, "f"), world.ErrIO)
		require.ErrorIs(t, f.Truncate(ctx, 1), world.ErrIO)
		require.ErrorIs(t, f.Allocate(ctx, 1<<20), world.ErrIO)
		put(t, ctx, f, letters('b')) // bytes are another matter
	})
	require.Equal(t, []string{"f"}, n.Disk().Files())
	content, _ := n.Disk().ReadFile("f")
	requireLetters(t, 'b', content)
}

func TestAFullDiskTakesWhatFits(t *testing.T) {
	faults := world.Worst().Only(world.DiskFull)
	w := newWorld(t, world.Config{Faults: faults})
	n := w.Node("n")
	refused := 0
	n.Start(func(ctx context.Context, e env.Env) error {
		f, err := e.FS.Create(ctx, "f")
		require.NoError(t, err)
		require.NoError(t, f.Allocate(ctx, 4096))
		for {
			size, err := f.Size(ctx)
			require.NoError(t, err)
			if n, err := f.WriteAt(ctx, letters('c')[:4096], size-1000); err != nil {
				require.ErrorIs(t, err, world.ErrNoSpace)
				require.Equal(t, 1000, n)
				after, err := f.Size(ctx)
				require.NoError(t, err)
				require.Equal(t, size, after)
				refused++
			}
			if err := e.Clock.Sleep(ctx, 100*time.Millisecond); err != nil {
				return err
			}
		}
	})
	w.Storm(n)
	require.NoError(t, w.Run(5*time.Minute))
	require.NotZero(t, refused)
}

func TestAFullDiskDoesNotGrow(t *testing.T) {
	faults := world.Worst().Only(world.DiskFull)
	w := newWorld(t, world.Config{Faults: faults})
	n := w.Node("n")
	refused, done := 0, 0
	n.Start(func(ctx context.Context, e env.Env) error {
		f, err := e.FS.Create(ctx, "f")
		require.NoError(t, err)
		require.NoError(t, f.Allocate(ctx, 4096))
		for at := int64(4096); ; at++ {
			put(t, ctx, f, make([]byte, 4096))
			if _, err := f.WriteAt(ctx, []byte{1}, at); err != nil {
				require.ErrorIs(t, err, world.ErrNoSpace)
				require.ErrorIs(t, f.Allocate(ctx, 1<<30), world.ErrNoSpace)
				_, err = e.FS.Create(ctx, "g")
				require.ErrorIs(t, err, world.ErrNoSpace)
				refused++
				at--
			} else {
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
}

func TestATrustedNodesDiskDoesNotDeceive(t *testing.T) {
	w := newWorld(t, world.Config{Faults: always(world.DiskWipe, world.DiskRot, world.DiskLostWrite, world.DiskMisdirect)})
	for _, trusted := range []bool{true, false} {
		n := w.Node(fmt.Sprint(trusted))
		if trusted {
			n.Trust()
		}
		require.NoError(t, do(t, n, w, func(ctx context.Context, e env.Env) error {
			f, err := e.FS.Create(ctx, "f")
			require.NoError(t, err)
			put(t, ctx, f, letters('a'))
			require.NoError(t, f.Sync(ctx))
			return e.FS.SyncDir(ctx, ".")
		}))
		n.Start(func(ctx context.Context, e env.Env) error { return e.Clock.Sleep(ctx, time.Hour) })
		require.NoError(t, w.Run(w.Now()+time.Second))
		n.Kill()
		content, ok := n.Disk().ReadFile("f")
		require.Equal(t, trusted, ok)
		if trusted {
			requireLetters(t, 'a', content)
		}
	}
}
