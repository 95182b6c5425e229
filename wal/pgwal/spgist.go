package pgwal

// SPGistState is what a record says of the transaction that wrote it.
type SPGistState struct {
	XID   XID
	Build bool // of an index that nobody reads yet: no redirections are left behind
}

func (f *fields) spgistState() SPGistState {
	f.take(-f.at & 3) // padding
	s := SPGistState{XID: f.u32(), Build: f.boolean()}
	f.take(3) // padding
	return s
}

// SPGistLink is where a downlink is: a node of an inner tuple on the parent's page.
type SPGistLink struct {
	Offset uint16 // number of the tuple, 0 if there is no downlink to change
	Node   uint16
}

func (f *fields) spgistLink() SPGistLink { return SPGistLink{Offset: f.u16(), Node: f.u16()} }

// offsets reads n line pointer numbers, 2 bytes each.
func (f *fields) offsets(n uint16) []byte { return f.take(2 * int(n)) }

// SPGistAddLeaf is the body of an ADD_LEAF: block 0 gets the tuple, block 1 the downlink.
type SPGistAddLeaf struct {
	NewPage, Nulls bool
	Leaf           uint16 // number of the new tuple
	Head           uint16 // of the chain it joins; 0: none; the new one's: it replaces a dead tuple
	Parent         SPGistLink
	Tuple          []byte
}

// ParseSPGistAddLeaf reads an ADD_LEAF record.
func ParseSPGistAddLeaf(rec *Record) (SPGistAddLeaf, error) {
	f := mainData(rec)
	a := SPGistAddLeaf{NewPage: f.boolean(), Nulls: f.boolean(), Leaf: f.u16(), Head: f.u16(), Parent: f.spgistLink()}
	a.Tuple = f.rest()
	return a, f.done()
}

// SPGistMoveLeafs is the body of a MOVE_LEAFS: tuples go from block 0 to block 1, and
// block 2 gets the downlink.
type SPGistMoveLeafs struct {
	NewPage, Nulls bool
	Parent         SPGistLink
	State          SPGistState
	Delete, Insert []byte // line pointer numbers
	Tuples         []byte
}

// ParseSPGistMoveLeafs reads a MOVE_LEAFS record.
func ParseSPGistMoveLeafs(rec *Record) (SPGistMoveLeafs, error) {
	f := mainData(rec)
	moves := f.u16()
	newPage, replaceDead := f.boolean(), f.boolean()
	m := SPGistMoveLeafs{NewPage: newPage, Nulls: f.boolean()}
	f.take(1) // padding
	m.Parent, m.State = f.spgistLink(), f.spgistState()
	m.Delete = f.offsets(moves)
	inserts := 1
	if !replaceDead {
		inserts += int(moves)
	}
	m.Insert = f.take(2 * inserts)
	m.Tuples = f.rest()
	return m, f.done()
}

// SPGistAddNode is the body of an ADD_NODE: an inner tuple of block 0 becomes a larger
// one, there or on block 1.
type SPGistAddNode struct {
	Offset, New uint16 // numbers of the old and of the new tuple
	NewPage     bool
	ParentBlock int8 // number of the parent's page in the record, -1 if no downlink changes
	Parent      SPGistLink
	State       SPGistState
	Tuple       []byte
}

// ParseSPGistAddNode reads an ADD_NODE record.
func ParseSPGistAddNode(rec *Record) (SPGistAddNode, error) {
	f := mainData(rec)
	a := SPGistAddNode{Offset: f.u16(), New: f.u16(), NewPage: f.boolean(), ParentBlock: int8(f.u8()), Parent: f.spgistLink()}
	a.State = f.spgistState()
	a.Tuple = f.rest()
	return a, f.done()
}

// SPGistSplitTuple is the body of a SPLIT_TUPLE: an inner tuple of block 0 becomes one with
// a shorter prefix, and one with the rest of it, there or on block 1.
type SPGistSplitTuple struct {
	Prefix, Postfix uint16 // numbers of the tuples
	NewPage, Same   bool   // Same: both are on block 0
	Tuples          []byte // prefix, postfix
}

