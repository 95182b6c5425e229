// Package cluster runs Varve's own parts in this process, each in a metered world of its
// own, so that a suite can say what they cost: safekeepers, a proposer with a log to
// write, a pageserver, and endpoints with a real PostgreSQL.
//
// They are the production's parts, made by its constructors, on unix sockets and a real
// disk; what differs from `varve up` is that they share a process.
//
// What it does not do: measure.
package cluster
