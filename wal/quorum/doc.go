// Package quorum is the consensus on the log of one timeline: who may write it, and what is
// committed. It has two halves, the [Acceptor] in each safekeeper and the [Proposer] at the
// one writer. Both are pure: messages and ticks go in, effects come out, and a shell
// carries them out. There is no clock, no I/O and no goroutine here, and neither
// half may be used by two tasks at once.
//
// # The promise
//
// What a proposer reports as committed is on the disks of a majority, byte for byte, and is
// part of the log of every later term, whatever minority of disks is lost and however
// often proposers and acceptors crash, pause or race.
//
// # The protocol
//
// A proposer greets all acceptors, and when a majority has answered asks for their votes in a
// term above all it has heard of. An acceptor votes once in a term, and with its
// vote tells its position: last log term and flush LSN. Among the votes of a majority, and of
// whoever else is connected and votes within some ticks, the one with the highest (last log
// term, flush LSN) is the donor. Its flush LSN is X, where the new term starts, and its
// history with (term, X) added is the new history.
//
// Elected carries that history to every acceptor. It cuts its log back to the common point
// of the two histories, takes over the new one, and tells where its log ends. From
// there it is filled: with bytes below X by way of a [Fetch] from the donor, or, if that is
// gone, from another that has them; with later ones from the proposer's buffer. When a majority has accepted Elected and
// has the log up to X, X is committed, and only then may anything new be proposed.
//
//	proposer                             acceptor
//	Greeting              ->             GreetingReply (term, standing)
//	VoteRequest (term)    ->  persist    VoteReply (flush, commit, history)
//	Elected (X, history)  ->  cut,
//	                          persist    ElectedReply (flush)
//	Append (bytes,        ->  write,
//	  record end, commit)     sync       AppendReply (written, flush, commit)
//
// Commit LSN: the highest LSN that a majority has flushed in this term, once it is at least X.
// It travels with the next Append, or at once in an empty one when there is nothing to send.
// What an acceptor knows of it is durable when the leader's session has ended. If it falls
// before that, it may know less afterwards, until somebody is elected: see Seal below.
//
// Only ends of records count. Bytes may be cut anywhere into appends; an append names the last
// record end in it. Flush LSN, votes, X, commit LSN and cuts are ends of whole
// records. Bytes beyond the last one are stored and are never counted; they are cut
// when a session, a term or a process begins.
//
// A message of an older term is answered with Refused, which carries the higher one, so that
// its sender learns. A leader that hears of a higher term is finished: see [Lost]. A candidate
// tries again, a bounded number of times.
//
// Messages name the session they belong to: one connection. Both halves drop what is of an
// older session, so that a late acknowledgement or a late append changes nothing. Loss,
// repetition and reordering of messages never harm what is committed; but a connection
// that loses one must end, or it makes no more progress.
//
// More votes than a majority's, and the donor before others, are asked for in case that a disk
// has lost, unnoticed, what it acknowledged: docs/PROTOCOL.md says what holds then. An
// election takes as long as the slowest vote of those connected; if one of them hangs, it
// waits [VoteTicks] for it, 200 ms at the pace of our shell.
//
// If an election still leaves out what an acceptor knows to be committed, that one refuses
// ([ReasonContradicts]) and cuts nothing, and an election that was not over is lost.
//
// An acceptor that lost its state, or bytes that it had acknowledged, is amnesiac: it answers
// greetings so that operators see it, and refuses all else. Nothing here ends that
// standing: a vote that it forgot may still be in the hands of a candidate.
//
// # Duties of the safekeeper's shell
//
//  1. Create. When the timeline is created, and only then, write [NewState] and an empty log
//     that starts at its Start. When a timeline should be here (the bucket says so) and
//     its state is missing or [DecodeState] fails, go on with [AmnesiacState], never
//     with a new one, and keep what is left of the files.
//  2. Restart. Read the state; cut the log's torn tail, so that it ends with a whole record, and
//     make the cut durable; call [NewAcceptor] with that end. Never cut below State.Durable:
//     a bad record there is corruption. No session survives a restart.
//  3. Loop. After one Step or several, and after Persisted, call Ready. Carry out Disk in
//     order, one after the other, on one task; pass the token of each effect that has one to
//     Persisted when it is done; then call Ready again, until it is empty. What is stepped in
//     during a slow SyncLog shares the next one: that is the group commit.
//  4. Order. An effect begins only when the one before it is done: PersistState, TruncateLog and
//     SyncLog are done when a crash can no longer undo them (file and directory synced),
//     WriteLog when a read would see it.
//  5. Speak. Sends of a Ready may leave at once. What waits for the disk is not in them: a
//     message appears in a later Ready, when all effects queued before it were reported.
//     Send it over the connection of its session, or drop it if that is gone; report with
//     Leave that it is.
//  6. Fail. If an effect fails (no space, I/O error), never report its token: stop this acceptor
//     and start again at duty 2. A failed sync may have lost bytes for good.
//  7. Serve. Readers get the log up to Readable. The proposer of a term, filling another
//     acceptor, gets it up to ReadableBy(term), asked for again after the bytes were
//     read and before they leave. One that has voted in the term and not heard its leader
//     yet has nothing to give.
//  8. Bound. Read no more from connections while Busy.
//
// # Duties of the proposer's shell
//
//  1. One life. Draw SessionBase anew for each proposer. After Lost, or a crash, what was written
//     through this proposer (its Postgres) ends; a new proposer starts from nothing on disk.
//  2. Sessions. Keep dialing every safekeeper. On success call Connected, and tag the connection
//     with the session it returns; when it breaks, call Disconnected with that session. At most
//     one connection per node is current: on a new one close the former. Messages are
//     delivered to Step in their order, and none is skipped: break the connection instead.
//  3. Ticks. Call Tick at a steady pace.
//  4. Effects. After every call, call Ready until it is empty. Send each of Sends over its
//     node's connection, in order; drop it if that is gone. Hangup: close and call Disconnected.
//  5. Fetch. Read the bytes from the named node with the fetch's term, and from no other;
//     answer each Fetch with Fetched or FetchFailed. Bytes that the node refused because it is
//     in another term are not to be used. Check them, from the fetch's Record on: a record
//     that is not sound must not be handed on. Compare what is before Record, at the end of
//     the log to be filled, with what the named node has there: if it differs, or up to Flush
//     there is nothing to compare, the fetch has failed.
//  6. Lead. After Leading the log ends at Start and is committed. Propose bytes from there on, at
//     most Room() at once. Acknowledge to the writer only what Commit has reached.
//  7. Seal. An election is all it takes to learn the head, which acceptors may have forgotten and
//     no writer tell any more: wait for Leading, and, if readers must
//     get there, until Status().Announced is at Start; then drop the proposer.
//
// # Not here
//
// Membership does not change. Frames and their checksums, files, and the choice of addresses are
// the shells'. Which bytes are a record is known to whoever calls Propose.
package quorum
