// Package getpage measures GetPage@LSN: in process and over a socket, by number of
// deltas, of layers, and by size of the database.
package getpage
