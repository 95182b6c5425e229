package lsm

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/varvedb/varve/lsm/layer"
	"github.com/varvedb/varve/lsm/layermap"
	"github.com/varvedb/varve/lsm/manifest"
	"github.com/varvedb/varve/lsm/memtable"
	"github.com/varvedb/varve/lsm/remote"
	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/assert"
	"github.com/varvedb/varve/wal/env"
)

type (
	flatMap  = layermap.Map[*layer.Reader]
	flatItem = layermap.Item[*layer.Reader]
)

// layers are those that a timeline's reads look into, its own and its ancestors'. A branch
// whose own have not changed has its parent's with them, up to where it leaves that: no map
// is made of both before it is read, for most branches of a busy parent never are, and
// whoever changes the parent's holds up all others meanwhile.
type layers struct {
	trace env.Trace
	from  *layers // nil if built was there from the beginning
	at    wal.LSN // from is seen up to here
	own   []*layer.Reader
	built atomic.Pointer[flatMap]
	mu    sync.Mutex // held by who builds: one does for all
}

func builtLayers(trace env.Trace, flat *flatMap) *layers {
	l := &layers{trace: trace}
	l.built.Store(flat)
	return l
}

// below is a branch's, whose map is left to be made.
func (l *layers) below(at wal.LSN, own []*layer.Reader) *layers {
	return &layers{trace: l.trace, from: l, at: at, own: own}
}

// get returns the map.
func (l *layers) get() *flatMap {
	if flat := l.built.Load(); flat != nil {
		return flat
	}
	return l.build()
}

// build makes the map. Locks are taken from a timeline to its ancestors.
func (l *layers) build() *flatMap {
	l.trace.Cover("lsm map made when it was needed")
	l.mu.Lock()
	defer l.mu.Unlock()
	if flat := l.built.Load(); flat != nil {
		return flat
	}
	at, from := l.at, l.from
	for len(from.own) == 0 && from.built.Load() == nil {
		at, from = min(at, from.at), from.from
	}
	flat := from.get()
	if items, same := inherited(flat, at, l.own); !same {
		var err error
		flat, err = layermap.Build(items)
		assert.That(err == nil, "of layers that do not overlap, what lies below %v does not either, nor what lies above: %v", at, err)
	}
	l.built.Store(flat)
	return flat
}

// inherited returns the layers up to an LSN with a timeline's own, and whether they are just
// those of the map.
func inherited(flat *flatMap, at wal.LSN, own []*layer.Reader) (items []flatItem, same bool) {
	if len(own) == 0 {
		return clipped(flat, at)
	}
	items = flat.Clipped(at)
	for _, r := range own {
		items = append(items, itemOf(r))
	}
	return items, false
}

// clipped returns the layers up to an LSN, and whether nothing lies above it.
func clipped(flat *flatMap, at wal.LSN) (items []flatItem, whole bool) {
	whole = true
	flat.All(func(it *flatItem) bool {
		whole = it.ID.Start() <= at && min(it.ID.LSNHi, it.Clip) <= at
		return whole
	})
	if whole {
		return nil, true
	}
	return flat.Clipped(at), false
}

const maxLSN = ^wal.LSN(0)

// nodeState is the part of a node that readers look at without a lock.
type nodeState struct {
	last    atomic.Uint64 // LSN up to which the timeline can be read here
	flushed atomic.Int64  // own layers of level 0
	walked  atomic.Int64  // bytes of deltas taken from own layers, by whomever, since the compaction last heard of it
	view    atomic.Pointer[view]
}

func (st *nodeState) lastLSN() wal.LSN { return wal.LSN(st.last.Load()) }

// tableRef is a memtable as seen from a timeline: its versions in (lo, hi].
type tableRef struct {
	table  *memtable.Table
	lo, hi wal.LSN
}

// line is the part of history, (lo, hi], that one timeline contributes.
type line struct {
	state  *nodeState
	id     wal.TimelineID
	lo, hi wal.LSN
	cutoff wal.LSN
	leases []manifest.Lease
	root   bool
}

