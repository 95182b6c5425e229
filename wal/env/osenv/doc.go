// Package osenv is the real world behind [env.Env]: the operating system's clock,
// files, sockets and randomness, goroutines for tasks, and as the object store a
// local directory or, by package s3, a server's bucket. It is the one place where Varve starts goroutines and calls
// os, net, time.Now and math/rand.
//
// # The directory bucket
//
// An object with key a/b is the file a/b below the bucket's directory. A Put
// writes a temporary file beside it, syncs it, renames it into place and syncs
// the directory, so an object is there whole or not at all. Rename alone is not
// conditional: every Put and Delete holds an exclusive file lock on the bucket,
// across processes, while it tests its condition and acts. An ETag is the SHA-256
// of the content.
package osenv
