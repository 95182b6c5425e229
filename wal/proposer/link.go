package proposer

import (
	"context"
	"time"

	"github.com/varvedb/varve/wal/quorum"
	"github.com/varvedb/varve/wal/walapi"
)

// redialInterval is the pause before a safekeeper is dialed again: short beside the
// time a restart takes, long beside that of a refused connection.
const redialInterval = 200 * time.Millisecond

// link is a connection to a safekeeper, and the session that it carries.
type link struct {
	session *walapi.Session
	number  quorum.Session
}

// keepConnected dials a safekeeper whenever there is no connection to it.
func (p *Proposer) keepConnected(ctx context.Context, s Safekeeper) error {
	for {
		err := p.connect(ctx, s)
		if ctx.Err() != nil {
			return context.Cause(ctx) // a connection that happened to fail first is no reason to have stopped
		}
		p.e.Trace.Event("safekeeper away", "node", uint64(s.ID), "error", err)
		if err := p.e.Clock.Sleep(ctx, redialInterval); err != nil {
			return err
		}
	}
}

// connect carries one session, from its beginning to its end.
func (p *Proposer) connect(ctx context.Context, s Safekeeper) error {
	session, err := walapi.DialSession(ctx, p.e, s.Addr)
	if err != nil {
		return err
	}
	defer session.Close()
	l := &link{session: session}
	p.step(func() {
		delete(p.rejected, s.ID)
		p.links[s.ID] = l
		l.number = p.core.Connected(s.ID)
	})
	defer p.step(func() {
		delete(p.links, s.ID)
		if p.heard[s.ID] == 0 { // what a node says and hangs up stays said
			delete(p.heard, s.ID)
		}
		p.core.Disconnected(s.ID, l.number)
	})
	both := p.e.Tasks.NewGroup(ctx)
	both.Go("send", session.Run)
	both.Go("receive", func(ctx context.Context) error {
		for {
			m, err := session.Receive(ctx)
			if err != nil {
				return err
			}
			p.step(func() {
				p.heard[s.ID] = 0
				p.core.Step(s.ID, m)
			})
		}
	})
	return both.Wait()
}

// sendAll queues messages for the connections of their sessions, and returns the
// connections that take no more. A message whose connection is gone is gone too.
func (p *Proposer) sendAll(sends []quorum.Send) (broken []*link) {
	for _, send := range sends {
		l := p.links[send.To]
		if l == nil || l.number != send.Message.Head().Session {
			continue
		}
		if !l.session.Queue(send.Message) {
			broken = append(broken, l)
		}
	}
	return broken
}

// closeAll ends connections; the tasks that keep them notice and dial again.
func closeAll(links []*link) {
	for _, l := range links {
		l.session.Close()
	}
}
