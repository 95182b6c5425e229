package sim

import (
	"slices"
	"time"

	"github.com/varvedb/varve/sim/check"
	"github.com/varvedb/varve/sim/workload"
	"github.com/varvedb/varve/sim/world"
)

// sweepSeed is the seed of the world of every sweep: one with a short history that has
// everything in it ([SweepLacks]).
const sweepSeed = 42

// Sweep is a short history in which one node loses its power, at a call of Env that the
// point names: 2k is before call k, and 2k+1 after it, counted over all safekeepers,
// pageservers and computes. Up to that call the history is the same for all points;
// points beyond the last call ([Result.Calls]) have no death. So all points in turn are
// every moment at which a node can die.
//
// It has elections, a failover and rivals, a move of the pageserver, flushes, merges and
// collections, branches of branches, reads, leases, detachments and deletions: keeper and
// conductor do them in turn, so that all of it fits into a few seconds. There is no fault
// but what a loss of power does to a disk.
func Sweep(point uint64) Options {
	return Options{
		Seed: point, World: sweepSeed, Profile: "sweep", CrashAt: point / 2, CrashPoint: world.CrashPoint(point % 2),
		Faults:      world.Worst().Only(world.DiskLoss, world.DiskTorn, world.DiskEarly),
		Safekeepers: 3, Pageservers: 2, Computes: 2, Sessions: 1, Historians: 1, Core: 3,
		Storm: 2500 * time.Millisecond, Conduct: world.Range{Lo: 350 * time.Millisecond, Hi: 400 * time.Millisecond},
		InTurn: true, EarlyLog: true, Upkeep: world.Range{Lo: 150 * time.Millisecond, Hi: 200 * time.Millisecond},
		Rest: 2 * time.Second, Points: 12,
		CachePages: 2, MemtableBytes: 8 << 10, BlockBytes: 4 << 10, DiskBytes: 256 << 10, BranchPer: 300_000,
		LayerBytes: 32 << 10, FlushedMax: 2, ChainMax: 4, HistoryBytes: 8 << 10, HistoryTime: time.Second,
		Shape: workload.Shape{
			Relations: 2, Blocks: 2, PagesMax: 3, PieceBytes: 8 << 10, Think: 600 * time.Millisecond,
			Write: 60, Latest: 20, Snapshot: 10, Branch: 20, Truncate: 4, Drop: 2, BranchesMax: 4,
			AbortPerMillion: 100_000, UnconfirmedPerMillion: 200_000, RestatePerMillion: 50_000, PausePerMillion: 50_000,
		},
	}
}

// SweepLacks names what a history to be swept should have and has not.
func SweepLacks(r *Result) (lacks []string) {
	for _, need := range []string{
		"transactions committed", "latest reads, confirmed", "reads of the past", "sim pageserver moved", "branches of branches",
		"sim branch deleted", "sim branch detached", "leases", "sim history collected",
		"lsm merge flushed", "lsm merge tiers", "lsm merge collect", "lsm cutoff raised",
	} {
		is := func(count check.Count) bool { return count.Name == need && count.N > 0 }
		if !slices.ContainsFunc(r.Done, is) && !slices.ContainsFunc(r.Covered, is) {
			lacks = append(lacks, need)
		}
	}
	if r.Kinds[CallKind{Roles[0], world.FileAllocate}] == 0 {
		lacks = append(lacks, "a log that is begun")
	}
	return lacks
}
