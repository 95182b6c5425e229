// Package minimize makes a failed run small: fewer nodes, fewer faults, fewer
// operations, then less delay.
//
// The promise: what comes out fails in the same way as what went in ([Way]), is not larger,
// and is replayed from its options and its tape by the same build. The same failure and
// bound give the same result.
//
// Larger is meant in that order: fewer nodes are smaller whatever else grows, then fewer
// faults, and so on. A failure that three nodes show without any fault is read more easily
// than one of seven with a hundred, even if it takes more operations until it comes.
//
// # How
//
// A run is its options and its tape of decisions, where 0 is the least eventful one.
// Each step changes one of them, runs the whole again, and keeps the change if the run
// still fails in the same way:
//
//	nodes       fewer safekeepers, pageservers, computes, sessions, readers
//	faults      kinds are switched off, by halves and then one by one
//	operations  a bound on those that clients begin; smaller transactions; fewer kinds
//	delays      a shorter storm; then decisions are made uneventful, stream by stream:
//	            of the faults that are left, of links, of the scheduler
//
// Other options make other questions out of a tape, so that its answers may no longer
// lead anywhere. A change of options that does not fail by the tape is therefore tried
// on a few fresh seeds too, which are derived from the first one.
//
// What it does not do: prove that nothing smaller fails, or read and write files.
package minimize
