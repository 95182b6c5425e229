package workload

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/varvedb/varve/compute/endpoint"
	"github.com/varvedb/varve/pageserver/basebackup"
	"github.com/varvedb/varve/pageserver/pageapi"
	"github.com/varvedb/varve/sim/check"
	"github.com/varvedb/varve/sim/world"
	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/env"
	"github.com/varvedb/varve/wal/pgwal"
	"github.com/varvedb/varve/wal/proposer"
	"github.com/varvedb/varve/wal/quorum"
)

// ComputeConfig says which compute to run.
type ComputeConfig struct {
	Branch      *Branch
	Identity    quorum.Identity
	Proposer    wal.NodeID
	Safekeepers []proposer.Safekeeper
	Pageserver  func() string // its address, now
	CachePages  int           // pages that are kept, beyond those in use
	Sessions    int
	Shape       Shape
	Choices     *world.Choices // of everything that clients decide

	// Reach, if it is not nil, decides which safekeepers a scribbler reaches: when its
	// election begins, and when it has won. It reports whether those are a majority.
	Reach func(won bool) bool
}

// Compute is one life of a simulated PostgreSQL: one term.
type Compute struct {
	e        env.Env
	cfg      ComputeConfig
	ledger   *Ledger
	proposer *proposer.Proposer
	term     wal.Term
	start    wal.LSN // X

	// No mutex guards what follows, as one task runs at a time: between two calls of
	// Env a task has it for itself.
	log   *pgwal.Encoder
	at    wal.LSN // end of what was written to the log
	sent  wal.LSN // begin of what was not given to the proposer
	mu    sync.Mutex
	flush wal.LSN  // up to where it is to be sent, at least
	grown env.Cond // that

	pages map[check.PageID]*cached
	order []*cached // in order of first use
	spare [][]byte  // memory of pages that were dropped
}

// winMax bounds the time from the start of a life to its first record.
const winMax = 90 * time.Second

// Live runs one life, until its term is lost or ctx ends. It tells why it ended.
func Live(ctx context.Context, e env.Env, cfg ComputeConfig, ledger *Ledger) error {
	c := &Compute{e: e, cfg: cfg, ledger: ledger, pages: map[check.PageID]*cached{}}
	c.grown = e.Tasks.NewCond(&c.mu)
	if err := c.ensureLog(ctx); err != nil {
		return err
	}
	c.proposer = proposer.New(e, proposer.Config{ID: cfg.Proposer, Identity: cfg.Identity, Safekeepers: cfg.Safekeepers})
	group := e.Tasks.NewGroup(ctx)
	group.Go("proposer", c.proposer.Run)
	group.Go("compute", func(ctx context.Context) error {
		if err := c.win(ctx); err != nil {
			return fmt.Errorf("take branch %v over: %w", cfg.Branch.ID, err)
		}
		e.Trace.Event("compute runs", "branch", cfg.Branch.ID, "term", uint64(c.term), "start", c.start)
		group.Go("walsender", c.sendLog)
		for i := range cfg.Sessions {
			group.Go(fmt.Sprintf("session %d", i), c.session)
		}
		return nil
	})
	return group.Wait()
}

func (c *Compute) ensureLog(ctx context.Context) error {
	ctx, cancel := c.e.Tasks.WithTimeout(ctx, winMax)
	defer cancel()
	return endpoint.EnsureLog(ctx, c.e, c.cfg.Identity, c.cfg.Safekeepers)
}

// win takes the log over, and ends it with the record that a PostgreSQL starts from.
func (c *Compute) win(ctx context.Context) error {
	ctx, cancel := c.e.Tasks.WithTimeout(ctx, winMax)
	defer cancel()
	var err error
	if c.term, c.start, err = c.proposer.Elected(ctx); err != nil {
		return err
	}
	c.ledger.won(c.cfg.Branch, c.term, c.start)
	prev, err := c.proposer.LastRecord(ctx)
	if err != nil {
		return err
	}
	state, err := c.startState(ctx, prev)
	if err != nil {
		return err
	}
	if state.Start != c.start {
		return fmt.Errorf("the log ends at %v, where no record may begin: want %v", c.start, state.Start)
	}
	if err := c.proposer.Append(ctx, state.Start, state.WAL); err != nil {
		return err
	}
	if err := c.proposer.WaitCommit(ctx, state.End); err != nil {
		return err
	}
	c.cfg.Branch.Learned(state.End)
	c.log = pgwal.NewEncoder(state.End, state.Record, c.cfg.Identity.SystemID)
	c.at, c.sent = state.End, state.End
	return nil
}

