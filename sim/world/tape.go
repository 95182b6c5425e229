package world

import (
	"cmp"
	"slices"
)

// Tape is every decision of a run, by sub-stream. A world that is given a tape
// makes the same decisions in the same order; a tape may be edited: what is left
// out reads as 0, the least eventful choice.
type Tape struct {
	Seed    uint64 // of the nodes' own randomness, which is not on the tape
	Streams []TapeStream
}

// TapeStream is the decisions of one sub-stream in order.
type TapeStream struct {
	Name   string
	Values []uint32
}

// deck holds the world's sub-streams of decisions.
type deck struct {
	seed    uint64
	replay  *Tape
	streams map[string]*Choices
}

func newDeck(seed uint64, replay *Tape) *deck {
	return &deck{seed: seed, replay: replay, streams: map[string]*Choices{}}
}

func (d *deck) stream(name string) *Choices {
	c := d.streams[name]
	if c == nil {
		c = &Choices{random: seedOf(d.seed, 0, "choices", name), replaying: d.replay != nil}
		if d.replay != nil {
			c.replay = d.replay.values(name)
		}
		d.streams[name] = c
	}
	return c
}

func (t *Tape) values(name string) []uint32 {
	for _, s := range t.Streams {
		if s.Name == name {
			return s.Values
		}
	}
	return nil
}

func (d *deck) tape() *Tape {
	t := &Tape{Seed: d.seed}
	//varve:unordered sorted below
	for name, c := range d.streams {
		if len(c.made) > 0 {
			t.Streams = append(t.Streams, TapeStream{name, slices.Clone(c.made)})
		}
	}
	slices.SortFunc(t.Streams, func(a, b TapeStream) int { return cmp.Compare(a.Name, b.Name) })
	return t
}
