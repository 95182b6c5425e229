package lsm_test

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/lsm"
	"github.com/varvedb/varve/lsm/manifest"
	"github.com/varvedb/varve/wal"
)

func scrubbed(t *testing.T, w *world, timelines ...wal.TimelineID) *lsm.ScrubReport {
	t.Helper()
	report, err := lsm.Scrub(t.Context(), w.env, lsm.ScrubOptions{Tenant: tenant, Timelines: timelines})
	require.NoError(t, err)
	return report
}

// TestScrubNamesWhateverIsWrong: each object in turn, in each way.
func TestScrubNamesWhateverIsWrong(t *testing.T) {
	b, w := rotWorld(t)
	sound := scrubbed(t, w)
	require.Empty(t, sound.Flaws)
	require.Equal(t, []int{2, 3, 0}, []int{sound.Indexes, sound.Layers, sound.Others})
	var size int
	objects := maps.Clone(b.objects)
	for _, body := range objects {
		size += len(body)
	}
	require.Equal(t, int64(size), sound.Bytes)

	only := func(kind lsm.FlawKind, object string) lsm.Flaw {
		t.Helper()
		found := scrubbed(t, w).Flaws
		require.Len(t, found, 1, "%+v", found)
		require.Equal(t, kind, found[0].Kind)
		require.Equal(t, object, found[0].Object)
		return found[0]
	}
	for key, body := range objects {
		for at := range body {
			damaged := bytes.Clone(body)
			damaged[at] ^= 0x40
			b.objects[key] = damaged
			flaw := only(lsm.FlawCorrupt, key)
			require.False(t, flaw.Timeline.IsZero())
			require.NotEmpty(t, flaw.What)
		}
		for _, size := range []int{0, 1, len(body) / 2, len(body) - 1} {
			b.objects[key] = body[:size]
			flaw := only(lsm.FlawCorrupt, key)
			require.NotEqual(t, flaw.Want, flaw.Got)
			if strings.Contains(key, "/layers/") {
				require.Equal(t, lsm.Flaw{
					Kind: lsm.FlawCorrupt, Object: key, Timeline: flaw.Timeline,
					What: "size of layer", Offset: int64(size), Want: fmt.Sprint(len(body)), Got: fmt.Sprint(size),
				}, flaw)
			}
		}
		delete(b.objects, key)
		if strings.Contains(key, "/layers/") {
			require.Contains(t, only(lsm.FlawMissing, key).What, "/index names")
		} else {
			id := strings.Split(key, "/")[4]
			only(lsm.FlawMissing, "tenants/"+tenant.String()+"/timelines/*/"+id+"/index")
		}
		b.objects[key] = body
	}

	// A sound layer under another's name.
	deltas := b.keys(".delta")
	b.objects[deltas[0]] = objects[deltas[1]]
	only(lsm.FlawCorrupt, deltas[0])
	b.objects[deltas[0]] = objects[deltas[0]]

	for _, key := range []string{deltas[0] + ".copy", "tenants/" + tenant.String() + "/stray"} {
		b.objects[key] = []byte("some bytes")
		require.Equal(t, int64(10), only(lsm.FlawLeaked, key).Bytes)
		delete(b.objects, key)
	}
	require.Equal(t, sound, scrubbed(t, w))
}

// TestScrubOfOneTimeline: a branch needs its ancestors, and they do not need it.
func TestScrubOfOneTimeline(t *testing.T) {
	b, w := rotWorld(t)
	child, parent := timelineID(2), timelineID(1)
	require.Equal(t, 3, scrubbed(t, w, child).Layers)
	require.Equal(t, 2, scrubbed(t, w, parent).Layers)
	for _, key := range b.keys(".delta") {
		b.objects[key] = b.objects[key][1:]
		b.objects[key+".copy"] = nil
	}
	b.objects["tenants/"+tenant.String()+"/stray"] = nil
	require.Len(t, scrubbed(t, w).Flaws, 5)
	require.Len(t, scrubbed(t, w, child).Flaws, 4)
	flaws := scrubbed(t, w, parent).Flaws
	require.Len(t, flaws, 2)
	for _, flaw := range flaws {
		require.Equal(t, parent, flaw.Timeline)
	}
	lost := scrubbed(t, w, timelineID(9)).Flaws
	require.Len(t, lost, 1)
	require.Equal(t, lsm.FlawMissing, lost[0].Kind)
}

// TestScrubTellsWhatADeletedTimelineLeavesFromALostIndex: a layer that comes after its
// timeline was deleted lies there for ever, and nothing is lost.
func TestScrubTellsWhatADeletedTimelineLeavesFromALostIndex(t *testing.T) {
	b, w := rotWorld(t)
	child, parent := timelineID(2), timelineID(1)
	late := b.keys("/layers/" + child.String())[0]
	body := b.objects[late]
	scrub := func(remembered ...wal.TimelineID) lsm.Flaw {
		t.Helper()
		opts := lsm.ScrubOptions{Tenant: tenant, Remembered: func(id wal.TimelineID) bool { return slices.Contains(remembered, id) }}
		if remembered == nil {
			opts.Remembered = nil
		}
		report, err := lsm.Scrub(t.Context(), w.env, opts)
		require.NoError(t, err)
		require.Len(t, report.Flaws, 1)
		return report.Flaws[0]
	}
	lost := b.keys("/" + parent.String() + "/index")[0]
	index := b.objects[lost]
	delete(b.objects, lost)
	require.Equal(t, lsm.FlawMissing, scrub(child).Kind, "its child remembers it")
	b.objects[lost] = index

	s := w.openSmall()
	require.NoError(t, s.Delete(t.Context(), child))
	require.NoError(t, s.Close(t.Context()))
	b.objects[late] = body
	require.Equal(t, lsm.Flaw{
		Kind: lsm.FlawLeaked, Object: late, Timeline: child, What: "its timeline has no index, and nobody remembers it", Bytes: int64(len(body)),
	}, scrub(parent))
	require.Equal(t, lsm.FlawMissing, scrub(parent, child).Kind)
	require.Equal(t, lsm.FlawMissing, scrub().Kind, "nobody knows")
}

