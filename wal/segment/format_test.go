package segment

import (
	"bytes"
	"encoding/hex"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/pgwal"
)

// The mark on disk is what testdata says, for ever.
func TestGoldenMark(t *testing.T) {
	golden, err := os.ReadFile("testdata/mark.hex")
	require.NoError(t, err)
	require.Equal(t, strings.TrimSpace(string(golden)), hex.EncodeToString(appendMark(nil, 0x12_3456_7890)))
}

func TestAFlippedBitOfTheMarkIsNoticed(t *testing.T) {
	mark := appendMark(nil, 0x12_3456_7890)
	for bit := range 8 * len(mark) {
		bad := bytes.Clone(mark)
		bad[bit/8] ^= 1 << (bit % 8)
		_, ok := decodeMark(bad)
		require.False(t, ok, "bit %d", bit)
	}
}

func FuzzMark(f *testing.F) {
	f.Add(appendMark(nil, 0x12_3456_7890))
	f.Fuzz(func(t *testing.T, b []byte) {
		if mark, ok := decodeMark(b); ok {
			require.Equal(t, b, appendMark(nil, mark))
		}
	})
}

// What is below a log's start has a page header on every page, each of which says
// that a record from before goes on up to the start.
func TestPreambleLeadsToTheStart(t *testing.T) {
	const systemID = 42
	first := wal.SegmentStart(7)
	buf := new(emptySegment) // used again, as by one log after the other
	for _, start := range []wal.LSN{first, first + 40, first + 5*8192 + 4096, first + 8192, first + 8192 + 24, first + 8192 + 32, first + 5*8192 + 4096} {
		require.NoError(t, checkStart(start))
		got := preamble(buf, start, systemID)
		require.Len(t, got, int(start-first))
		want := make([]byte, 0, len(got))
		for page := first; page < start; page += 8192 {
			left := 0 // bytes between the headers from here to the start
			for p := page; p < start; p += 8192 {
				left += int(min(start, p+8192)-p) - pgwal.PageHeaderSize(p)
			}
			want = pgwal.AppendPageHeader(want, page, systemID, uint32(left))
			want = append(want, make([]byte, int(min(start, page+8192)-page)-pgwal.PageHeaderSize(page))...)
		}
		require.True(t, bytes.Equal(want, got), "start %v", start)
	}
	for _, bad := range []wal.LSN{0, first + 4, first + 32, first + 8192 + 16} {
		require.Error(t, checkStart(bad), "%v", bad)
	}
}
