// Package pageserver is the server that keeps a tenant's timelines: it follows their
// logs, turns them into layers in the bucket, and serves pages out of them.
//
// The promise: what it answers comes from committed log and from layers in the
// bucket, never from a local disk alone. Stop it, wipe its disk, start it anywhere:
// it answers the same. Two of them on one timeline cannot both write: the later one
// fences the earlier (package lsm).
//
// # Life of a timeline
//
// At its start the server attaches every timeline that the bucket has. An attached
// timeline is opened when its ancestors have reached its branch point, and then
// receives its log: committed bytes from one safekeeper at a time. A source that
// fails, or has nothing new for sourcePatience, is changed for the next one. A record
// that cannot be taken in stops that timeline only; it goes on answering for what
// lies before.
//
// A timeline that could not be attached or opened, or has stopped, is tried again and
// again, with the next source of its log: a bucket comes back, and what one safekeeper
// has damaged another has not. It is left alone when trying is of no use: it was
// fenced, a record lacks its image, it was never imported.
//
// Import and Branch make timelines, Delete removes them, Follow says which
// safekeepers have the log; the protocol is package pageapi's. Until a Follow the
// safekeepers of [Config] are asked.
//
// # What it does not do
//
// Safekeepers are not told how far it has come: they keep all log.
package pageserver
