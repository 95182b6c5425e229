// Package safekeeper is a member of the quorum that holds the logs: one server,
// many timelines, each an acceptor of package quorum with a log of package segment.
//
// The promise: what it acknowledges survives its crash. It acknowledges what is
// synced, keeps its word on votes and terms over restarts, and where it finds that
// it has lost something it says so and takes no part, instead of starting anew.
//
// # On disk
//
//	lock                          held while a process owns the directory
//	creating/ID                   only while the timeline is being made
//	timelines/ID/state            the acceptor's state, replaced by rename
//	timelines/ID/state.new        the next one, while it is being written
//	timelines/ID/damaged          there once durable bytes of the log were found damaged,
//	                              and which; its text is for people
//	timelines/ID/wal/             the log: segments and mark
//
// In the bucket, which all safekeepers of a tenant share, an object says of each log that it
// was made (package walapi). A safekeeper makes a log only while there is none: see Create.
//
// A directory of which "creating" has the name is no timeline yet: its creation was
// never acknowledged, and is done over when asked for again. A directory without it and
// without a sound state, or whose log has lost or damaged durable bytes, is an amnesiac: the
// safekeeper refuses sessions and reads for it and touches none of its files. A
// session for a timeline of which there is no trace is refused as by an amnesiac
// too, since only the bucket knows whether it should be here.
//
// # How it runs
//
// Connections step messages into the acceptor. One task per timeline, its disk
// task, carries out the acceptor's effects in order and releases its messages; what
// is stepped in while it syncs shares the next sync. Connections are read no
// further while too many bytes wait for the disk.
//
// Every byte is checked on its way to the disk: a record that is not whole and sound is
// neither written nor counted, whoever sent it, so that what one disk has damaged does
// not spread. So is every byte that others read: the record that it belongs to is read
// whole, and if it is not sound, when read twice, the timeline is an amnesiac, for good.
//
// A failed write or sync, or a failed check, takes its timeline out of service: what is
// on disk is then known only after opening it anew, which is the same code as after a
// crash, and follows after a pause, again and again. Other timelines go on.
//
// What it does not do: end an amnesia, remove segments, or offload them.
package safekeeper
