package proposer

import (
	"context"
	"fmt"
	"strings"

	"github.com/varvedb/varve/wal/quorum"
)

// Presence is how much of its quorum a proposer has.
type Presence struct {
	Answer   int // members that answer and take part
	Majority int
	Members  int
	Lost     int    // members that are amnesiac: they never take part again
	Missing  string // why the others do not, for people; empty if there are none
}

func (p Presence) String() string {
	text := fmt.Sprintf("%d of %d safekeepers answer", p.Answer, p.Members)
	if p.Missing != "" {
		text += " (" + p.Missing + ")"
	}
	return text
}

// Presence tells which safekeepers answer.
func (p *Proposer) Presence() Presence {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.presence()
}

// AwaitPresence waits until the presence is another than last, and returns it.
func (p *Proposer) AwaitPresence(ctx context.Context, last Presence) (Presence, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	err := p.await(ctx, p.changed, func() bool { return p.presence() != last })
	return p.presence(), err
}

// presence is [Proposer.Presence] while the mutex is held.
func (p *Proposer) presence() Presence {
	now := Presence{Majority: p.core.Quorum(), Members: len(p.cfg.Safekeepers)}
	var missing []string
	for _, s := range p.cfg.Safekeepers {
		reason, answers := p.heard[s.ID]
		switch {
		case !answers:
			missing = append(missing, fmt.Sprintf("safekeeper %d does not answer", s.ID))
		case reason != 0:
			missing = append(missing, fmt.Sprintf("safekeeper %d is %v", s.ID, reason))
			if reason == quorum.ReasonAmnesiac {
				now.Lost++
			}
		default:
			now.Answer++
		}
	}
	now.Missing = strings.Join(missing, ", ")
	return now
}
