package search

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/sim"
	"github.com/varvedb/varve/sim/world"
)

func draw(seed uint64) (sim.Options, error) { return sim.Draw(seed, "swarm") }

// played stands for a run: it shows the label that its first decision names, as often as
// the second says.
func played(p Plan) *sim.Result {
	r := &sim.Result{Options: p.Options, Tape: p.Tape}
	if p.Tape == nil {
		r.Tape = &world.Tape{Seed: p.Options.Seed, Streams: []world.TapeStream{
			{Name: "clients", Values: []uint32{uint32(p.Options.Seed), 1, 2, 3}},
			{Name: "disk/sk1", Values: make([]uint32, 100)},
			{Name: "empty"},
		}}
	}
	if values := r.Tape.Streams[0].Values; len(values) > 1 {
		r.Covered.Add(fmt.Sprintf("label %d", values[0]%7), 1+int(values[1]%9))
	}
	return r
}

func planned(t *testing.T, s *Search, runs int) (plans []Plan) {
	for range runs {
		p, err := s.Next()
		require.NoError(t, err)
		plans = append(plans, p)
		s.Add(played(p))
	}
	return plans
}

func TestEveryOtherPlanIsAFreshSeed(t *testing.T) {
	s := New(10, draw)
	seed, changed := uint64(10), 0
	for i, p := range planned(t, s, 200) {
		if i%2 == 0 {
			require.Equal(t, seed, p.Options.Seed)
			require.Zero(t, p.Options.Changed)
			require.Nil(t, p.Tape)
			seed++
			continue
		}
		changed++
		require.Equal(t, changed, p.Options.Changed)
		require.NotNil(t, p.Tape)
	}
}

func TestWithoutACorpusAllSeedsAreFresh(t *testing.T) {
	s := New(1, draw)
	var seeds []uint64
	for range 6 {
		p, err := s.Next()
		require.NoError(t, err)
		require.Nil(t, p.Tape)
		seeds = append(seeds, p.Options.Seed)
	}
	require.Len(t, seeds, 6)
	slices.Sort(seeds)
	require.Equal(t, seeds, slices.Compact(slices.Clone(seeds)), "no seed is run twice")
}

func TestPlansAreTheSameForTheSameResults(t *testing.T) {
	one, other := planned(t, New(3, draw), 300), planned(t, New(3, draw), 300)
	require.Equal(t, one, other)
	require.NotEqual(t, one, planned(t, New(4, draw), 300))
}

func TestWhatWasShownBeforeIsNotNew(t *testing.T) {
	s := New(1, draw)
	r := played(Plan{Options: sim.Options{Seed: 5}})
	require.Equal(t, 1, s.Add(r))
	require.Zero(t, s.Add(r), "the same")
	more := played(Plan{Options: sim.Options{Seed: 5}})
	more.Covered[0].N *= 4
	require.Equal(t, 1, s.Add(more), "the same label, far more often")
	more.States.Add("log admitted", 1)
	require.Equal(t, 1, s.Add(more), "a state")
	require.Equal(t, 3, s.Corpus())
	require.Equal(t, 3, s.Shown())
}

func TestAChangeLeavesTheParentsTapeAsItIs(t *testing.T) {
	s := New(1, draw)
	r := played(Plan{Options: sim.Options{Seed: 5}})
	s.Add(r)
	same := 0
	before := played(Plan{Options: sim.Options{Seed: 5}}).Tape
	for range 500 {
		tape := s.change(s.corpus[0])
		require.Equal(t, before, r.Tape)
		require.Equal(t, r.Tape.Seed, tape.Seed)
		if slices.EqualFunc(tape.Streams, r.Tape.Streams, func(a, b world.TapeStream) bool { return slices.Equal(a.Values, b.Values) }) {
			same++
		}
	}
	require.Less(t, same, 300, "most changes change something")
}

func TestTheCorpusIsBounded(t *testing.T) {
	s := New(1, draw)
	for i := range 5 {
		r := &sim.Result{Tape: &world.Tape{Streams: []world.TapeStream{{Name: "sched", Values: make([]uint32, decisionsMax/2)}}}}
		for j := range 1 + i {
			r.Covered.Add(fmt.Sprint(i, j), 1)
		}
		s.Add(r)
	}
	require.LessOrEqual(t, s.holds, decisionsMax)
	require.Equal(t, 2, s.Corpus())
	require.Equal(t, 5, s.corpus[1].worth, "what showed most stays")
}

// TestAChangedRunIsReplayed makes real runs by plan until one has a changed tape: its
// file alone gives the same trace again.
func TestAChangedRunIsReplayed(t *testing.T) {
	s := New(1, func(seed uint64) (sim.Options, error) {
		o, err := sim.Draw(seed, "all")
		o.Storm = 5 * time.Second
		return o, err
	})
	for range 2 {
		p, err := s.Next()
		require.NoError(t, err)
		r := sim.Run(p.Options, sim.Play{Tape: p.Tape})
		require.True(t, r.OK(), "%s", r.Report())
		if p.Tape == nil {
			require.Positive(t, s.Add(r), "states and labels are seen")
			continue
		}
		record, tape, err := sim.ParseRecord("run", sim.NewRecord(r).Bytes())
		require.NoError(t, err)
		require.Equal(t, 1, record.Options.Changed)
		require.Equal(t, r.Hash, sim.Run(record.Options, sim.Play{Tape: tape}).Hash)
		return
	}
	t.Fatal("no tape was changed")
}
