// Package report writes results down for readers: docs/BENCHMARKS.md as a whole, and the
// part of README.md between two marks.
//
// The promise: every figure in a document comes from a results folder by this program,
// none by hand; only ratios and counters are stated, never a time of the machine that
// they come from; and a smoke run is refused.
//
// why.json says of goals that are missed why that is, and what would change it, as far as
// a profile or the design shows it. A goal that is reached needs no excuse: its entry is
// not printed.
//
// What it does not do: measure, judge or draw.
package report
