// Package redo turns a chain of versions into a page. It is a core: bytes in,
// bytes out.
//
// The promise: [Apply] of what the log brought for a page up to an LSN gives the
// page that PostgreSQL's own recovery would give there, or an error that names
// what is wrong. It never guesses.
//
// # Two routes
//
// A resource manager is on the native route ([Native]), as all of PostgreSQL's are, or
// on the image route. On the image route every block reference must carry an image, and [Image] makes of
// it the page after the record. On the native route [Record] does so from the page
// before; only an image that PostgreSQL itself would restore is page content, and one
// attached for consistency checking is for comparison only (package oracle). So what
// is stored depends on the log alone.
//
// Native redo is a function for each resource manager, in a file of its name, over one
// set of page primitives (item.go), which check every offset: no page and no record,
// however damaged, makes them write outside the page. The layout of tuples is redone
// exactly, because later records rely on it.
//
// Some side effects of records have no block reference at all: visibility-map
// bits, transaction status, multixacts, commit timestamps. They are native for
// everyone, and each has an operation here.
//
// # The value of a delta
//
// A delta is a row of operations; format.go draws them. A record that touches a
// page twice makes one delta with two operations. The LSN of the version is the
// end of the record, and becomes the page's pd_lsn where PostgreSQL sets it.
//
// What it does not do: free-space maps, whose changes are not logged.
package redo
