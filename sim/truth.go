package sim

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"

	"github.com/varvedb/varve/pageserver/datadir"
	"github.com/varvedb/varve/sim/check"
	"github.com/varvedb/varve/sim/workload"
	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/pgwal"
)

// decoded makes the truth of the logs that were read in the end. It replays them the
// naive way, by none of the code that pageservers use beyond the reading of records.
func (c *cluster) decoded() error {
	states := map[wal.TimelineID]pageState{}
	if err := c.importedState(states); err != nil {
		return err
	}
	for i := range c.ended.logs {
		log := &c.ended.logs[i]
		b := check.Branch{ID: log.branch.ID, Parent: log.branch.Parent, Start: log.branch.Start, End: log.head}
		r := &replayer{cluster: c, branch: &b, pageState: states[b.ID], states: states}
		if err := r.replay(log); err != nil {
			return fmt.Errorf("replay branch %v: %w", b.ID, err)
		}
		c.run.Log.Branches = append(c.run.Log.Branches, b)
		if err := c.replicas(log); err != nil {
			return err
		}
	}
	return nil
}

// pageState is all pages at some LSN, which are never changed in place, and how many
// blocks each relation has.
type pageState struct {
	pages  map[check.PageID][]byte
	blocks map[pgwal.RelFileNode]pgwal.BlockNumber
}

func (s pageState) clone() pageState { return pageState{maps.Clone(s.pages), maps.Clone(s.blocks)} }

// importedState reads the imported pages from the directory.
func (c *cluster) importedState(states map[wal.TimelineID]pageState) error {
	root := c.ledger.Branches[0]
	state := pageState{map[check.PageID][]byte{}, map[pgwal.RelFileNode]pgwal.BlockNumber{}}
	for _, p := range c.imported {
		file, err := fs.ReadFile(c.dir, datadir.ForkPath(p.page.Rel, p.page.Fork))
		if err != nil {
			return err
		}
		page := file[p.page.Block*pgwal.PageSize:][:pgwal.PageSize]
		state.pages[p.page] = page
		c.run.Log.Versions = append(c.run.Log.Versions, check.Version{
			Branch: root.ID, Page: p.page, LSN: root.Start, Value: p.value, Digest: check.PageDigest(page),
		})
	}
	for n := range c.opts.Shape.Relations - 1 {
		rel := workload.Relation(n)
		file, err := fs.ReadFile(c.dir, datadir.ForkPath(rel, pgwal.MainFork))
		if err != nil {
			return err
		}
		state.blocks[rel] = pgwal.BlockNumber(len(file) / pgwal.PageSize)
		c.run.Log.Sizes = append(c.run.Log.Sizes, check.Size{Branch: root.ID, Rel: rel, LSN: root.Start, Blocks: state.blocks[rel]})
	}
	states[root.ID] = state
	return nil
}

// replicas adds the safekeepers' copies. One that a deceiving disk has damaged is told
// by its bytes, and is left out; one whose disk does not deceive must have its copy.
func (c *cluster) replicas(log *branchLog) error {
	for _, got := range log.copies {
		if got.err != nil && !c.deceived(got.node) {
			return fmt.Errorf("safekeeper %d, whose disk loses nothing that was synced, does not give its log: %w", got.node+1, got.err)
		}
		if got.err != nil || c.deceived(got.node) && !isSound(log, &got) {
			c.damaged++
			continue
		}
		c.run.Replicas = append(c.run.Replicas, check.Replica{
			Branch: log.branch.ID, Node: c.members[got.node].ID, Start: got.status.Start, Commit: got.status.Readable, Bytes: got.bytes,
		})
	}
	return nil
}

func isSound(log *branchLog, got *logCopy) bool {
	decoder := pgwal.NewDecoder("copy", got.status.Start)
	decoder.Feed(got.bytes)
	var rec pgwal.Record
	for {
		ok, err := decoder.Next(&rec)
		if err != nil {
			return false
		}
		if !ok {
			return decoder.Position() == got.status.Readable || got.status.Readable == log.branch.Start
		}
	}
}

// replayer replays one log.
type replayer struct {
	*cluster
	branch *check.Branch
	pageState
	states map[wal.TimelineID]pageState // of children, at their starts
	prefix check.Prefix
	data   []pgwal.GenericFragment
}

// replay replays the copy that reaches the head.
func (r *replayer) replay(log *branchLog) error {
	children := r.children(log)
	if len(log.copies) > 0 {
		got, err := whole(log)
		if err != nil {
			return err
		}
		r.branch.Terms = got.status.History
		r.prefix.LSN = got.status.Start
		decoder := pgwal.NewDecoder("committed log", got.status.Start)
		bytes := got.bytes[:log.head-got.status.Start]
		decoder.Feed(bytes)
		var rec pgwal.Record
		for {
			ok, err := decoder.Next(&rec)
			if err != nil {
				return err
			}
			if !ok {
				break
			}
			for len(children) > 0 && children[0].Start < rec.End {
				r.states[children[0].ID], children = r.clone(), children[1:]
			}
			if err := r.record(&rec); err != nil {
				return fmt.Errorf("record at %v: %w", rec.LSN, err)
			}
			r.prefix.Digest = check.Extend(r.prefix.Digest, bytes[r.prefix.LSN-got.status.Start:rec.End-got.status.Start])
			r.prefix.LSN = rec.End
			r.branch.Prefixes = append(r.branch.Prefixes, r.prefix)
		}
	}
	for _, child := range children {
		r.states[child.ID] = r.clone()
	}
	return nil
}

