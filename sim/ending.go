package sim

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/varvedb/varve/compute/endpoint"
	"github.com/varvedb/varve/lsm/manifest"
	"github.com/varvedb/varve/lsm/remote"
	"github.com/varvedb/varve/pageserver/pageapi"
	"github.com/varvedb/varve/sim/check"
	"github.com/varvedb/varve/sim/workload"
	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/assert"
	"github.com/varvedb/varve/wal/env"
	"github.com/varvedb/varve/wal/proposer"
	"github.com/varvedb/varve/wal/walapi"
)

// ending is how far a run is after its storm, and what its end found.
type ending struct {
	calm bool // faults have ended
	rest bool // clients have ended and all nodes are up
	done bool // everything was read
	err  error
	logs []branchLog
}

// branchLog is the committed log of a branch, and each safekeeper's copy.
type branchLog struct {
	branch *workload.Branch
	head   wal.LSN
	copies []logCopy
}

// logCopy is what one safekeeper holds.
type logCopy struct {
	node   int
	status walapi.TimelineStatus
	bytes  []byte // from the log's start to status.Readable
	err    error
}

// end waits for the run to rest, seals all logs, and reads everything there is.
func (c *cluster) end(ctx context.Context, e env.Env) error {
	for !c.ended.rest {
		if err := e.Clock.Sleep(ctx, 100*time.Millisecond); err != nil {
			return err
		}
	}
	c.ended.err = c.readAll(ctx, e)
	c.ended.done = true
	return nil
}

func (c *cluster) readAll(ctx context.Context, e env.Env) error {
	if err := c.keeper().Settle(ctx, e); err != nil {
		return err
	}
	c.tryPending(ctx, e)
	branches, err := c.storedBranches()
	if err != nil {
		return err
	}
	for _, b := range branches {
		log, err := c.readLog(ctx, e, b)
		if err != nil {
			return fmt.Errorf("read the log of branch %v: %w", b.ID, err)
		}
		c.ended.logs = append(c.ended.logs, log)
	}
	if err := c.exhaust(ctx, e, c.home, c.opts.Points); err != nil {
		return err
	}
	// The same from the bucket alone, by a pageserver whose disk is empty.
	next := (c.home + 1) % len(c.pageservers)
	n := c.pageservers[next]
	n.Kill()
	n.Wipe()
	c.out[n] = false
	n.Restart()
	return c.exhaust(ctx, e, next, c.opts.Points/4)
}

// tryPending asks for the branches whose making had an unknown outcome: one that arrived
// when its parent's history had been collected is undone by who first attaches it.
func (c *cluster) tryPending(ctx context.Context, e env.Env) {
	pages := workload.NewPages(e, c.homeAddr)
	defer pages.Close()
	for _, op := range c.ledger.Pending() {
		if op.Kind == check.BranchCreate {
			// It fails where there is none, or none any more: the bucket says then.
			_ = pages.Do(ctx, func(ctx context.Context, client *pageapi.Client) error { return client.Follow(ctx, op.Child) })
		}
	}
}

// storedBranches is the branches that have or had a log, parents before children: those
// that clients know, those whose making had an unknown outcome and that the bucket has, and
// those that are deleted.
func (c *cluster) storedBranches() ([]*workload.Branch, error) {
	indexes, err := c.indexes()
	if err != nil {
		return nil, err
	}
	branches := slices.Clone(c.ledger.Branches)
	for _, op := range c.ledger.Pending() {
		// One that arrived when its parent was gone can be read by nobody.
		if x := indexes[op.Child]; op.Kind == check.BranchCreate && x != nil && indexes[x.Parent] != nil {
			branches = append(branches, &workload.Branch{ID: x.Timeline, Parent: x.Parent, Start: x.Start, Head: x.Start})
		}
	}
	for _, b := range branches {
		if indexes[b.ID] == nil {
			return nil, fmt.Errorf("branch %v, which was acknowledged, has no index in the bucket", b.ID)
		}
	}
	return byDescent(append(branches, c.ledger.Deleted...)), nil
}

