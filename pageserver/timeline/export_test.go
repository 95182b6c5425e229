package timeline

import (
	"context"
	"time"

	"github.com/varvedb/varve/lsm"
	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/pgwal"
)

// LSNAtHead is LSNAt as one that began when the log ended at head.
func (t *Timeline) LSNAtHead(ctx context.Context, at time.Time, head wal.LSN) (wal.LSN, error) {
	return t.lsnAt(ctx, at, head)
}

// SizeKnown reports whether a size is found without the store.
func (t *Timeline) SizeKnown(rel pgwal.RelFileNode, fork pgwal.Fork, lsn wal.LSN) bool {
	_, known := t.known.at(&forkID{rel, fork}, lsn)
	return known
}

// ManyKeys is how many keys of a record a batch takes, at most, but for those that the
// record itself lists.
const ManyKeys = manyKeys

// Unsent is how many versions of a key the batch holds.
func (t *Timeline) Unsent(key lsm.Key) (count int) {
	for _, version := range t.batch.versions {
		if version.Key == key {
			count++
		}
	}
	return count
}

// BatchMost is how many versions the batch has had at most since the timeline was opened.
func (t *Timeline) BatchMost() int { return cap(t.batch.versions) }
