// Package check judges simulated runs: recorded histories in, verdicts out.
//
// The promise: a run that every checker passes, and of which every checker judged
// something, kept the promises of the design that are named below; a checker that
// could not finish says so as a failure, never as a pass. Verdicts depend on the run
// alone: the package has no Env, and neither clock nor randomness decides anything.
//
// # What is judged
//
// A [Run] is the evidence. [Recorder] writes down the operations of the clients; the
// committed log, decoded after the run came to rest, is the truth; the rest are
// samples taken on the way. Each checker is one file and one function:
//
//	Truth      the log is one sound order; what was acknowledged is in it exactly
//	           once, at its LSN and in its term; what failed is not; no sampled
//	           prefix of it ever changed; terms never fall, and one that a writer was told
//	           to have won is the log's, from where it was told (P-durable, P-prefix, P-fence)
//	Replicas   safekeepers hold the same bytes up to the commit LSN (P-prefix)
//	Bucket     every layer that a live index names is there, whole; indexes never
//	           go back; parents outlive children (P-fence, P-local)
//	Branches   a branch that was deleted is gone for good, and no other is; a refusal has a
//	           child behind it; a detached branch has no parent; a lease is kept
//	Liveness   after the faults ended, what should move moved in its bound, or the
//	           stall is proved legitimate
//	History    every read at an LSN equals a naive replay of the log, and there is an
//	           answer if and only if the relation has the block; below the cutoff there
//	           is an error and nothing else is refused so; above the end there
//	           is no answer; the same question had the same bytes (P-page, P-branch)
//	RealTime   commits, and reads of the head that a quorum confirmed, take effect in
//	           the order of their LSNs and between call and return (P-durable)
//	Snapshots  each page of a snapshot is the replay's at its one LSN, and the LSN
//	           of one taken at the head is in real-time order too
//	Porcupine  each page of a branch is a linearizable register: a second opinion by
//	           a search that trusts no LSN of a read, and the picture of a failure
//
// # How an operation is judged
//
// A latest read counts for real time only if it was confirmed; one that was not is a
// snapshot at its LSN, and beyond the last byte that its term committed it is not
// judged: a compute that was fenced may have seen what was lost with it. A read
// whose outcome is unknown is dropped. A transaction whose outcome is unknown is
// resolved by the log: not in it, it never happened; in it, it may have happened at
// any moment from its call on. Pages know nothing of transactions: the record of one
// that aborted still counts for its page from its LSN on.
//
// # Example
//
//	recorder := check.NewRecorder()
//	client := recorder.NewClient()
//	op := recorder.Begin(check.Op{Kind: check.Write, Client: client, Branch: main, Tx: 7, Term: 3,
//		Pages: []check.PageValue{{Page: page, Value: 41}}})
//	lsn, err := commit(...)
//	op.LSN = lsn
//	recorder.End(op, check.OK)
//	...
//	run := check.Run{Ops: recorder.Ops(), Log: decoded}
//	for _, verdict := range check.All(&run) { ... }
//
// # What it does not do
//
// It decodes no WAL and reads no bucket: who runs the system feeds it. It does not
// judge SQL. More files than most packages: one per checker, each read alone.
package check
