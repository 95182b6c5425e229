// Package proposer is the writer of one timeline's log: the shell around the
// proposer of package quorum. It keeps connections to the safekeepers, wins a term,
// takes log bytes from a source, and tells how far they are committed.
//
// The promise: what CommitLSN has reached is committed in the sense of package
// quorum, and what Append accepted is the log of PostgreSQL from the end of what
// was committed before, checked record by record, each byte once.
//
// # Its life
//
//	p := proposer.New(e, cfg)
//	group.Go("proposer", p.Run)
//	term, x, err := p.Elected(ctx)   // the log up to x is committed
//	prev, err := p.LastRecord(ctx)   // what the next record's xl_prev must be
//	err = p.Append(ctx, x, bytes)    // waits while too much is in flight
//	err = p.WaitCommit(ctx, end)
//
// One proposer is one term. When it is fenced, or ctx ends, it is finished: all its
// calls fail, and a new one starts from nothing. [LostError] says why; it matches
// [ErrFenced] if there is a higher term.
//
// A proposer is a sink for package pgsource. PostgreSQL's stream begins at X and so
// repeats the start record, which was appended before PostgreSQL ran: bytes that
// are here already are compared with what was appended, never appended twice. Only
// the first 64 KiB after X can be repeated.
//
// # How it waits
//
// One task per safekeeper keeps its connection; one ticks; each fetch, by which a
// lagging safekeeper is filled from another, is a task. All of them step the core
// under one mutex and send what it has ready. Messages queue up per connection
// without waiting: the core's windows bound them.
//
// What it does not do: survive its term, choose safekeepers, or understand records
// beyond where they end.
package proposer
