// Package timeline is one branch of a PostgreSQL cluster: it takes in the log and
// gives out pages, sizes and everything else, as of any LSN.
//
// The promise: what is read at LSN L is what replaying every record that ends at or
// below L gives; the same question always has the same answer. Where the log does
// not say what a page becomes, the timeline stops with an error that names record
// and page ([MissingImageError]); it goes on serving what it took in before. So it
// does where the store cannot be read or the log is damaged; [Timeline.Resume] then
// lets it go on, from the same bytes of a sound source.
//
// # Taking in
//
// [Timeline.Ingest] decodes committed log once. A record's effects are versions of
// keys (package pgkey), all with the record's end as LSN; effects on the same key
// are merged. Versions go to the store in batches; a batch ends where a call's
// bytes end, at batchBytesMax, and before a record whose effects depend on what is
// stored (a copied or dropped database, a truncated SLRU).
//
//	block references        pages: an image, or a delta of a native resource manager,
//	                        which is the record's say on that page
//	heap records            visibility-map bits that they clear without saying where
//	Storage, Transaction    forks that begin, shrink or end
//	Transaction, CLOG,      pages of the SLRUs; state files of prepared transactions;
//	MultiXact, CommitTs     the times of commits
//	Database, Tablespace,   whole databases, locations, relation maps
//	RelMap
//	XLOG, Standby           the control file and the counters
//
// What is stored depends on the log alone, with one exception: [Timeline.PrevRecord]
// is known for the last record of each batch.
//
// # Reading
//
// A fork's size says which of its pages exist and since when. [Timeline.GetPages]
// asks the store for the sizes, then for all pages in one batch, and applies the
// deltas. A read ahead of the log waits for it, at most waitMax.
//
// # What it does not do
//
// One task at a time calls Ingest; any number read. It does not fetch the log
// (package pageserver does) and never serves free-space maps.
package timeline
