package proposer

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/assert"
	"github.com/varvedb/varve/wal/env"
	"github.com/varvedb/varve/wal/quorum"
)

const (
	// tickInterval is one tick of the core, which it suits.
	tickInterval = 100 * time.Millisecond

	// An election round may stall for electionTicksMin ticks, and up to as many more,
	// drawn at random so that two candidates do not disturb each other for ever.
	electionTicksMin = 10
)

// Safekeeper is a member of the quorum and where to reach it.
type Safekeeper struct {
	ID   wal.NodeID
	Addr string // such as unix:PATH or tcp:HOST:PORT
}

// Config says who proposes, for which log, to whom.
type Config struct {
	ID              wal.NodeID
	quorum.Identity // of the timeline, as the safekeepers were told at its creation
	Safekeepers     []Safekeeper
}

// Proposer is one candidacy, and the leadership that it may win.
type Proposer struct {
	e   env.Env
	cfg Config

	mu       sync.Mutex
	changed  env.Cond // anything below, broadcast after each step of the core
	advanced env.Cond // leading or commit
	wanted   env.Cond // fetches
	over     env.Cond // ended, which the others are told too
	core     *quorum.Proposer
	links    map[wal.NodeID]*link
	heard    map[wal.NodeID]quorum.Reason // why a node takes no part, 0 if it does; for people
	rejected map[wal.NodeID]quorum.Reason // by the node's latest connection
	fetches  map[wal.NodeID]quorum.Fetch  // to be done, by the node to fill
	leading  *quorum.Leading
	commit   wal.LSN
	intake   intake
	ended    error // why no call can succeed any more
}

// New makes a proposer that does not run yet.
func New(e env.Env, cfg Config) *Proposer {
	random := e.Rand.Stream(fmt.Sprintf("proposer %d of %v", cfg.ID, cfg.Timeline))
	core := quorum.ProposerConfig{
		ID:            cfg.ID,
		Identity:      cfg.Identity,
		SessionBase:   quorum.Session(random.Uint64() >> 1),
		ElectionTicks: electionTicksMin + env.IntN(random, electionTicksMin),
	}
	for _, s := range cfg.Safekeepers {
		core.Safekeepers = append(core.Safekeepers, s.ID)
	}
	p := &Proposer{
		e: e, cfg: cfg, core: quorum.NewProposer(core),
		links: map[wal.NodeID]*link{}, heard: map[wal.NodeID]quorum.Reason{}, rejected: map[wal.NodeID]quorum.Reason{},
		fetches: map[wal.NodeID]quorum.Fetch{},
	}
	for _, cond := range p.conds() {
		*cond = e.Tasks.NewCond(&p.mu)
	}
	return p
}

// Run connects, elects, and serves until the term is lost (a *LostError), the
// quorum refuses (ErrRejected), or ctx ends.
func (p *Proposer) Run(ctx context.Context) error {
	group := p.e.Tasks.NewGroup(ctx)
	for _, s := range p.cfg.Safekeepers {
		group.Go(fmt.Sprintf("safekeeper %d", s.ID), func(ctx context.Context) error { return p.keepConnected(ctx, s) })
		group.Go(fmt.Sprintf("fill %d", s.ID), func(ctx context.Context) error { return p.fill(ctx, s.ID) })
	}
	group.Go("tick", p.tick)
	group.Go("end", p.waitEnd)
	return p.end(group.Wait())
}

// waitEnd fails when the core has nothing more to do, and so stops the others.
func (p *Proposer) waitEnd(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.await(ctx, p.over, func() bool { return false })
}

// conds are all that a call may wait for.
func (p *Proposer) conds() []*env.Cond {
	return []*env.Cond{&p.changed, &p.advanced, &p.wanted, &p.over}
}

// finish makes every call fail from now on. The first reason stays. The mutex is held.
func (p *Proposer) finish(err error) {
	if p.ended != nil {
		return
	}
	p.ended = err
	for _, cond := range p.conds() {
		(*cond).Broadcast()
	}
}

