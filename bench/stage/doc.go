// Package stage sets up what several suites measure: relations of synthetic pages, the
// log of TPC-B, PostgreSQL's redo of it, and the program with the heavy peers.
//
// The promise: what is set up here is the same for every suite that asks with the same
// words, ends with the session, and is made once in a run where measuring leaves it as
// it is.
//
// What it does not do: measure.
package stage
