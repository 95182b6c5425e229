package check

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/wal"
)

// TestMoved: what counts as movement, at each boundary. Healed at 10 s, 5 s to move.
func TestMoved(t *testing.T) {
	at := func(second int, count uint64) ProgressSample {
		return ProgressSample{time.Duration(second) * time.Second, count}
	}
	for _, c := range []struct {
		name    string
		goal    uint64
		samples []ProgressSample
		moved   bool
	}{
		{"a greater count within the bound", 0, []ProgressSample{at(9, 4), at(12, 5)}, true},
		{"at the bound", 0, []ProgressSample{at(9, 4), at(15, 5)}, true},
		{"after the bound", 0, []ProgressSample{at(9, 4), at(16, 5)}, false},
		{"the same count", 0, []ProgressSample{at(10, 4), at(12, 4)}, false},
		{"as it was when healed", 0, []ProgressSample{at(3, 1), at(10, 4), at(12, 4)}, false},
		{"a count that fell before", 0, []ProgressSample{at(3, 6), at(9, 4), at(12, 5)}, false},
		{"at the moment of healing", 0, []ProgressSample{at(9, 4), at(10, 5)}, false},
		{"nothing before to compare with", 0, []ProgressSample{at(11, 4), at(12, 5)}, false},
		{"the goal", 8, []ProgressSample{at(9, 4), at(12, 5), at(13, 8)}, true},
		{"short of the goal", 8, []ProgressSample{at(9, 4), at(12, 7)}, false},
	} {
		p := Progress{Healed: 10 * time.Second, Bound: 5 * time.Second, Goal: c.goal, Samples: c.samples}
		require.Equal(t, c.moved, p.moved(), c.name)
	}
}

// TestStallIsProvedByArithmetic: fewer sound members than needed, of enough.
func TestStallIsProvedByArithmetic(t *testing.T) {
	members := []wal.NodeID{1, 2, 3}
	require.True(t, (&Stall{members, []wal.NodeID{1}, 2}).proved())
	require.True(t, (&Stall{members, []wal.NodeID{1, 1}, 2}).proved(), "a node counts once")
	require.True(t, (&Stall{members, []wal.NodeID{1, 2}, 3}).proved())
	require.False(t, (&Stall{members, []wal.NodeID{1, 2}, 2}).proved())
	require.False(t, (&Stall{members, nil, 4}).proved())
}
