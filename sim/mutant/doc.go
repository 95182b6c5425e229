// Package mutant plants bugs in Varve, without touching a file of it, and measures
// whether the simulator finds them.
//
// The promise: a mutant that is reported as killed was killed by a verdict of the
// simulator, on a seed that the code as it is passes; and one whose control survived
// is not found where the fault that it needs is off. Builds that fail, programs that
// crash or hang outside of the simulated world, and names that nobody knows are
// errors, never kills.
//
// # A mutant
//
// A mutant is a text file: fields and edits, as package planted reads them.
//
//	name: acks-before-sync
//	source: etcd 14370
//	bug: an append is acknowledged before it is durable
//	needs: disk.loss, disk.torn
//	found by: truth, assertion
//	profile: disk
//	seeds: 500
//	quick: yes
//	edit wal/quorum/acceptor.go
//	<<<<<<<
//		for ; n < len(a.outbox) && a.outbox[n].after <= a.done; n++ {
//	=======
//		for ; n < len(a.outbox); n++ {
//	>>>>>>>
//
// source says where the bug happened: a project
// and its issue, a paper, or "generic" for an operator of mutation. needs lists the
// faults without which the bug does nothing (as varve-sim's --without names them), or
// is "nothing". found by lists who is expected to find it: checkers by the names in
// their verdicts, "assertion" for one in the code, "panic" for any other panic, and
// "phases" for what a run demands of itself on its way. profile is the simulator's,
// swarm if it is left out; seeds is the budget, 2000 if it is left out; quick marks
// those that CI runs.
//
// All fields but profile, seeds and quick must be there. There is one more, may survive, for a bug that the simulator is
// known to be nearly blind to: it says why, and the table does.
//
// # A trial
//
//	build    the files are replaced for the compiler alone (go build -overlay)
//	hunt     seeds from the first on, until one fails, or the budget of seeds or of
//	         processor time is used up: then the mutant survives
//	plain    the seed that failed, on the code as it is: it must pass
//	control  the hunt again with the needed faults off, for twice as many seeds and
//	         at least fifty: all must pass
//
// [Bench.Try] does that; [Table] prints what came of it.
//
// What it does not do: invent mutants, or judge runs.
package mutant
