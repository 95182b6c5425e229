// Package segment keeps the log of one timeline on disk, in PostgreSQL's own
// segments: files of 16 MiB, named as PostgreSQL names them, holding its bytes at
// its offsets, so that pg_waldump reads them.
//
// The promise: bytes that Sync has made durable are found again by Open, or Open
// says that they are corrupt; and Open never takes for a record what was not
// written as one at that place.
//
// # The log
//
// A log begins at its start, anywhere in a segment: what is below belongs to the
// parent branch or was never ours. It reads as the remainder of one record from
// before: page headers that say so, because pg_waldump asks for them and then skips
// exactly to the start, and zeros between them.
//
// Bytes are written at the end of the log or over it, in any pieces. Above the
// last written byte the last segment is zero: Truncate and Open clear what they
// cut, so that stale bytes can never continue a new record.
//
// # What is durable
//
// A durable mark is a record end up to which the log is known to be durable. The
// owner of the log keeps one in its own state; the file "mark" beside the segments
// holds a later one, written after each Sync without syncing it: it costs one
// small write, and is a true lower bound whether or not it outlives a crash. Open
// scans from the owner's mark. Up to the later of the two marks everything must be
// whole, and what is not is corruption. Above it the log ends at the first thing
// that is not a whole record, and the rest is cleared. What Open found above the
// mark is written again and synced before it counts: an earlier failed sync may
// have left it in the operating system's cache only.
//
// After an error of a call that writes, the log is broken: every later call fails,
// and the owner must open it anew.
//
// What it does not do: decide what is committed, remove old segments, or lock the
// directory against other processes.
package segment
