// Package redo measures what turns log into pages: over TPC-B's log against PostgreSQL's
// redo, and for one page against a pipe to another process.
package redo
