package lsm_test

import (
	"context"
	"fmt"
	"os"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/varvedb/varve/lsm"
	"github.com/varvedb/varve/wal"
)

// A history is a store and its naive twin: per timeline a plain list of versions,
// the log, of which the store has applied a prefix. Closing a store loses what it
// had not flushed, as a crash does, and the log is applied again.
type history struct {
	w         *world
	opts      lsm.Options
	store     *lsm.Store
	timelines []*twin
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
	open    *lsm.Timeline
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

func (m *twin) end() wal.LSN {
	if len(m.ends) == 0 {
		return m.at
	}
	return m.ends[len(m.ends)-1]
}

func newHistory(t *rapid.T, dir string) *history {
	h := &history{w: openWorld(t, dir), opts: lsm.Options{
		MemtableBytes:   rapid.Int64Range(1, 4000).Draw(t, "memtable bytes"),
		FrozenMax:       rapid.IntRange(1, 3).Draw(t, "frozen max"),
		BlockBytes:      rapid.IntRange(64, 512).Draw(t, "block bytes"),
		BlockCacheBytes: rapid.Int64Range(1, 20_000).Draw(t, "block cache bytes"),
		CacheBytes:      rapid.Int64Range(1, 20_000).Draw(t, "cache bytes"),
	}}
	bucket := newMemBucket()
	bucket.fate = randomFates(rapid.Uint64().Draw(t, "fates"))
	h.w.env.Bucket, h.w.env.Clock = bucket, hastyClock{h.w.env.Clock}
	h.store = h.w.openWith(h.w.env, h.opts)
	root := &twin{id: timelineID(0), at: historyStart, last: historyStart, durable: historyStart}
	require.NoError(t, h.store.Create(context.Background(), root.id, historyStart, nil))
	h.timelines = []*twin{root}
	h.attach(t, root)
	return h
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
	m.durable = h.info(t, m).Durable
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
		keys := rapid.SliceOfNDistinct(rapid.IntRange(0, historyKeys-1), 0, 3, rapid.ID[int]).Draw(t, "keys")
		for _, k := range keys {
			v := lsm.Version{Key: key(k), LSN: end, Kind: lsm.Delta, Value: fmt.Appendf(nil, "change of %d at %d", k, end)}
			switch rapid.IntRange(0, 9).Draw(t, "kind") {
			case 0:
				v.Kind, v.Value = lsm.Tombstone, nil
			case 1, 2:
				v.Kind, v.Value = lsm.Image, slices.Repeat(v.Value, rapid.IntRange(1, 20).Draw(t, "repeat"))
			}
			m.log = append(m.log, v)
		}
		m.ends = append(m.ends, end)
	}
}

// applyMore applies what was not, or, if all was, more.
func (h *history) applyMore(t *rapid.T) {
	m := h.anyOpen(t)
	if m.last == m.end() {
		m.write(t)
	}
	todo := m.ends
	for len(todo) > 0 && todo[0] <= m.last {
		todo = todo[1:]
	}
	for _, end := range todo {
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

func (h *history) flush(t *rapid.T) {
	m := h.anyOpen(t)
	flush(t, m.open)
	m.durable = m.last
}

func (h *history) branch(t *rapid.T) {
	if len(h.timelines) == 8 {
		return
	}
	parent := h.any(t)
	at := wal.LSN(rapid.Uint64Range(uint64(historyStart), uint64(parent.end())+6).Draw(t, "at"))
	child := &twin{id: timelineID(len(h.timelines)), parent: parent, at: at, last: at, durable: at}
	require.NoError(t, h.store.Branch(context.Background(), parent.id, child.id, at, nil))
	for child.parent.parent != nil && at < child.parent.at {
		child.parent = child.parent.parent
	}
	h.timelines = append(h.timelines, child)
}

// reopen drops the store and opens another on the same bucket.
func (h *history) reopen(t *rapid.T) {
	if rapid.IntRange(0, 3).Draw(t, "stay open") > 0 {
		return
	}
	for _, m := range h.timelines {
		if m.open != nil {
			h.detach(t, m)
		}
	}
	require.NoError(t, h.store.Close(context.Background()))
	if rapid.Bool().Draw(t, "wipe") {
		h.w.wipeLocal()
	}
	h.store = h.w.openWith(h.w.env, h.opts)
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
	if lsn < historyStart {
		return lsm.ErrBelowHorizon
	}
	return nil
}

func (h *history) read(t *rapid.T) {
	m := h.anyOpen(t)
	lsn := wal.LSN(rapid.Uint64Range(uint64(historyStart)-1, uint64(m.last)+1).Draw(t, "lsn"))
	reads := make([]lsm.Read, rapid.IntRange(1, 5).Draw(t, "reads"))
	for i := range reads {
		reads[i] = lsm.Read{Key: key(rapid.IntRange(0, historyKeys).Draw(t, "key")), LSN: lsn, Floor: wal.LSN(rapid.Uint64Range(0, uint64(lsn)).Draw(t, "floor"))}
	}
	out := make([]lsm.Chain, len(reads))
	err := m.open.Get(context.Background(), reads, out)
	if want := m.wantError(lsn); want != nil {
		require.ErrorIs(t, err, want, "timeline %v at %v", m.id, lsn)
		return
	}
	require.NoError(t, err)
	for i, r := range reads {
		requireChain(t, m.chain(r.Key, r.LSN, r.Floor), out[i])
	}
}

func requireChain(t *rapid.T, want, got lsm.Chain) {
	if len(got.Deltas) == 0 {
		got.Deltas = nil
	}
	require.Equal(t, want, got)
}

func (h *history) scan(t *rapid.T) {
	m := h.anyOpen(t)
	lsn := wal.LSN(rapid.Uint64Range(uint64(historyStart)-1, uint64(m.last)+1).Draw(t, "lsn"))
	lo, hi := rapid.IntRange(0, historyKeys).Draw(t, "lo"), rapid.IntRange(0, historyKeys).Draw(t, "hi")
	at := lo
	err := m.open.Scan(context.Background(), key(lo), key(hi), lsn, func(k lsm.Key, c lsm.Chain) error {
		for want := (lsm.Chain{}); ; at++ {
			if want = m.chain(key(at), lsn, 0); !want.Empty() {
				require.Equal(t, key(at), k)
				requireChain(t, want, c)
				at++
				return nil
			}
			require.Less(t, at, hi)
		}
	})
	if want := m.wantError(lsn); want != nil {
		require.ErrorIs(t, err, want)
		return
	}
	require.NoError(t, err)
	for ; at < hi; at++ {
		require.True(t, func() bool { c := m.chain(key(at), lsn, 0); return c.Empty() }(), "scan left out key %d", at)
	}
}

func TestStoreAgreesWithItsTwinOverRandomHistories(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		dir, err := os.MkdirTemp("", "varve-lsm-history")
		require.NoError(t, err)
		defer os.RemoveAll(dir)
		h := newHistory(t, dir)
		defer func() { require.NoError(t, h.store.Close(context.Background())) }()
		t.Repeat(map[string]func(*rapid.T){
			"apply": h.applyMore, "apply more": h.applyMore, "flush": h.flush, "branch": h.branch,
			"reopen": h.reopen, "detach": h.detachOne,
			"read": h.read, "read again": h.read, "scan": h.scan,
		})
	})
}