func (c *Compute) startState(ctx context.Context, prev wal.LSN) (state *basebackup.State, err error) {
	pages := NewPages(c.e, c.cfg.Pageserver)
	defer pages.Close()
	id := c.cfg.Branch.ID
	addrs := make([]string, len(c.cfg.Safekeepers))
	for i, s := range c.cfg.Safekeepers {
		addrs[i] = s.Addr
	}
	err = c.untilAnswered(ctx, pages, func(ctx context.Context, client *pageapi.Client) error {
		if err := client.Follow(ctx, id, addrs...); err != nil {
			return err
		}
		if err := client.Timeline(id).WaitLSN(ctx, c.start); err != nil {
			return err
		}
		state, err = basebackup.StartState(ctx, client.Timeline(id), c.start, prev, c.e.Clock.Wall())
		return err
	})
	return state, err
}

// retryDelay is the pause before a pageserver that failed is asked again.
const retryDelay = 300 * time.Millisecond

// untilAnswered asks until there is an answer, or one of the kind that stays. After a
// failure it has the pageserver serve the branch.
func (c *Compute) untilAnswered(ctx context.Context, pages *Pages, fn func(ctx context.Context, client *pageapi.Client) error) error {
	for {
		err := pages.Do(ctx, fn)
		if err == nil || isAbsent(err) {
			return err
		}
		c.e.Trace.Event("pageserver failed a compute", "error", err)
		if stop := c.e.Clock.Sleep(ctx, retryDelay); stop != nil {
			return errors.Join(stop, err)
		}
		// It may have lost the timeline to one that is gone. A failure fails the next
		// question too.
		_ = pages.Do(ctx, func(ctx context.Context, client *pageapi.Client) error { return client.Follow(ctx, c.cfg.Branch.ID) })
	}
}

// write appends a record to the log and returns its end.
func (c *Compute) write(spec pgwal.RecordSpec) wal.LSN {
	_, end := c.log.Append(spec)
	c.at = end
	if !c.cfg.Shape.Lazy {
		c.send(end)
	}
	return end
}

// send has the log sent up to lsn.
func (c *Compute) send(lsn wal.LSN) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if lsn > c.flush {
		c.flush = lsn
		c.grown.Signal()
	}
}

// piecesMax bounds how small the log that waits is cut, so that no tape makes a run of
// nothing but single bytes: that took half a minute and twenty times the events.
const piecesMax = 64

// sendLog gives the proposer what is to be sent, and what was written after it, cut
// anywhere.
func (c *Compute) sendLog(ctx context.Context) error {
	for {
		bytes, err := c.unsent(ctx)
		if err != nil {
			return err
		}
		for len(bytes) > 0 {
			n := min(len(bytes), max(1+int(c.cfg.Choices.Below(c.cfg.Shape.PieceBytes)), len(bytes)/piecesMax))
			if err := c.proposer.Append(ctx, c.sent, bytes[:n]); err != nil {
				return err
			}
			c.sent += wal.LSN(n)
			bytes = bytes[n:]
		}
	}
}

func (c *Compute) unsent(ctx context.Context) ([]byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.flush <= c.sent {
		if err := c.grown.Wait(ctx); err != nil {
			return nil, err
		}
	}
	return c.log.Take(), nil
}

// commitMax is how long a client waits for the quorum before it gives up and leaves
// its operation open.
const commitMax = 15 * time.Second

// committed sends the log and waits until it is committed up to lsn.
func (c *Compute) committed(ctx context.Context, lsn wal.LSN) error {
	c.send(lsn)
	ctx, cancel := c.e.Tasks.WithTimeout(ctx, commitMax)
	defer cancel()
	if err := c.proposer.WaitCommit(ctx, lsn); err != nil {
		return err
	}
	c.cfg.Branch.Learned(lsn)
	return nil
}

// confirm is a round of the quorum in this term, begun now: whatever was committed
// before it is in the log of this compute.
func (c *Compute) confirm(ctx context.Context) error {
	return c.committed(ctx, c.write(pgwal.RecordSpec{RMgr: pgwal.RMgrXLOG, Info: pgwal.OpXLOGNoop}))
}
