package meter

import (
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/wal/env"
	"github.com/varvedb/varve/wal/env/osenv"
)

func TestStatOfAProcessWithAnyName(t *testing.T) {
	parent, ticks, ok := parseStat([]byte("77 (a b) c) S 42 77 77 0 -1 4194304 100 200 0 0 11 22 33 44 20 0 1 0 5 6 7\n"))
	require.True(t, ok)
	require.Equal(t, 42, parent)
	require.EqualValues(t, 11+22+33+44, ticks)
	for _, bad := range []string{"", "1 (x", "1 (x) S 1 2 3", "1 (x) S y 77 77 0 -1 4194304 100 200 0 0 11 22 33 44 20"} {
		_, _, ok := parseStat([]byte(bad))
		require.False(t, ok, "%q", bad)
	}
}

func TestATreeIncludesGrandchildren(t *testing.T) {
	require.True(t, descends(9, map[int]int{9: 8, 8: 7, 7: 1}, map[int]bool{7: true}))
	require.False(t, descends(9, map[int]int{9: 8, 8: 1}, map[int]bool{7: true}))
}

func TestOthersAreNeitherOursNorTheKernels(t *testing.T) {
	all, busy, ok := parseMachine([]byte("cpu  100 20 30 400 5 6 7 8 0 0\ncpu0 1 2 3 4 5 6 7 8 0 0\n"))
	require.True(t, ok)
	require.Equal(t, 576*tick, all)
	require.Equal(t, 150*tick, busy, "user, nice and system; neither idle nor interrupts nor what was stolen")
	for _, bad := range []string{"", "cpu 1 2 3", "cpu0 1 2 3 4 5 6 7 8", "cpu 1 2 3 4 5 6 x 8"} {
		_, _, ok := parseMachine([]byte(bad))
		require.False(t, ok, "%q", bad)
	}
	parents := map[int]int{1: 0, 2: 0, 3: 2, 50: 1, 51: 50, 52: 51, 60: 1}
	used := map[int]time.Duration{1: 1, 2: 2, 3: 4, 50: 8, 51: 16, 52: 32, 60: 64}
	require.EqualValues(t, 2+4+8+16+32, sumOf(parents, used, 50, kernelThreads))

	_, before, err := Machine()
	require.NoError(t, err)
	spin := exec.Command("sh", "-c", "while :; do :; done")
	require.NoError(t, spin.Start())
	defer func() { require.NoError(t, spin.Process.Kill()); _ = spin.Wait() }()
	require.Eventually(t, func() bool {
		used, err := Tree(spin.Process.Pid)
		return err == nil && used > 20*tick
	}, time.Minute, tick)
	all, others, err := Machine()
	require.NoError(t, err)
	// The kernel counts the machine's time and a process's in two ways, alike but for some.
	require.Greater(t, others-before, -10*tick, "what a child uses is taken off once")
	require.Greater(t, all, others)
}

func TestCPUOfAProcessTreeGrowsWithWork(t *testing.T) {
	before, err := Tree(os.Getpid())
	require.NoError(t, err)
	childrenBefore, selfBefore := Children(), Self()
	require.NoError(t, exec.Command("sh", "-c", "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done").Run())
	after, err := Tree(os.Getpid())
	require.NoError(t, err)
	require.Greater(t, Children(), childrenBefore)
	require.GreaterOrEqual(t, after-before+2*tick, Children()-childrenBefore, "waited-for children count")
	require.GreaterOrEqual(t, Self(), selfBefore)
}

func TestCallsAreCounted(t *testing.T) {
	dir := t.TempDir()
	e, err := osenv.New(osenv.Config{Root: dir + "/files", Bucket: dir + "/bucket"})
	require.NoError(t, err)
	w := Wrap(e)
	f, err := w.FS.Create(t.Context(), "f")
	require.NoError(t, err)
	_, err = f.WriteAt(t.Context(), make([]byte, 100), 0)
	require.NoError(t, err)
	w.Files.SyncDelay.Store(int64(time.Millisecond))
	begin := time.Now()
	require.NoError(t, f.Sync(t.Context()))
	require.GreaterOrEqual(t, time.Since(begin), time.Millisecond)
	_, err = f.ReadAt(t.Context(), make([]byte, 10), 0)
	require.NoError(t, err)
	require.NoError(t, f.Close())
	require.NoError(t, w.FS.SyncDir(t.Context(), "."))
	require.Equal(t, [6]int64{1, 1, 1, 100, 1, 10}, [6]int64{w.Files.Syncs.Load(), w.Files.DirSyncs.Load(), w.Files.Writes.Load(),
		w.Files.BytesWritten.Load(), w.Files.Reads.Load(), w.Files.BytesRead.Load()})

	_, err = w.Bucket.Put(t.Context(), "k", make([]byte, 50), env.Condition{})
	require.NoError(t, err)
	_, err = w.Bucket.GetRange(t.Context(), "k", 0, 20)
	require.NoError(t, err)
	_, _, err = w.Bucket.Get(t.Context(), "k")
	require.NoError(t, err)
	_, err = w.Bucket.List(t.Context(), "")
	require.NoError(t, err)
	opened, err := w.Bucket.(env.Near).Open(t.Context(), "k")
	require.NoError(t, err)
	_, err = opened.ReadAt(t.Context(), make([]byte, 30), 0)
	require.NoError(t, err)
	require.NoError(t, opened.Close())
	require.NoError(t, w.Bucket.Delete(t.Context(), "k"))
	o := w.Objects
	require.Equal(t, [3]int64{1, 30, 2}, [3]int64{o.Reads.Load(), o.BytesRead.Load(), w.Reads()})
	require.Equal(t, [7]int64{1, 50, 2, 70, 1, 1, 1}, [7]int64{o.Puts.Load(), o.BytesPut.Load(), o.Gets.Load(), o.BytesGot.Load(), o.Lists.Load(), o.Listed.Load(), o.Deletions.Load()})
}

func TestFlushesReachTheDisk(t *testing.T) {
	disk, err := NewDisk(t.TempDir())
	if err != nil {
		t.Skip("no disk that counts: ", err)
	}
	before, err := disk.Flushes()
	require.NoError(t, err)
	f, err := os.Create(t.TempDir() + "/f")
	require.NoError(t, err)
	defer f.Close()
	_, err = f.WriteString("x")
	require.NoError(t, err)
	require.NoError(t, f.Sync())
	after, err := disk.Flushes()
	require.NoError(t, err)
	require.Greater(t, after, before)
	_, err = NewDisk("/proc/self")
	require.Error(t, err, "a file system without a disk")
}
