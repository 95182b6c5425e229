package check

import (
	"fmt"
	"iter"
	"strings"

	"github.com/varvedb/varve/lsm/layer"
	"github.com/varvedb/varve/lsm/manifest"
	"github.com/varvedb/varve/lsm/remote"
	"github.com/varvedb/varve/wal"
)

// SampleBucket makes a sample of all objects of a bucket, as they are at one moment:
// keys with their bodies. It fails on an index object that is not sound.
func SampleBucket(at Event, tenant wal.TenantID, objects iter.Seq2[string, []byte]) (BucketSample, error) {
	sample := BucketSample{At: at, Tenant: tenant}
	for key, body := range objects {
		sample.Objects = append(sample.Objects, Object{Key: key, Size: int64(len(body)), Sum: layer.Checksum(body)})
		parent, timeline, ok := remote.ParseIndexKey(tenant, key)
		if !ok {
			continue
		}
		x, err := manifest.Decode(key, body)
		if err != nil {
			return sample, err
		}
		// One that was detached from its parent keeps its index where it was.
		if x.Parent != parent && !x.IsRoot() || x.Timeline != timeline {
			return sample, fmt.Errorf("index %s says that it is of timeline %v and parent %v", key, x.Timeline, x.Parent)
		}
		sample.Indexes = append(sample.Indexes, *x)
	}
	return sample, nil
}

// Bucket checks every sample of the bucket: each layer that a live index names is
// there, whole; the parent of a live timeline is there and live; no index goes back.
func Bucket(r *Run) Verdict {
	b := &bucket{judge: newJudge("bucket"), unsure: map[wal.TimelineID]bool{}, seen: map[string]Event{}, last: map[wal.TimelineID]*manifest.Index{}}
	for i := range r.Ops {
		if op := &r.Ops[i]; op.Kind == BranchCreate {
			b.unsure[op.Child] = op.Outcome != OK
		}
	}
	for i := range r.Bucket {
		b.sample(&r.Bucket[i])
	}
	if n := len(r.Bucket); n > 0 {
		b.leaks(&r.Bucket[n-1])
	}
	return b.done()
}

type bucket struct {
	*judge
	seen map[string]Event // when an object was last there
	last map[wal.TimelineID]*manifest.Index
	// Branches that nobody was told to be there: one whose making was cut short may have no
	// parent by now.
	unsure map[wal.TimelineID]bool
}

func (b *bucket) sample(s *BucketSample) {
	b.count("samples")
	objects := make(map[string]Object, len(s.Objects))
	for _, o := range s.Objects {
		objects[o.Key] = o
		b.seen[o.Key] = s.At
	}
	indexes := make(map[wal.TimelineID]*manifest.Index, len(s.Indexes))
	for i := range s.Indexes {
		indexes[s.Indexes[i].Timeline] = &s.Indexes[i]
	}
	for i := range s.Indexes {
		x := &s.Indexes[i]
		b.forward(s.At, x)
		if x.State != manifest.Live {
			b.skip("indexes being deleted")
			continue
		}
		b.count("live indexes")
		switch p := indexes[x.Parent]; {
		case x.IsRoot() || p != nil && p.State == manifest.Live:
		case b.unsure[x.Timeline]:
			b.skip("branches of unknown outcome whose parents are gone")
		default:
			b.flag("event %d: timeline %s is live, and its parent %s is not", s.At, short(x.Timeline), short(x.Parent))
		}
		for k := range x.Layers {
			b.layer(s, objects, &x.Layers[k])
		}
	}
}

func (b *bucket) layer(s *BucketSample, objects map[string]Object, d *layer.Desc) {
	b.count("layers named")
	key := remote.LayerKey(s.Tenant, d.ID)
	o, ok := objects[key]
	switch at, was := b.seen[key]; {
	case !ok && was:
		b.flag("event %d: the index of timeline %s names %s, which was there at event %d and is deleted", s.At, short(d.Timeline), d.Name(), at)
	case !ok:
		b.flag("event %d: the index of timeline %s names %s, which was never seen", s.At, short(d.Timeline), d.Name())
	case o.Size != d.Size || o.Sum != d.CRC:
		b.flag("event %d: the index of timeline %s names %s of %d bytes with sum %08x, and there are %d with %08x", s.At, short(d.Timeline), d.Name(), d.Size, d.CRC, o.Size, o.Sum)
	}
}

// forward flags an index that is behind what it was in an earlier sample.
func (b *bucket) forward(at Event, x *manifest.Index) {
	if was := b.last[x.Timeline]; was != nil {
		switch {
		case x.Generation < was.Generation, x.Durable < was.Durable, x.Cutoff < was.Cutoff, was.State == manifest.Doomed && x.State != was.State:
			b.flag("event %d: the index of timeline %s went back from generation %d, durable %v, cutoff %v, state %d to %d, %v, %v, %d", at, short(x.Timeline),
				was.Generation, was.Durable, was.Cutoff, was.State, x.Generation, x.Durable, x.Cutoff, x.State)
		}
	}
	b.last[x.Timeline] = x
}

// leaks counts the layer objects that no index names at the end. They cost room and
// break no promise: a writer that was killed between upload and commit leaves one.
func (b *bucket) leaks(s *BucketSample) {
	named := map[string]bool{}
	for i := range s.Indexes {
		for k := range s.Indexes[i].Layers {
			named[remote.LayerKey(s.Tenant, s.Indexes[i].Layers[k].ID)] = true
		}
	}
	for _, o := range s.Objects {
		if strings.Contains(o.Key, "/layers/") && !named[o.Key] {
			b.skip("layers that no index names at the end")
		}
	}
}
