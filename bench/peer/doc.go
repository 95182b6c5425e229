// Package peer is what Varve is measured against, but for PostgreSQL: plain files, and
// the helper program that holds the heavy stores.
//
// Pebble and etcd live in a Go module of their own, bench/peers, so that Varve's own
// module does not depend on theirs. The module's program is started as a child process
// and speaks lines of JSON on its standard input and output: a [Request], and an
// [Answer] when the work is done. It measures its own CPU time and latencies; how long
// the line took to travel is in neither.
//
// The promise: a peer is tuned as its makers advise for the task, its settings are
// printed with the result, and it flushes as often as Varve does for the same promise.
//
// What it does not do: compare.
package peer
