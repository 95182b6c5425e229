// Package sim runs the whole of Varve in one simulated world, from one seed, breaks
// what can break, and judges what is left.
//
// The promise: a run is its [Options], which a seed and a profile draw, and the build:
// the same again gives the same trace and the same verdicts. A run that fails says so
// in a [Result] that is enough to replay it.
//
// # What runs
//
// Safekeepers, proposers, pageservers and their stores are the production's, built by
// its constructors; what stands for PostgreSQL and its users is package workload, for
// the machines package world, and who judges is package check. One tenant, one
// imported root timeline, branches of branches; two pageservers of which both may
// believe that they own a timeline; computes that fail over and fence each other.
//
// # A run's phases
//
//	set up     the root is imported, nothing fails yet
//	storm      clients work while faults blow, computes and pageservers move, and
//	           everything but bucket and safekeepers is wiped now and then; branches are
//	           deleted, reset and detached, LSNs leased, history collected
//	core       faults end; a drawn core of safekeepers and one pageserver stay, the
//	           others are dead: everything must move again, or the core is proved too
//	           small; one that is too small is then made whole, and all must move
//	rest       clients end, all nodes are up; logs are sealed by elections
//	judgement  every page is read at every kind of LSN, from a pageserver that was
//	           there and from one whose disk was empty; logs are read from every
//	           safekeeper; the checkers judge
//
// At most a minority of safekeepers has a disk that deceives: loses what was synced,
// rots, or is wiped.
//
// What it does not do: measure wall time, or write files (cmd/varve-sim does).
package sim
