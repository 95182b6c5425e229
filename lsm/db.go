package lsm

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/varvedb/varve/lsm/layer"
	"github.com/varvedb/varve/lsm/manifest"
	"github.com/varvedb/varve/lsm/remote"
	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/env"
)

// Store is the layered store of one tenant. It is safe for use by many tasks.
// Open it with [Open].
type Store struct {
	env    env.Env
	opts   Options
	files  *remote.Files
	blocks *layer.Cache // decoded data blocks
	tails  *layer.Cache // indexes and key filters
	random env.Stream   // guarded by change

	keyBytesMax int // in tests less than it is

	// change is held while timelines are made, attached, detached and deleted.
	change *env.Lock

	mu      sync.Mutex // guards what follows and every node; taken after Timeline.mu
	nodes   map[wal.TimelineID]*node
	parents map[wal.TimelineID]wal.TimelineID // of timelines seen in the bucket
	strays  map[string]bool                   // keys seen among the timelines that are no index's
}

// Open opens a tenant's store. It lists the tenant's timelines in the bucket and
// writes nothing there.
func Open(ctx context.Context, e env.Env, opts Options) (*Store, error) {
	if err := opts.Validate(); err != nil {
		return nil, fmt.Errorf("options of layered store: %w", err)
	}
	opts = opts.withDefaults()
	files, err := remote.OpenFiles(ctx, e, opts.CacheDir, opts.CacheBytes)
	if err != nil {
		return nil, err
	}
	s := &Store{
		env:    e,
		opts:   opts,
		files:  files,
		blocks: layer.NewCache(opts.BlockCacheBytes),
		tails:  layer.NewCache(opts.IndexCacheBytes),
		random: e.Rand.Stream("lsm writer"),
		change: env.NewLock(e.Tasks),
		nodes:  make(map[wal.TimelineID]*node),
		strays: make(map[string]bool),

		keyBytesMax: keyBytesMax,
	}
	if _, err := s.listTimelines(ctx); err != nil {
		return nil, errors.Join(err, files.Close(ctx))
	}
	return s, nil
}

// Close detaches every timeline. What was not flushed is in the log still.
func (s *Store) Close(ctx context.Context) error {
	for {
		t := s.anyAttached()
		if t == nil {
			return s.files.Close(ctx)
		}
		if err := t.Detach(ctx); err != nil {
			return err
		}
	}
}

// anyAttached returns the attached timeline with the least id, or nil.
func (s *Store) anyAttached() (found *Timeline) {
	s.mu.Lock()
	defer s.mu.Unlock()
	//varve:unordered the least id is found in any order
	for _, n := range s.nodes {
		if n.timeline != nil && (found == nil || slices.Compare(n.id[:], found.node.id[:]) < 0) {
			found = n.timeline
		}
	}
	return found
}

// List describes all timelines of the tenant, as the bucket has them, in order of
// their ids. An index with bytes that are wrong hides no other timeline.
func (s *Store) List(ctx context.Context) ([]Info, error) {
	ids, err := s.listTimelines(ctx)
	if err != nil {
		return nil, err
	}
	infos := make([]Info, 0, len(ids))
	for _, id := range ids {
		x, object, _, err := s.loadIndex(ctx, id)
		switch {
		case errors.Is(err, ErrNoTimeline):
			continue // deleted since it was listed
		case errors.Is(err, wal.ErrCorruption):
			parent, _, _ := remote.ParseIndexKey(s.opts.Tenant, object.Key)
			infos = append(infos, Info{ID: id, Parent: parent, Damage: err})
		case err != nil:
			return nil, fmt.Errorf("list timelines: %w", err)
		default:
			infos = append(infos, infoOf(x))
		}
	}
	return infos, nil
}

func infoOf(x *manifest.Index) Info {
	return Info{
		ID:         x.Timeline,
		Parent:     x.Parent,
		BranchLSN:  x.BranchLSN,
		Start:      x.Start,
		Durable:    x.Durable,
		Cutoff:     x.Cutoff,
		Generation: x.Generation,
		Layers:     len(x.Layers),
		Bytes:      x.Bytes(),
		Meta:       slices.Clone(x.Meta),
	}
}

// Timelines names all timelines of the tenant, as the bucket has them, in order.
func (s *Store) Timelines(ctx context.Context) ([]wal.TimelineID, error) {
	return s.listTimelines(ctx)
}

// Lineage names a timeline's ancestors and itself, the root first. It asks the bucket
// only about those that are not attached here.
func (s *Store) Lineage(ctx context.Context, id wal.TimelineID) (line []wal.TimelineID, err error) {
	for !id.IsZero() && len(line) <= ancestorsMax {
		line = append(line, id)
		if t := s.Attached(id); t != nil {
			id = t.index().Parent
			continue
		}
		x, _, _, err := s.loadIndex(ctx, id)
		if err != nil {
			return nil, err
		}
		id = x.Parent
	}
	slices.Reverse(line)
	return line, nil
}

// listTimelines reads which timelines there are, and remembers their parents. Objects
// that are no index are named in the trace and left alone.
func (s *Store) listTimelines(ctx context.Context) ([]wal.TimelineID, error) {
	objects, err := s.env.Bucket.List(ctx, remote.TimelinesPrefix(s.opts.Tenant))
	if err != nil {
		return nil, fmt.Errorf("list timelines: %w", err)
	}
	var ids []wal.TimelineID
	parents := make(map[wal.TimelineID]wal.TimelineID)
	for _, object := range objects {
		parent, id, ok := remote.ParseIndexKey(s.opts.Tenant, object.Key)
		if !ok {
			s.noteStray(object.Key)
			continue
		}
		ids = append(ids, id)
		parents[id] = parent
	}
	slices.SortFunc(ids, func(a, b wal.TimelineID) int { return slices.Compare(a[:], b[:]) })
	s.mu.Lock()
	defer s.mu.Unlock()
	s.parents = parents
	return ids, nil
}

