package proposer

import (
	"context"

	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/quorum"
)

// FetchOnce carries out one fetch.
func (p *Proposer) FetchOnce(ctx context.Context, f quorum.Fetch) (got []byte, recordEnd wal.LSN, err error) {
	var c check
	return p.fetch(ctx, &c, f)
}