// children is the branches that leave this one, by where.
func (r *replayer) children(log *branchLog) (children []*workload.Branch) {
	for i := range r.ended.logs {
		if b := r.ended.logs[i].branch; b.Parent == log.branch.ID {
			children = append(children, b)
		}
	}
	slices.SortStableFunc(children, func(a, b *workload.Branch) int { return int(int64(a.Start) - int64(b.Start)) })
	return children
}

// whole returns a copy that reaches the head and is sound.
func whole(log *branchLog) (*logCopy, error) {
	var problems []error
	for i := range log.copies {
		got := &log.copies[i]
		switch {
		case got.err != nil:
			problems = append(problems, got.err)
		case got.status.Readable < log.head:
			problems = append(problems, fmt.Errorf("safekeeper %d has %v, not %v", got.node+1, got.status.Readable, log.head))
		case !isSound(log, got):
			problems = append(problems, fmt.Errorf("safekeeper %d has a damaged log", got.node+1))
		default:
			return got, nil
		}
	}
	return nil, fmt.Errorf("no safekeeper has the log up to its head: %w", errors.Join(problems...))
}

// record replays one record.
func (r *replayer) record(rec *pgwal.Record) error {
	switch {
	case rec.RMgr == pgwal.RMgrTransaction && rec.Op() == pgwal.OpXactCommit:
		r.run.Log.Commits = append(r.run.Log.Commits, check.Commit{Branch: r.branch.ID, LSN: rec.End, Tx: check.TxID(rec.XID)})
		var end pgwal.XactCompletion
		if err := pgwal.ParseCommit(rec, &end); err != nil {
			return err
		}
		for _, rel := range end.Rels {
			r.cut(rec.End, rel, 0)
		}
	case rec.RMgr == pgwal.RMgrStorage && rec.Op() == pgwal.OpSmgrTruncate:
		cut, err := pgwal.ParseSmgrTruncate(rec)
		if err != nil {
			return err
		}
		r.cut(rec.End, cut.Rel, cut.Blocks)
	}
	for i := range rec.Blocks {
		ref := &rec.Blocks[i]
		id := check.PageID{Rel: ref.Rel, Fork: ref.Fork, Block: ref.Block}
		page := make([]byte, pgwal.PageSize)
		copy(page, r.pages[id])
		switch {
		case ref.HasImage && ref.ApplyImage:
			if err := rec.Restore(ref, page); err != nil {
				return err
			}
		case rec.RMgr == pgwal.RMgrGeneric:
			if err := r.generic(rec, ref, page); err != nil {
				return err
			}
		default:
			continue // a hint's record without its image
		}
		binary.LittleEndian.PutUint32(page, uint32(rec.End>>32))
		binary.LittleEndian.PutUint32(page[4:], uint32(rec.End))
		r.pages[id] = page
		if id.Block >= r.blocks[id.Rel] {
			r.resize(rec.End, id.Rel, id.Block+1)
		}
		r.run.Log.Versions = append(r.run.Log.Versions, check.Version{
			Branch: r.branch.ID, Page: id, LSN: rec.End, Value: workload.ValueOf(page), Tx: check.TxID(rec.XID), Digest: check.PageDigest(page),
		})
	}
	return nil
}

// cut ends a relation's pages from a block on.
func (r *replayer) cut(lsn wal.LSN, rel pgwal.RelFileNode, blocks pgwal.BlockNumber) {
	for _, id := range slices.SortedFunc(maps.Keys(r.pages), check.PageID.Compare) {
		if id.Rel == rel && id.Block >= blocks {
			delete(r.pages, id)
			r.run.Log.Versions = append(r.run.Log.Versions, check.Version{Branch: r.branch.ID, Page: id, LSN: lsn})
		}
	}
	r.resize(lsn, rel, blocks)
}

func (r *replayer) resize(lsn wal.LSN, rel pgwal.RelFileNode, blocks pgwal.BlockNumber) {
	r.blocks[rel] = blocks
	r.run.Log.Sizes = append(r.run.Log.Sizes, check.Size{Branch: r.branch.ID, Rel: rel, LSN: lsn, Blocks: blocks})
}

// generic applies what a Generic record says of a page.
func (r *replayer) generic(rec *pgwal.Record, ref *pgwal.BlockRef, page []byte) (err error) {
	if r.data, err = pgwal.AppendGenericFragments(r.data[:0], rec, ref); err != nil {
		return err
	}
	for _, f := range r.data {
		copy(page[f.Offset:], f.Bytes)
	}
	lower, upper := binary.LittleEndian.Uint16(page[12:]), binary.LittleEndian.Uint16(page[14:])
	if lower > upper || int(upper) > len(page) {
		return fmt.Errorf("block %d of relation %d is changed to a page with bounds %d and %d: no record before has made it", ref.Block, ref.Rel.Rel, lower, upper)
	}
	clear(page[lower:upper])
	return nil
}
