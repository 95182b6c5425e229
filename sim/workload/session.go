package workload

import (
	"context"
	"encoding/binary"
	"slices"

	"github.com/varvedb/varve/pageserver/pageapi"
	"github.com/varvedb/varve/sim/check"
	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/env"
	"github.com/varvedb/varve/wal/pgwal"
)

// client is one session of a compute.
type client struct {
	*Compute
	id    check.ClientID
	pages *Pages
}

// session runs operations until ctx ends.
func (c *Compute) session(ctx context.Context) error {
	s := &client{Compute: c, id: c.ledger.NewClient(), pages: NewPages(c.e, c.cfg.Pageserver)}
	defer s.pages.Close()
	for {
		if err := c.e.Clock.Sleep(ctx, c.cfg.Shape.think(c.cfg.Choices)); err != nil {
			return err
		}
		if !c.ledger.Next() {
			continue
		}
		if err := s.operate(ctx); err != nil && ctx.Err() != nil {
			return err
		}
	}
}

// operate does one operation, by weight.
func (s *client) operate(ctx context.Context) error {
	shape := &s.cfg.Shape
	draw := s.cfg.Choices.Below(shape.Write + shape.Latest + shape.Snapshot + shape.Branch + shape.Truncate + shape.Drop)
	switch {
	case draw < shape.Write:
		return s.transact(ctx)
	case draw < shape.Write+shape.Latest:
		return s.readLatest(ctx, check.LatestRead, 1)
	case draw < shape.Write+shape.Latest+shape.Snapshot:
		return s.readLatest(ctx, check.SnapshotRead, shape.PagesMax)
	case draw < shape.Write+shape.Latest+shape.Snapshot+shape.Branch:
		return s.branchAtHead(ctx)
	case draw < shape.Write+shape.Latest+shape.Snapshot+shape.Branch+shape.Truncate:
		return s.truncate(ctx)
	}
	return s.drop(ctx)
}

// end records what the client was told. One that was told nothing leaves its
// operation open and goes on under a new number.
func (s *client) end(op *check.Op, outcome check.Outcome) {
	s.ledger.End(op, outcome)
	if outcome == check.Unknown {
		s.id = s.ledger.NewClient()
	}
}

// readLatest reads pages as they are now. All are held at once, so they are as of one
// LSN. Confirmed, the answer waits for a round of the quorum that begins after the
// read was called.
func (s *client) readLatest(ctx context.Context, kind check.Kind, most uint32) error {
	ids := s.cfg.Shape.pick(s.cfg.Choices, most)
	confirm := !s.cfg.Choices.Hit(s.cfg.Shape.UnconfirmedPerMillion)
	op := s.ledger.Begin(check.Op{Kind: kind, Client: s.id, Branch: s.cfg.Branch.ID, Term: s.term, Confirmed: confirm})
	taken, err := s.take(ctx, s.pages, ids)
	if err != nil {
		s.end(op, check.Unknown)
		return err
	}
	op.LSN = s.at
	for _, p := range taken {
		op.Pages = append(op.Pages, found(p.id, p.bytes))
	}
	s.give(taken)
	if confirm {
		if err := s.confirm(ctx); err != nil {
			s.end(op, check.Unknown)
			return err
		}
	}
	s.end(op, check.OK)
	return nil
}

// transact changes some pages and commits, or aborts.
func (s *client) transact(ctx context.Context) error {
	c := s.cfg.Choices
	ids := s.cfg.Shape.pick(c, s.cfg.Shape.PagesMax)
	slices.SortFunc(ids, check.PageID.Compare)
	tx := s.ledger.NewTx()
	op := s.ledger.Begin(check.Op{Kind: check.Write, Client: s.id, Branch: s.cfg.Branch.ID, Tx: tx, Term: s.term})
	for _, id := range ids {
		op.Pages = append(op.Pages, check.PageValue{Page: id, Value: s.ledger.NewValue()})
	}
	if err := s.change(ctx, op); err != nil {
		s.end(op, check.Unknown)
		return err
	}
	now := pgwal.TimestampOf(s.e.Clock.Wall())
	if c.Hit(s.cfg.Shape.AbortPerMillion) {
		s.write(pgwal.Abort(pgwal.XID(tx), now, nil, nil))
		s.end(op, check.Failed)
		return nil
	}
	op.LSN = s.write(pgwal.Commit(pgwal.XID(tx), now, nil, nil))
	if err := s.committed(ctx, op.LSN); err != nil {
		s.end(op, check.Unknown)
		return err
	}
	s.cfg.Branch.Acks++
	s.end(op, check.OK)
	return nil
}

// change writes the pages of a transaction, some of them by one record together. The
// pages are locked while their records are made, not until the transaction's end, as
// PostgreSQL locks buffers.
func (s *client) change(ctx context.Context, op *check.Op) error {
	const together = 4 // MAX_GENERIC_XLOG_PAGES
	for rest := op.Pages; len(rest) > 0; {
		n := min(len(rest), 1+int(s.cfg.Choices.Below(together)))
		ids := make([]check.PageID, n)
		for i := range ids {
			ids[i] = rest[i].Page
		}
		taken, err := s.take(ctx, s.pages, ids)
		if err != nil {
			return err
		}
		s.record(pgwal.XID(op.Tx), taken, rest[:n])
		s.give(taken)
		rest = rest[n:]
		if s.cfg.Choices.Hit(s.cfg.Shape.PausePerMillion) {
			if err := s.e.Clock.Sleep(ctx, s.cfg.Shape.think(s.cfg.Choices)); err != nil {
				return err
			}
		}
		s.e.Trace.Yield(ctx, "between records")
	}
	return nil
}

