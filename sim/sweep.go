package sim

import (
	"time"

	"github.com/varvedb/varve/sim/workload"
	"github.com/varvedb/varve/sim/world"
)

// sweepSeed is the seed of the world of every sweep.
const sweepSeed = 5

// Sweep is a short history in which one node loses its power, at a call of Env that the
// point names: 2k is before call k, and 2k+1 after it, counted over all safekeepers,
// pageservers and computes. Up to that call the history is the same for all points;
// points beyond the last call ([Result.Calls]) have no death. So all points in turn are
// every moment at which a node can die.
//
// It has elections, failovers, a move of the pageserver, flushes, merges and branches,
// and no fault but what a loss of power does to a disk.
func Sweep(point uint64) Options {
	return Options{
		Seed: point, Profile: "sweep", CrashAt: point / 2, CrashPoint: world.CrashPoint(point % 2),
		Faults:      world.Worst().Only(world.DiskLoss, world.DiskTorn, world.DiskEarly),
		Safekeepers: 3, Pageservers: 2, Computes: 2, Sessions: 1, Historians: 1, Core: 3,
		Storm: 5 * time.Second, Conduct: world.Range{Lo: 800 * time.Millisecond, Hi: 1600 * time.Millisecond},
		CachePages: 2, MemtableBytes: 16 << 10, BlockBytes: 4 << 10, DiskBytes: 256 << 10, BranchPer: 50_000,
		LayerBytes: 32 << 10, FlushedMax: 2, ChainMax: 4, HistoryBytes: 128 << 10, HistoryTime: 10 * time.Second,
		Shape: workload.Shape{
			Relations: 2, Blocks: 3, PagesMax: 3, PieceBytes: 8 << 10, Think: 200 * time.Millisecond,
			Write: 60, Latest: 20, Snapshot: 10, Branch: 2, Truncate: 4, Drop: 2, BranchesMax: 2,
			AbortPerMillion: 100_000, UnconfirmedPerMillion: 200_000, RestatePerMillion: 50_000, PausePerMillion: 50_000,
		},
	}
}
