// Package search looks for runs unlike those before: it keeps the tapes of runs that
// showed something new, changes them, and so makes runs that no seed leads to.
//
// What a run shows is the marked places of the code that it reached and the states
// that its protocols were seen in (roles, terms, lags, layers, generations: see
// sim.Result), each with how often, by powers of two. A run that shows something that
// none before did joins the corpus.
//
//	every other plan   a fresh seed
//	those between      a run of the corpus, chosen by how much was new in it and how
//	                   seldom it was chosen, with its tape changed
//
// A tape is changed in one to three ways: the rest of all streams from some point on is
// drawn anew, or the rest of one; some decisions of a stream of faults are turned to
// their most or least eventful; a piece of a stream is left out or doubled; a stream is
// taken from another run. The changed tape makes a run of its own, whose own tape says
// what was decided: it is replayed like any other.
//
// The same seed and the same results in the same order give the same plans.
//
// What it does not do: run, judge, or look at what a run's verdicts say.
package search
