package layer

import (
	"cmp"
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/varvedb/varve/lsm/kv"
	"github.com/varvedb/varve/wal"
)

// drawPlaces draws the blocks of a layer: keys with few bytes in common, or many, with
// chains that go on from block to block.
func drawPlaces(t *rapid.T, base wal.LSN) (blocks []blockPlace, end int64) {
	key := func(n uint64) (k kv.Key) {
		binary.BigEndian.PutUint64(k[rapid.SampledFrom([]int{0, 5, 10}).Draw(t, "where"):], n)
		return k
	}
	end = headerSize
	for range rapid.IntRange(1, 30).Draw(t, "blocks") {
		b := blockPlace{key: key(rapid.Uint64Range(0, 1<<20).Draw(t, "key")), off: end}
		if n := len(blocks); n > 0 && (b.key.Compare(blocks[n-1].key) <= 0 || rapid.Bool().Draw(t, "goes on")) {
			b.key = blocks[n-1].key
			b.since = max(blocks[n-1].since, base) + wal.LSN(rapid.Uint64Range(1, 1<<rapid.IntRange(1, 40).Draw(t, "bits")).Draw(t, "lsns"))
		}
		blocks = append(blocks, b)
		end += int64(rapid.IntRange(blockHeader, 1<<rapid.IntRange(5, 20).Draw(t, "bits of size")).Draw(t, "size"))
	}
	return blocks, end
}

func TestIndexAgreesWithAPlainList(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		base := wal.LSN(rapid.Uint64Range(0, 1<<50).Draw(t, "base"))
		blocks, end := drawPlaces(t, base)
		x, err := parseIndexBlock("layer", end, end, base, appendIndex(nil, blocks, base))
		require.NoError(t, err)
		require.Equal(t, len(blocks), x.len())
		lsns := []wal.LSN{0, base, base + 1, ^wal.LSN(0)}
		keys := []kv.Key{{}, kv.MaxKey}
		for i, b := range blocks {
			off, size := x.place(i)
			until := end
			if i+1 < len(blocks) {
				until = blocks[i+1].off
			}
			require.Equal(t, []any{b.key, b.since, b.off, until}, []any{x.key(i), x.since(i), off, off + int64(size)})
			next, _ := b.key.Next()
			lsns, keys = append(lsns, b.since, b.since+1, max(b.since, 1)-1), append(keys, b.key, next)
		}
		for _, key := range keys {
			for _, lsn := range lsns {
				want := -1
				for i, b := range blocks {
					if compareAt(b.key, b.since, key, lsn) <= 0 {
						want = i
					}
				}
				require.Equal(t, want, x.find(key, lsn), "%v at %v", key, lsn)
			}
		}
	})
}

func compareAt(a kv.Key, aLSN wal.LSN, b kv.Key, bLSN wal.LSN) int {
	if c := a.Compare(b); c != 0 {
		return c
	}
	return cmp.Compare(aLSN, bLSN)
}

// TestIndexIsAThousandthOfItsPages: decoded, and with the filter; of pages that are all of
// one relation, so that their keys differ in the last bytes.
func TestIndexIsAThousandthOfItsPages(t *testing.T) {
	const pages = 8000 // 64 MiB
	b := NewBuilder(ID{Kind: Image, LSNLo: 1 << 40, LSNHi: 1 << 40}, 16<<10)
	page, state := make([]byte, 8192), uint64(1)
	for i := range page {
		state = state*6364136223846793005 + 1442695040888963407
		page[i] = byte(state >> 56)
	}
	for n := range pages {
		k := kv.Key{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14}
		binary.BigEndian.PutUint32(k[14:], uint32(n))
		b.Add(&kv.Version{Key: k, LSN: 1 << 40, Kind: kv.Image, Value: page})
	}
	desc, data := b.Finish()
	decoded := func(off int64) float64 { return float64(le.Uint32(data[off+8:])) }
	index, filter := decoded(desc.IndexOffset), decoded(desc.IndexOffset-int64(desc.FilterSize))
	share := (index + filter) / (pages * 8192)
	t.Logf("index %.0f bytes and filter %.0f bytes for %d bytes of pages: %.3f %%", index, filter, pages*8192, 100*share)
	require.Less(t, share, 0.001)
}
