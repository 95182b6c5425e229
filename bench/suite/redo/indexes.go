package redo

import (
	"context"
	"fmt"

	"github.com/varvedb/varve/bench/paired"
	"github.com/varvedb/varve/bench/pglog"
	"github.com/varvedb/varve/bench/stage"
)

// indexes replays the log of a table under an index of every access method. Many records
// of such a log bring images of pages, which cut chains; so this is not done page by page.
func (b *suite) indexes(ctx context.Context) ([]paired.Case, error) {
	dir, err := b.s.Dir("indexes")
	if err != nil {
		return nil, err
	}
	logs := map[pglog.Way]*pglog.Log{}
	for _, way := range []pglog.Way{pglog.FPIOff, pglog.Plain} {
		b.s.Step("log of indexes, %s", way)
		if logs[way], err = pglog.Record(ctx, fmt.Sprintf("%s/%s", dir, way), way, pglog.Load{Methods: b.cfg.Indexed}); err != nil {
			return nil, err
		}
		stage.Describe(b.s, logs[way])
	}
	volume := func(way pglog.Way) func(context.Context, int) (paired.Sample, error) {
		return func(context.Context, int) (paired.Sample, error) {
			return paired.Sample{Metrics: map[string]float64{"wal_bytes": float64(len(logs[way].Bytes))}}, nil
		}
	}
	ours := logs[pglog.FPIOff]
	return []paired.Case{
		{Name: "records/indexes", Arms: []paired.Arm{replayed("varve", ours), stage.Redo(b.s, ours)}},
		{Name: "volume/indexes", Arms: []paired.Arm{
			{Name: "varve", Settings: "as Varve's endpoints log", Run: volume(pglog.FPIOff)},
			{Name: "postgres", Settings: "full_page_writes=off", Run: volume(pglog.Plain)},
		}},
	}, nil
}
