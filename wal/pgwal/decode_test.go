package pgwal_test

import (
	"encoding/binary"
	"hash/crc32"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/pgwal"
)

// rawRecord puts body behind a header with the right length and checksum.
func rawRecord(rmgr, info uint8, body []byte) []byte {
	raw := append(make([]byte, 24), body...)
	binary.LittleEndian.PutUint32(raw, uint32(len(raw)))
	raw[16], raw[17] = info, rmgr
	table := crc32.MakeTable(crc32.Castagnoli)
	binary.LittleEndian.PutUint32(raw[20:], crc32.Update(crc32.Checksum(body, table), table, raw[:20]))
	return raw
}

// TestRecordRules holds the rules that PostgreSQL's DecodeXLogRecord checks, and the
// stricter ones: a known fork, one compression, a hole inside the page.
func TestRecordRules(t *testing.T) {
	relation := []byte{1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0}
	block := func(id, flags uint8, rest ...[]byte) []byte {
		return slices.Concat(append([][]byte{{id, flags}}, rest...)...)
	}
	tail := slices.Concat(relation, []byte{7, 0, 0, 0})
	same := []byte{8, 0, 0, 0}
	none := []byte{0, 0}
	image := func(length, offset uint16, info uint8, more ...byte) []byte {
		le := binary.LittleEndian
		return append(append(le.AppendUint16(le.AppendUint16(nil, length), offset), info), more...)
	}
	page := make([]byte, pgwal.PageSize)
	cases := []struct {
		name string
		body []byte
		want string // of the error, or empty
	}{
		{"nothing", nil, ""},
		{"a block", block(0, 0, none, tail), ""},
		{"a block and main data", slices.Concat(block(0, 0, none, tail), []byte{255, 1, 9}), ""},
		{"two blocks of a relation", slices.Concat(block(3, 0, none, tail), block(4, 0x80, none, same), []byte{255, 1, 9}), ""},
		{"ids that descend", slices.Concat(block(4, 0, none, tail), block(3, 0x80, none, same), []byte{255, 1, 9}), "block id"},
		{"an id twice", slices.Concat(block(4, 0, none, tail), block(4, 0x80, none, same), []byte{255, 1, 9}), "block id"},
		{"no relation before", slices.Concat(block(4, 0x80, none, same), []byte{255, 1, 9}), "block's relation"},
		{"an unknown fragment", []byte{33, 0, 0, 0, 0, 0, 0, 0}, "fragment id"},
		{"an unknown fork", slices.Concat(block(0, 4, none, tail), []byte{255, 1, 9}), "fork"},
		{"data announced and absent", slices.Concat(block(0, 0x20, none, tail), []byte{255, 1, 9}), "block data length"},
		{"data not announced", slices.Concat(block(0, 0, []byte{1, 0}, tail), []byte{5}), "block data length"},
		{"data", slices.Concat(block(0, 0x20, []byte{1, 0}, tail), []byte{5}), ""},
		{"data that is not there", block(0, 0x20, []byte{1, 0}, tail), "fragments"},
		{"data left over", slices.Concat(block(0, 0x20, []byte{1, 0}, tail), []byte{5, 6}), "fragment"},
		{"a short block", []byte{0, 0, 0}, "fragments"},
		{"a block without a number", block(0, 0, none, relation), "fragments"},
		{"main data too long", []byte{255, 2, 9}, "fragments"},
		{"main data too short", []byte{255, 1, 9, 9}, "fragments"},
		{"long main data", []byte{254, 1, 0, 0, 0, 9}, ""},
		{"very long main data", []byte{254, 255, 255, 255, 255, 9}, "fragments"},
		{"a cut length", []byte{254, 1, 0, 0}, "fragments"},
		{"a cut origin", []byte{253, 1}, "fragments"},
		{"a cut top-level transaction", []byte{252, 1, 0, 0}, "fragments"},
		{"an image", slices.Concat(block(0, 0x10, none, image(8192, 0, 0), tail), page), ""},
		{"an image with a hole", slices.Concat(block(0, 0x10, none, image(8000, 24, 1), tail), page[:8000]), ""},
		{"a cut image header", slices.Concat(block(0, 0x10, none), []byte{0, 0, 0, 0}), "fragments"},
		{"an image too long", slices.Concat(block(0, 0x10, none, image(8193, 0, 0), tail), page, []byte{1}), "image length"},
		{"an image too short", slices.Concat(block(0, 0x10, none, image(8191, 0, 0), tail), page[:8191]), "image hole"},
		{"a hole in a whole page", slices.Concat(block(0, 0x10, none, image(8192, 24, 1), tail), page), "image length"},
		{"a hole at 0", slices.Concat(block(0, 0x10, none, image(8000, 0, 1), tail), page[:8000]), "image hole"},
		{"an offset without a hole", slices.Concat(block(0, 0x10, none, image(8192, 24, 0), tail), page), "image hole"},
		{"a hole past the page", slices.Concat(block(0, 0x10, none, image(100, 8000, 1), tail), page[:100]), "image hole"},
		{"a packed page that is not shorter", slices.Concat(block(0, 0x10, none, image(8192, 0, 8), tail), page), "image length"},
		{"a packed hole of 0", slices.Concat(block(0, 0x10, none, image(9, 24, 9, 0, 0), tail), page[:9]), "image hole"},
		{"a cut hole", slices.Concat(block(0, 0x10, none, image(9, 24, 9, 1)), page[:0]), "fragments"},
		{"two compressions", slices.Concat(block(0, 0x10, none, image(9, 0, 12), tail), page[:9]), "image flags"},
		{"an unknown compression", slices.Concat(block(0, 0x10, none, image(9, 0, 32), tail), page[:9]), "image flags"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			var r pgwal.Record
			raw := rawRecord(uint8(pgwal.RMgrHeap), 0, c.body)
			err := pgwal.DecodeRecord("kept", 0x3000028, 0x3000028+wal.LSN(len(raw)), raw, &r)
			if c.want == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorIs(t, err, wal.ErrCorruption)
			require.ErrorContains(t, err, c.want)
		})
	}
}

func TestDecoderStaysInTheErrorOfARecord(t *testing.T) {
	raw := rawRecord(uint8(pgwal.RMgrHeap), 0, []byte{33, 0, 0, 0, 0, 0, 0, 0})
	d := pgwal.NewDecoder("log", 0x3000028)
	d.Feed(raw)
	var r pgwal.Record
	for range 2 {
		ok, err := d.Next(&r)
		require.False(t, ok)
		require.EqualError(t, err, "corruption in log at offset 50331688: fragment id at 0/3000028: want a known one, got 33")
		require.Equal(t, wal.LSN(0x3000028), d.Position())
	}
}

func TestDecodeRecordChecksWhatWasKept(t *testing.T) {
	var r pgwal.Record
	raw := rawRecord(uint8(pgwal.RMgrHeap), 0, []byte{255, 1, 9})
	require.NoError(t, pgwal.DecodeRecord("kept", 8, 40, raw, &r))
	require.Equal(t, []byte{9}, r.MainData)
	require.ErrorContains(t, pgwal.DecodeRecord("kept", 8, 40, raw[:len(raw)-1], &r), "record length")
	require.ErrorContains(t, pgwal.DecodeRecord("kept", 8, 40, raw[:10], &r), "record length")
	raw[26]++
	require.ErrorContains(t, pgwal.DecodeRecord("kept", 8, 40, raw, &r), "record checksum")
}
