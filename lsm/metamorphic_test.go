package lsm_test

import (
	"context"
	"errors"
	"flag"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/varvedb/varve/lsm"
	"github.com/varvedb/varve/lsm/manifest"
	"github.com/varvedb/varve/lsm/remote"
	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/env"
)

var rounds = flag.Int("rounds", 0, "random histories of the metamorphic test; 0: as many as rapid checks")

// A history is a store and its naive twin: per timeline a plain list of versions,
// the log, of which the store has applied a prefix. Closing a store loses what it
// had not flushed, as a crash does, and the log is applied again.
type history struct {
	env    env.Env
	disk   *memFS
	bucket *memBucket
	opts   lsm.Options
	store  *lsm.Store

	keyBytesMax int // of merges

	timelines []*twin
	made      int // timelines and leases, for their ids
}

const (
	historyStart = wal.LSN(100)
	historyKeys  = 6
	historyMax   = 8 // timelines
)

func newHistory(t *rapid.T) *history {
	h := &history{disk: newMemFS(), bucket: newMemBucket(), opts: lsm.Options{
		Tenant:          tenant,
		MemtableBytes:   rapid.Int64Range(1, 4000).Draw(t, "memtable bytes"),
		FrozenMax:       rapid.IntRange(1, 3).Draw(t, "frozen max"),
		BlockBytes:      rapid.IntRange(64, 512).Draw(t, "block bytes"),
		BlockCacheBytes: rapid.Int64Range(1, 20_000).Draw(t, "block cache bytes"),
		IndexCacheBytes: rapid.Int64Range(1, 20_000).Draw(t, "index cache bytes"),
		CacheBytes:      rapid.Int64Range(1, 20_000).Draw(t, "cache bytes"),
		LayerBytes:      rapid.Int64Range(1, 8000).Draw(t, "layer bytes"),
		FlushedMax:      rapid.IntRange(1, 5).Draw(t, "flushed max"),
		TierFanout:      rapid.IntRange(2, 4).Draw(t, "tier fanout"),
		ChainMax:        rapid.IntRange(1, 6).Draw(t, "chain max"),
		HistoryBytes:    rapid.SampledFrom([]int64{-1, 30, 300}).Draw(t, "history bytes"),
		HistoryTime:     1,
	}}
	if rapid.Bool().Draw(t, "redo") {
		h.opts.Redo = pagedRedo{}
	}
	h.keyBytesMax = rapid.IntRange(0, 200).Draw(t, "key bytes max")
	h.env = hostEnv
	h.bucket.setFate(randomFates(rapid.Uint64().Draw(t, "fates")))
	h.env.Bucket, h.env.Clock, h.env.FS = h.bucket, hastyClock{h.env.Clock}, h.disk
	if rapid.Bool().Draw(t, "near") {
		h.env.Bucket = nearBucket{h.bucket}
	}
	h.openStore(t)
	root := &twin{id: timelineID(0), at: historyStart, last: historyStart, durable: historyStart, cutoff: historyStart, leased: map[lsm.LeaseID]wal.LSN{}}
	require.NoError(t, untilKnown(func() error { return h.store.Create(context.Background(), root.id, historyStart, nil) }))
	h.timelines = []*twin{root}
	h.attach(t, root)
	return h
}

func (h *history) openStore(t *rapid.T) {
	var err error
	h.store, err = lsm.Open(context.Background(), h.env, h.opts)
	require.NoError(t, err)
	h.store.SetKeyBytesMax(h.keyBytesMax)
}

func (h *history) any(t *rapid.T) *twin { return rapid.SampledFrom(h.timelines).Draw(t, "timeline") }

func (h *history) anyOpen(t *rapid.T) *twin {
	m := h.any(t)
	if m.open == nil {
		h.attach(t, m)
	}
	return m
}

func (h *history) attach(t *rapid.T, m *twin) {
	m.open = attach(t, h.store, m.id)
	last := m.open.LastLSN()
	require.GreaterOrEqual(t, last, m.durable)
	require.LessOrEqual(t, last, m.last)
	require.True(t, last == m.at || slices.Contains(m.ends, last), "%v is the end of a record", last)
	m.last, m.durable = last, last
}

func (h *history) detach(t *rapid.T, m *twin) {
	require.NoError(t, m.open.Detach(context.Background()))
	m.open = nil
	info := h.info(t, m)
	require.GreaterOrEqual(t, info.Cutoff, m.cutoff)
	m.durable, m.cutoff = info.Durable, info.Cutoff
	require.LessOrEqual(t, m.durable, m.last)
}

func (h *history) info(t *rapid.T, m *twin) lsm.Info {
	infos, err := h.store.List(context.Background())
	require.NoError(t, err)
	i := slices.IndexFunc(infos, func(i lsm.Info) bool { return i.ID == m.id })
	return infos[i]
}

