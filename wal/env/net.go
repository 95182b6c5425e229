package env

import (
	"context"
	"errors"
)

// ErrListenerClosed is matched by the error of Accept on a listener that was closed.
var ErrListenerClosed = errors.New("listener is closed")

// Net reaches other nodes. An address is "unix:PATH" or "tcp:HOST:PORT"; port 0
// listens on a free port, which Listener.Addr then names.
type Net interface {
	Listen(ctx context.Context, addr string) (Listener, error)
	Dial(ctx context.Context, addr string) (Conn, error)
}

// Listener accepts connections.
type Listener interface {
	// Accept waits for a connection. The end of its context closes the listener, and so
	// does Close: the error is then the context's, or matches ErrListenerClosed. Any other
	// error, such as that too many files are open, leaves the listener as it was.
	Accept(ctx context.Context) (Conn, error)
	Addr() string
	Close() error
}

// Conn is a stream of ordered bytes, full duplex. One task may read while another
// writes. Bytes carry no check of their own that Varve relies on: framing and its
// checksum belong to package frame.
type Conn interface {
	// Read returns at least one byte, or io.EOF when the peer has closed cleanly.
	Read(ctx context.Context, p []byte) (int, error)
	// Write writes all of p or returns an error, after which the connection is dead.
	Write(ctx context.Context, p []byte) (int, error)
	// Close ends both directions and makes pending calls return.
	Close() error
}