// view is all that a timeline's readers need, immutable: a batch takes one and is
// not disturbed by what is frozen, flushed or attached meanwhile.
type view struct {
	tables []tableRef // own and ancestors', newest first; they do not overlap
	layers *layers
	lines  []line // own, then ancestors'; the last is the root's
	ready  bool   // every ancestor can be read up to its hi
}

// drawing is the map of a timeline's layers as an index has them. It is made while nobody
// waits for it: a map of ten thousand layers takes some hundred milliseconds.
type drawing struct {
	readers []*layer.Reader // of the index's layers
	flat    *layers
	from    *layers // the parent's, of which flat is made; nil if it is a root
	same    bool    // the layers are those that there were
}

// draw makes it, which finds out whether layers overlap. Nobody changes the timeline's own
// layers before it is shown: the caller holds the attachment's flushing, or s.change if there
// is none.
func (s *Store) draw(n *node, x *manifest.Index) (d drawing, err error) {
	own, _ := s.snapshotOf(n, x, &d)
	known := make(map[layer.ID]*layer.Reader, len(own))
	for _, r := range own {
		known[r.Desc().ID] = r
	}
	d.readers = make([]*layer.Reader, len(x.Layers))
	for i := range x.Layers {
		desc := &x.Layers[i]
		if d.readers[i] = known[desc.ID]; d.readers[i] == nil || *d.readers[i].Desc() != *desc {
			d.readers[i] = s.newReader(desc)
		}
	}
	if d.same = d.same && slices.Equal(own, d.readers); d.same {
		return d, nil
	}
	if d.from != nil && len(d.readers) == 0 {
		d.flat = d.from.below(x.BranchLSN, nil)
		return d, nil
	}
	var items []flatItem
	if d.from != nil {
		items = d.from.get().Clipped(x.BranchLSN)
	}
	for _, r := range d.readers {
		items = append(items, itemOf(r))
	}
	flat, err := layermap.Build(items)
	if err != nil {
		return d, fmt.Errorf("map layers of timeline %v: %w", n.id, err)
	}
	d.flat = builtLayers(s.env.Trace, flat)
	return d, nil
}

// drawMore is draw for an index that names one more layer, newer than all others.
func (s *Store) drawMore(n *node, x *manifest.Index, desc *layer.Desc) (d drawing, err error) {
	own, before := s.snapshotOf(n, x, &d)
	r := s.newReader(desc)
	at, _ := slices.BinarySearchFunc(x.Layers, *desc, manifest.Compare)
	d.readers, d.same = slices.Insert(slices.Clone(own), at, r), false
	flat, err := before.get().With(itemOf(r))
	if err != nil {
		return d, fmt.Errorf("map layers of timeline %v: %w", n.id, err)
	}
	d.flat = builtLayers(s.env.Trace, flat)
	return d, nil
}

// snapshotOf returns what a node has, and notes what a drawing of it is made of.
func (s *Store) snapshotOf(n *node, x *manifest.Index, d *drawing) (own []*layer.Reader, flat *layers) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n.parent != nil && !x.IsRoot() {
		d.from = n.parent.flat
	}
	d.same = n.flat != nil && (n.parent == nil) == x.IsRoot()
	return n.readers, n.flat
}

// place makes the drawing the node's map; or, if the parent's has changed meanwhile, has one
// made when it is read. The caller holds s.mu.
func (n *node) place(x *manifest.Index, d drawing) {
	n.index, n.readers = x, d.readers
	n.countFlushed()
	switch {
	case d.same:
	case n.parent != nil && n.parent.flat != d.from:
		n.flat = n.parent.flat.below(x.BranchLSN, d.readers)
	default:
		n.flat = d.flat
	}
}

// takeIndex is draw and setIndex.
func (s *Store) takeIndex(n *node, x *manifest.Index) error {
	d, err := s.draw(n, x)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.setIndex(n, x, d)
	return nil
}

