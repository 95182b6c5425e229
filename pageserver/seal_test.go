package pageserver

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/walapi"
)

// answersOf is what members answer; nil: nothing.
func answersOf(members []string, all ...*walapi.TimelineStatus) map[string]walapi.TimelineStatus {
	answers := map[string]walapi.TimelineStatus{}
	for i, status := range all {
		if status != nil {
			answers[members[i]] = *status
		}
	}
	return answers
}

// TestWhatIsForgotten: a majority answers, one of it has the log, and none gives it.
func TestWhatIsForgotten(t *testing.T) {
	members := []string{"a", "b", "c"}
	at := func(flush, readable wal.LSN) *walapi.TimelineStatus {
		return &walapi.TimelineStatus{Flush: flush, Readable: readable}
	}
	forgotten := func(all ...*walapi.TimelineStatus) bool {
		return isForgotten(answersOf(members, all...), members, 100)
	}
	require.True(t, forgotten(at(100, 60), at(100, 60), at(60, 60)))
	require.True(t, forgotten(at(108, 60), at(60, 0), nil), "it may be committed: who does not answer may have it too")
	require.False(t, forgotten(at(100, 60), at(100, 60), at(100, 100)), "it is read from the third")
	require.False(t, forgotten(at(96, 60), at(96, 60), nil), "nobody has written so far")
	require.False(t, forgotten(at(100, 60), nil, nil), "the others may know, or have a leader")
}

// TestAStandstillEndsWithAnyMovement: of those that answer. Who is away moves nothing.
func TestAStandstillEndsWithAnyMovement(t *testing.T) {
	members := []string{"a", "b", "c"}
	var still standstill
	a, b := walapi.TimelineStatus{Term: 3, Flush: 100, Readable: 60}, walapi.TimelineStatus{Term: 3, Flush: 80, Readable: 60}
	now := 7 * time.Second
	look := func(all ...*walapi.TimelineStatus) time.Duration {
		now += time.Second
		return still.look(answersOf(members, all...), members, now)
	}
	require.Zero(t, look(&a, &b))
	require.Equal(t, time.Second, look(&a, &b))
	require.Equal(t, 2*time.Second, look(&a), "one is away")
	require.Equal(t, 3*time.Second, look(&a, &b), "and back as it was")
	b.Flush = 88
	require.Zero(t, look(&a, &b), "it is filled")
	b.Term = 4
	require.Zero(t, look(&a, &b), "a candidate asks it")
	a.Readable = 64
	require.Zero(t, look(&a, &b), "it is told of a commit")
	require.Equal(t, time.Second, look(&a, &b))
}