// indexes is those of all live timelines, from the bucket.
func (c *cluster) indexes() (map[wal.TimelineID]*manifest.Index, error) {
	indexes := map[wal.TimelineID]*manifest.Index{}
	for _, key := range c.w.Objects() {
		if _, _, ok := remote.ParseIndexKey(tenant, key); !ok {
			continue
		}
		body, _ := c.w.Object(key)
		x, err := manifest.Decode(key, body)
		if err != nil {
			return nil, err
		}
		if x.State == manifest.Live {
			indexes[x.Timeline] = x
		}
	}
	return indexes, nil
}

// byDescent puts parents before their children.
func byDescent(branches []*workload.Branch) (ordered []*workload.Branch) {
	placed := map[wal.TimelineID]bool{{}: true}
	for len(ordered) < len(branches) {
		before := len(ordered)
		for _, b := range branches {
			if !placed[b.ID] && placed[b.Parent] {
				placed[b.ID] = true
				ordered = append(ordered, b)
			}
		}
		assert.That(len(ordered) > before, "every branch has a line of parents down to the root")
	}
	return ordered
}

// readLog seals a log, if there is one, and reads each safekeeper's copy of it.
func (c *cluster) readLog(ctx context.Context, e env.Env, b *workload.Branch) (branchLog, error) {
	log := branchLog{branch: b, head: b.Start}
	made, err := endpoint.LogMade(ctx, e, identityOf(b))
	if err != nil || !made {
		return log, err
	}
	c.proposers++
	log.head, err = proposer.Seal(ctx, e, proposer.Config{ID: c.proposers, Identity: identityOf(b), Safekeepers: c.members})
	if err != nil {
		return log, err
	}
	for node := range c.members {
		if c.safekeepers[node].Running() {
			log.copies = append(log.copies, c.readCopy(ctx, e, node, b))
		}
	}
	return log, nil
}

// readCopy reads a safekeeper's log, up to where it would serve it.
func (c *cluster) readCopy(ctx context.Context, e env.Env, node int, b *workload.Branch) logCopy {
	got := logCopy{node: node}
	ctx, cancel := e.Tasks.WithTimeout(ctx, time.Minute)
	defer cancel()
	client, err := walapi.Dial(ctx, e, c.members[node].Addr)
	if err != nil {
		got.err = err
		return got
	}
	defer client.Close()
	if got.status, got.err = client.Status(ctx, b.ID); got.err != nil {
		return got
	}
	for at := got.status.Start; at < got.status.Readable; at = got.status.Start + wal.LSN(len(got.bytes)) {
		var chunk walapi.Chunk
		if chunk, got.err = client.Read(ctx, walapi.ReadRequest{Timeline: b.ID, Begin: at}); got.err != nil {
			return got
		}
		got.bytes = append(got.bytes, chunk.Bytes[:min(len(chunk.Bytes), int(got.status.Readable-at))]...)
	}
	return got
}

// exhaust waits until a pageserver has everything and reads all pages at some LSNs.
func (c *cluster) exhaust(ctx context.Context, e env.Env, pageserver, points int) error {
	addr := func() string { return c.pageserverAddr(pageserver) }
	h := &workload.Historian{Ledger: c.ledger, Shape: c.opts.Shape, Pageserver: addr, Choices: c.clients}
	for i := range c.ended.logs {
		log := &c.ended.logs[i]
		if log.branch.Gone {
			if err := c.askInVain(ctx, e, h, log); err != nil {
				return err
			}
			continue
		}
		if err := c.awaitHead(ctx, e, addr, log); err != nil {
			return fmt.Errorf("pageserver %d, branch %v: %w", pageserver+1, log.branch.ID, err)
		}
		if err := h.Exhaust(ctx, e, log.branch, c.moments(log, points)); err != nil {
			return err
		}
	}
	return nil
}

