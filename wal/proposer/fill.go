package proposer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/pgwal"
	"github.com/varvedb/varve/wal/quorum"
	"github.com/varvedb/varve/wal/walapi"
)

// fetchTimeout bounds the read that fills a lagging safekeeper: the donor is then too
// slow to be of use.
const fetchTimeout = 10 * time.Second

// check follows what is read from one donor in one term, so that a record longer than
// a fetch is read once.
type check struct {
	donor   wal.NodeID
	term    wal.Term
	scanner *pgwal.Scanner
	at      wal.LSN // where the bytes that it was fed end
}

// goesOn reports whether the fetch's bytes follow on those checked.
func (c *check) goesOn(f quorum.Fetch) bool {
	return c.scanner != nil && c.donor == f.From && c.term == f.Term && c.at == f.Begin && c.scanner.Position() == f.Record
}

// feed checks the bytes that follow.
func (c *check) feed(p []byte) error {
	c.at += wal.LSN(len(p))
	c.scanner.Feed(p)
	for {
		if more, err := c.scanner.Next(); !more {
			return err
		}
	}
}

// fill carries out the fetches for one safekeeper, one after the other.
func (p *Proposer) fill(ctx context.Context, node wal.NodeID) error {
	var c check
	for {
		f, err := p.nextFetch(ctx, node)
		if err != nil {
			return err
		}
		bytes, recordEnd, err := p.fetch(ctx, &c, f)
		p.step(func() {
			if err != nil {
				p.core.FetchFailed(f)
				return
			}
			p.core.Fetched(f, bytes, recordEnd)
		})
		if ctx.Err() != nil {
			return context.Cause(ctx)
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
	err = p.await(ctx, p.wanted, func() (wanted bool) {
		f, wanted = p.fetches[node]
		return wanted
	})
	delete(p.fetches, node)
	return f, err
}

// fetch reads from the donor that the core has chosen, or, if that one cannot give
// sound bytes, from any other that is in the term.
func (p *Proposer) fetch(ctx context.Context, c *check, f quorum.Fetch) (bytes []byte, recordEnd wal.LSN, err error) {
	chosen := f
	for _, s := range p.donors(f) {
		f := chosen
		f.From = s.ID
		var failed error
		if bytes, recordEnd, failed = p.fetchFrom(ctx, c, s, f); failed == nil {
			return bytes, recordEnd, nil
		}
		if errors.Is(failed, wal.ErrCorruption) {
			p.e.Trace.Event("log damaged", "timeline", p.cfg.Timeline.String(), "node", uint64(s.ID), "error", failed)
		}
		err = errors.Join(err, failed)
	}
	return nil, 0, err
}

// donors lists whom a fetch may be read from, the chosen one first.
func (p *Proposer) donors(f quorum.Fetch) (donors []Safekeeper) {
	for _, s := range p.cfg.Safekeepers {
		switch s.ID {
		case f.From:
			donors = append([]Safekeeper{s}, donors...)
		case f.For:
		default:
			donors = append(donors, s)
		}
	}
	return donors
}

// fetchFrom reads bytes of a fetch from its donor and checks them. It returns whole
// records, and their end; or, of a record that goes on behind the fetch, all there
// are, whose check goes on with the next fetch, as does that of the safekeeper that
// they are for, which counts no record before it is whole.
func (p *Proposer) fetchFrom(ctx context.Context, c *check, s Safekeeper, f quorum.Fetch) (bytes []byte, recordEnd wal.LSN, err error) {
	ctx, cancel := p.e.Tasks.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	client, err := walapi.Dial(ctx, p.e, s.Addr)
	if err != nil {
		return nil, 0, err
	}
	defer client.Close()
	if !c.goesOn(f) {
		name := fmt.Sprintf("log of timeline %v at safekeeper %d", p.cfg.Timeline, s.ID)
		*c = check{donor: s.ID, term: f.Term, scanner: pgwal.NewScanner(name, f.Record), at: f.Record}
		c.scanner.ExpectSystemID(p.cfg.SystemID)
	}
	for c.at < f.End {
		begin := c.at
		chunk, err := client.Read(ctx, walapi.ReadRequest{
			Timeline: p.cfg.Timeline, Term: f.Term, Begin: begin, BytesMax: min(int(f.End-begin), walapi.ReadBytesMax),
		})
		if err != nil {
			return nil, 0, err
		}
		if len(chunk.Bytes) == 0 {
			break
		}
		if err := c.feed(chunk.Bytes); err != nil {
			return nil, 0, err
		}
		if c.at > f.Begin {
			bytes = append(bytes, chunk.Bytes[max(f.Begin, begin)-begin:]...)
		}
	}
	if len(bytes) == 0 {
		return nil, 0, fmt.Errorf("safekeeper %d has the log only up to %v, not %v", s.ID, c.at, f.End)
	}
	if end := c.scanner.Position(); end > f.Begin {
		return bytes[:end-f.Begin], end, nil
	}
	return bytes, 0, nil
}
