package timeline

import (
	"context"
	"time"

	"github.com/varvedb/varve/wal"
)

// LSNAtHead is LSNAt as one that began when the log ended at head.
func (t *Timeline) LSNAtHead(ctx context.Context, at time.Time, head wal.LSN) (wal.LSN, error) {
	return t.lsnAt(ctx, at, head)
}