// setIndex takes a newer content of a node's index object, and shows it as it was drawn. The
// caller holds s.mu.
func (s *Store) setIndex(n *node, x *manifest.Index, d drawing) {
	fell := n.index != nil && x.Durable < n.index.Durable
	if n.timeline == nil {
		n.lowerLast(x.Durable)
	}
	n.place(x, d)
	n.publish()
	for _, c := range n.children {
		if d.same {
			s.publishAll(c)
		} else {
			c.inherit()
		}
	}
	if fell {
		s.env.Trace.Cover("lsm durable LSN fell")
	}
	if n.timeline == nil {
		s.showLast(n, x.Durable)
	}
}

// showLast lets readers of a node and of its descendants ask for what lies up to an LSN:
// after the views that have it are there. The caller holds s.mu.
func (s *Store) showLast(n *node, last wal.LSN) {
	if n.state.last.Swap(uint64(last)) != uint64(last) {
		s.publishAll(n) // for the views of descendants, which say whether all is there
	}
}

// lowerLast keeps readers of a node's descendants from what is readable no more, before there
// are views that do not have it. So it is if an index had landed unheard, and was replaced.
func (n *node) lowerLast(last wal.LSN) {
	if n.state.lastLSN() > last {
		n.state.last.Store(uint64(last))
	}
}

func (n *node) countFlushed() {
	flushed := int64(0)
	for i := range n.index.Layers {
		if n.index.Layers[i].Level == 0 {
			flushed++
		}
	}
	n.state.flushed.Store(flushed)
}

func (s *Store) newReader(desc *layer.Desc) *layer.Reader {
	key := remote.LayerKey(s.opts.Tenant, desc.ID)
	return layer.NewReader(*desc, key, s.files.Source(key, desc), s.blocks, s.tails)
}

// inherit has the layer maps of a node and its descendants made of their parent's new one.
// One that has left its parent, which still has it for a child for a moment, has nothing
// of it.
func (n *node) inherit() {
	if n.parent == nil {
		return
	}
	n.flat = n.parent.flat.below(n.index.BranchLSN, n.readers)
	n.publish()
	for _, c := range n.children {
		c.inherit()
	}
}

func itemOf(r *layer.Reader) flatItem {
	return flatItem{ID: r.Desc().ID, Clip: maxLSN, Layer: r}
}

// addLayer takes the index that names one more layer, desc, newer than all others, as
// drawMore drew it. The caller holds s.mu.
func (s *Store) addLayer(n *node, x *manifest.Index, desc *layer.Desc, d drawing) {
	n.place(x, d)
	n.publish()
	for _, c := range n.children {
		if desc.Start() > c.index.BranchLSN && c.flat.built.Load() != nil {
			s.publishAll(c) // its layers are as they were
		} else {
			c.inherit()
		}
	}
}

// publishAll shows what changed in a node's tables to its readers and those of
// its descendants. The caller holds s.mu.
func (s *Store) publishAll(n *node) {
	n.publish()
	for _, c := range n.children {
		s.publishAll(c)
	}
}

func (n *node) publish() {
	depth, tables := 0, 0
	for at := n; at != nil; at = at.parent {
		depth, tables = depth+1, tables+len(at.tables)
	}
	v := &view{layers: n.flat, ready: true, lines: make([]line, 0, depth), tables: make([]tableRef, 0, tables)}
	hi := maxLSN
	for at := n; at != nil; at = at.parent {
		lo := at.index.BranchLSN
		if hi > lo || at.parent == nil {
			v.lines = append(v.lines, line{at.state, at.id, lo, hi, at.index.Cutoff, at.index.Leases, at.parent == nil})
		}
		for _, t := range at.tables {
			if t.lo < hi {
				v.tables = append(v.tables, tableRef{t.table, t.lo, min(t.hi, hi)})
			}
		}
		if at != n && at.state.lastLSN() < hi {
			v.ready = false
		}
		hi = min(hi, lo)
	}
	n.state.view.Store(v)
}
