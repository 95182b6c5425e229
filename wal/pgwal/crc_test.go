package pgwal

import (
	"bytes"
	"hash/crc32"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// naiveCRC is recordCRC by the library.
func naiveCRC(raw []byte) uint32 {
	covered := append(bytes.Clone(raw[recordHeaderSize:]), raw[:recordCRCSize]...)
	return crc32.Checksum(covered, crc32.MakeTable(crc32.Castagnoli))
}

func TestRecordCRCIsTheLibrarys(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	b := make([]byte, 8+4096)
	for i := range b {
		b[i] = byte(random.Uint32())
	}
	for size := recordHeaderSize; size <= 4096; size++ {
		for shift := range 8 {
			// The capacity ends with the record, so that the checker of pointers sees a
			// slice beyond it.
			raw := b[shift : shift+size : shift+size]
			require.Equal(t, naiveCRC(raw), recordCRC(raw), "%d bytes from %d on", size, shift)
		}
	}
}

func TestEachBitOfARecordCounts(t *testing.T) {
	for size := recordHeaderSize; size <= 80; size++ {
		raw := make([]byte, size)
		before := recordCRC(raw)
		for bit := range 8 * size {
			raw[bit/8] ^= 1 << (bit % 8)
			inCRC := bit/8 >= recordCRCSize && bit/8 < recordHeaderSize
			require.Equal(t, inCRC, recordCRC(raw) == before, "%d bytes, bit %d", size, bit)
			raw[bit/8] ^= 1 << (bit % 8)
		}
	}
}

func FuzzRecordCRC(f *testing.F) {
	f.Add(make([]byte, recordHeaderSize))
	f.Add(bytes.Repeat([]byte{0xA5}, 71))
	f.Add(bytes.Repeat([]byte{0x5A}, 700))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if len(raw) >= recordHeaderSize {
			require.Equal(t, naiveCRC(raw), recordCRC(raw))
		}
	})
}
