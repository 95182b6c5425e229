package lsm

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/varvedb/varve/lsm/layer"
	"github.com/varvedb/varve/lsm/manifest"
	"github.com/varvedb/varve/lsm/remote"
	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/env"
)

// ScrubOptions says what [Scrub] looks at.
type ScrubOptions struct {
	Tenant wal.TenantID
	// Timelines, if there are any, are all that matters, with their ancestors.
	Timelines []wal.TimelineID
	// Remembered reports whether a timeline was made and not deleted, as far as anybody
	// remembers. Nil: nobody remembers any.
	Remembered func(wal.TimelineID) bool
	// Foreign checks an object of the tenant that is not the store's; known is false if
	// it is nobody's. It may be nil.
	Foreign func(key string, body []byte) (known bool, err error)
}

// FlawKind says what is wrong with an object.
type FlawKind string

// The kinds of flaws. The last loses nothing.
const (
	FlawCorrupt FlawKind = "corrupt" // its bytes are not what was written
	FlawMissing FlawKind = "missing" // it is named, and is not there
	FlawLeaked  FlawKind = "leaked"  // it is there, and nothing names it
)

// Flaw is what is wrong with one object of the bucket.
type Flaw struct {
	Kind     FlawKind
	Object   string         // its key
	Timeline wal.TimelineID // whose it is; zero if that is not known
	What     string         // what is wrong, or by whom it is named
	// Of a corrupt object: where in it, what a sound one has there, and what it has.
	Offset    int64
	Want, Got string
	Bytes     int64 // size of a leaked object
}

// ScrubReport is what [Scrub] found.
type ScrubReport struct {
	Indexes int // objects read, by kind
	Layers  int
	Others  int
	Bytes   int64  // read
	Flaws   []Flaw // in order of objects
}

// Scrub reads the objects of a tenant from the bucket, past every cache, and checks every
// byte of them. It needs no store, changes nothing, and may run while the tenant is in
// use: what is made or deleted meanwhile is no flaw, but for a layer whose index is just
// being written at the end, which counts as leaked. An error is of the bucket; what is
// wrong with objects is in the report.
//
// Layers without any index of their timeline are what a lost index leaves: that index is
// missing. A deletion removes them first, but one that was being written meanwhile, by
// whoever had the timeline attached, comes after it and stays: only who remembers which
// timelines there should be can tell that it has leaked. What a timeline's layers should be
// nobody knows while its index is damaged or missing; those that are there are checked.
func Scrub(ctx context.Context, e env.Env, opts ScrubOptions) (*ScrubReport, error) {
	s := &scrub{env: e, opts: opts, report: &ScrubReport{}, timelines: map[wal.TimelineID]*scrubbed{}, lost: map[wal.TimelineID]bool{}}
	if err := s.run(ctx); err != nil {
		return nil, fmt.Errorf("scrub tenant %v: %w", opts.Tenant, err)
	}
	slices.SortStableFunc(s.report.Flaws, func(a, b Flaw) int { return strings.Compare(a.Object, b.Object) })
	return s.report, nil
}

type scrub struct {
	env       env.Env
	opts      ScrubOptions
	report    *ScrubReport
	timelines map[wal.TimelineID]*scrubbed
	lost      map[wal.TimelineID]bool // those whose missing index is reported
}

// scrubbed is a timeline that has an index object.
type scrubbed struct {
	id, parent wal.TimelineID
	key        string
	wanted     bool
	index      *manifest.Index // nil if it cannot be read, or is not wanted
	named      map[string]bool // keys of the layers that it names
}

func (s *scrub) run(ctx context.Context) error {
	// Listed before the indexes are read: what one of them has named since is in the list.
	objects, err := s.env.Bucket.List(ctx, remote.TenantPrefix(s.opts.Tenant))
	if err != nil {
		return err
	}
	s.choose(objects)
	for _, step := range []func(context.Context, env.ObjectInfo) error{s.readIndex, s.readNamed, s.readRest} {
		for _, object := range objects {
			if err := step(ctx, object); err != nil {
				return err
			}
		}
	}
	return nil
}

// choose finds the timelines, and which are wanted.
func (s *scrub) choose(objects []env.ObjectInfo) {
	for _, object := range objects {
		if parent, id, ok := remote.ParseIndexKey(s.opts.Tenant, object.Key); ok {
			s.timelines[id] = &scrubbed{id: id, parent: parent, key: object.Key, wanted: s.wantsAll()}
		}
	}
	for _, id := range s.opts.Timelines {
		if s.timelines[id] == nil {
			s.noteLost(id, "the timeline is asked for")
		}
		for t := s.timelines[id]; t != nil && !t.wanted; t = s.timelines[t.parent] {
			t.wanted = true
		}
	}
}