// The ways in which a page can be logged. A page that is new has no delta.
const (
	byDelta = iota
	byDeltaWithImage
	byImage
	byFullPageImage
	logWays
)

// record logs new values of pages that are locked, and changes them here.
func (s *client) record(xid pgwal.XID, taken []*cached, values []check.PageValue) {
	c := s.cfg.Choices
	if c.Hit(s.cfg.Shape.RestatePerMillion) {
		s.restate(taken[0])
	}
	generic := pgwal.RecordSpec{RMgr: pgwal.RMgrGeneric, XID: xid}
	var inRecord []int
	for i, p := range taken {
		s.create(p)
		value := values[i].Value
		way := c.Below(logWays)
		if isNew(p.bytes) {
			way = byImage + way%2
		}
		changes := changesOf(p.id.Block, value)
		next := p.bytes
		if isNew(next) {
			next = pageWith(changes, 0)
		} else {
			change(next, changes)
		}
		compress := pgwal.CompressionNone
		if c.Below(2) == 1 {
			compress = pgwal.CompressionLZ4
		}
		if way == byFullPageImage {
			spec := pgwal.FullPageImage(p.id.Rel, p.id.Fork, p.id.Block, next, compress)
			spec.XID = xid
			s.install(p, next, s.write(spec), &values[i])
			continue
		}
		block := pgwal.BlockSpec{ID: uint8(len(generic.Blocks)), Rel: p.id.Rel, Fork: p.id.Fork, Block: p.id.Block, Compress: compress}
		if way != byImage {
			block.Data = pgwal.Generic(xid, pgwal.BlockChange{Changes: changes}).Blocks[0].Data
		}
		if way != byDelta {
			block.Image, block.Apply = next, way == byImage
		}
		generic.Blocks = append(generic.Blocks, block)
		p.bytes = next
		inRecord = append(inRecord, i)
	}
	if len(generic.Blocks) == 0 {
		return
	}
	end := s.write(generic)
	for _, i := range inRecord {
		s.install(taken[i], taken[i].bytes, end, &values[i])
	}
}

// change gives a page another value.
func change(page []byte, changes []pgwal.PageChange) {
	for _, c := range changes {
		copy(page[c.Offset:], c.Data)
	}
	clearHole(page)
}

// install makes bytes the page's content, as of the record that ends at end.
func (s *client) install(p *cached, bytes []byte, end wal.LSN, value *check.PageValue) {
	setPageLSN(bytes, end)
	s.cfg.Branch.changed(end)
	p.bytes, p.lsn, p.gone = bytes, end, false
	value.LSN = end
}

// restate logs an image of a page as it is, as for a change of hint bits; now and then
// without the image, as with full_page_writes off, which changes nothing.
func (s *client) restate(p *cached) {
	if isNew(p.bytes) {
		return
	}
	block := pgwal.BlockSpec{Rel: p.id.Rel, Fork: p.id.Fork, Block: p.id.Block}
	if s.cfg.Choices.Below(4) > 0 {
		block.Image, block.Apply = p.bytes, true
	}
	end := s.write(pgwal.RecordSpec{RMgr: pgwal.RMgrXLOG, Info: pgwal.OpXLOGFPIForHint, Blocks: []pgwal.BlockSpec{block}})
	if block.Image != nil {
		setPageLSN(p.bytes, end)
		p.lsn = end
	}
}

// specialRelUpdate says of a record that it changes files in ways that its blocks do not
// show.
const specialRelUpdate = 0x01

// create logs that a relation begins, before its first page that is not there.
func (s *client) create(p *cached) {
	if !p.gone || p.id.Block != 0 {
		return
	}
	le := binary.LittleEndian
	body := le.AppendUint32(le.AppendUint32(le.AppendUint32(nil, p.id.Rel.Spc), p.id.Rel.DB), p.id.Rel.Rel)
	body = le.AppendUint32(body, uint32(p.id.Fork))
	s.write(pgwal.RecordSpec{RMgr: pgwal.RMgrStorage, Info: pgwal.OpSmgrCreate | specialRelUpdate, MainData: body})
}

// branchAtHead makes a branch at the end of the log, wherever that is now.
func (s *client) branchAtHead(ctx context.Context) error {
	if len(s.ledger.Branches) >= s.cfg.Shape.BranchesMax {
		return nil
	}
	child := drawTimeline(s.e.Rand.Stream("branches"))
	op := s.ledger.Begin(check.Op{Kind: check.BranchCreate, Client: s.id, Branch: s.cfg.Branch.ID, Child: child, Term: s.term, Confirmed: true})
	op.LSN = s.at
	if err := s.confirm(ctx); err != nil {
		s.end(op, check.Unknown)
		return err
	}
	return s.ledger.createBranch(ctx, s.pages, op, s.end)
}

// createBranch asks for a branch and records the outcome. A branch that may have been
// made is added to those that clients know.
func (l *Ledger) createBranch(ctx context.Context, pages *Pages, op *check.Op, end func(*check.Op, check.Outcome)) error {
	err := pages.Do(ctx, func(ctx context.Context, c *pageapi.Client) error {
		return c.Branch(ctx, pageapi.BranchRequest{Parent: op.Branch, Child: op.Child, At: op.LSN})
	})
	if err != nil {
		// The server's own no may come after the index was written: attaching the child
		// may have failed. Only whoever looks into the bucket knows.
		end(op, check.Unknown)
		return err
	}
	l.Branches = append(l.Branches, &Branch{ID: op.Child, Parent: op.Branch, Start: op.LSN, Head: op.LSN})
	end(op, check.OK)
	return nil
}

// drawTimeline draws an id.
func drawTimeline(s env.Stream) (id wal.TimelineID) {
	env.FillRandom(s, id[:])
	return id
}
