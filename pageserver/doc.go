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
// At its start the server attaches every timeline that the bucket has; whoever had them
// is fenced, but goes on answering for what it had taken in. An attached
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
// A branch needs its parent's log up to where it leaves it. If safekeepers have that, but
// have forgotten that it is committed, and nobody writes that log who could tell them, the
// server holds an election for it, which writes nothing (seal.go).
//
// Import and Branch make timelines, Delete removes them; the protocol is package
// pageapi's. Follow has a timeline served here and says which safekeepers have its log,
// all of them, by their numbers from 1; until then those of [Config] are asked. Every start
// of an endpoint sends one.
//
// # Whose a timeline is
//
// Of two servers the one that attached a timeline last has it, and which that should be
// is for whoever directs the tenant to say: a server never takes a timeline back by
// itself, or two of them would fight for it for ever. A Follow is that saying. It
// attaches, with all its ancestors, a timeline that another has taken over, maybe one
// that died half-way through its start, and one that another made.
//
// A branch is made under the generation of its parent, and its children are looked for
// after a timeline was attached: so whoever has a timeline keeps all its branches.
//
// # What it does not do
//
// Safekeepers are not told how far it has come: they keep all log.
package pageserver
