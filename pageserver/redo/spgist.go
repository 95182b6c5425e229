package redo

import (
	"encoding/binary"
	"slices"

	"github.com/varvedb/varve/wal/pgwal"
)

// The special space of an SP-GiST page:
//
//	| flags (2) | redirections (2) | placeholders (2) | page id (2) |
//
// Its tuples have a state in the lowest two bits. What a tuple leaves behind when it goes
// keeps its number: a redirection to where it went, a dead head of a chain, or a
// placeholder that the next tuple may replace.
//
//	leaf   | state, size << 2 (4) | next in chain: 14 bits, 2 others (2) | row (6) | keys |
//	left   | state, size << 2 (4) | 0 (2) | where to (6) | transaction (4) |
//	inner  | state, all alike, nodes, prefix size << 16 (4) | size (2) | - (2) | prefix | nodes |
//
// A node is an index tuple whose item pointer is a downlink.
const (
	spgistSpecial      = 8
	spgistFlags        = 0
	spgistRedirections = 2
	spgistPlaceholders = 4
	spgistID           = 6

	spgistLeaf   = 1 << 2
	spgistNulls  = 1 << 3
	spgistPageID = 0xFF82

	spgistLive        = 0
	spgistRedirect    = 1
	spgistDead        = 2
	spgistPlaceholder = 3
	spgistStateMask   = 3

	spgistNext       = 4 // in a leaf tuple
	spgistNextMask   = 0x3FFF
	spgistPointer    = 6 // in what a tuple left behind
	spgistXID        = 12
	spgistLeftBytes  = 16
	spgistLeafBytes  = 12 // at least
	spgistInnerBytes = 8  // at least
	spgistInnerSize  = 4

	// spgistTuplesMax bounds the tuples of a page: none is smaller than what it leaves
	// behind, and each has a line pointer.
	spgistTuplesMax = (pgwal.PageSize - pageHeaderBytes) / (spgistLeftBytes + pointerBytes)
)

// spgist applies an SPGist record to the page that is ref.
func spgist(page []byte, rec *pgwal.Record, ref *pgwal.BlockRef) error {
	switch rec.Op() {
	case pgwal.OpSPGistAddLeaf:
		return spgistAddLeaf(page, rec, ref)
	case pgwal.OpSPGistMoveLeafs:
		return spgistMoveLeafs(page, rec, ref)
	case pgwal.OpSPGistAddNode:
		return spgistAddNode(page, rec, ref)
	case pgwal.OpSPGistSplitTuple:
		return spgistSplitTuple(page, rec, ref)
	case pgwal.OpSPGistPickSplit:
		return spgistPickSplit(page, rec, ref)
	case pgwal.OpSPGistVacuumLeaf:
		return spgistVacuumLeaf(page, rec)
	case pgwal.OpSPGistVacuumRoot:
		return spgistVacuumRoot(page, rec)
	case pgwal.OpSPGistVacuumRedirect:
		return spgistVacuumRedirect(page, rec)
	}
	return unknownKind(rec)
}

// spgistPage is an SP-GiST page under change.
type spgistPage struct {
	frame
	page []byte
}

// spgistOpen checks a page, or starts it from nothing.
func spgistOpen(page []byte, init bool, flags uint16) (spgistPage, error) {
	if init {
		initPageSpecial(page, spgistSpecial)
		put16(page, pgwal.PageSize-spgistSpecial+spgistFlags, flags)
		put16(page, pgwal.PageSize-spgistSpecial+spgistID, spgistPageID)
	}
	f, err := frameOf(page)
	if err != nil {
		return spgistPage{}, err
	}
	if f.special != pgwal.PageSize-spgistSpecial {
		return spgistPage{}, corrupt("pd_special of an SP-GiST page", pgwal.PageSize-spgistSpecial, f.special)
	}
	return spgistPage{f, page}, nil
}

func spgistLeafFlags(nulls bool) uint16 { return spgistLeaf | spgistInnerFlags(nulls) }

func spgistInnerFlags(nulls bool) uint16 {
	if nulls {
		return spgistNulls
	}
	return 0
}

// count changes one of the counters in the special space.
func (p *spgistPage) count(which, by int) {
	at := p.special + which
	put16(p.page, at, uint16(int(get16(p.page, at))+by))
}

// add adds a tuple, in place of a placeholder if one has its number.
func (p *spgistPage) add(n int, tuple []byte) error {
	if n <= p.frame.count() {
		old, err := p.tuple(p.page, n, spgistInnerBytes)
		if err != nil {
			return err
		}
		if state := get32(old, 0) & spgistStateMask; state != spgistPlaceholder {
			return corrupt("tuple to replace", spgistPlaceholder, state)
		}
		p.count(spgistPlaceholders, -1)
		if err := p.deleteIndex(p.page, n); err != nil {
			return err
		}
	}
	return p.addIndex(p.page, n, tuple)
}