// TestScrubAsksTheOwnerOfOtherObjects: the store does not know what others keep.
func TestScrubAsksTheOwnerOfOtherObjects(t *testing.T) {
	b, w := rotWorld(t)
	prefix := "tenants/" + tenant.String() + "/"
	for _, name := range []string{"good", "bad", "nobodys"} {
		b.objects[prefix+name] = []byte(name)
	}
	report, err := lsm.Scrub(t.Context(), w.env, lsm.ScrubOptions{Tenant: tenant, Foreign: func(key string, body []byte) (bool, error) {
		if string(body) == "bad" {
			return true, wal.Corruptf(key, 2, "letter", "e", "d")
		}
		return string(body) == "good", nil
	}})
	require.NoError(t, err)
	require.Equal(t, 3, report.Others)
	require.Equal(t, []lsm.Flaw{
		{Kind: lsm.FlawCorrupt, Object: prefix + "bad", What: "letter", Offset: 2, Want: "e", Got: "d"},
		{Kind: lsm.FlawLeaked, Object: prefix + "nobodys", What: "nobody knows it", Bytes: 7},
	}, report.Flaws)
}

// TestScrubWhileTheTenantIsInUse: what comes and goes at any moment of it is no flaw.
func TestScrubWhileTheTenantIsInUse(t *testing.T) {
	ctx := context.Background()
	for name, change := range map[string]func(*lsm.Store, *lsm.Timeline){
		"flush": func(_ *lsm.Store, tl *lsm.Timeline) {
			apply(t, tl, put(3, 50, "Dlate"))
			flush(t, tl)
		},
		"delete": func(s *lsm.Store, _ *lsm.Timeline) { require.NoError(t, s.Delete(ctx, timelineID(2))) },
		"branch": func(s *lsm.Store, _ *lsm.Timeline) {
			require.NoError(t, s.Branch(ctx, timelineID(1), timelineID(3), 31, nil))
		},
	} {
		t.Run(name, func(t *testing.T) {
			moments := 0
			for at, calls := 1, 1; at <= calls; at++ {
				b, w := rotWorld(t)
				s := w.openSmall()
				tl := attach(t, s, timelineID(1))
				require.NoError(t, tl.Compact(ctx), "what runs by itself has run")
				calls = 0
				var count func(string, string, []byte) error
				count = func(string, string, []byte) error {
					if calls++; calls == at {
						b.setBefore(nil)
						change(s, tl)
						b.setBefore(count)
						moments++
					}
					return nil
				}
				b.setBefore(count)
				require.Empty(t, scrubbed(t, w).Flaws, "before call %d", at)
				b.setBefore(nil)
				require.NoError(t, s.Close(ctx))
			}
			require.Greater(t, moments, 5)
		})
	}
}

// TestScrubOfABucketThatIsAway is no finding.
func TestScrubOfABucketThatIsAway(t *testing.T) {
	b, w := rotWorld(t)
	for _, bad := range append(b.keys(""), "tenants/"+tenant.String()+"/") {
		b.setBefore(func(_, key string, _ []byte) error {
			if key == bad {
				return errBucket
			}
			return nil
		})
		_, err := lsm.Scrub(t.Context(), w.env, lsm.ScrubOptions{Tenant: tenant})
		require.ErrorIs(t, err, errBucket, bad)
	}
}

// TestScrubOfATimelineThatIsToBeDeleted: its deletion ended before it was decided, so that
// nothing may be missing yet.
func TestScrubOfATimelineThatIsToBeDeleted(t *testing.T) {
	b, w := rotWorld(t)
	s := w.openSmall()
	b.setBefore(func(op, key string, body []byte) error {
		if x, err := manifest.Decode(key, body); op == "put" && err == nil && x.State == manifest.Doomed {
			return errBucket
		}
		return nil
	})
	require.ErrorIs(t, s.Delete(t.Context(), timelineID(2)), errBucket)
	require.NoError(t, s.Close(t.Context()))
	b.setBefore(nil)
	require.Empty(t, scrubbed(t, w).Flaws)
	layer := b.keys("/layers/" + timelineID(2).String())[0]
	b.objects[layer+".copy"] = []byte("some bytes")
	delete(b.objects, layer)
	flaws := scrubbed(t, w).Flaws
	require.Len(t, flaws, 2)
	require.Equal(t, lsm.FlawMissing, flaws[0].Kind)
	require.Equal(t, lsm.FlawLeaked, flaws[1].Kind)
}
