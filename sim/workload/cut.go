package workload

import (
	"context"
	"encoding/binary"
	"slices"

	"github.com/varvedb/varve/sim/check"
	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/pgwal"
)

// truncate cuts a relation, as a vacuum does: outside of any transaction. Its pages
// from there on are gone, and are made anew when they are written again; those between
// are then zeros.
func (s *client) truncate(ctx context.Context) error {
	c := s.cfg.Choices
	rel := Relation(int(c.Below(uint32(s.cfg.Shape.Relations))))
	to := c.Below(s.cfg.Shape.Blocks)
	taken, err := s.takeAll(ctx, rel)
	if err != nil {
		return err
	}
	defer s.give(taken)
	cut := taken[to:]
	if !slices.ContainsFunc(cut, func(p *cached) bool { return !p.gone }) {
		return nil // it ends before that
	}
	le := binary.LittleEndian
	body := le.AppendUint32(nil, to)
	body = le.AppendUint32(le.AppendUint32(le.AppendUint32(body, rel.Spc), rel.DB), rel.Rel)
	body = le.AppendUint32(body, pgwal.SmgrTruncateHeap|pgwal.SmgrTruncateVM|pgwal.SmgrTruncateFSM)
	s.vanish(cut, s.write(pgwal.RecordSpec{RMgr: pgwal.RMgrStorage, Info: pgwal.OpSmgrTruncate | specialRelUpdate, MainData: body}))
	s.e.Trace.Cover("sim relation truncated")
	return nil
}

// drop is a transaction that drops a relation, which goes with its commit record. It is
// made again, of the same name, by whoever writes to it next.
func (s *client) drop(ctx context.Context) error {
	taken, err := s.takeAll(ctx, Relation(int(s.cfg.Choices.Below(uint32(s.cfg.Shape.Relations)))))
	if err != nil {
		return err
	}
	tx := s.ledger.NewTx()
	op := s.ledger.Begin(check.Op{Kind: check.Write, Client: s.id, Branch: s.cfg.Branch.ID, Tx: tx, Term: s.term})
	now := pgwal.TimestampOf(s.e.Clock.Wall())
	op.LSN = s.write(pgwal.Commit(pgwal.XID(tx), now, nil, []pgwal.RelFileNode{taken[0].id.Rel}))
	s.vanish(taken, op.LSN)
	s.give(taken)
	s.e.Trace.Cover("sim relation dropped")
	if err := s.committed(ctx, op.LSN); err != nil {
		s.end(op, check.Unknown)
		return err
	}
	s.cfg.Branch.Acks++
	s.end(op, check.OK)
	return nil
}

// takeAll takes all pages that a relation may have.
func (s *client) takeAll(ctx context.Context, rel pgwal.RelFileNode) ([]*cached, error) {
	ids := make([]check.PageID, s.cfg.Shape.Blocks)
	for block := range ids {
		ids[block] = check.PageID{Rel: rel, Fork: pgwal.MainFork, Block: pgwal.BlockNumber(block)}
	}
	return s.take(ctx, s.pages, ids)
}

// vanish makes pages be gone as of the record that ends at end.
func (s *client) vanish(pages []*cached, end wal.LSN) {
	s.cfg.Branch.changed(end)
	for _, p := range pages {
		p.bytes, p.lsn, p.gone = slices.Clone(zeroPage[:]), end, true
	}
}