// applyMore applies what was not, or, if all was, more.
func (h *history) applyMore(t *rapid.T) {
	h.anyOpen(t).applyMore(t)
}

func (h *history) flush(t *rapid.T) { h.anyOpen(t).flush(t) }

// untilKnown makes a timeline. A request that was lost is sent again by who knows that it
// was lost: the store does not.
func untilKnown(create func() error) error {
	err := create()
	for env.IsUnknown(err) {
		err = create()
	}
	return err
}

func (h *history) branch(t *rapid.T) {
	if len(h.timelines) == historyMax {
		return
	}
	parent := h.any(t)
	h.branchAt(t, parent, wal.LSN(rapid.Uint64Range(uint64(historyStart), uint64(parent.end())+6).Draw(t, "at")))
}

func (h *history) branchAt(t *rapid.T, parent *twin, at wal.LSN) (child *twin) {
	h.made++
	child = &twin{id: timelineID(h.made), parent: parent, at: at, last: at, durable: at, leased: map[lsm.LeaseID]wal.LSN{}}
	ownerNow := func() (owner *twin) {
		for owner = parent; owner.parent != nil && (at < owner.at || at == owner.at && at < owner.cutoffNow()); {
			owner = owner.parent
		}
		return owner
	}
	branch := func() error { return h.store.Branch(context.Background(), parent.id, child.id, at, nil) }
	err := untilKnown(branch)
	for errors.Is(err, lsm.ErrNotAttached) {
		owner := ownerNow()
		require.Nil(t, owner.open)
		h.attach(t, owner)
		err = untilKnown(branch)
	}
	owner := ownerNow()
	if errors.Is(err, lsm.ErrBelowHorizon) {
		require.Less(t, at, owner.cutoffNow())
		for o := parent; o != owner; o = o.parent {
			require.NotEqual(t, o.at, at, "a branch is made where its parent leaves")
		}
		for _, leased := range owner.leased {
			require.NotEqual(t, leased, at, "a branch is made where a lease is")
		}
		return nil
	}
	require.NoError(t, err)
	for made := h.info(t, child).Parent; child.parent.id != made; child.parent = child.parent.parent {
		require.LessOrEqual(t, at, child.parent.at)
	}
	h.timelines = append(h.timelines, child)
	return child
}

// reopen drops the store and opens another on the same bucket.
func (h *history) reopen(t *rapid.T) {
	if rapid.IntRange(0, 3).Draw(t, "stay open") == 0 {
		h.restart(t)
	}
}

func (h *history) restart(t *rapid.T) {
	for _, m := range h.timelines {
		if m.open != nil {
			h.detach(t, m)
		}
	}
	require.NoError(t, h.store.Close(context.Background()))
	if rapid.Bool().Draw(t, "wipe") {
		h.disk.wipe()
	}
	h.openStore(t)
}

func (h *history) detachOne(t *rapid.T) {
	if m := h.any(t); m.open != nil {
		h.detach(t, m)
	}
}

// moment draws an LSN to read m at: any, one that somebody pins, or one near a cutoff.
func (h *history) moment(t *rapid.T, m *twin) wal.LSN {
	var special []wal.LSN
	for o := m; o != nil; o = o.parent {
		cutoff := o.cutoffNow()
		special = append(special, o.at, cutoff, cutoff, cutoff+1)
		for id := range h.made + 1 {
			if at, ok := o.leased[leaseID(id)]; ok {
				special = append(special, at, at)
			}
		}
	}
	if rapid.Bool().Draw(t, "special") {
		return rapid.SampledFrom(special).Draw(t, "lsn")
	}
	return wal.LSN(rapid.Uint64Range(uint64(historyStart)-1, uint64(m.last)+1).Draw(t, "lsn"))
}

func leaseID(n int) lsm.LeaseID { return lsm.LeaseID{byte(n), byte(n >> 8)} }

func (h *history) read(t *rapid.T) {
	m := h.anyOpen(t)
	lsn := h.moment(t, m)
	h.readOf(t, m, lsn, rapid.SliceOfN(rapid.IntRange(0, historyKeys), 1, 5).Draw(t, "keys"))
}

// readOf reads keys with floors that are drawn, where merges do not make images.
func (h *history) readOf(t *rapid.T, m *twin, lsn wal.LSN, keys []int) {
	floors := make([]wal.LSN, len(keys))
	for i := range floors {
		if h.opts.Redo == nil {
			floors[i] = wal.LSN(rapid.Uint64Range(0, uint64(lsn)).Draw(t, "floor"))
		}
	}
	h.readFrom(t, m, lsn, keys, floors)
}

