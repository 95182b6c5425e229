// Package flush measures how the store writes: bytes written for bytes taken in, stalls,
// and what reads notice of it.
package flush
