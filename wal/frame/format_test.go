package frame

import (
	"encoding/hex"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/wal"
)

func sampleFrames() []Frame {
	mine := hello{version: 1, service: "varve-log"}
	return []Frame{
		{Type: TypeHello, Payload: mine.AppendTo(nil)},
		{Type: 7, ID: 0x0102030405060708, Payload: []byte("a varve is a season")},
		{Type: 8, ID: 1, Payload: []byte{}},
		ErrorFrame(9, Errorf(CodeService+1, "no such timeline")),
	}
}

// The layout on the wire is what testdata says, for ever.
func TestGolden(t *testing.T) {
	golden, err := os.ReadFile("testdata/frames.hex")
	require.NoError(t, err)
	lines := strings.Fields(string(golden))
	for i, f := range sampleFrames() {
		require.Equal(t, lines[i], hex.EncodeToString(f.AppendTo(nil)), "frame %d", i)
	}
	require.Len(t, lines, len(sampleFrames()))
}

func TestEveryFlippedBitIsNoticed(t *testing.T) {
	f := sampleFrames()[1]
	encoded := f.AppendTo(nil)
	for bit := range 8 * len(encoded) {
		bad := append([]byte(nil), encoded...)
		bad[bit/8] ^= 1 << (bit % 8)
		_, size, err := Decode(bad, 0)
		require.ErrorIs(t, err, wal.ErrCorruption, "bit %d", bit)
		require.Zero(t, size)
	}
}

func TestPartOfAFrameAsksForMore(t *testing.T) {
	f := sampleFrames()[1]
	encoded := f.AppendTo(nil)
	for n := range encoded {
		_, size, err := Decode(encoded[:n], 0)
		require.NoError(t, err)
		require.Zero(t, size)
	}
}

func TestAnotherFrameVersionIsNamed(t *testing.T) {
	f := Frame{Type: 1}
	encoded := f.AppendTo(nil)
	encoded[5] = 9
	resum(encoded)
	_, _, err := Decode(encoded, 0)
	require.ErrorContains(t, err, "frame version 9")
	require.NotErrorIs(t, err, wal.ErrCorruption)
}

func TestLengthIsBounded(t *testing.T) {
	f := Frame{Type: 1}
	encoded := f.AppendTo(nil)
	encoded[3] = 0x10
	resum(encoded)
	_, _, err := Decode(encoded, 0)
	require.ErrorIs(t, err, wal.ErrCorruption)
	require.ErrorContains(t, err, "frame length")
}

// resum makes the header check of a tampered frame right again.
func resum(encoded []byte) {
	f := crcOf(encoded[:16])
	copy(encoded[16:], f[:])
}

func FuzzDecode(f *testing.F) {
	for _, frame := range sampleFrames() {
		f.Add(frame.AppendTo(nil))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		frame, size, err := Decode(data, 0)
		if err != nil || size == 0 {
			return
		}
		require.Equal(t, data[:size], frame.AppendTo(nil))
		_ = AsError(frame)
		_, _ = decodeHello(frame.Payload)
	})
}

func FuzzPayloads(f *testing.F) {
	for _, frame := range sampleFrames() {
		f.Add(frame.Payload)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if h, err := decodeHello(data); err == nil {
			require.Equal(t, data, h.AppendTo(nil))
		}
		if err, ok := decodeError(data).(*RemoteError); ok {
			require.Equal(t, data, err.AppendTo(nil))
		}
	})
}