// ParseSPGistSplitTuple reads a SPLIT_TUPLE record.
func ParseSPGistSplitTuple(rec *Record) (SPGistSplitTuple, error) {
	f := mainData(rec)
	s := SPGistSplitTuple{Prefix: f.u16(), Postfix: f.u16(), NewPage: f.boolean(), Same: f.boolean()}
	s.Tuples = f.rest()
	return s, f.done()
}

// SPGistPickSplit is the body of a PICKSPLIT: leaf tuples of block 0 are dealt out to it
// and to block 1, under a new inner tuple on block 2; block 3 gets the downlink if that is
// on another page.
type SPGistPickSplit struct {
	InitSource, InitTarget, InitInner bool
	Nulls, InnerIsParent              bool
	Inner                             uint16 // number of the new inner tuple
	Parent                            SPGistLink
	State                             SPGistState
	Delete, Insert                    []byte // line pointer numbers
	Target                            []byte // for each of Insert: 1 if it is on block 1
	Tuples                            []byte // the inner one, then the leaves
}

// ParseSPGistPickSplit reads a PICKSPLIT record.
func ParseSPGistPickSplit(rec *Record) (SPGistPickSplit, error) {
	f := mainData(rec)
	f.boolean() // the root is split: there is no block 0
	f.take(1)   // padding
	deletes, inserts := f.u16(), f.u16()
	p := SPGistPickSplit{InitSource: f.boolean(), InitTarget: f.boolean(), Inner: f.u16(), InitInner: f.boolean(), Nulls: f.boolean(), InnerIsParent: f.boolean()}
	f.take(1) // padding
	p.Parent, p.State = f.spgistLink(), f.spgistState()
	p.Delete, p.Insert, p.Target = f.offsets(deletes), f.offsets(inserts), f.take(int(inserts))
	p.Tuples = f.rest()
	return p, f.done()
}

// SPGistVacuumLeaf is the body of a VACUUM_LEAF, all of it line pointer numbers.
type SPGistVacuumLeaf struct {
	State            SPGistState
	Dead             []byte // become dead: heads of chains that are empty
	Placeholder      []byte // become placeholders
	MoveFrom, MoveTo []byte // change places; then those of MoveFrom become placeholders
	Chain, ChainNext []byte // tuples that get another next one
}

// ParseSPGistVacuumLeaf reads a VACUUM_LEAF record.
func ParseSPGistVacuumLeaf(rec *Record) (SPGistVacuumLeaf, error) {
	f := mainData(rec)
	dead, placeholder, move, chain := f.u16(), f.u16(), f.u16(), f.u16()
	v := SPGistVacuumLeaf{State: f.spgistState()}
	v.Dead, v.Placeholder = f.offsets(dead), f.offsets(placeholder)
	v.MoveFrom, v.MoveTo = f.offsets(move), f.offsets(move)
	v.Chain, v.ChainNext = f.offsets(chain), f.offsets(chain)
	return v, f.done()
}

// ParseSPGistVacuumRoot reads a VACUUM_ROOT record: numbers of the tuples to delete.
func ParseSPGistVacuumRoot(rec *Record) (offsets []byte, err error) {
	f := mainData(rec)
	n := f.u16()
	f.spgistState()
	offsets = f.offsets(n)
	return offsets, f.done()
}

// SPGistVacuumRedirect is the body of a VACUUM_REDIRECT.
type SPGistVacuumRedirect struct {
	First    uint16 // of the placeholders at the end that are removed; 0: none are
	Redirect []byte // numbers of redirections that become placeholders
}

// ParseSPGistVacuumRedirect reads a VACUUM_REDIRECT record.
func ParseSPGistVacuumRedirect(rec *Record) (SPGistVacuumRedirect, error) {
	f := mainData(rec)
	n := f.u16()
	v := SPGistVacuumRedirect{First: f.u16()}
	f.u32() // the newest transaction that may follow one: a conflict for standbys
	v.Redirect = f.offsets(n)
	return v, f.done()
}
