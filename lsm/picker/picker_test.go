package picker_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/varvedb/varve/lsm/kv"
	"github.com/varvedb/varve/lsm/layer"
	"github.com/varvedb/varve/lsm/picker"
	"github.com/varvedb/varve/wal"
)

// A store is drawn as text, a line per layer:
//
//	NAME LEVEL FIRST-LAST FROM..TO BYTES [walked=N] [settled] [aside]
//
// Keys are letters, LSNs numbers. "image" in place of a level is an image layer of
// level 1 at LSN TO.

func keyOf(letter byte) kv.Key { return kv.Key{letter} }

func parse(t require.TestingT, line string) (name string, l picker.Layer) {
	fields := strings.Fields(line)
	require.GreaterOrEqual(t, len(fields), 5, line)
	l.Kind = layer.Delta
	if fields[1] == "image" {
		l.Kind, l.Level = layer.Image, 1
	} else {
		_, err := fmt.Sscan(fields[1], &l.Level)
		require.NoError(t, err, line)
	}
	l.KeyLo, l.KeyHi = keyOf(fields[2][0]), keyOf(fields[2][2])
	_, err := fmt.Sscanf(fields[3], "%d..%d", (*uint64)(&l.LSNLo), (*uint64)(&l.LSNHi))
	require.NoError(t, err, line)
	_, err = fmt.Sscan(fields[4], &l.Bytes)
	require.NoError(t, err, line)
	for _, option := range fields[5:] {
		if option == "settled" {
			l.Settled = true
			continue
		}
		if option == "aside" {
			l.Aside = true
			continue
		}
		_, err := fmt.Sscanf(option, "walked=%d", &l.Walked)
		require.NoError(t, err, line)
	}
	return fields[0], l
}

func TestScripts(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			opts := picker.Options{Flushed: 3, InputsMax: 4, Fanout: 3, LayerBytes: 100}
			var cutoff uint64
			d.MaybeScanArgs(t, "cutoff", &cutoff)
			var names []string
			var layers []picker.Layer
			for line := range strings.Lines(d.Input) {
				name, l := parse(t, line)
				names, layers = append(names, name), append(layers, l)
			}
			describe := func(j picker.Job) string {
				var inputs, guards []string
				for _, i := range j.Inputs {
					inputs = append(inputs, names[i])
				}
				for _, g := range j.Guards {
					guards = append(guards, string(g[0]))
				}
				return fmt.Sprintf("%v: merge %s, LSNs %d..%d, cut at [%s]\n", j.Kind, strings.Join(inputs, " "), j.LSNLo, j.LSNHi, strings.Join(guards, " "))
			}
			if d.Cmd == "collect" {
				out := ""
				for _, j := range picker.CollectAll(layers, wal.LSN(cutoff), d.HasArg("pins-gone"), opts) {
					out += describe(j)
				}
				return out + "end\n"
			}
			j, ok := picker.Pick(layers, wal.LSN(cutoff), opts)
			if !ok {
				return "nothing\n"
			}
			return describe(j)
		})
	})
}

// merge replaces a job's inputs by layers of as many bytes, cut at guards and sizes,
// each a letter wide.
func merge(layers []picker.Layer, j picker.Job) (out []picker.Layer) {
	in := map[int]bool{}
	var bytes int64
	lo, hi := byte(255), byte(0)
	for _, i := range j.Inputs {
		in[i] = true
		bytes += layers[i].Bytes
		lo, hi = min(lo, layers[i].KeyLo[0]), max(hi, layers[i].KeyHi[0])
	}
	for i := range layers {
		if !in[i] {
			out = append(out, layers[i])
		}
	}
	level := uint8(1)
	if j.Kind == picker.Collect {
		level = 2
	}
	for k := lo; k <= hi; k++ {
		l := picker.Layer{Level: level, Bytes: bytes / int64(hi-lo+1)}
		l.Kind, l.KeyLo, l.KeyHi, l.LSNLo, l.LSNHi = layer.Delta, keyOf(k), keyOf(k), j.LSNLo, j.LSNHi
		out = append(out, l)
	}
	return out
}