// end makes every call fail from now on, and returns why. The first reason stays.
func (p *Proposer) end(err error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err == nil {
		err = context.Canceled
	}
	p.finish(fmt.Errorf("proposer has stopped: %w", err))
	return p.ended
}

// failure is why no call can succeed any more, nil while they may.
func (p *Proposer) failure() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.ended
}

// await waits until ok, asked whenever the condition is met, or returns why that will
// never be. The mutex is held.
func (p *Proposer) await(ctx context.Context, cond env.Cond, ok func() bool) error {
	for !ok() {
		if p.ended != nil {
			return p.ended
		}
		if err := cond.Wait(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (p *Proposer) tick(ctx context.Context) error {
	for {
		if err := p.e.Clock.Sleep(ctx, tickInterval); err != nil {
			return err
		}
		p.step(p.core.Tick)
	}
}

// step lets fn use the core and carries out what the core then has ready.
func (p *Proposer) step(fn func()) {
	p.mu.Lock()
	fn()
	hangups := p.drain()
	p.mu.Unlock()
	closeAll(hangups)
}

// drain carries out what the core has ready, and returns the connections to close.
func (p *Proposer) drain() (hangups []*link) {
	for effects := p.core.Ready(); !effects.Empty(); effects = p.core.Ready() {
		hangups = append(hangups, p.sendAll(effects.Sends)...)
		for _, f := range effects.Fetches {
			p.e.Trace.Cover("proposer fills a safekeeper")
			p.fetches[f.For] = f
			p.wanted.Broadcast()
		}
		for _, h := range effects.Hangups {
			if l := p.links[h.Node]; l != nil && l.number == h.Session {
				hangups = append(hangups, l)
			}
		}
		for _, r := range effects.Rejects {
			hangups = append(hangups, p.reject(r)...)
		}
		p.learn(effects)
	}
	p.changed.Broadcast()
	return hangups
}

func (p *Proposer) learn(effects quorum.ProposerEffects) {
	if effects.Leading != nil {
		p.leading = effects.Leading
		p.intake.begin(effects.Leading.Start, p.cfg.SystemID)
		p.e.Trace.Cover("proposer elected")
		p.e.Trace.Event("elected", "timeline", p.cfg.Timeline.String(), "term", uint64(effects.Leading.Term), "start", effects.Leading.Start.String())
	}
	if effects.Commit != 0 {
		assert.That(effects.Commit >= p.commit, "commit LSN %v is at or above the last, %v", effects.Commit, p.commit)
		p.commit = effects.Commit
	}
	if effects.Leading != nil || effects.Commit != 0 {
		p.advanced.Broadcast()
	}
	if effects.Lost != nil {
		if effects.Lost.Cause == quorum.LostContradiction {
			p.e.Trace.Cover(Contradiction)
		}
		p.finish(&LostError{*effects.Lost})
	}
}

// reject notes a node that takes no part, and gives up if a majority does not.
func (p *Proposer) reject(r quorum.Reject) []*link {
	p.rejected[r.Node], p.heard[r.Node] = r.Reason, r.Reason
	if r.Reason == quorum.ReasonContradicts {
		p.e.Trace.Cover(Contradiction)
	}
	p.e.Trace.Event("safekeeper rejects", "node", uint64(r.Node), "reason", r.Reason.String())
	if len(p.rejected) >= p.core.Quorum() && p.leading == nil {
		p.finish(fmt.Errorf("%w: %s", ErrRejected, p.rejections()))
	}
	if l := p.links[r.Node]; l != nil {
		return []*link{l}
	}
	return nil
}

// rejections lists who takes no part, in the order of the configuration.
func (p *Proposer) rejections() (text string) {
	for _, s := range p.cfg.Safekeepers {
		if reason, ok := p.rejected[s.ID]; ok {
			text += fmt.Sprintf("safekeeper %d is %v; ", s.ID, reason)
		}
	}
	return text[:max(0, len(text)-2)]
}

// Elected waits until the term is won and the log up to its start x is committed.
func (p *Proposer) Elected(ctx context.Context) (term wal.Term, x wal.LSN, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.await(ctx, p.advanced, func() bool { return p.leading != nil }); err != nil {
		return 0, 0, fmt.Errorf("wait for election: %w", err)
	}
	return p.leading.Term, p.leading.Start, nil
}

// CommitLSN is the end of what is known to be committed, 0 before the election. It
// only grows.
func (p *Proposer) CommitLSN() wal.LSN {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.commit
}

// WaitCommit returns nil once CommitLSN is at least lsn.
func (p *Proposer) WaitCommit(ctx context.Context, lsn wal.LSN) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.await(ctx, p.advanced, func() bool { return p.commit >= lsn && p.leading != nil }); err != nil {
		return fmt.Errorf("wait for commit of %v: %w", lsn, err)
	}
	return nil
}

// Status tells how far the election or the log is.
func (p *Proposer) Status() quorum.ProposerStatus {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.core.Status()
}

// Seal holds an election and writes nothing: it returns the head of the timeline's
// log when that is committed and a majority of safekeepers serves it to readers.
// It fences whoever writes the log, so it is for when no endpoint runs.
func Seal(ctx context.Context, e env.Env, cfg Config) (head wal.LSN, err error) {
	p := New(e, cfg)
	group := e.Tasks.NewGroup(ctx)
	group.Go("proposer", p.Run)
	head, err = p.sealed(ctx)
	group.Stop()
	// The proposer's end was told to sealed, if it came first.
	_ = group.Wait()
	if err != nil {
		return 0, fmt.Errorf("seal timeline %v: %w", cfg.Timeline, err)
	}
	return head, nil
}

// sealed waits until a majority has been told that the log is committed up to X.
func (p *Proposer) sealed(ctx context.Context) (wal.LSN, error) {
	_, x, err := p.Elected(ctx)
	if err != nil {
		return 0, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return x, p.await(ctx, p.changed, func() bool { return p.core.Status().Announced >= x })
}

// ErrFenced is matched by the error of a proposer that met a higher term.
var ErrFenced = errors.New("fenced")

// ErrDiffers is matched by the error of a fetch for a safekeeper whose log, by term and LSN a
// part of the donor's, has other bytes at its end: one of the two disks deceives.
var ErrDiffers = errors.New("logs differ")

// Contradiction is the label of what cannot be unless disks deceive: a log was elected that
// lacks what a safekeeper knows of.
const Contradiction = "safekeepers contradict each other"

// ErrRejected is matched by the error of a proposer that a majority of safekeepers
// refuses: they have lost the timeline or never had it, or it is another one.
var ErrRejected = errors.New("the quorum refuses")

// LostError says why a proposer is finished.
type LostError struct{ quorum.Lost }

func (e *LostError) Error() string {
	if e.Cause == quorum.LostFenced {
		return fmt.Sprintf("term %d was lost: fenced by term %d", e.Term, e.Seen)
	}
	if e.Cause == quorum.LostContradiction {
		return fmt.Sprintf("term %d was lost: safekeeper %d has committed log that the elected log lacks, or another leader of the term: the disk of some safekeeper has lost what it acknowledged. Start again when all safekeepers answer; if it stays so, the others go on once safekeeper %d is stopped, without what it alone has", e.Term, e.Node, e.Node)
	}
	return fmt.Sprintf("term %d was lost: %v", e.Term, e.Cause)
}

// Is makes errors.Is(err, ErrFenced) true for a proposer that was fenced.
func (e *LostError) Is(target error) bool {
	return target == ErrFenced && e.Cause == quorum.LostFenced
}
