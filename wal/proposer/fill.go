package proposer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/assert"
	"github.com/varvedb/varve/wal/pgwal"
	"github.com/varvedb/varve/wal/quorum"
	"github.com/varvedb/varve/wal/walapi"
)

// fetchTimeout bounds the read that fills a lagging safekeeper: the donor is then too
// slow to be of use.
const fetchTimeout = 10 * time.Second

// agreeBytes is how much of the end of a log is compared with a donor's before it is filled
// from there: many records, and one read.
const agreeBytes = 64 << 10

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
		got, recordEnd, err := p.fetch(ctx, &c, f)
		p.step(func() {
			if err != nil {
				p.core.FetchFailed(f)
				return
			}
			p.core.Fetched(f, got, recordEnd)
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

// fetch reads from the safekeeper that the core has chosen. If that one cannot give sound
// bytes, whom to ask next is for the core to say, which knows who may be believed.
func (p *Proposer) fetch(ctx context.Context, c *check, f quorum.Fetch) (got []byte, recordEnd wal.LSN, err error) {
	got, recordEnd, err = p.fetchFrom(ctx, c, p.safekeeper(f.From), f)
	if errors.Is(err, wal.ErrCorruption) {
		p.e.Trace.Event("log damaged", "timeline", p.cfg.Timeline.String(), "node", uint64(f.From), "error", err)
	}
	return got, recordEnd, err
}

func (p *Proposer) safekeeper(id wal.NodeID) Safekeeper {
	i := slices.IndexFunc(p.cfg.Safekeepers, func(s Safekeeper) bool { return s.ID == id })
	assert.That(i >= 0, "node %d is one of the safekeepers", id)
	return p.cfg.Safekeepers[i]
}

// fetchFrom reads bytes of a fetch from its donor and checks them. It returns whole
// records, and their end; or, of a record that goes on behind the fetch, all there
// are, whose check goes on with the next fetch, as does that of the safekeeper that
// they are for, which counts no record before it is whole.
func (p *Proposer) fetchFrom(ctx context.Context, c *check, s Safekeeper, f quorum.Fetch) (got []byte, recordEnd wal.LSN, err error) {
	ctx, cancel := p.e.Tasks.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	client, err := walapi.Dial(ctx, p.e, s.Addr)
	if err != nil {
		return nil, 0, err
	}
	defer client.Close()
	if !c.goesOn(f) {
		if err := p.agree(ctx, client, f); err != nil {
			return nil, 0, err
		}
		name := fmt.Sprintf("log of timeline %v at safekeeper %d", p.cfg.Timeline, s.ID)
		*c = check{donor: s.ID, term: f.Term, scanner: pgwal.NewScanner(name, f.Record), at: f.Record}
		c.scanner.ExpectSystemID(p.cfg.SystemID)
	}
	for c.at < f.End {
		begin := c.at
		chunk, err := p.read(ctx, client, f.Term, begin, f.End)
		if err != nil {
			return nil, 0, err
		}
		if len(chunk) == 0 {
			break
		}
		if err := c.feed(chunk); err != nil {
			return nil, 0, err
		}
		if c.at > f.Begin {
			got = append(got, chunk[max(f.Begin, begin)-begin:]...)
		}
	}
	if len(got) == 0 {
		return nil, 0, fmt.Errorf("safekeeper %d has the log only up to %v, not %v", s.ID, c.at, f.End)
	}
	if end := c.scanner.Position(); end > f.Begin {
		return got[:end-f.Begin], end, nil
	}
	return got, 0, nil
}

// agree requires that the end of the log that a fetch is for is what its donor has there. One
// that lost what it had made durable may show sound records of an older term at that
// place, and does not know. What follows would be written after them, and counted. What was
// sent to it and not acknowledged is compared as far as it is there.
func (p *Proposer) agree(ctx context.Context, donor *walapi.Client, f quorum.Fetch) error {
	client, err := walapi.Dial(ctx, p.e, p.safekeeper(f.For).Addr)
	if err != nil {
		return err
	}
	defer client.Close()
	for at := max(p.cfg.Start, f.Flush-min(f.Flush, agreeBytes)); at < f.Record; {
		have, err := p.read(ctx, client, f.Term, at, f.Record)
		switch {
		case err != nil:
			return err
		case len(have) > 0:
		case at < f.Flush:
			return fmt.Errorf("safekeeper %d, which is to be filled, gives its log only up to %v of %v, which it has acknowledged", f.For, at, f.Flush)
		default:
			return nil
		}
		if at, err = p.same(ctx, donor, f, at, have); err != nil {
			return err
		}
	}
	return nil
}

// same requires that a donor has the bytes at an LSN. It returns their end.
func (p *Proposer) same(ctx context.Context, donor *walapi.Client, f quorum.Fetch, at wal.LSN, have []byte) (wal.LSN, error) {
	for end := at + wal.LSN(len(have)); at < end; {
		want, err := p.read(ctx, donor, f.Term, at, end)
		if err != nil {
			return 0, err
		}
		if len(want) == 0 || !bytes.HasPrefix(have, want) {
			return 0, fmt.Errorf("%w: at %v, of safekeepers %d and %d", ErrDiffers, at, f.From, f.For)
		}
		have, at = have[len(want):], at+wal.LSN(len(want))
	}
	return at, nil
}

// read reads what a safekeeper gives the term's proposer of [begin, end), with one request.
func (p *Proposer) read(ctx context.Context, client *walapi.Client, term wal.Term, begin, end wal.LSN) ([]byte, error) {
	chunk, err := client.Read(ctx, walapi.ReadRequest{
		Timeline: p.cfg.Timeline, Term: term, Begin: begin, BytesMax: min(int(end-begin), walapi.ReadBytesMax),
	})
	return chunk.Bytes, err
}
