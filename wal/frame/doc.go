// Package frame carries messages over an [env.Conn]: it cuts a stream of bytes
// into frames, and puts requests and answers on top.
//
// The promise: a frame that Read returns is one that the peer wrote, whole, in
// the order written, with every byte covered by a CRC32C; anything else is an
// error matching wal.ErrCorruption, after which the connection is dead.
//
// # Layers
//
//   - [Conn] reads and writes frames. One task reads, one task writes.
//   - [Sender] lets many tasks write one Conn; what queues up while a write runs
//     goes out as one write.
//   - [Dial] and [Serve] make connections whose first frames are the hello: magic,
//     protocol version and the name of the service ("varve-log", "varve-page").
//     A peer of another service or version is refused with a text that names both.
//   - [Client] and [ServeRequests] are requests and answers, matched by request id:
//     many may be in flight on one connection, answers come in any order.
//
// What it does not do: encryption, authentication, reconnecting, or any retry. A
// dead connection is the caller's to replace, and what was in flight on it has an
// unknown outcome.
//
// # Example
//
//	client, err := frame.DialClient(ctx, e, "unix:/run/page.sock", "varve-page")
//	answer, err := client.Call(ctx, typeGetPages, request)
//
// Layouts are drawn in format.go.
package frame
