package sim

import (
	"maps"
	"slices"

	"github.com/varvedb/varve/sim/check"
)

// countsOf orders counts by name.
func countsOf(m map[string]uint64) (counts check.Counts) {
	for _, name := range slices.Sorted(maps.Keys(m)) {
		counts.Add(name, int(m[name]))
	}
	return counts
}