func (s *scrub) wantsAll() bool { return len(s.opts.Timelines) == 0 }

// get reads an object; found is false if it is gone.
func (s *scrub) get(ctx context.Context, key string) (body []byte, found bool, err error) {
	body, _, err = s.env.Bucket.Get(ctx, key)
	if errors.Is(err, env.ErrNoObject) {
		return nil, false, nil
	}
	s.report.Bytes += int64(len(body))
	return body, err == nil, err
}

func (s *scrub) add(f Flaw) { s.report.Flaws = append(s.report.Flaws, f) }

// note reports what a check of an object's bytes said, if that was anything.
func (s *scrub) note(key string, timeline wal.TimelineID, err error) {
	if err == nil {
		return
	}
	flaw := Flaw{Kind: FlawCorrupt, Object: key, Timeline: timeline}
	var wrong *wal.CorruptionError
	if errors.As(err, &wrong) {
		flaw.What, flaw.Offset, flaw.Want, flaw.Got = wrong.What, wrong.Offset, wrong.Want, wrong.Got
	} else {
		flaw.What = err.Error() // such as a format version that is not known
	}
	s.add(flaw)
}

// noteLost reports, once, a timeline's index that something needs and that is not there.
func (s *scrub) noteLost(id wal.TimelineID, why string) {
	if !s.lost[id] {
		s.lost[id] = true
		s.add(Flaw{Kind: FlawMissing, Object: remote.TimelinesPrefix(s.opts.Tenant) + "*/" + id.String() + "/index", Timeline: id, What: why})
	}
}

// readIndex reads the object if it is an index.
func (s *scrub) readIndex(ctx context.Context, object env.ObjectInfo) error {
	_, id, ok := remote.ParseIndexKey(s.opts.Tenant, object.Key)
	if !ok || !s.timelines[id].wanted {
		return nil
	}
	t := s.timelines[id]
	x, found, err := s.loadIndex(ctx, t)
	if err != nil {
		return err
	}
	if !found {
		t.wanted = false // deleted meanwhile
		return nil
	}
	s.report.Indexes++
	if t.index = x; x != nil {
		t.named = s.layersOf(x)
	}
	if detached := x != nil && x.IsRoot(); !detached && !t.parent.IsZero() && s.timelines[t.parent] == nil {
		s.noteLost(t.parent, "the parent of timeline "+id.String())
	}
	return nil
}

// loadIndex reads a timeline's index, nil if its bytes are wrong, which it notes the first
// time; found is false if it is gone.
func (s *scrub) loadIndex(ctx context.Context, t *scrubbed) (x *manifest.Index, found bool, err error) {
	body, found, err := s.get(ctx, t.key)
	if err != nil || !found {
		return nil, found, err
	}
	x, bad := manifest.Decode(t.key, body)
	if bad == nil {
		bad = remote.Index{Key: t.key, Timeline: t.id, Parent: t.parent}.CheckIdentity(&x.Head)
	}
	if bad == nil {
		return x, true, nil
	}
	if t.named == nil {
		s.note(t.key, t.id, bad)
	}
	return nil, true, nil
}

// layersOf has true for each layer that the index names, and false for each that has
// left it and is about to be deleted.
func (s *scrub) layersOf(x *manifest.Index) map[string]bool {
	named := map[string]bool{}
	for _, id := range x.Dead {
		named[remote.LayerKey(s.opts.Tenant, id)] = false
	}
	for i := range x.Layers {
		named[remote.LayerKey(s.opts.Tenant, x.Layers[i].ID)] = true
	}
	return named
}

// readNamed reads the layers that the index names.
func (s *scrub) readNamed(ctx context.Context, object env.ObjectInfo) error {
	_, id, ok := remote.ParseIndexKey(s.opts.Tenant, object.Key)
	if !ok || s.timelines[id].index == nil {
		return nil
	}
	t := s.timelines[id]
	for i := range t.index.Layers {
		desc := &t.index.Layers[i]
		key := remote.LayerKey(s.opts.Tenant, desc.ID)
		body, found, err := s.get(ctx, key)
		if err == nil && !found {
			err = s.noteMissing(ctx, t, key)
		}
		if err != nil {
			return err
		}
		if found {
			s.report.Layers++
			s.note(key, id, s.checkLayer(key, desc, body))
		}
	}
	return nil
}

// noteMissing reports a layer that is not there, unless its timeline has let go of it.
func (s *scrub) noteMissing(ctx context.Context, t *scrubbed, key string) error {
	named, err := s.namedNow(ctx, t)
	if err == nil && named[key] {
		s.add(Flaw{Kind: FlawMissing, Object: key, Timeline: t.id, What: "a layer that " + t.key + " names"})
	}
	return err
}

