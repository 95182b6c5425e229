package proposer

import (
	"context"
	"fmt"
	"time"

	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/quorum"
	"github.com/varvedb/varve/wal/walapi"
)

const (
	// redialInterval is the pause before a safekeeper is dialed again: short beside
	// the time a restart takes, long beside that of a refused connection.
	redialInterval = 200 * time.Millisecond
	// fetchTimeout bounds the read that fills a lagging safekeeper: the donor is then
	// too slow to be of use.
	fetchTimeout = 10 * time.Second
)

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
			return err
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
			p.step(func() { p.core.Step(s.ID, m) })
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

// fill carries out the fetches for one safekeeper, one after the other.
func (p *Proposer) fill(ctx context.Context, node wal.NodeID) error {
	for {
		f, err := p.nextFetch(ctx, node)
		if err != nil {
			return err
		}
		bytes, err := p.readFrom(ctx, f)
		p.step(func() {
			if err != nil || len(bytes) == 0 {
				p.core.FetchFailed(f)
				return
			}
			p.core.Fetched(f, bytes, 0)
		})
		if ctx.Err() != nil {
			return err
		}
		if err != nil {
			p.e.Trace.Event("fetch failed", "from", uint64(f.From), "for", uint64(f.For), "error", err)
		}
	}
}

// nextFetch waits for a fetch and takes it.
func (p *Proposer) nextFetch(ctx context.Context, node wal.NodeID) (f quorum.Fetch, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	err = p.await(ctx, func() (wanted bool) {
		f, wanted = p.fetches[node]
		return wanted
	})
	delete(p.fetches, node)
	return f, err
}

func (p *Proposer) readFrom(ctx context.Context, f quorum.Fetch) ([]byte, error) {
	for _, s := range p.cfg.Safekeepers {
		if s.ID != f.From {
			continue
		}
		return p.readChunk(ctx, s, walapi.ReadRequest{
			Timeline: p.cfg.Timeline, Term: f.Term, Begin: f.Begin, BytesMax: int(f.End - f.Begin),
		})
	}
	return nil, fmt.Errorf("safekeeper %d is not configured", f.From)
}

// readChunk reads over a connection of its own: fetches are few and large.
func (p *Proposer) readChunk(ctx context.Context, s Safekeeper, m walapi.ReadRequest) ([]byte, error) {
	ctx, cancel := p.e.Tasks.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	client, err := walapi.Dial(ctx, p.e, s.Addr)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	chunk, err := client.Read(ctx, m)
	return chunk.Bytes, err
}
