// Package pgcontrol reads and writes pg_control, the file in which a PostgreSQL
// cluster keeps its identity, its state and a copy of its last checkpoint.
//
// The promise: [Decode] accepts exactly the files of version 1300 (PostgreSQL 13
// to 15) whose checksum and trailing zeros are right, and [File.AppendTo] gives the
// bytes that PostgreSQL would write for the same fields, so that one undoes the other.
//
// The file is 8192 bytes; the first 292 say everything, the rest are zeros. Numbers
// are little-endian, as on every machine that Varve runs on. The layout is drawn in
// format.go; its source is src/include/catalog/pg_control.h.
//
// What it does not do: it does not judge whether Varve can hold such a cluster.
// Package basebackup does, when it imports one.
package pgcontrol
