package sim_test

import (
	"context"
	"fmt"
	"io/fs"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/compute/endpoint"
	"github.com/varvedb/varve/pageserver"
	"github.com/varvedb/varve/pageserver/pageapi"
	"github.com/varvedb/varve/sim/check"
	"github.com/varvedb/varve/sim/workload"
	"github.com/varvedb/varve/sim/world"
	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/env"
	"github.com/varvedb/varve/wal/pgwal"
	"github.com/varvedb/varve/wal/proposer"
	"github.com/varvedb/varve/wal/quorum"
	"github.com/varvedb/varve/wal/safekeeper"
	"github.com/varvedb/varve/wal/walapi"
)

var (
	parentID = wal.TimelineID{0x40}
	childID  = wal.TimelineID{0x41}
)

// stage is three safekeepers, a pageserver and an operator, to whom nothing happens but
// what a test says.
type stage struct {
	t       *testing.T
	w       *world.World
	nodes   []*world.Node // safekeepers, and then the pageserver
	members []proposer.Safekeeper

	e      env.Env // the operator's, and what follows too
	ctx    context.Context
	client *pageapi.Client
	parent quorum.Identity
	prev   wal.LSN // the last record of what was imported
}

const stagedPageserver = "tcp:ps:6464"

// perform runs what an operator does, once a parent timeline has been imported.
func perform(t *testing.T, operate func(s *stage)) {
	s := &stage{t: t, w: world.New(world.Config{Seed: 1})}
	defer s.w.Close()
	cfg := pageserver.Config{
		Tenant: wal.TenantID{1}, Listen: stagedPageserver,
		OpenDir: func(string) (fs.FS, error) {
			return workload.Directory([][]check.Value{{1}}, workload.EarlyInSegment), nil
		},
	}
	for i := 1; i <= 3; i++ {
		m := proposer.Safekeeper{ID: wal.NodeID(i), Addr: fmt.Sprintf("tcp:sk%d:5454", i)}
		s.members, cfg.Safekeepers = append(s.members, m), append(cfg.Safekeepers, m.Addr)
		n := s.w.Node(fmt.Sprintf("sk%d", i))
		n.Start(func(ctx context.Context, e env.Env) error {
			return safekeeper.New(e, safekeeper.Config{ID: m.ID, Dir: "safekeeper", Listen: m.Addr}).Run(ctx)
		})
		s.nodes = append(s.nodes, n)
	}
	n := s.w.Node("ps")
	n.Start(func(ctx context.Context, e env.Env) error { return pageserver.New(e, cfg).Run(ctx) })
	s.nodes = append(s.nodes, n)
	done := false
	s.w.Node("operator").Start(func(ctx context.Context, e env.Env) error {
		s.e, s.ctx = e, ctx
		s.importParent(cfg.Tenant)
		operate(s)
		done = true
		return nil
	})
	require.NoError(t, s.w.Run(10*time.Minute))
	require.True(t, done, "it comes to its end")
}

func (s *stage) importParent(tenant wal.TenantID) {
	s.pass(time.Second)
	s.dial()
	imported, err := s.client.Import(s.ctx, pageapi.ImportRequest{Timeline: parentID, Path: "/cluster"})
	require.NoError(s.t, err)
	s.parent = quorum.Identity{Tenant: tenant, Timeline: parentID, SystemID: imported.SystemID, PGVersion: 15, Start: imported.LSN}
	s.prev = imported.PrevRecord
	require.NoError(s.t, endpoint.EnsureLog(s.ctx, s.e, s.parent, s.members))
}

func (s *stage) dial() {
	client, err := pageapi.Dial(s.ctx, s.e, stagedPageserver)
	require.NoError(s.t, err)
	s.client = client
}

func (s *stage) pass(d time.Duration) { require.NoError(s.t, s.e.Clock.Sleep(s.ctx, d)) }

