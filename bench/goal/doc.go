// Package goal holds the goals of Varve's performance as data, and tells which are
// reached.
//
// goals.json lists them all; each names the suite, the case and the metric that it is
// measured by, the peer that the metric is divided by (none: the metric itself), and its
// kind:
//
//	counter   exact; judged in every round of every run
//	cpu       CPU time; judged in quiet rounds
//	time      elapsed time; judged in quiet rounds
//
// What is compared with the bound is the pessimistic quartile over the rounds. A goal
// that cannot be measured yet says why.
//
// The promise: a goal is never changed in order to be reached. The gate fails when a
// goal that the baseline reached is lost: a counter in any run, the other kinds in full
// runs only, because three rounds of smoke say nothing about time.
package goal
