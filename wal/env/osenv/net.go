package osenv

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/varvedb/varve/wal/env"
)

type network struct{}

// splitAddr turns unix:PATH or tcp:HOST:PORT into what package net takes.
func splitAddr(addr string) (family, rest string, err error) {
	family, rest, ok := strings.Cut(addr, ":")
	if !ok || (family != "unix" && family != "tcp") || rest == "" {
		return "", "", fmt.Errorf("address %q: want unix:PATH or tcp:HOST:PORT", addr)
	}
	return family, rest, nil
}

func (network) Listen(ctx context.Context, addr string) (env.Listener, error) {
	family, rest, err := splitAddr(addr)
	if err != nil {
		return nil, err
	}
	if family == "unix" {
		if err := removeDeadSocket(rest); err != nil {
			return nil, err
		}
	}
	var config net.ListenConfig
	l, err := config.Listen(ctx, family, rest)
	if err != nil {
		return nil, err
	}
	return &listener{l}, nil
}

// removeDeadSocket removes the socket file that a killed process left behind.
// One that still answers is in use.
func removeDeadSocket(path string) error {
	c, err := net.Dial("unix", path)
	if err == nil {
		c.Close()
		return fmt.Errorf("listen on %s: another process serves this socket", path)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove dead socket: %w", err)
	}
	return nil
}

func (network) Dial(ctx context.Context, addr string) (env.Conn, error) {
	family, rest, err := splitAddr(addr)
	if err != nil {
		return nil, err
	}
	var dialer net.Dialer
	c, err := dialer.DialContext(ctx, family, rest)
	if err != nil {
		return nil, err
	}
	return &conn{c: c}, nil
}

type listener struct{ l net.Listener }

func (l *listener) Accept(ctx context.Context) (env.Conn, error) {
	stop := context.AfterFunc(ctx, func() { l.l.Close() })
	defer stop()
	c, err := l.l.Accept()
	if err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if errors.Is(err, net.ErrClosed) {
			return nil, fmt.Errorf("%w: %w", env.ErrListenerClosed, err)
		}
		return nil, err
	}
	return &conn{c: c}, nil
}

func (l *listener) Addr() string {
	return l.l.Addr().Network() + ":" + l.l.Addr().String()
}

func (l *listener) Close() error { return l.l.Close() }

type conn struct {
	c             net.Conn
	reads, writes watcher
}

func (c *conn) Read(ctx context.Context, p []byte) (int, error) {
	if err := c.reads.watch(ctx, c.c.SetReadDeadline); err != nil {
		return 0, err
	}
	n, err := c.c.Read(p)
	return n, causeOf(ctx, err)
}

func (c *conn) Write(ctx context.Context, p []byte) (int, error) {
	if err := c.writes.watch(ctx, c.c.SetWriteDeadline); err != nil {
		return 0, err
	}
	n, err := c.c.Write(p)
	return n, causeOf(ctx, err)
}

func (c *conn) Close() error {
	c.reads.stop()
	c.writes.stop()
	return c.c.Close()
}

func causeOf(ctx context.Context, err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// watcher makes one direction of a connection end its calls when their context
// ends. Callers pass the same context call after call, so it is registered once,
// not once a call.
type watcher struct {
	mu     sync.Mutex
	ctx    context.Context
	unhook func() bool
}

func (w *watcher) watch(ctx context.Context, setDeadline func(time.Time) error) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if w.ctx == ctx {
		return nil
	}
	if w.unhook != nil {
		w.unhook()
	}
	w.ctx = ctx
	if err := setDeadline(time.Time{}); err != nil {
		return err
	}
	w.unhook = context.AfterFunc(ctx, func() { w.expire(ctx, setDeadline) })
	return nil
}

// expire makes the pending call return, unless the direction has moved on to
// another context meanwhile.
func (w *watcher) expire(ctx context.Context, setDeadline func(time.Time) error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ctx == ctx {
		// An error here means the connection is closed, which ends the call too.
		_ = setDeadline(time.Unix(1, 0))
	}
}

func (w *watcher) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.unhook != nil {
		w.unhook()
		w.unhook = nil
		w.ctx = nil
	}
}
