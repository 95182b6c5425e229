// Package oracle proves redo against PostgreSQL's own pages.
//
// With wal_consistency_checking on, PostgreSQL attaches to a record an image of each
// page after the change. The oracle replays a log from a base, all pages in memory:
// each record of a native resource manager makes the next page of the one before, by
// way of the delta that the storage would keep, and what it makes is compared with the
// image.
//
// The promise: a [Report] without divergences means that every page that a record made
// equals PostgreSQL's, but for bytes that PostgreSQL changes without logging them
// (package pagediff); and each page was made from the one that redo made before, so
// that an error cannot hide behind an image. After a divergence, which names record,
// page, byte and field, the page goes on from the image.
//
// One thing is compared with the future: a visibility-map bit that an image lacks must be
// cleared by a record that follows (early.go).
//
// The report says which kinds of records were seen, and which were not, and why not
// where nothing can write them.
//
// # Where images prove nothing
//
// PostgreSQL's own image of a GiST page is stale in the flag and the number of a split
// that is being finished; and a page that an image replaces hides what redo made of it.
// So [Oracle.ComparePages] compares all pages, as of an LSN, with a data directory: that
// of a stock standby which replayed the same log, one without images, up to there. The
// standby writes its pages to disk in a restartpoint; so there is a checkpoint between
// any two of these LSNs.
//
// # Does it find bugs?
//
// A [Comparison] that was kept can be made again by other code: by redo with a bug in it.
// The bank has one for every kind of record that must be seen, and each is caught.
//
// # What it does not do
//
// Pages of resource managers that are not native are taken from the images. Free-space
// maps are not compared: their changes are not logged. It is a core: bytes in, a report out.
package oracle