func (h *history) readFrom(t *rapid.T, m *twin, lsn wal.LSN, keys []int, floors []wal.LSN) {
	reads := make([]lsm.Read, len(keys))
	for i, k := range keys {
		reads[i] = lsm.Read{Key: key(k), LSN: lsn, Floor: floors[i]}
		if h.opts.Redo != nil {
			reads[i].Floor, _ = m.floor(reads[i].Key, lsn)
		}
	}
	out := make([]lsm.Chain, len(reads))
	before := m.ownerCutoff(lsn)
	err := m.open.Get(context.Background(), reads, out)
	if !m.judge(t, lsn, before, err) {
		return
	}
	for i, r := range reads {
		if _, exists := m.floor(r.Key, lsn); exists || h.opts.Redo == nil {
			h.requireChain(t, m.chain(r.Key, r.LSN, r.Floor), out[i])
		}
	}
}

// sweep reads every key of every timeline at each LSN at which there is a version, and at
// those beside it.
func (h *history) sweep(t *rapid.T) {
	for _, m := range h.timelines {
		if m.open == nil {
			h.attach(t, m)
		}
	}
	for _, m := range h.timelines {
		m.catchUp(t)
	}
	keys, floors := make([]int, historyKeys), make([]wal.LSN, historyKeys)
	for k := range keys {
		keys[k] = k
	}
	for _, m := range h.timelines {
		for _, lsn := range m.moments() {
			h.readFrom(t, m, lsn, keys, floors)
		}
	}
}

// requireChain demands the chain, or, if merges make images, its value.
func (h *history) requireChain(t *rapid.T, want, got lsm.Chain) {
	if h.opts.Redo != nil {
		require.Equal(t, text(want), text(got))
		return
	}
	if len(got.Deltas) == 0 {
		got.Deltas = nil
	}
	require.Equal(t, want, got)
}

// scan reads a range of keys, or two where those with floors are left out.
func (h *history) scan(t *rapid.T) {
	m := h.anyOpen(t)
	lsn := h.moment(t, m)
	most := historyKeys
	if h.opts.Redo != nil {
		most = mortalKey
	}
	lo, hi := rapid.IntRange(0, most).Draw(t, "lo"), rapid.IntRange(0, most).Draw(t, "hi")
	var keys []lsm.Key
	var chains []lsm.Chain
	before := m.ownerCutoff(lsn)
	err := m.open.Scan(context.Background(), key(lo), key(hi), lsn, func(k lsm.Key, c lsm.Chain) error {
		keys, chains = append(keys, k), append(chains, c)
		return nil
	})
	if !m.judge(t, lsn, before, err) {
		return
	}
	for at := lo; at < hi; at++ {
		want := m.chain(key(at), lsn, 0)
		if want.Empty() {
			continue
		}
		require.NotEmpty(t, keys, "scan left out key %d", at)
		require.Equal(t, key(at), keys[0])
		h.requireChain(t, want, chains[0])
		keys, chains = keys[1:], chains[1:]
	}
	require.Empty(t, keys)
}

func (h *history) compact(t *rapid.T) {
	require.NoError(t, h.anyOpen(t).open.Compact(context.Background()))
}

// collectEarly collects a new branch after a restart, when its ancestors have yet to read
// again what was not flushed, and reads it when they have.
func (h *history) collectEarly(t *rapid.T) {
	if len(h.timelines) == historyMax {
		return
	}
	parent := h.anyOpen(t)
	parent.applyMore(t)
	m := h.branchAt(t, parent, parent.last)
	h.attach(t, m)
	m.applyMore(t)
	m.flush(t)
	h.restart(t)
	h.attach(t, m)
	_, err := m.open.Collect(context.Background(), lsm.CollectOptions{Cutoff: m.last})
	require.NoError(t, err)
	for o := m; o != nil; o = o.parent {
		if o.open == nil {
			h.attach(t, o)
		}
		o.catchUp(t)
	}
	for k := range historyKeys {
		h.readOf(t, m, m.last, []int{k})
	}
}

func (h *history) collect(t *rapid.T) {
	m := h.anyOpen(t)
	before := m.cutoffNow()
	opts := lsm.CollectOptions{DryRun: rapid.IntRange(0, 3).Draw(t, "dry run") == 0, Cutoff: wal.LSN(rapid.Uint64Range(0, uint64(m.last)+2).Draw(t, "cutoff"))}
	c, err := m.open.Collect(context.Background(), opts)
	require.NoError(t, err)
	require.GreaterOrEqual(t, c.Cutoff, before)
	if !opts.DryRun {
		require.GreaterOrEqual(t, m.cutoffNow(), c.Cutoff)
	}
}

