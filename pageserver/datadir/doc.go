// Package datadir knows what stands where in a PostgreSQL 15 data directory: which
// path a fork of a relation has, what a file's name says, which files there are.
//
// The promise: [ForkPath] and [ParseForkPath] are inverse, and [Scan] accounts for
// every file below base, global and pg_tblspc: each is a segment of a fork, belongs
// to a database, or is listed with the reason why it is neither.
//
//	base/5/16384         main fork of relation 16384 of database 5, first segment
//	base/5/16384.1       its second segment: a segment holds 131072 blocks
//	base/5/16384_vm      its visibility map; _fsm and _init likewise
//	base/5/t3_16385      a temporary relation of backend 3
//	global/1262          a relation that all databases share
//	pg_tblspc/16400/PG_15_202209061/5/16386
//	                     a relation of database 5 in tablespace 16400
//
// Directories are read through fs.FS, so that a directory may be anywhere. What the
// package does not do: it does not write, and it does not look into pages.
package datadir