// replace puts a tuple in place of the one with its number.
func (p *spgistPage) replace(n int, tuple []byte) error {
	if err := p.deleteIndex(p.page, n); err != nil {
		return err
	}
	return p.addIndex(p.page, n, tuple)
}

// link makes a downlink lead to a tuple.
func (p *spgistPage) link(at pgwal.SPGistLink, block uint32, n int) error {
	inner, err := p.tuple(p.page, int(at.Offset), spgistInnerBytes)
	if err != nil {
		return err
	}
	word := get32(inner, 0)
	nodes, start := int(word>>3&0x1FFF), spgistInnerBytes+int(word>>16)
	if int(at.Node) >= nodes || start > len(inner) {
		return corrupt("node of an inner tuple", nodes, at.Node)
	}
	node := inner[start:]
	for range at.Node {
		size, err := unpaddedTupleSize(node)
		if err != nil {
			return err
		}
		node = node[size:]
	}
	if _, err := unpaddedTupleSize(node); err != nil {
		return err
	}
	putTID(node, block, uint16(n))
	return nil
}

// left is what a tuple leaves behind.
type left struct {
	state uint32
	block uint32 // redirections: where to
	n     int
	xid   uint32
}

func (l left) bytes() (b [spgistLeftBytes]byte) {
	put32(b[:], 0, l.state|spgistLeftBytes<<2)
	putTID(b[spgistPointer:], invalidBlock, 0)
	if l.state == spgistRedirect {
		putTID(b[spgistPointer:], l.block, uint16(l.n))
		put32(b[:], spgistXID, l.xid)
	}
	return b
}

// remove takes tuples away. The first of which leaves one thing, the others another.
func (p *spgistPage) remove(which numbers, first, rest left) error {
	if which.len() == 0 {
		return nil
	}
	var room [spgistTuplesMax]uint16
	if which.len() > len(room) {
		return corrupt("tuples to remove", len(room), which.len())
	}
	sorted := room[:which.len()]
	for i := range sorted {
		sorted[i] = uint16(which.at(i))
	}
	slices.Sort(sorted)
	var ascending [2 * spgistTuplesMax]byte
	for i, n := range sorted {
		put16(ascending[:], 2*i, n)
	}
	if err := p.deleteIndexes(p.page, ascending[:2*len(sorted)]); err != nil {
		return err
	}
	for _, n := range sorted {
		l := rest
		if int(n) == which.at(0) {
			l = first
		}
		b := l.bytes()
		if err := p.addIndex(p.page, int(n), b[:]); err != nil {
			return err
		}
		p.countLeft(l)
	}
	return nil
}

func (p *spgistPage) countLeft(l left) {
	switch l.state {
	case spgistRedirect:
		p.count(spgistRedirections, 1)
	case spgistPlaceholder:
		p.count(spgistPlaceholders, 1)
	}
}

// gone is what a tuple leaves that went to n of block. Nobody reads an index that is being
// built, so nothing needs to lead there.
func gone(s pgwal.SPGistState, block uint32, n int) left {
	if s.Build {
		return left{state: spgistPlaceholder}
	}
	return left{state: spgistRedirect, block: block, n: n, xid: s.XID}
}

// spgistLeafTuple cuts a leaf tuple from the start of b.
func spgistLeafTuple(b []byte) (tuple, rest []byte, err error) {
	if len(b) < spgistLeafBytes {
		return nil, nil, corrupt("leaf tuple", spgistLeafBytes, len(b))
	}
	return spgistCut(b, int(get32(b, 0)>>2), spgistLeafBytes)
}

// spgistInnerTuple cuts an inner tuple from the start of b.
func spgistInnerTuple(b []byte) (tuple, rest []byte, err error) {
	if len(b) < spgistInnerBytes {
		return nil, nil, corrupt("inner tuple", spgistInnerBytes, len(b))
	}
	return spgistCut(b, int(get16(b, spgistInnerSize)), spgistInnerBytes)
}

func spgistCut(b []byte, size, least int) (tuple, rest []byte, err error) {
	if size < least || size > len(b) {
		return nil, nil, corrupt("size of a tuple", len(b), size)
	}
	return b[:size], b[size:], nil
}

// blockOf is the number of a page of the record.
func blockOf(rec *pgwal.Record, id uint8) (uint32, error) {
	if ref := rec.Block(id); ref != nil {
		return ref.Block, nil
	}
	return 0, corrupt("pages of the record", id, "none of that number")
}

