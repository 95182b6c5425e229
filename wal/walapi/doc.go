// Package walapi is how the log is spoken of over the network: the messages
// between safekeepers and those who write and read the log, and a client.
//
// The promise: a message that decodes is one that a peer of the same version
// encoded, and its fields are within their bounds; anything else is an error.
//
// # Two kinds of connection
//
// Both begin with the hello of service "varve-log" and differ in their first frame.
//
// A session carries the messages of package quorum between one proposer and one
// safekeeper, for one timeline, both ways, in order: frames of type 1, one message
// each, request id 0. The proposer's first message is its Greeting. Use [DialSession].
//
// All other connections carry requests and answers, as package frame matches them:
//
//	type  request     answer
//	  2   Create      nothing               makes the timeline here, once
//	  3   Status      TimelineStatus
//	  4   List        TimelineList
//	  5   Read        Chunk                 log bytes, waiting for more if there are none
//
// Read with term 0 gives what is committed, to anyone. Read in a term gives what is
// durable, to the proposer of that term, which fills a lagging safekeeper with it;
// it is refused unless the safekeeper was in that term before and after the bytes
// were read. A reader follows the log by reading on from where the last chunk
// ended: a Read at the end of the log waits up to Wait for it to grow.
//
// A request that fails is answered with a frame.RemoteError whose code is one of
// this package's.
//
// One object in the bucket belongs to the protocol: that which says that a timeline's log
// was made, so that it is made once (made.go).
//
// What it does not do: reconnect, choose a safekeeper, or decode the log.
// Layouts are drawn in format.go.
package walapi