// askInVain has a pageserver serve a branch that is deleted, and asks for its pages.
func (c *cluster) askInVain(ctx context.Context, e env.Env, h *workload.Historian, log *branchLog) error {
	pages := workload.NewPages(e, h.Pageserver)
	defer pages.Close()
	// It fails, as there is no such branch; what counts is what the pageserver then knows.
	_ = pages.Do(ctx, func(ctx context.Context, client *pageapi.Client) error { return client.Follow(ctx, log.branch.ID) })
	return h.Exhaust(ctx, e, log.branch, []wal.LSN{log.head, log.branch.Start})
}

// moments is LSNs of a branch: its ends, its cutoff, what is leased, where branches leave
// it, and random ones, of which half are where a change ends.
func (c *cluster) moments(log *branchLog, points int) []wal.LSN {
	root := c.ledger.Branches[0].Start
	lsns := []wal.LSN{log.head, log.branch.Start, root, root - 1}
	for _, lease := range c.ledger.Leases {
		if lease.Branch == log.branch {
			lsns = append(lsns, lease.LSN)
		}
	}
	for i := len(c.cutoffs) - 1; i >= 0; i-- {
		if c.cutoffs[i].Branch == log.branch.ID {
			lsns = append(lsns, c.cutoffs[i].LSN)
			break
		}
	}
	for i := range c.ended.logs {
		if other := c.ended.logs[i].branch; other.Parent == log.branch.ID && !other.Gone {
			lsns = append(lsns, other.Start)
		}
	}
	var ends []wal.LSN
	for _, op := range c.ledger.Ops() {
		if op.Branch == log.branch.ID && op.Kind == check.Write {
			for _, p := range op.Pages {
				if p.LSN != 0 && p.LSN <= log.head {
					ends = append(ends, p.LSN)
				}
			}
		}
	}
	for len(lsns) < points {
		at := root + wal.LSN(c.clients.Below(uint32(log.head-root)+1))
		if n := uint32(len(ends)); n > 0 && c.clients.Below(2) == 1 {
			at = ends[c.clients.Below(n)] - wal.LSN(c.clients.Below(2))
		}
		lsns = append(lsns, at)
	}
	return lsns
}

// ingestBound is how long a pageserver may take, when nothing is in its way, to take
// in all that is committed.
const ingestBound = 3 * time.Minute

// awaitHead waits until a pageserver has taken a log in up to its head, and records
// how it went for the checker of liveness.
func (c *cluster) awaitHead(ctx context.Context, e env.Env, addr func() string, log *branchLog) error {
	pages := workload.NewPages(e, addr)
	defer pages.Close()
	// Zero is what nobody has seen yet: at once at the head is movement too.
	p := check.Progress{
		What: fmt.Sprintf("ingest of branch %v by %s", log.branch.ID, addr()), Healed: c.w.Now(), Bound: ingestBound, Goal: uint64(log.head),
		Samples: []check.ProgressSample{{Time: c.w.Now()}},
	}
	defer func() { c.run.Progress = append(c.run.Progress, p) }()
	for {
		var position pageapi.Position
		err := pages.Do(ctx, func(ctx context.Context, client *pageapi.Client) (err error) {
			// As whoever needs a branch does: the one that had it last may be another.
			if err := client.Follow(ctx, log.branch.ID); err != nil {
				return err
			}
			position, err = client.Timeline(log.branch.ID).Position(ctx)
			return err
		})
		if err == nil {
			p.Samples = append(p.Samples, check.ProgressSample{Time: max(c.w.Now(), p.Healed+1), Count: uint64(position.Last)})
		}
		if err == nil && position.Last >= log.head {
			return nil
		}
		if c.w.Now() > p.Healed+p.Bound {
			return errors.Join(fmt.Errorf("at %v, not at the head %v, after %v", position.Last, log.head, p.Bound), err)
		}
		if err := e.Clock.Sleep(ctx, time.Second); err != nil {
			return err
		}
	}
}
