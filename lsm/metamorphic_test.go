package lsm_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"slices"
	"strconv"
	"strings"
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

// textRedo makes text of chains, as text does. Two keys have floors: theirs begin a new
// life every lifeBytes of log, and one of them is dead in every other of its lives.
type textRedo struct{}

const (
	lifeBytes  = 64
	forkKey    = 2
	mortalKey  = 3
	fickleKey  = 4
	pageOfFork = 5
	historyMax = 8 // timelines
)

func floorOf(k lsm.Key, at wal.LSN) (floor wal.LSN, exists bool) {
	life := at / lifeBytes
	switch k {
	case key(mortalKey):
		return life * lifeBytes, true
	case key(fickleKey):
		return life * lifeBytes, life%2 == 0
	}
	return 0, true
}

func (textRedo) Floor(ctx context.Context, k lsm.Key, at wal.LSN, read func(context.Context, lsm.Key) (lsm.Chain, error)) (wal.LSN, bool, error) {
	if k == key(mortalKey) {
		if _, err := read(ctx, key(0)); err != nil {
			return 0, false, err
		}
	}
	floor, exists := floorOf(k, at)
	return floor, exists, nil
}

// pagedRedo has a key more with a floor, a page: it lives as long as its fork does, of
// which another key tells, be it the parent's, and is dead below where that was made.
type pagedRedo struct{ textRedo }

func (r pagedRedo) Floor(ctx context.Context, k lsm.Key, at wal.LSN, read func(context.Context, lsm.Key) (lsm.Chain, error)) (wal.LSN, bool, error) {
	if k != key(pageOfFork) {
		return r.textRedo.Floor(ctx, k, at, read)
	}
	fork, err := read(ctx, key(forkKey))
	if err != nil || fork.Empty() {
		return 0, false, err
	}
	made, err := madeAt(fork)
	return made, true, err
}

// madeAt is where a fork was made: the LSN of its first version, which its text tells. The
// chain does not, for merges make images.
func madeAt(fork lsm.Chain) (made wal.LSN, err error) {
	_, lsn, _ := strings.Cut(text(fork), " at ")
	_, err = fmt.Sscanf(lsn, "%d", &made)
	return made, err
}

func (textRedo) Apply(dst []byte, _ lsm.Key, c *lsm.Chain) ([]byte, error) {
	return append(dst, text(*c)...), nil
}

const (
	historyStart = wal.LSN(100)
	historyKeys  = 6
)

// twin is one timeline of the naive model.
type twin struct {
	id      wal.TimelineID
	parent  *twin
	at      wal.LSN // branch point
	log     []lsm.Version
	ends    []wal.LSN // ends of records; versions of one record share its end
	last    wal.LSN   // applied
	durable wal.LSN   // flushed, at least
	cutoff  wal.LSN   // as it was when it was last open
	leased  map[lsm.LeaseID]wal.LSN
	open    *lsm.Timeline
	batched bool // no record of it is streamed
}

func (m *twin) cutoffNow() wal.LSN {
	if m.open != nil {
		m.cutoff = m.open.Info().Cutoff
	}
	return m.cutoff
}

// owner is whose history an LSN of m is, and where that ends for m.
func (m *twin) owner(lsn wal.LSN) (o *twin, hi wal.LSN) {
	hi = ^wal.LSN(0)
	for o = m; o.parent != nil && lsn <= o.at; o = o.parent {
		hi = min(hi, o.at)
	}
	return o, hi
}

// pinned reports whether an LSN of m stays readable whatever the cutoff.
func (m *twin) pinned(lsn wal.LSN) bool {
	o, hi := m.owner(lsn)
	for _, at := range o.leased {
		if at == lsn {
			return true
		}
	}
	return lsn == hi
}

// visible lists the versions at or below lsn, oldest first.
func (m *twin) visible(lsn wal.LSN) (versions []lsm.Version) {
	if m.parent != nil {
		versions = m.parent.visible(min(lsn, m.at))
	}
	for _, v := range m.log {
		if v.LSN <= lsn {
			versions = append(versions, v)
		}
	}
	return versions
}

func (m *twin) chain(k lsm.Key, lsn, floor wal.LSN) (c lsm.Chain) {
	for _, v := range m.visible(lsn) {
		if v.Key != k || v.LSN <= floor {
			continue
		}
		switch v.Kind {
		case lsm.Image:
			c = lsm.Chain{HasBase: true, BaseLSN: v.LSN, Base: v.Value}
		case lsm.Tombstone:
			c = lsm.Chain{}
		case lsm.Delta:
			c.Deltas = append(c.Deltas, v)
		}
	}
	return c
}

// floor is what pagedRedo has to find.
func (m *twin) floor(k lsm.Key, at wal.LSN) (floor wal.LSN, exists bool) {
	if k != key(pageOfFork) {
		return floorOf(k, at)
	}
	fork := m.chain(key(forkKey), at, 0)
	switch {
	case fork.HasBase:
		return fork.BaseLSN, true
	case len(fork.Deltas) > 0:
		return fork.Deltas[0].LSN, true
	}
	return 0, false
}

func (m *twin) end() wal.LSN {
	if len(m.ends) == 0 {
		return m.at
	}
	return m.ends[len(m.ends)-1]
}

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