func spgistAddLeaf(page []byte, rec *pgwal.Record, ref *pgwal.BlockRef) error {
	a, err := pgwal.ParseSPGistAddLeaf(rec)
	if err != nil {
		return err
	}
	if ref.ID == 1 {
		leaf, err := blockOf(rec, 0)
		if err != nil {
			return err
		}
		return spgistLinkPage(page, a.Parent, leaf, int(a.Leaf))
	}
	p, err := spgistOpen(page, a.NewPage, spgistLeafFlags(a.Nulls))
	if err != nil {
		return err
	}
	tuple, _, err := spgistLeafTuple(a.Tuple)
	if err != nil {
		return err
	}
	if a.Leaf == a.Head {
		return p.replace(int(a.Leaf), tuple)
	}
	if err := p.add(int(a.Leaf), tuple); err != nil || a.Head == 0 {
		return err
	}
	return p.chain(int(a.Head), int(a.Leaf))
}

// chain makes leaf tuple n the one before next.
func (p *spgistPage) chain(n, next int) error {
	tuple, err := p.tuple(p.page, n, spgistLeafBytes)
	if err != nil {
		return err
	}
	put16(tuple, spgistNext, get16(tuple, spgistNext)&^spgistNextMask|uint16(next)&spgistNextMask)
	return nil
}

// spgistLinkPage changes a downlink on a page on which nothing else changes.
func spgistLinkPage(page []byte, at pgwal.SPGistLink, block uint32, n int) error {
	p, err := spgistOpen(page, false, 0)
	if err != nil {
		return err
	}
	return p.link(at, block, n)
}

func spgistMoveLeafs(page []byte, rec *pgwal.Record, ref *pgwal.BlockRef) error {
	m, err := pgwal.ParseSPGistMoveLeafs(rec)
	if err != nil {
		return err
	}
	target, err := blockOf(rec, 1)
	if err != nil {
		return err
	}
	inserted := numbers(m.Insert)
	head := inserted.at(inserted.len() - 1) // of the chain, on the target page
	switch ref.ID {
	case 0:
		p, err := spgistOpen(page, false, 0)
		if err != nil {
			return err
		}
		return p.remove(m.Delete, gone(m.State, target, head), left{state: spgistPlaceholder})
	case 1:
		p, err := spgistOpen(page, m.NewPage, spgistLeafFlags(m.Nulls))
		if err != nil {
			return err
		}
		return p.addLeaves(inserted, m.Tuples, nil, 0)
	}
	return spgistLinkPage(page, m.Parent, target, head)
}

// addLeaves adds leaf tuples by their numbers: those whose entry in targets is page.
func (p *spgistPage) addLeaves(which numbers, tuples, targets []byte, page byte) error {
	for i := range which.len() {
		tuple, rest, err := spgistLeafTuple(tuples)
		if err != nil {
			return err
		}
		tuples = rest
		if targets != nil && targets[i] != page {
			continue
		}
		if err := p.add(which.at(i), tuple); err != nil {
			return err
		}
	}
	return nil
}

func spgistAddNode(page []byte, rec *pgwal.Record, ref *pgwal.BlockRef) error {
	a, err := pgwal.ParseSPGistAddNode(rec)
	if err != nil {
		return err
	}
	tuple, _, err := spgistInnerTuple(a.Tuple)
	if err != nil {
		return err
	}
	p, err := spgistOpen(page, ref.ID == 1 && a.NewPage, 0)
	if err != nil {
		return err
	}
	target := rec.Block(1)
	if target == nil {
		return p.replace(int(a.Offset), tuple)
	}
	switch ref.ID {
	case 0:
		l := gone(a.State, target.Block, int(a.New))
		b := l.bytes()
		if err := p.replace(int(a.Offset), b[:]); err != nil {
			return err
		}
		p.countLeft(l)
	case 1:
		if err := p.add(int(a.New), tuple); err != nil {
			return err
		}
	}
	if int(ref.ID) != int(a.ParentBlock) {
		return nil
	}
	return p.link(a.Parent, target.Block, int(a.New))
}

func spgistSplitTuple(page []byte, rec *pgwal.Record, ref *pgwal.BlockRef) error {
	s, err := pgwal.ParseSPGistSplitTuple(rec)
	if err != nil {
		return err
	}
	prefix, rest, err := spgistInnerTuple(s.Tuples)
	if err != nil {
		return err
	}
	postfix, _, err := spgistInnerTuple(rest)
	if err != nil {
		return err
	}
	p, err := spgistOpen(page, ref.ID == 1 && s.NewPage, 0)
	if err != nil {
		return err
	}
	if ref.ID == 1 {
		return p.add(int(s.Postfix), postfix)
	}
	if err := p.replace(int(s.Prefix), prefix); err != nil || !s.Same {
		return err
	}
	return p.add(int(s.Postfix), postfix)
}

