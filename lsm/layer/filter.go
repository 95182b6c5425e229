package layer

import (
	"fmt"

	"github.com/varvedb/varve/wal"
)

// The key filter is a Bloom filter whose bits for one key lie in one line of 64
// bytes, so that a look costs one cache miss. It has filterBitsPerKey bits per key
// and filterProbes probes: of absent keys about one in a hundred gets through. More
// bits would cost memory for a fraction of a read; fewer, a read in fifty.
const (
	filterLine       = 64
	filterBitsPerKey = 10
	filterProbes     = 6
	// filterMix makes the probes independent of the line.
	filterMix = 0x9E3779B97F4A7C15
)

// keyFilter is a filter block's payload that passed parseFilter.
type keyFilter []byte

// appendFilter appends the filter of keys with these hashes, at least one.
func appendFilter(dst []byte, hashes []uint64) []byte {
	lines := (len(hashes)*filterBitsPerKey + 8*filterLine - 1) / (8 * filterLine)
	begin := len(dst)
	dst = append(dst, make([]byte, lines*filterLine)...)
	filter := keyFilter(dst[begin:])
	for _, hash := range hashes {
		line, probe := filter.line(hash), hash*filterMix
		for range filterProbes {
			line[probe>>3&(filterLine-1)] |= 1 << (probe & 7)
			probe = probe>>9 | probe<<55
		}
	}
	return dst
}

// line is where the bits of a key are: its hash's upper half says which.
func (f keyFilter) line(hash uint64) []byte {
	n := (hash >> 32) * uint64(len(f)/filterLine) >> 32
	return f[n*filterLine:][:filterLine]
}

// mayHave reports whether a key with that hash may be in the layer.
func (f keyFilter) mayHave(hash uint64) bool {
	line, probe := f.line(hash), hash*filterMix
	for range filterProbes {
		if line[probe>>3&(filterLine-1)]&(1<<(probe&7)) == 0 {
			return false
		}
		probe = probe>>9 | probe<<55
	}
	return true
}

func parseFilter(name string, off int64, raw []byte) (keyFilter, error) {
	if len(raw) == 0 || len(raw)%filterLine != 0 {
		return nil, wal.Corruptf(name, off, "filter block size", fmt.Sprintf("a multiple of %d", filterLine), len(raw))
	}
	return keyFilter(raw), nil
}
