package redo

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/lsm"
)

func TestAllOfTheNextBaseIsLoadedInParts(t *testing.T) {
	for _, size := range []int{0, 1, cacheLine, cacheLine + 1, 8191, 8192} {
		for deltas := 1; deltas < 300; deltas++ {
			c := comingAfter(deltas, &lsm.Chain{HasBase: true, Base: make([]byte, size)})
			lines := (size + cacheLine - 1) / cacheLine
			require.Less(t, (c.part-1)*deltas, max(lines, 1), "%d bytes beside %d deltas come in parts that are no larger than need be", size, deltas)
			for range deltas {
				c.loadPart()
			}
			require.Empty(t, c.base, "%d bytes beside %d deltas", size, deltas)
		}
	}
}

func TestNothingIsLoadedForNobody(t *testing.T) {
	require.Zero(t, comingAfter(3, nil))
	require.Zero(t, comingAfter(0, &lsm.Chain{HasBase: true, Base: make([]byte, 8192)}))
	c := comingAfter(3, &lsm.Chain{})
	c.loadPart()
	require.Empty(t, c.base)
}
