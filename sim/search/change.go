package search

import (
	"slices"
	"strings"

	"github.com/varvedb/varve/sim/world"
)

const (
	changesMax = 3  // of one tape
	turnsMax   = 16 // decisions that are turned at once

	// eventful is read as the most eventful choice wherever a fault has chances per
	// million.
	eventful = 999_999
)

// change makes another tape of an entry's.
func (s *Search) change(parent *entry) *world.Tape {
	tape := &world.Tape{Seed: parent.tape.Seed, Streams: slices.Clone(parent.tape.Streams)}
	for i := range tape.Streams {
		tape.Streams[i].Values = slices.Clone(tape.Streams[i].Values)
	}
	changes := []func(*world.Tape){s.redrawAll, s.redrawOne, s.turn, s.turn, s.shift, s.splice}
	for range 1 + s.below(changesMax) {
		changes[s.below(len(changes))](tape)
	}
	return tape
}

// redrawAll draws the rest of every stream anew, from the same share of each on: what
// comes before stays about as it was.
func (s *Search) redrawAll(tape *world.Tape) {
	const shares = 1000
	from := s.below(shares)
	for i := range tape.Streams {
		s.redraw(&tape.Streams[i], len(tape.Streams[i].Values)*from/shares)
	}
}

// redrawOne draws the rest of one stream anew.
func (s *Search) redrawOne(tape *world.Tape) {
	stream := s.anyStream(tape, func(string) bool { return true })
	s.redraw(stream, s.below(len(stream.Values)))
}

// redraw draws a stream's decisions anew from a place on, and half as many more, as a
// run that goes another way may need them. A decision wraps at its bound.
func (s *Search) redraw(stream *world.TapeStream, from int) {
	for range len(stream.Values) / 2 {
		stream.Values = append(stream.Values, 0)
	}
	for i := from; i < len(stream.Values); i++ {
		stream.Values[i] = uint32(s.random.Uint64())
	}
}

// turn turns decisions of a stream of faults, near to each other.
func (s *Search) turn(tape *world.Tape) {
	stream := s.anyStream(tape, isOfFaults)
	from := s.below(len(stream.Values))
	near := stream.Values[from:min(len(stream.Values), from+8*turnsMax)]
	for range 1 + s.below(turnsMax) {
		values := []uint32{0, eventful, uint32(s.random.Uint64())}
		near[s.below(len(near))] = values[s.below(len(values))]
	}
}

// shift leaves out a piece of a stream, or doubles it: what follows is asked other
// questions.
func (s *Search) shift(tape *world.Tape) {
	stream := s.anyStream(tape, func(string) bool { return true })
	from := s.below(len(stream.Values))
	to := min(len(stream.Values), from+1+s.below(turnsMax))
	if s.below(2) == 0 {
		stream.Values = slices.Delete(stream.Values, from, to)
		return
	}
	stream.Values = slices.Insert(stream.Values, from, slices.Clone(stream.Values[from:to])...)
}

// splice takes a stream from another entry, where both have it.
func (s *Search) splice(tape *world.Tape) {
	stream := s.anyStream(tape, func(string) bool { return true })
	for _, other := range s.choose().tape.Streams {
		if other.Name == stream.Name {
			stream.Values = slices.Clone(other.Values)
		}
	}
}

// isOfFaults reports whether a stream decides on faults, not on what clients do.
func isOfFaults(name string) bool {
	return slices.ContainsFunc([]string{"storm/", "crash/", "disk/", "net/", "bucket/", "sched"}, func(prefix string) bool {
		return strings.HasPrefix(name, prefix)
	})
}

// anyStream chooses among the streams of some kind, or among all if there is none, that
// are not empty.
func (s *Search) anyStream(tape *world.Tape, is func(name string) bool) *world.TapeStream {
	var some, all []*world.TapeStream
	for i := range tape.Streams {
		stream := &tape.Streams[i]
		if len(stream.Values) == 0 {
			continue
		}
		if all = append(all, stream); is(stream.Name) {
			some = append(some, stream)
		}
	}
	if len(some) == 0 {
		some = all
	}
	return some[s.below(len(some))]
}
