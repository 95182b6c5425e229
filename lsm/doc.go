// Package lsm is the layered store: values by key and LSN.
//
// It knows nothing of PostgreSQL. A [Key] is 18 bytes that it only compares; a
// value's history is a row of [Version]s, each an image (the whole value), a
// delta (a change to what lies below) or a tombstone (nothing from here on). To
// read a key at an LSN is to get the [Chain] that determines its value there: the
// newest image at or below the LSN, and the deltas above it. Applying deltas is
// the caller's business.
//
// The promise: what [Timeline.DurableLSN] has reached is in the bucket, and any
// Store that opens the tenant later reads the same chains from it; the same
// question always has the same answer, or an error that says why it has none. A
// byte that is not what was written is an error matching wal.ErrCorruption that
// names object and offset; it is never served.
//
// # Timelines and branches
//
// A tenant's timelines form trees. [Store.Create] makes a root, [Store.Branch] a
// child that equals its parent up to an LSN X and has a history of its own above.
// A child stores only (parent, X): reading it falls through to the parent's
// layers clipped at X. The clipped layers of all ancestors form one map per
// attached timeline, so that depth alone costs a read no layer: it visits those that have
// versions of its key, as it would in one timeline that was not merged at branch points.
//
// # Writing
//
// [Timeline.Apply] puts the versions of committed records into a memtable in
// memory; losing it is no loss, for the log still has them. A full memtable is
// frozen and written as one delta layer: layer object first, then one conditional
// PUT of the timeline's index object, which is the commit point. Only then is the
// memtable dropped. A record with more versions than memory shall hold goes past it:
// [Timeline.ApplyStream].
//
// # Who may write
//
// Attaching a timeline raises the generation in its index. Every later index PUT
// asks for the very object that this attachment wrote last; when that fails
// because somebody else attached, the attachment is fenced: [ErrFenced], for
// good. Layer names carry the generation, so a fenced writer's late objects never
// take the name of a good one.
//
// # Merging
//
// One task of each attachment, there only while there is something to merge, merges
// layers as package picker decides, streaming, in memory that is bounded but for what is
// kept of one key (Options.LayerBytes); reads and Apply go on
// meanwhile. With a [Redo] a merge puts an image in place of a long chain's newest delta.
// A reader whose layer was replaced under it begins anew.
//
// # Who waits for whom
//
// No lock that a read or Apply takes is held over a call to the bucket or the disk, or while a
// layer or a map of layers is made. What is done under one is little: a version is added, or
// a list changed whose length is that of the memtables, the branches in use, or the layers, of
// which ten thousand take a tenth of a millisecond. Apply pauses when the store does not
// keep up, 50 ms at most at a time, and waits for the bucket when memory is full. The first read
// of a branch after its parent's layers have changed makes the branch's map: a few
// milliseconds for each thousand layers.
//
// # History
//
// What is older than [Options.HistoryBytes] and [Options.HistoryTime] may be collected:
// the cutoff in the index rises, reads below it are refused with [ErrBelowHorizon], but
// at branch points and at leases ([Timeline.Lease]), and merges drop every version that
// no read can meet. [Timeline.Collect] does all of it at once. docs/PROTOCOL.md says why
// that is safe beside branches and other owners.
//
// # What it does not do
//
// It does not retry a read of the bucket that failed; a failed write it does retry, a
// bounded number of times. It knows no more of time than when it flushed.
//
// # Events
//
// What happens is told to Env's Trace: the log of the pageserver, or the simulator's trace.
// Hook a Trace of your own to hear of it. Each event, what it tells, and when:
//
//	lsm.aside          timeline layer error                          merges leave a damaged layer alone
//	lsm.attach         timeline generation durable                   a timeline was taken over
//	lsm.branch         parent child at                               a branch was made
//	lsm.cache.error    file error                                    a local copy cannot be used
//	lsm.compact.error  timeline error                                a merge failed, and will be tried again
//	lsm.create         timeline start                                a root was made
//	lsm.cutoff         timeline cutoff                               history below it is given up
//	lsm.delete         timeline                                      a timeline's objects are gone
//	lsm.delete.undo    timeline error                                a deletion was refused, and could not be undone
//	lsm.detach         timeline durable                              an attachment has ended
//	lsm.exists.error   timeline error                                whether a timeline was deleted is not known
//	lsm.fenced         timeline error                                another attachment took over
//	lsm.flush          timeline lo hi versions bytes                 a memtable is in the bucket
//	lsm.flush.error    timeline error                                it is not, and will be tried again
//	lsm.leave          timeline parent at                            a branch became a root
//	lsm.merge          timeline kind inputs outputs lo hi images dropped   layers were merged
//	lsm.merge.leak     layer error                                   what a failed merge left stays until the next attachment
//	lsm.stray          object error                                  an object among timelines is no index
//	lsm.stream         timeline lo hi layers versions bytes          a record went past the memtable
//
// # Inside
//
//	kv         key, version
//	memtable   versions in memory: append only, newest first
//	layer      the layer file: format, writer, reader, cache of decoded blocks
//	layermap   which layers may hold a key at an LSN (pure)
//	picker     which layers are merged next (pure)
//	manifest   the index object's format
//	remote     names of objects; objects read by range, through local files if they are not near
package lsm
