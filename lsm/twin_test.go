package lsm_test

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/varvedb/varve/lsm"
	"github.com/varvedb/varve/wal"
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

// moments lists the LSNs at which m may answer otherwise than at the next one, and those
// next to them.
func (m *twin) moments() (lsns []wal.LSN) {
	at := []wal.LSN{historyStart, m.at, m.cutoffNow(), m.last}
	for _, v := range m.visible(m.last) {
		at = append(at, v.LSN)
	}
	for _, lsn := range at {
		lsns = append(lsns, lsn-1, lsn, lsn+1)
	}
	slices.Sort(lsns)
	return slices.Compact(lsns)
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

func (m *twin) flush(t *rapid.T) {
	flush(t, m.open)
	m.durable = m.last
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
