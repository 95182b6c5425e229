// Package planted plants bugs in the module, without touching a file of it: a bug is a
// text, and its edits are made for the compiler alone.
//
// The promise: an edit is made where its text is found exactly once, or not at all; so
// code that moved on is an error, never a bug that was not planted.
//
// # A bug
//
// A bug is a text file: fields, a line each, then edits.
//
//	# A comment; so are blank lines before the first edit.
//	name: acks-before-sync
//	bug: an append is acknowledged before it is durable
//	edit wal/quorum/acceptor.go
//	<<<<<<<
//		for ; n < len(a.outbox) && a.outbox[n].after <= a.done; n++ {
//	=======
//		for ; n < len(a.outbox); n++ {
//	>>>>>>>
//
// name is the file's, without .txt; which other fields there are, each at most once and
// in any order, is up to the reader. An edit replaces the lines between the first two
// marks, which must be in the file exactly once, by those between the last two, which
// may be none. A later edit of a file sees the earlier ones.
//
// Banks of bugs and what they are tried on stand elsewhere: sim/mutant for the
// simulator, pageserver/oracle for redo.
package planted
