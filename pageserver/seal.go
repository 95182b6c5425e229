package pageserver

import (
	"context"
	"time"

	"github.com/varvedb/varve/pageserver/timeline"
	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/proposer"
	"github.com/varvedb/varve/wal/quorum"
	"github.com/varvedb/varve/wal/walapi"
)

const (
	// sealAfter is how long nothing must have moved at the safekeepers of a log before an
	// election seals it. Shorter: one fences an endpoint that is about to start. Longer: so
	// are branches away whose parent has no endpoint, after all safekeepers have fallen.
	sealAfter = 10 * time.Second
	// sealMax bounds an election: two round trips, unless a majority is away or one
	// of it must be filled.
	sealMax = 30 * time.Second
)

// A log without a writer may end, for readers, below what is committed: a safekeeper that
// falls forgets the last of the commit LSNs that it was told, and nobody tells it again. A
// branch that leaves the timeline above that could not be read until an endpoint of its
// parent starts, which may be never. So whoever needs the log up to a branch point holds
// an election himself, which is safe at any time, and writes nothing.
//
// It fences a writer, if there is one. That there is none is seen at the safekeepers: a
// leader tells a majority that all up to its start is committed, so among any majority one
// knows; a candidate raises terms, or the ends of logs that it fills, all the time.

// standstill is where the members of a quorum were found to be, by their addresses, and
// since when nothing has moved.
type standstill struct {
	at    map[string]standing
	since time.Duration
}

// standing is what moves at a safekeeper while somebody writes its log, or wants to.
type standing struct {
	term            wal.Term
	flush, readable wal.LSN
}

// look takes in what a majority has answered, and returns for how long nothing has moved
// at any that answers. Those that do not answer say nothing.
func (s *standstill) look(answers map[string]walapi.TimelineStatus, members []string, now time.Duration) time.Duration {
	if s.at == nil {
		s.at, s.since = map[string]standing{}, now
	}
	for _, addr := range members {
		status, answered := answers[addr]
		if !answered {
			continue
		}
		at := standing{status.Term, status.Flush, status.Readable}
		if s.at[addr] != at {
			s.at[addr], s.since = at, now
		}
	}
	return now - s.since
}

// sealForgotten holds an election if a branch leaves the timeline above all that its
// safekeepers give to readers, though they have the log up to there, and nobody is at
// work on it. It is for when they have nothing new. What fails is tried again after
// another standstill.
func (b *branch) sealForgotten(ctx context.Context, t *timeline.Timeline, members []string) {
	need := t.Store().Awaited()
	if need <= t.LastLSN() {
		b.still = standstill{}
		return
	}
	answers := b.askAll(ctx, members)
	if !isForgotten(answers, members, need) {
		b.still = standstill{}
		return
	}
	if b.still.look(answers, members, b.env.Clock.Now()) < sealAfter {
		return
	}
	b.still = standstill{}
	cfg := proposer.Config{ID: b.candidate()}
	for i, addr := range members {
		cfg.Safekeepers = append(cfg.Safekeepers, proposer.Safekeeper{ID: wal.NodeID(i + 1), Addr: addr})
		if status, answered := answers[addr]; answered {
			cfg.Identity = status.Identity
		}
	}
	limited, cancel := b.env.Tasks.WithTimeout(ctx, sealMax)
	defer cancel()
	head, err := proposer.Seal(limited, b.env, cfg)
	b.env.Trace.Cover("pageserver seals a log that a branch needs")
	b.env.Trace.Event("log sealed", "timeline", b.id, "needed", need, "head", head, "error", err)
}

// askAll asks all members how far the log is, and returns what those answered that have
// lost nothing.
func (b *branch) askAll(ctx context.Context, members []string) map[string]walapi.TimelineStatus {
	answers := map[string]walapi.TimelineStatus{}
	for _, addr := range members {
		if status, err := b.ask(ctx, addr); err == nil && status.Standing == quorum.Admitted {
			answers[addr] = status
		}
	}
	return answers
}

func (b *branch) ask(ctx context.Context, addr string) (walapi.TimelineStatus, error) {
	limited, cancel := b.env.Tasks.WithTimeout(ctx, answerMax)
	defer cancel()
	client, err := walapi.Dial(limited, b.env, addr)
	if err != nil {
		return walapi.TimelineStatus{}, err
	}
	defer client.Close()
	return client.Status(limited, b.id)
}

// isForgotten reports whether a majority answers, none of it gives the log up to need to
// readers, and one has it: if it is committed up to there, one of any majority has.
func isForgotten(answers map[string]walapi.TimelineStatus, members []string, need wal.LSN) bool {
	has := false
	for _, addr := range members {
		status := answers[addr]
		if status.Readable >= need {
			return false
		}
		has = has || status.Flush >= need
	}
	return has && len(answers) > len(members)/2
}

// candidate draws the number of a proposer that lives for one election.
func (b *branch) candidate() wal.NodeID {
	return wal.NodeID(b.env.Rand.Stream("seal of "+b.id.String()).Uint64() | 1)
}
