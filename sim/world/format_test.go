package world_test

import (
	"encoding/hex"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/sim/world"
	"github.com/varvedb/varve/wal"
)

var sampleTape = &world.Tape{Seed: 0x0102030405060708, Streams: []world.TapeStream{
	{Name: "net/a>b", Values: []uint32{0, 1, 127, 128, 1<<32 - 1}},
	{Name: "sched", Values: []uint32{2}},
}}

func TestTheTapeIsGolden(t *testing.T) {
	golden, err := os.ReadFile("testdata/tape.hex")
	require.NoError(t, err)
	require.Equal(t, strings.TrimSpace(string(golden)), hex.EncodeToString(sampleTape.AppendTo(nil)))
	again, err := world.DecodeTape("tape", sampleTape.AppendTo(nil))
	require.NoError(t, err)
	require.Equal(t, sampleTape, again)
}

func TestEveryFlippedBitOfATapeIsFound(t *testing.T) {
	p := sampleTape.AppendTo(nil)
	for bit := range len(p) * 8 {
		p[bit/8] ^= 1 << (bit % 8)
		_, err := world.DecodeTape("tape", p)
		require.ErrorIs(t, err, wal.ErrCorruption, "bit %d", bit)
		p[bit/8] ^= 1 << (bit % 8)
	}
	for size := range p {
		_, err := world.DecodeTape("tape", p[:size])
		require.ErrorIs(t, err, wal.ErrCorruption, "%d bytes", size)
	}
}

func FuzzDecodeTape(f *testing.F) {
	f.Add(sampleTape.AppendTo(nil))
	f.Add((&world.Tape{}).AppendTo(nil))
	f.Fuzz(func(t *testing.T, p []byte) {
		tape, err := world.DecodeTape("tape", world.SealTape(p))
		if err != nil {
			require.ErrorIs(t, err, wal.ErrCorruption)
			return
		}
		again, err := world.DecodeTape("tape", tape.AppendTo(nil))
		require.NoError(t, err)
		require.Equal(t, tape, again)
	})
}

func TestFaultsAreReadAsPrinted(t *testing.T) {
	for seed := range uint64(100) {
		faults := world.DrawFaults(seed)
		again, err := world.ParseFaults(faults.String())
		require.NoError(t, err)
		require.Equal(t, faults, again)
	}
	for _, bad := range []string{"net.delay", "no.fault 1 0s 0s 0s 0s", "net.delay x 0s 0s 0s 0s", "net.delay 1 0s 0s 0s x"} {
		_, err := world.ParseFaults(bad)
		require.ErrorContains(t, err, bad)
	}
}

// Half of the faults are on; one that is to be asked for never is.
func TestFaultsAreDrawnEach(t *testing.T) {
	const seeds = 1000
	var on [64]int
	for seed := range uint64(seeds) {
		faults := world.DrawFaults(seed)
		for _, kind := range world.FaultKinds() {
			if !faults[kind].Off() {
				on[kind]++
			}
		}
	}
	for _, kind := range world.FaultKinds() {
		if kind == world.DiskLie {
			require.Zero(t, on[kind])
		} else {
			require.InDelta(t, seeds/2, on[kind], seeds/10, "%v", kind)
		}
	}
}
