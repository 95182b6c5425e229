package safekeeper_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/env"
)

// notes is a Trace that hands on what safekeepers note.
type notes struct {
	env.Trace
	lines chan string
}

func (n *notes) Event(name string, attrs ...any) {
	if strings.HasPrefix(name, "safekeeper ") {
		n.lines <- fmt.Sprint(name, attrs)
	}
}

// TestWhomItFollowsIsNoted: a note on opening, one for each vote and each leader, and one
// with what was committed when that leader goes; none for a commit.
func TestWhomItFollowsIsNoted(t *testing.T) {
	n := &notes{lines: make(chan string, 64)}
	k := newKeeper(t)
	k.down()
	n.Trace, k.e.Trace = k.e.Trace, n
	k.up()
	noted := func(what string, term wal.Term, flush, commit wal.LSN) {
		want := fmt.Sprintf("safekeeper %s[timeline %v term %d flush %v commit %v]", what, id.Timeline, term, flush, commit)
		require.Equal(t, want, <-n.lines)
	}
	require.NoError(t, k.client().Create(t.Context(), id))
	noted("follows", 0, start, start)
	l := k.lead(5)
	noted("voted", 5, start, start)
	noted("follows", 5, start, start)
	end := l.append(20_000, start)
	last := end
	for range 20 {
		last = l.append(100, end)
	}
	l.flushed(last)
	l.session.Close()
	noted("follows", 5, last, end)
	k.lead(6)
	noted("voted", 6, last, end)
	noted("follows", 6, last, end)
	k.down()
	k.up()
	noted("follows", 6, last, end)
	require.Empty(t, n.lines)
}