func spgistPickSplit(page []byte, rec *pgwal.Record, ref *pgwal.BlockRef) error {
	s, err := pgwal.ParseSPGistPickSplit(rec)
	if err != nil {
		return err
	}
	inner, leaves, err := spgistInnerTuple(s.Tuples)
	if err != nil {
		return err
	}
	block, err := blockOf(rec, 2)
	if err != nil {
		return err
	}
	switch ref.ID {
	case 0:
		p, err := spgistOpen(page, s.InitSource, spgistLeafFlags(s.Nulls))
		if err != nil {
			return err
		}
		if !s.InitSource {
			if err := p.remove(s.Delete, gone(s.State, block, int(s.Inner)), left{state: spgistPlaceholder}); err != nil {
				return err
			}
		}
		return p.addLeaves(s.Insert, leaves, s.Target, 0)
	case 1:
		p, err := spgistOpen(page, s.InitTarget, spgistLeafFlags(s.Nulls))
		if err != nil {
			return err
		}
		return p.addLeaves(s.Insert, leaves, s.Target, 1)
	case 2:
		p, err := spgistOpen(page, s.InitInner, spgistInnerFlags(s.Nulls))
		if err != nil {
			return err
		}
		if err := p.add(int(s.Inner), inner); err != nil || !s.InnerIsParent {
			return err
		}
		return p.link(s.Parent, block, int(s.Inner))
	}
	return spgistLinkPage(page, s.Parent, block, int(s.Inner))
}

func spgistVacuumLeaf(page []byte, rec *pgwal.Record) error {
	v, err := pgwal.ParseSPGistVacuumLeaf(rec)
	if err != nil {
		return err
	}
	p, err := spgistOpen(page, false, 0)
	if err != nil {
		return err
	}
	dead, placeholder := left{state: spgistDead}, left{state: spgistPlaceholder}
	if err := p.remove(v.Dead, dead, dead); err != nil {
		return err
	}
	if err := p.remove(v.Placeholder, placeholder, placeholder); err != nil {
		return err
	}
	from, to := numbers(v.MoveFrom), numbers(v.MoveTo)
	for i := range from.len() {
		a, err := p.named(page, from.at(i))
		if err != nil {
			return err
		}
		b, err := p.named(page, to.at(i))
		if err != nil {
			return err
		}
		setPointer(page, from.at(i), b)
		setPointer(page, to.at(i), a)
	}
	if err := p.remove(v.MoveFrom, placeholder, placeholder); err != nil {
		return err
	}
	chain, next := numbers(v.Chain), numbers(v.ChainNext)
	for i := range chain.len() {
		if err := p.chain(chain.at(i), next.at(i)); err != nil {
			return err
		}
	}
	return nil
}

func spgistVacuumRoot(page []byte, rec *pgwal.Record) error {
	which, err := pgwal.ParseSPGistVacuumRoot(rec)
	if err != nil {
		return err
	}
	p, err := spgistOpen(page, false, 0)
	if err != nil {
		return err
	}
	return p.deleteIndexes(page, which)
}

func spgistVacuumRedirect(page []byte, rec *pgwal.Record) error {
	v, err := pgwal.ParseSPGistVacuumRedirect(rec)
	if err != nil {
		return err
	}
	p, err := spgistOpen(page, false, 0)
	if err != nil {
		return err
	}
	redirects := numbers(v.Redirect)
	for i := range redirects.len() {
		tuple, err := p.tuple(page, redirects.at(i), spgistLeftBytes)
		if err != nil {
			return err
		}
		put32(tuple, 0, get32(tuple, 0)|spgistPlaceholder)
		putTID(tuple[spgistPointer:], invalidBlock, 0)
	}
	p.count(spgistRedirections, -redirects.len())
	p.count(spgistPlaceholders, redirects.len())
	if v.First == 0 {
		return nil
	}
	var room [2 * spgistTuplesMax]byte
	ends := room[:0]
	for n := int(v.First); n <= p.frame.count(); n++ {
		if len(ends) == len(room) {
			return corrupt("placeholders to remove", spgistTuplesMax, "more")
		}
		ends = binary.LittleEndian.AppendUint16(ends, uint16(n))
	}
	p.count(spgistPlaceholders, -len(ends)/2)
	return p.deleteIndexes(page, ends)
}