// lead starts a writer of the parent's log and has it commit a record. end ends it.
func (s *stage) lead(id wal.NodeID) (head wal.LSN, end func()) {
	p := proposer.New(s.e, proposer.Config{ID: id, Identity: s.parent, Safekeepers: s.members})
	group := s.e.Tasks.NewGroup(s.ctx)
	group.Go("proposer", p.Run)
	_, x, err := p.Elected(s.ctx)
	require.NoError(s.t, err)
	prev, err := p.LastRecord(s.ctx)
	require.NoError(s.t, err)
	if prev == 0 {
		prev = s.prev
	}
	log := pgwal.NewEncoder(x, prev, s.parent.SystemID)
	_, head = log.Append(pgwal.RecordSpec{RMgr: pgwal.RMgrXLOG, Info: pgwal.OpXLOGNoop})
	require.NoError(s.t, p.Append(s.ctx, x, log.Take()))
	require.NoError(s.t, p.WaitCommit(s.ctx, head))
	return head, func() {
		group.Stop()
		_ = group.Wait() // it was told to end
	}
}

// branch makes the child leave the parent at an LSN.
func (s *stage) branch(at wal.LSN) {
	require.NoError(s.t, s.client.Branch(s.ctx, pageapi.BranchRequest{Parent: parentID, Child: childID, At: at}))
}

// restart has safekeepers and pageserver lose power all at once, and start again after
// what happens in between.
func (s *stage) restart(between func()) {
	for _, n := range s.nodes {
		n.Kill()
	}
	between()
	for _, n := range s.nodes {
		n.Restart()
	}
	s.pass(time.Second)
	s.dial()
}

// status is what each safekeeper says of the parent's log.
func (s *stage) status() (all []walapi.TimelineStatus) {
	for _, m := range s.members {
		client, err := walapi.Dial(s.ctx, s.e, m.Addr)
		require.NoError(s.t, err)
		status, err := client.Status(s.ctx, parentID)
		require.NoError(s.t, err)
		require.NoError(s.t, client.Close())
		all = append(all, status)
	}
	return all
}

// TestABranchIsServedThoughItsParentsCommitLSNIsForgotten: all safekeepers fall when the
// last record of the parent was committed, and nobody ever starts the parent again.
func TestABranchIsServedThoughItsParentsCommitLSNIsForgotten(t *testing.T) {
	perform(t, func(s *stage) {
		head, end := s.lead(100)
		require.NoError(t, s.client.Timeline(parentID).WaitLSN(s.ctx, head))
		s.branch(head)
		require.NoError(t, s.client.Timeline(childID).WaitLSN(s.ctx, head))
		s.restart(end)
		for _, status := range s.status() {
			require.Equal(t, head, status.Flush)
			require.Less(t, status.Readable, head, "safekeeper %d has forgotten", status.Node)
		}
		require.NoError(t, s.client.Timeline(childID).WaitLSN(s.ctx, head))
		position, err := s.client.Timeline(parentID).Position(s.ctx)
		require.NoError(t, err)
		require.Equal(t, head, position.Last)
		// Once is enough: what the election told them is kept.
		term := s.status()[0].Term
		s.restart(func() {})
		require.NoError(t, s.client.Timeline(childID).WaitLSN(s.ctx, head))
		require.Equal(t, term, s.status()[0].Term)
	})
}

// TestWhatIsCommittedIsKnownAfterAWriterHasEnded: nobody needs an election then.
func TestWhatIsCommittedIsKnownAfterAWriterHasEnded(t *testing.T) {
	perform(t, func(s *stage) {
		head, end := s.lead(100)
		s.pass(time.Second) // in which all are told
		end()
		s.pass(time.Second)
		s.restart(func() {})
		for _, status := range s.status() {
			require.Equal(t, head, status.Readable, "safekeeper %d", status.Node)
		}
		require.NoError(t, s.client.Timeline(parentID).WaitLSN(s.ctx, head))
	})
}

// TestAWriterIsNotFencedForABranchThatIsAheadOfIt: the branch waits for the parent's log.
func TestAWriterIsNotFencedForABranchThatIsAheadOfIt(t *testing.T) {
	perform(t, func(s *stage) {
		head, end := s.lead(100)
		defer end()
		s.branch(head + 8)
		s.pass(time.Second)
		term := s.status()[0].Term
		s.pass(time.Minute)
		require.Equal(t, term, s.status()[0].Term)
	})
}
