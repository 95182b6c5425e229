package memtable

import (
	"github.com/varvedb/varve/lsm/kv"
	"github.com/varvedb/varve/wal"
)

// Steps is how many entries a search for key at ceil goes past.
func (t *Table) Steps(key kv.Key, ceil wal.LSN) int {
	_, steps := t.newestAt(t.newest(key), ceil)
	return steps
}
