//go:build !race

// Under the race detector a sync.Pool drops some of what it is given.

package redo_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/pageserver/redo"
	"github.com/varvedb/varve/wal/pgwal"
)

// No real record of any kind allocates: what is allocated is the room of the call. Two kinds
// may have more pages than there is room for; the room that they take stays for the chain.
func TestRealChangesAllocateNothing(t *testing.T) {
	page := make([]byte, pgwal.PageSize)
	for _, c := range readChanges(t) {
		if strings.HasPrefix(c.name, "Gin/DELETE_LISTPAGE") || strings.HasPrefix(c.name, "Hash/SQUEEZE_PAGE") {
			continue
		}
		require.LessOrEqual(t, testing.AllocsPerRun(10, func() {
			copy(page, c.before)
			if _, err := redo.Change(page, c.key, c.lsn, c.delta); err != nil {
				panic(fmt.Sprint(c.name, ": ", err))
			}
		}), 1.0, c.name)
	}
}
