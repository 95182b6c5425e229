// Package workload is what the users of a simulated Varve do: computes that write and
// read genuine PostgreSQL log and pages, readers of history, and a keeper of branches.
//
// The promise: everything that a client was told is in the recorded history, with its
// call and return in the order of the run, and nothing is recorded that was not asked.
//
// # A simulated compute
//
// It stands where PostgreSQL stands, between a proposer and a pageserver, both of
// production code, and starts as package endpoint starts PostgreSQL: the log is made
// if there is none, a term is won, the start state is read at X, its shutdown
// checkpoint is appended and committed. Then sessions run transactions on its pages:
//
//   - a page that this life has not touched is as of X, and fetched from there;
//   - a page that was changed is written to the log as PostgreSQL might: by a Generic
//     record with a delta, a full image, or an image for consistency checks beside the
//     delta, or as an image by XLOG_FPI; several pages may share one record;
//   - a transaction ends in a commit record, and its client is told when the quorum
//     has it; or in an abort record;
//   - a relation may be cut, or dropped by a transaction; its pages are then gone, and
//     come back when they, or pages behind them, are written anew;
//   - a page whose last change is committed may be dropped, and is then fetched again
//     as of that change.
//
// The log goes to the proposer cut anywhere, as a walsender's.
//
// # A page
//
// Every page holds one [check.Value], written nowhere else in the run, and bytes that
// follow from it. Transaction ids are unique over the run, so that a record of the
// log names the transaction that wrote it, whatever branch or term it is of.
//
// What it does not do: judge (package check), or decide who runs where (package sim).
package workload