// namedNow reads the index once more: nil if it names nothing that has to be there.
func (s *scrub) namedNow(ctx context.Context, t *scrubbed) (map[string]bool, error) {
	x, found, err := s.loadIndex(ctx, t)
	if err != nil || !found || x == nil || x.State == manifest.Doomed {
		return nil, err
	}
	return s.layersOf(x), nil
}

// checkLayer checks a layer's bytes; desc is what the index says of it, nil if nothing.
func (s *scrub) checkLayer(key string, desc *layer.Desc, body []byte) error {
	if size := int64(len(body)); desc != nil && size != desc.Size {
		return wal.Corruptf(key, min(size, desc.Size), "size of layer", desc.Size, size)
	}
	got, err := layer.Check(key, body, func(Version) error { return nil })
	if err != nil {
		return err
	}
	if name := remote.LayerKey(s.opts.Tenant, got.ID); name != key {
		return wal.Corruptf(key, 0, "identity of layer", key, name)
	}
	if desc != nil && got.CRC != desc.CRC {
		return wal.Corruptf(key, 0, "checksum of layer", fmt.Sprintf("%#08x", desc.CRC), fmt.Sprintf("%#08x", got.CRC))
	}
	return nil
}

// readRest looks at objects that no index names.
func (s *scrub) readRest(ctx context.Context, object env.ObjectInfo) error {
	if _, _, ok := remote.ParseIndexKey(s.opts.Tenant, object.Key); ok {
		return nil
	}
	id, ok := remote.ParseLayerKey(s.opts.Tenant, object.Key)
	if !ok {
		return s.readOther(ctx, object)
	}
	t := s.timelines[id]
	switch {
	case t == nil && s.wantsAll():
		return s.readUnnamed(ctx, object, id)
	case t == nil || !t.wanted || t.named[object.Key]:
		return nil
	case t.index == nil:
		return s.readUnnamed(ctx, object, id)
	}
	return s.noteLeaked(ctx, t, object)
}

// readUnnamed checks a layer of a timeline whose index is not known.
func (s *scrub) readUnnamed(ctx context.Context, object env.ObjectInfo, id wal.TimelineID) error {
	if s.timelines[id] == nil && !s.lost[id] && s.opts.Remembered != nil && !s.opts.Remembered(id) {
		return s.addLeaked(ctx, object, id, "its timeline has no index, and nobody remembers it")
	}
	body, found, err := s.get(ctx, object.Key)
	if err != nil || !found {
		return err
	}
	s.report.Layers++
	s.note(object.Key, id, s.checkLayer(object.Key, nil, body))
	if s.timelines[id] == nil {
		s.noteLost(id, "layers of the timeline are there")
	}
	return nil
}

// noteLeaked reports an object among a timeline's layers, unless the index names it by now,
// or the timeline, or the object, is being deleted.
func (s *scrub) noteLeaked(ctx context.Context, t *scrubbed, object env.ObjectInfo) error {
	named, err := s.namedNow(ctx, t)
	if err != nil || named == nil {
		return err
	}
	if _, known := named[object.Key]; known {
		return nil
	}
	return s.addLeaked(ctx, object, t.id, "no index names it")
}

// addLeaked reports a leaked layer, unless it is gone.
func (s *scrub) addLeaked(ctx context.Context, object env.ObjectInfo, id wal.TimelineID, why string) error {
	_, err := s.env.Bucket.Head(ctx, object.Key)
	if errors.Is(err, env.ErrNoObject) {
		return nil
	}
	if err == nil {
		s.add(Flaw{Kind: FlawLeaked, Object: object.Key, Timeline: id, What: why, Bytes: object.Size})
	}
	return err
}

// readOther reads an object that is neither index nor layer.
func (s *scrub) readOther(ctx context.Context, object env.ObjectInfo) error {
	if !s.wantsAll() {
		return nil
	}
	body, found, err := s.get(ctx, object.Key)
	if err != nil || !found {
		return err
	}
	s.report.Others++
	if object.Key == remote.ProbeKey(s.opts.Tenant) {
		s.note(object.Key, wal.TimelineID{}, remote.CheckProbe(s.opts.Tenant, body))
		return nil
	}
	known := false
	if s.opts.Foreign != nil {
		known, err = s.opts.Foreign(object.Key, body)
	}
	if known {
		s.note(object.Key, wal.TimelineID{}, err)
		return nil
	}
	s.add(Flaw{Kind: FlawLeaked, Object: object.Key, What: "nobody knows it", Bytes: object.Size})
	return nil
}