// straysMax bounds the objects that are remembered to be none of ours. Smaller: more
// of many are named again with every listing.
const straysMax = 1000

// noteStray names an object that lies among the timelines and is no index. It may be a
// misplaced one, but nothing can be read from it, and it hides no timeline.
func (s *Store) noteStray(key string) {
	s.mu.Lock()
	seen := s.strays[key]
	if len(s.strays) < straysMax {
		s.strays[key] = true
	}
	s.mu.Unlock()
	if !seen {
		s.env.Trace.Event("lsm.stray", "object", key, "error", strayError(key))
	}
}

func strayError(key string) error {
	return wal.Corruptf(key, 0, "key of an object among timelines", "that of an index", key)
}

// indexObject finds a timeline's index object. A parent never changes, so what
// was seen once holds.
func (s *Store) indexObject(ctx context.Context, id wal.TimelineID) (remote.Index, error) {
	for _, listed := range []bool{false, true} {
		s.mu.Lock()
		parent, ok := s.parents[id]
		s.mu.Unlock()
		if ok {
			return s.indexAt(parent, id), nil
		}
		if listed {
			break
		}
		if _, err := s.listTimelines(ctx); err != nil {
			return remote.Index{}, err
		}
	}
	return remote.Index{}, fmt.Errorf("%w: %v", ErrNoTimeline, id)
}

func (s *Store) indexAt(parent, id wal.TimelineID) remote.Index {
	return remote.Index{Env: s.env, Key: remote.IndexKey(s.opts.Tenant, parent, id), Timeline: id, Parent: parent}
}

// loadIndex reads a timeline's index.
func (s *Store) loadIndex(ctx context.Context, id wal.TimelineID) (*manifest.Index, remote.Index, env.ETag, error) {
	object, err := s.indexObject(ctx, id)
	if err != nil {
		return nil, object, "", err
	}
	x, tag, err := object.Load(ctx)
	return x, object, tag, s.noteAbsent(id, err)
}

// loadHead reads the head of a timeline's index: what does not grow with the timeline.
func (s *Store) loadHead(ctx context.Context, id wal.TimelineID) (*manifest.Head, error) {
	object, err := s.indexObject(ctx, id)
	if err != nil {
		return nil, err
	}
	head, err := object.LoadHead(ctx)
	return head, s.noteAbsent(id, err)
}

// noteAbsent takes in that a timeline's index is not there, if that is what err says.
func (s *Store) noteAbsent(id wal.TimelineID, err error) error {
	if errors.Is(err, env.ErrNoObject) {
		s.forget(id)
		return fmt.Errorf("%w: %v", ErrNoTimeline, id)
	}
	return err
}

func (s *Store) remember(parent, id wal.TimelineID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.parents[id] = parent
}

func (s *Store) isKnown(id wal.TimelineID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, known := s.parents[id]
	return known
}

func (s *Store) forget(id wal.TimelineID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.parents, id)
}

// newWriter draws a writer id. The caller holds s.change.
func (s *Store) newWriter() (id manifest.WriterID) {
	env.FillRandom(s.random, id[:])
	return id
}

// node is a timeline that this store has in memory: attached, or an ancestor of
// one that is. Guarded by Store.mu.
type node struct {
	id       wal.TimelineID
	object   remote.Index
	parent   *node
	children []*node
	timeline *Timeline // nil if it is not attached here

	index   *manifest.Index // what is known of the object; never changed in place
	readers []*layer.Reader // of index.Layers
	tables  []tableRef      // newest first; none if it is not attached
	flat    *layers         // own and ancestors'
	state   *nodeState
}

// loadNode returns the timeline's node and those of its ancestors, reading the
// indexes of those that are not here. The caller holds s.change.
func (s *Store) loadNode(ctx context.Context, id wal.TimelineID) (*node, error) {
	var path []*node // from the timeline up, not yet known
	var known *node
	for !id.IsZero() {
		s.mu.Lock()
		known = s.nodes[id]
		s.mu.Unlock()
		if known != nil {
			break
		}
		if len(path) == ancestorsMax {
			return nil, fmt.Errorf("timeline %v has more than %d ancestors", path[0].id, ancestorsMax)
		}
		x, object, _, err := s.loadIndex(ctx, id)
		if err != nil {
			return nil, err
		}
		path = append(path, &node{id: id, object: object, index: x, state: &nodeState{}})
		id = x.Parent
	}
	for _, n := range slices.Backward(path) {
		n.parent = known
		if err := s.link(n); err != nil {
			return nil, err
		}
		known = n
	}
	return known, nil
}

// link adds a new node to the others. The caller holds s.change.
func (s *Store) link(n *node) error {
	d, err := s.draw(n, n.index)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.prune(n.parent)
		return err
	}
	if n.parent != nil {
		n.parent.children = append(n.parent.children, n)
	}
	s.nodes[n.id] = n
	s.setIndex(n, n.index, d)
	return nil
}

// ancestorsMax bounds the depth of branches. An attachment reads one small object per
// ancestor. A read looks up one map at any depth, but visits what each ancestor has of its
// key down to the newest image, and layers of two timelines are never merged: a key that
// every ancestor has changed costs a layer for each.
const ancestorsMax = 4096

// prune forgets nodes that nobody needs, from n up. The caller holds s.mu.
func (s *Store) prune(n *node) {
	for n != nil && n.timeline == nil && len(n.children) == 0 {
		delete(s.nodes, n.id)
		if n.parent != nil {
			n.parent.children = slices.DeleteFunc(n.parent.children, func(c *node) bool { return c == n })
		}
		n = n.parent
	}
}