// TestJobsGoRoundWhatIsSetAside: whichever layers cannot be read, and for however long, no
// job has them, no two layers overlap, and the others are merged as ever; once all can be
// read there are few again.
func TestJobsGoRoundWhatIsSetAside(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		opts := picker.Options{Flushed: rapid.IntRange(1, 4).Draw(t, "flushed"), InputsMax: 5, Fanout: rapid.IntRange(2, 4).Draw(t, "fanout"), LayerBytes: 300}
		var layers []picker.Layer
		lsn, cutoff := wal.LSN(0), wal.LSN(0)
		flush := func() {
			a, b := rapid.IntRange(0, 9).Draw(t, "first"), rapid.IntRange(0, 9).Draw(t, "last")
			l := picker.Layer{Bytes: 100, Walked: int64(rapid.IntRange(0, 500).Draw(t, "walked"))}
			l.Kind, l.KeyLo, l.KeyHi = layer.Delta, keyOf('a'+byte(min(a, b))), keyOf('a'+byte(max(a, b)))
			l.LSNLo, l.LSNHi = lsn, lsn+10
			lsn += 10
			layers = append(layers, l)
		}
		merges := func() {
			for n := 0; ; n++ {
				j, ok := picker.Pick(layers, cutoff, opts)
				if !ok {
					return
				}
				require.Less(t, n, 200, "jobs end")
				for _, i := range j.Inputs {
					require.False(t, layers[i].Aside)
				}
				layers = merge(layers, j)
				requireDisjoint(t, layers)
			}
		}
		for range rapid.IntRange(1, 60).Draw(t, "flushes") {
			flush()
			cutoff = wal.LSN(rapid.IntRange(int(cutoff), int(lsn)).Draw(t, "cutoff"))
			switch at := rapid.IntRange(0, len(layers)-1).Draw(t, "layer"); rapid.IntRange(0, 9).Draw(t, "fate") {
			case 0:
				layers[at].Aside = true
			case 1:
				layers[at].Aside = false
			}
			merges()
		}
		for i := range layers {
			layers[i].Aside = false
		}
		merges()
		flushed := 0
		for i := range layers {
			if layers[i].Level == 0 {
				flushed++
			}
		}
		require.Less(t, flushed, opts.Flushed)
	})
}

// TestEveryJobIsSoundAndTheyEnd: whatever is flushed, jobs leave no two delta layers
// that overlap, and after boundedly many there is none left; bytes are written a
// logarithm of times.
func TestEveryJobIsSoundAndTheyEnd(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		opts := picker.Options{Flushed: rapid.IntRange(1, 4).Draw(t, "flushed"), InputsMax: 5, Fanout: rapid.IntRange(2, 4).Draw(t, "fanout"), LayerBytes: 300}
		var layers []picker.Layer
		var written, merged int64
		lsn, cutoff := wal.LSN(0), wal.LSN(0)
		for range rapid.IntRange(1, 60).Draw(t, "flushes") {
			a, b := rapid.IntRange(0, 9).Draw(t, "first"), rapid.IntRange(0, 9).Draw(t, "last")
			l := picker.Layer{Bytes: 100}
			l.Kind, l.KeyLo, l.KeyHi = layer.Delta, keyOf('a'+byte(min(a, b))), keyOf('a'+byte(max(a, b)))
			l.LSNLo, l.LSNHi = lsn, lsn+10
			lsn += 10
			layers = append(layers, l)
			written += 100
			if rapid.IntRange(0, 9).Draw(t, "advance") == 0 {
				cutoff = wal.LSN(rapid.IntRange(int(cutoff), int(lsn)).Draw(t, "cutoff"))
			}
			for n := 0; ; n++ {
				j, ok := picker.Pick(layers, cutoff, opts)
				if !ok {
					break
				}
				require.Less(t, n, 100, "jobs end")
				for _, i := range j.Inputs {
					merged += layers[i].Bytes
				}
				layers = merge(layers, j)
				requireDisjoint(t, layers)
			}
			flushed := 0
			for i := range layers {
				if layers[i].Level == 0 {
					flushed++
				}
			}
			require.Less(t, flushed, opts.Flushed)
		}
		require.LessOrEqual(t, merged, 16*written, "bytes are written a logarithm of times")
	})
}

func requireDisjoint(t *rapid.T, layers []picker.Layer) {
	for i := range layers {
		for k := range i {
			a, b := &layers[i], &layers[k]
			if a.KeyHi.Less(b.KeyLo) || b.KeyHi.Less(a.KeyLo) || a.LSNHi <= b.LSNLo || b.LSNHi <= a.LSNLo {
				continue
			}
			require.Fail(t, "overlap", "%v and %v", a, b)
		}
	}
}
