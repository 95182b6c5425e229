package search

import (
	"fmt"
	"math/bits"

	"github.com/varvedb/varve/sim"
	"github.com/varvedb/varve/sim/check"
	"github.com/varvedb/varve/sim/world"
	"github.com/varvedb/varve/wal/env"
)

// decisionsMax bounds the decisions that a corpus holds, four bytes each: what was
// chosen most for its worth leaves first.
const decisionsMax = 32 << 20

// Search is a corpus, and what was shown so far. Make it with [New].
type Search struct {
	seed    uint64 // the next fresh one
	draw    func(seed uint64) (sim.Options, error)
	random  env.Stream
	plans   uint64
	seen    map[string]bool
	corpus  []*entry
	holds   int // decisions in corpus
	changed int // plans that changed a tape
}

// entry is a run that showed something new.
type entry struct {
	opts   sim.Options
	tape   *world.Tape
	size   int // decisions
	worth  int // how much was new in it
	chosen int
}

// energy is how much an entry is worth another try.
func (e *entry) energy() int { return 1 + 64*e.worth/(1+e.chosen) }

// Plan is a run to make.
type Plan struct {
	Options sim.Options
	Tape    *world.Tape // nil: fresh, as the seed decides
}

// New begins a search whose fresh seeds are counted from first; draw draws their options.
func New(first uint64, draw func(seed uint64) (sim.Options, error)) *Search {
	return &Search{seed: first, draw: draw, random: world.NewStream(first, "search"), seen: map[string]bool{}}
}

// Next plans the next run. While there is nothing to change, it is a fresh one.
func (s *Search) Next() (Plan, error) {
	n := s.plans
	s.plans++
	if n%2 == 1 && len(s.corpus) > 0 {
		parent := s.choose()
		parent.chosen++
		s.changed++
		opts := parent.opts
		opts.Changed = s.changed
		return Plan{opts, s.change(parent)}, nil
	}
	opts, err := s.draw(s.seed)
	s.seed++
	return Plan{Options: opts}, err
}

// Add takes in what a planned run showed, and reports how much of it was new.
func (s *Search) Add(r *sim.Result) (novelty int) {
	for _, counts := range []check.Counts{r.Covered, r.States} {
		for _, c := range counts {
			if c.N == 0 {
				continue
			}
			if shown := fmt.Sprintf("%s, 2^%d", c.Name, bits.Len(uint(c.N))); !s.seen[shown] {
				s.seen[shown] = true
				novelty++
			}
		}
	}
	if novelty == 0 {
		return 0
	}
	e := &entry{opts: r.Options, tape: r.Tape, worth: novelty}
	for _, stream := range r.Tape.Streams {
		e.size += len(stream.Values)
	}
	s.corpus = append(s.corpus, e)
	s.holds += e.size
	for s.holds > decisionsMax && len(s.corpus) > 1 {
		s.forget()
	}
	return novelty
}

// forget leaves out the entry that is worth least.
func (s *Search) forget() {
	least := 0
	for i, e := range s.corpus {
		if e.energy() < s.corpus[least].energy() {
			least = i
		}
	}
	s.holds -= s.corpus[least].size
	s.corpus = append(s.corpus[:least], s.corpus[least+1:]...)
}

// choose chooses an entry by its energy.
func (s *Search) choose() *entry {
	all := 0
	for _, e := range s.corpus {
		all += e.energy()
	}
	at := s.below(all)
	for _, e := range s.corpus {
		if at -= e.energy(); at < 0 {
			return e
		}
	}
	return s.corpus[len(s.corpus)-1]
}

func (s *Search) below(n int) int { return env.IntN(s.random, n) }

// Shown is how many things were shown so far, and Corpus how many runs are kept.
func (s *Search) Shown() int { return len(s.seen) }

// Corpus is how many runs are kept.
func (s *Search) Corpus() int { return len(s.corpus) }