// write lets the log grow by a few records.
func (m *twin) write(t *rapid.T) {
	end := m.end()
	for range rapid.IntRange(1, 12).Draw(t, "records") {
		end += wal.LSN(rapid.IntRange(1, 4).Draw(t, "record size"))
		keys := rapid.SliceOfNDistinct(rapid.IntRange(0, historyKeys-1), 0, rapid.SampledFrom([]int{3, 3, historyKeys}).Draw(t, "keys at most"), rapid.ID[int]).Draw(t, "keys")
		for _, k := range keys {
			if k == forkKey && rapid.IntRange(0, 2).Draw(t, "fork stays") > 0 {
				continue
			}
			v := lsm.Version{Key: key(k), LSN: end, Kind: lsm.Delta, Value: fmt.Appendf(nil, "change of %d at %d", k, end)}
			switch kind := rapid.IntRange(0, 9).Draw(t, "kind"); {
			case kind == 0 || kind > 5 && k == forkKey:
				v.Kind, v.Value = lsm.Tombstone, nil
			case kind <= 2:
				v.Kind, v.Value = lsm.Image, slices.Repeat(v.Value, rapid.IntRange(1, 20).Draw(t, "repeat"))
			}
			m.log = append(m.log, v)
		}
		m.ends = append(m.ends, end)
	}
}

// applyMore applies what was not, or, if all was, more.
func (h *history) applyMore(t *rapid.T) {
	h.anyOpen(t).applyMore(t)
}

func (m *twin) applyMore(t *rapid.T) {
	if m.last == m.end() {
		m.write(t)
	}
	m.catchUp(t)
}

// catchUp applies what was not.
func (m *twin) catchUp(t *rapid.T) {
	todo := m.ends
	for len(todo) > 0 && todo[0] <= m.last {
		todo = todo[1:]
	}
	for i, end := range todo {
		if fresh := i == 0 || todo[i-1] == m.last; fresh && !m.batched && rapid.IntRange(0, 7).Draw(t, "stream") == 0 {
			m.stream(t, end)
			continue
		}
		if rapid.IntRange(0, 2).Draw(t, "batch on") > 0 && end != todo[len(todo)-1] {
			continue // several records in one call
		}
		var batch []lsm.Version
		for _, v := range m.log {
			if v.LSN > m.last && v.LSN <= end {
				batch = append(batch, v)
			}
		}
		require.NoError(t, m.open.Apply(context.Background(), end, batch))
		m.last = end
	}
}

// stream applies one record as one that is too large for memory.
func (m *twin) stream(t *rapid.T, end wal.LSN) {
	var record []lsm.Version
	for _, v := range m.log {
		if v.LSN == end {
			record = append(record, v)
		}
	}
	slices.SortFunc(record, func(a, b lsm.Version) int { return a.Key.Compare(b.Key) })
	require.NoError(t, m.open.ApplyStream(context.Background(), end, func(put func(*lsm.Version) error) error {
		for i := range record {
			if err := put(&record[i]); err != nil {
				return err
			}
		}
		return nil
	}))
	m.last, m.durable = end, end
}

func (h *history) flush(t *rapid.T) { h.anyOpen(t).flush(t) }

func (m *twin) flush(t *rapid.T) {
	flush(t, m.open)
	m.durable = m.last
}

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

// wantError is the error that a read of m at lsn ends with, if any.
func (m *twin) wantError(lsn wal.LSN) error {
	if lsn > m.last {
		return lsm.ErrFutureLSN
	}
	hi := m.at
	for a := m.parent; a != nil; a = a.parent {
		readable := a.durable
		if a.open != nil {
			readable = a.last
		}
		if min(lsn, hi) > readable {
			return lsm.ErrAncestorNotReady
		}
		hi = min(hi, a.at)
	}
	return nil
}

// judge says whether an answer to a read of m at lsn has the error that it must have.
// before is the cutoff that was known before the read.
func (m *twin) judge(t *rapid.T, lsn, before wal.LSN, err error) (answered bool) {
	if want := m.wantError(lsn); want != nil {
		require.ErrorIs(t, err, want, "timeline %v at %v", m.id, lsn)
		return false
	}
	o, _ := m.owner(lsn)
	switch {
	case m.pinned(lsn) && lsn >= historyStart:
		require.NoError(t, err, "pinned %v of timeline %v", lsn, m.id)
	case lsn < before || lsn < historyStart:
		require.ErrorIs(t, err, lsm.ErrBelowHorizon)
	case errors.Is(err, lsm.ErrBelowHorizon):
		require.Less(t, lsn, o.cutoffNow(), "refused, and kept")
	default:
		require.NoError(t, err)
	}
	return err == nil
}

// ownerCutoff is the cutoff that holds for m at lsn.
func (m *twin) ownerCutoff(lsn wal.LSN) wal.LSN {
	o, _ := m.owner(lsn)
	return o.cutoffNow()
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

func (h *history) readOf(t *rapid.T, m *twin, lsn wal.LSN, keys []int) {
	reads := make([]lsm.Read, len(keys))
	for i, k := range keys {
		reads[i] = lsm.Read{Key: key(k), LSN: lsn}
		if h.opts.Redo == nil {
			reads[i].Floor = wal.LSN(rapid.Uint64Range(0, uint64(lsn)).Draw(t, "floor"))
			continue
		}
		reads[i].Floor, _ = m.floor(reads[i].Key, lsn)
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

// close checks in the end that the bucket holds the layers that are named, and no more.
func (h *history) close(t *rapid.T) {
	ctx := context.Background()
	h.bucket.setFate(nil)
	named := map[string]bool{}
	for _, m := range h.timelines {
		if m.open == nil {
			h.attach(t, m)
		}
		require.NoError(t, m.open.Compact(ctx))
		h.detach(t, m)
		h.attach(t, m)
		require.NoError(t, m.open.Compact(ctx))
		require.NoError(t, m.open.Detach(ctx))
	}
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
