// Package osenv is the real world behind [env.Env]: the operating system's clock,
// files, sockets and randomness, goroutines for tasks, and as the object store a
// local directory or, by package s3, a server's bucket. It is the one place where Varve starts goroutines and calls
// os, net, time.Now and math/rand.
//
// # The directory bucket
//
// An object with key a/b is the file a/b below the bucket's directory. A Put
// writes a temporary file in that directory, syncs it, renames it into place and
// syncs the directory it is in then, so an object is there whole or not at all.
// Rename alone is not conditional: every Put and Delete holds an exclusive file lock
// on the bucket, across processes, while it tests its condition and renames or
// removes. It holds none while it writes and syncs, so that the PUT of an index, of
// some KB, does not wait for that of a layer, of some MB. A temporary file is locked
// by the Put that writes it. An ETag is the SHA-256 of the content.
package osenv