func (h *history) lease(t *rapid.T) {
	m := h.anyOpen(t)
	at := wal.LSN(rapid.Uint64Range(uint64(m.at), uint64(m.last)+1).Draw(t, "at"))
	h.made++
	id := leaseID(h.made)
	err := m.open.Lease(context.Background(), id, at, time.Now().Add(time.Hour))
	switch {
	case at > m.last:
		require.ErrorIs(t, err, lsm.ErrFutureLSN)
	case errors.Is(err, lsm.ErrBelowHorizon):
		require.Less(t, at, m.cutoffNow())
	default:
		require.NoError(t, err)
		m.leased[id] = at
	}
}

func (h *history) release(t *rapid.T) {
	m := h.anyOpen(t)
	for n := range h.made + 1 {
		if _, ok := m.leased[leaseID(n)]; ok {
			require.NoError(t, m.open.Release(context.Background(), leaseID(n)))
			delete(m.leased, leaseID(n))
			return
		}
	}
}

// remove deletes a timeline, if nothing hangs from it.
func (h *history) remove(t *rapid.T) {
	m := h.any(t)
	err := h.store.Delete(context.Background(), m.id)
	var blocked *lsm.HasChildrenError
	if slices.ContainsFunc(h.timelines, func(c *twin) bool { return c.parent == m }) {
		require.ErrorAs(t, err, &blocked)
		return
	}
	if m.parent == nil {
		require.NoError(t, err)
		require.NoError(t, untilKnown(func() error { return h.store.Create(context.Background(), m.id, historyStart, nil) }))
		*m = twin{id: m.id, at: historyStart, last: historyStart, durable: historyStart, cutoff: historyStart, leased: map[lsm.LeaseID]wal.LSN{}}
		return
	}
	require.NoError(t, err)
	h.timelines = slices.DeleteFunc(h.timelines, func(c *twin) bool { return c == m })
}

// leave makes a branch a root of its own.
func (h *history) leave(t *rapid.T) {
	m := h.anyOpen(t)
	if m.parent == nil {
		require.NoError(t, m.open.DetachFromParent(context.Background()))
		return
	}
	want := m.wantError(m.at)
	if want != nil && h.anyAttachedAncestorLags(m) {
		return // it would wait for it
	}
	err := m.open.DetachFromParent(context.Background())
	if want != nil {
		require.ErrorIs(t, err, want)
		return
	}
	require.NoError(t, err)
	m.log, m.parent = append(m.parent.visible(m.at), m.log...), nil
	require.GreaterOrEqual(t, m.cutoffNow(), m.at)
}

func (h *history) anyAttachedAncestorLags(m *twin) bool {
	for hi := m.at; m.parent != nil; m = m.parent {
		if hi = min(hi, m.at); m.parent.open != nil && m.parent.last < hi {
			return true
		}
	}
	return false
}

// close checks in the end that every answer is right, also when all has been merged, and
// that the bucket holds the layers that are named, and no more.
func (h *history) close(t *rapid.T) {
	ctx := context.Background()
	h.sweep(t)
	h.bucket.setFate(nil)
	for _, m := range h.timelines {
		require.NoError(t, m.open.Compact(ctx))
	}
	h.sweep(t)
	// What was written last may leave layers that are still to be deleted: whoever attaches
	// the timeline next deletes them, and writes nothing.
	for _, m := range h.timelines {
		h.detach(t, m)
		h.attach(t, m)
		require.NoError(t, m.open.Compact(ctx))
		h.detach(t, m)
		h.attach(t, m)
		require.NoError(t, m.open.Compact(ctx))
		require.NoError(t, m.open.Detach(ctx))
	}
	named := map[string]bool{}
	for _, key := range h.bucket.keys("/index") {
		x, err := manifest.Decode(key, h.bucket.objects[key])
		require.NoError(t, err)
		for i := range x.Layers {
			named[remote.LayerKey(tenant, x.Layers[i].ID)] = true
		}
	}
	for _, key := range h.bucket.keys("/layers/") {
		require.True(t, named[key], "%s is named", key)
		delete(named, key)
	}
	require.Empty(t, named, "what is named is there")
	require.NoError(t, h.store.Close(ctx))
}

func TestMetamorphic(t *testing.T) {
	if *rounds > 0 {
		require.NoError(t, flag.Set("rapid.checks", strconv.Itoa(*rounds)))
	}
	rapid.Check(t, func(t *rapid.T) {
		h := newHistory(t)
		defer func() { _ = h.store.Close(context.Background()) }()
		t.Repeat(map[string]func(*rapid.T){
			"apply": h.applyMore, "apply more": h.applyMore, "flush": h.flush, "branch": h.branch,
			"reopen": h.reopen, "detach": h.detachOne, "remove": h.remove, "leave": h.leave,
			"compact": h.compact, "collect": h.collect, "collect early": h.collectEarly, "lease": h.lease, "release": h.release,
			"read": h.read, "read again": h.read, "scan": h.scan,
		})
		h.close(t)
	})
}
