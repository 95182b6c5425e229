package pageserver_test

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/lsm"
	"github.com/varvedb/varve/pageserver/pageapi"
	"github.com/varvedb/varve/pageserver/timeline"
	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/env/osenv"
	"github.com/varvedb/varve/wal/pgwal"
	"github.com/varvedb/varve/wal/pgwal/pgtest"
)

// TestHistoryIsCollectedLeasedAndLeft asks a pageserver for all that concerns what is kept:
// a lease survives a collection, its neighbour does not, and a branch that has left its
// parent outlives it.
func TestHistoryIsCollectedLeasedAndLeft(t *testing.T) {
	postgres := pgtest.Init(t, pgtest.Options{})
	dir, ctx := shortDir(t), t.Context()
	e, err := osenv.New(osenv.Config{Root: filepath.Join(dir, "logs")})
	require.NoError(t, err)
	addr := "unix:" + filepath.Join(dir, "sk")
	safekeeper := serveLogs(t, e, addr)
	ps := run(t, dir, "ps", addr)
	imported, err := ps.client.Import(ctx, pageapi.ImportRequest{Timeline: mainID, Path: postgres.DataDir})
	require.NoError(t, err)
	log := pgwal.NewEncoder(imported.LSN, imported.PrevRecord, imported.SystemID)
	var at []wal.LSN
	for i := range byte(10) {
		_, end := log.Append(fpi(0, i))
		at = append(at, end)
	}
	safekeeper.commit(mainID, imported.LSN, log.Take())
	tl := ps.client.Timeline(mainID)
	require.NoError(t, tl.WaitLSN(ctx, at[9]))

	// A lease needs an LSN that is there; it is listed, and released.
	lease := lsm.LeaseInfo{ID: lsm.LeaseID{1}, LSN: at[3], End: time.Now().Add(time.Hour).Unix()}
	require.NoError(t, ps.client.Lease(ctx, mainID, lease))
	require.ErrorIs(t, ps.client.Lease(ctx, mainID, lsm.LeaseInfo{ID: lsm.LeaseID{2}, LSN: at[9] + 8}), lsm.ErrFutureLSN)
	require.ErrorIs(t, ps.client.Lease(ctx, mainID, lsm.LeaseInfo{ID: lsm.LeaseID{2}, LSN: imported.LSN - 8}), lsm.ErrBelowHorizon)
	leases, err := ps.client.Leases(ctx, mainID)
	require.NoError(t, err)
	require.Equal(t, []lsm.LeaseInfo{lease}, leases)
	require.NoError(t, ps.client.Branch(ctx, pageapi.BranchRequest{Parent: mainID, Child: branchID, At: at[5]}))

	// A dry run changes nothing. Once all is durable it tells what goes, and for whom the
	// rest is kept.
	_, err = tl.Flush(ctx)
	require.NoError(t, err)
	dry, err := ps.client.Collect(ctx, mainID, lsm.CollectOptions{Cutoff: at[7], DryRun: true})
	require.NoError(t, err)
	require.Equal(t, at[7], dry.Cutoff)
	require.Equal(t, []lsm.Pin{{LSN: at[5], Branch: branchID}, {LSN: at[3], Lease: lease.ID}}, dry.Pins)
	plan, err := ps.client.Explain(ctx, mainID, at[7])
	require.NoError(t, err)
	require.Positive(t, plan.Garbage)
	require.Equal(t, byte(4), read(t, tl, 0, at[4]))

	done, err := ps.client.Collect(ctx, mainID, lsm.CollectOptions{Cutoff: at[7]})
	require.NoError(t, err)
	require.Equal(t, dry.Pins, done.Pins)
	require.Equal(t, plan.Garbage, done.Dropped, "what the plan said")
	pages := make([][]byte, 1)
	for i, lsn := range at {
		err := tl.GetPages(ctx, []timeline.PageRead{{Rel: rel, Block: 0, LSN: lsn}}, pages)
		if i == 3 || i >= 7 {
			require.NoError(t, err, i)
			require.Equal(t, byte(i), pages[0][24])
			continue
		}
		require.ErrorIs(t, err, lsm.ErrBelowHorizon, i)
	}
	child := ps.client.Timeline(branchID)
	require.Equal(t, byte(5), read(t, child, 0, at[5]))
	require.NoError(t, ps.client.Release(ctx, mainID, lease.ID))
	leases, err = ps.client.Leases(ctx, mainID)
	require.NoError(t, err)
	require.Empty(t, leases)

	// A branch that has left its parent takes in its own log as before, and outlives it.
	own := pgwal.NewEncoder(at[5], 0, imported.SystemID)
	_, first := own.Append(fpi(1, 77))
	safekeeper.commit(branchID, at[5], own.Take())
	require.NoError(t, child.WaitLSN(ctx, first))
	require.ErrorIs(t, ps.client.Delete(ctx, mainID), pageapi.ErrHasChildren)
	require.NoError(t, ps.client.DetachFromParent(ctx, branchID))
	require.NoError(t, ps.client.DetachFromParent(ctx, branchID), "once more changes nothing")
	require.NoError(t, ps.client.Delete(ctx, mainID))
	_, second := own.Append(fpi(1, 78))
	safekeeper.commit(branchID, at[5], own.Take())
	require.NoError(t, child.WaitLSN(ctx, second))
	_, err = child.Flush(ctx)
	require.NoError(t, err)
	ps.stop()

	child = run(t, dir, "ps2").client.Timeline(branchID)
	require.Equal(t, byte(5), read(t, child, 0, at[5]))
	require.Equal(t, byte(77), read(t, child, 1, first))
	require.Equal(t, byte(78), read(t, child, 1, second))
	relations := 0
	require.NoError(t, child.Relations(ctx, second, func(timeline.RelationSize) error { relations++; return nil }))
	require.Greater(t, relations, 500)
}
