package frame

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/varvedb/varve/wal/env"
)

const (
	// maxConns bounds the connections that a server holds: each costs two buffers
	// and a few tasks. One more is closed at once.
	maxConns = 1024
	// maxInFlight bounds the requests of one connection that are being answered.
	// Above it the server stops reading from that connection.
	maxInFlight = 256
	// acceptPause is the pause after a connection could not be accepted, for want of file
	// descriptors or memory. Shorter: the server spins. Longer: those who dial give up.
	acceptPause = 100 * time.Millisecond
)

// Serve accepts connections, exchanges hellos, and runs handle for each in a task
// of its own, until ctx ends or the listener is closed. It closes each connection when
// its handle returns; a connection's failure ends that connection only, and one that
// cannot be accepted, for want of file descriptors say, ends nothing.
func Serve(ctx context.Context, e env.Env, l env.Listener, service string, handle func(ctx context.Context, c *Conn) error) error {
	group := e.Tasks.NewGroup(ctx)
	limit := newLimiter(e, maxConns)
	group.Go("accept", func(ctx context.Context) error {
		for {
			raw, err := l.Accept(ctx)
			switch {
			case errors.Is(err, env.ErrListenerClosed):
				return err
			case err != nil && ctx.Err() != nil:
				return context.Cause(ctx)
			case err != nil:
				e.Trace.Event("connection not accepted", "service", service, "error", err)
				if err := e.Clock.Sleep(ctx, acceptPause); err != nil {
					return err
				}
				continue
			}
			if !limit.try() {
				e.Trace.Event("connection refused", "service", service, "limit", maxConns)
				raw.Close()
				continue
			}
			group.Go("connection", func(ctx context.Context) error {
				defer limit.release()
				err := serveConn(ctx, e, NewConn(raw), service, handle)
				e.Trace.Event("connection ended", "service", service, "error", err)
				return nil
			})
		}
	})
	return group.Wait()
}

func serveConn(ctx context.Context, e env.Env, c *Conn, service string, handle func(ctx context.Context, c *Conn) error) error {
	defer c.Close()
	limited, cancel := e.Tasks.WithTimeout(ctx, helloTimeout)
	err := c.accept(limited, service)
	cancel()
	if err != nil {
		return err
	}
	return handle(ctx, c)
}

// Handler answers one request. The answer's ID is filled in for it. An error is
// sent as a frame of TypeError, with the code of the RemoteError in its chain.
type Handler func(ctx context.Context, request Frame) (Frame, error)

// ServeRequests answers the requests of one connection, each in a task of its
// own, until the connection or ctx ends. It returns nil when the peer closed it.
func ServeRequests(ctx context.Context, e env.Env, c *Conn, handle Handler) error {
	group := e.Tasks.NewGroup(ctx)
	sender := NewSender(e, c)
	limit := newLimiter(e, maxInFlight)
	group.Go("write answers", sender.Run)
	group.Go("read requests", func(ctx context.Context) error {
		for {
			request, err := c.Read(ctx)
			if err != nil {
				return err
			}
			if err := limit.acquire(ctx); err != nil {
				return err
			}
			request.Payload = bytes.Clone(request.Payload)
			group.Go("answer", func(ctx context.Context) error {
				defer limit.release()
				f := answer(ctx, request, handle)
				err := sender.Send(ctx, f)
				if f.Sent != nil {
					f.Sent()
				}
				return err
			})
		}
	})
	if err := group.Wait(); !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}

func answer(ctx context.Context, request Frame, handle Handler) Frame {
	f, err := handle(ctx, request)
	if err == nil && len(f.Payload) > MaxPayload {
		err = fmt.Errorf("the answer has %d bytes, a message at most %d", len(f.Payload), MaxPayload)
	}
	if err != nil {
		return ErrorFrame(request.ID, err)
	}
	f.ID = request.ID
	return f
}

// limiter counts what runs at once.
type limiter struct {
	mu    sync.Mutex
	free  int
	freed env.Cond
}

func newLimiter(e env.Env, limit int) *limiter {
	l := &limiter{free: limit}
	l.freed = e.Tasks.NewCond(&l.mu)
	return l
}

func (l *limiter) acquire(ctx context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.free == 0 {
		if err := l.freed.Wait(ctx); err != nil {
			return err
		}
	}
	l.free--
	return nil
}

func (l *limiter) try() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.free == 0 {
		return false
	}
	l.free--
	return true
}

func (l *limiter) release() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.free++
	l.freed.Signal()
}
