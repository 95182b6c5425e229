// Package pageapi is how a pageserver is spoken to: the messages and a client.
//
// The promise: a message that decodes is one that a peer of the same version
// encoded, and an error that crosses the wire is still the error that it was:
// errors.Is finds the same lsm.ErrBelowHorizon, timeline.ErrNoRelation and so on.
//
// # Protocol
//
// Connections begin with the hello of service "varve-page" and carry requests and
// answers, as package frame matches them: many at once, answered in any order.
//
//	type  request     answer
//	  1   GetPages    the pages, 8192 bytes each, in order
//	  2   RelSize     blocks
//	  3   Values      keys with their values, and whether there is more
//	  4   Position    Position
//	  5   WaitLSN     Position, when the LSN is reached or WaitMax has passed
//	  6   LSNAt       LSN
//	  7   PrevRecord  LSN
//	  8   Import      Imported
//	  9   Branch      nothing
//	 10   Delete      nothing
//	 11   List        timelines
//	 12   Follow      nothing: serve the timeline here, with its log from there
//	 13   Flush       Position
//	 14   Explain     what keeps the timeline's bytes in the bucket
//	 15   Collect     what a collection of history did, or would do
//	 16   Lease       nothing: an LSN stays readable until a time
//	 17   Release     nothing: a lease has ended
//	 18   Leases      leases
//	 19   Detach      nothing: the timeline has no parent any more
//	 20   Stats       counters and gauges of the pageserver, and of one timeline or all
//
// Layouts are drawn in format.go. A request that fails is answered with a
// frame.RemoteError whose code is one of errors.go.
//
// # The client
//
// [Client.Timeline] has the reading methods of timeline.Timeline, with the same
// meaning, so whatever reads a timeline reads it over the network as well: package
// basebackup makes the start state of a Postgres from it. Batches larger than the
// bounds of a message are cut and pipelined.
//
// What it does not do: reconnect. A dead client is closed and dialled again.
package pageapi
