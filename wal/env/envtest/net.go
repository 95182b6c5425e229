package envtest

import (
	"bytes"
	"context"
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/wal/env"
)

func testNet(t *testing.T, w World) {
	t.Run("Echo", func(t *testing.T) {
		addr := w.Addr(t)
		w.Run(t, func(ctx context.Context, e env.Env) { echo(t, ctx, e, addr) })
	})
	t.Run("CallsEndWithTheirContext", func(t *testing.T) {
		addr := w.Addr(t)
		w.Run(t, func(ctx context.Context, e env.Env) { callsEnd(t, ctx, e, addr) })
	})
	t.Run("NobodyListens", func(t *testing.T) {
		addr := w.Addr(t)
		w.Run(t, func(ctx context.Context, e env.Env) {
			_, err := e.Net.Dial(ctx, addr)
			require.Error(t, err)
			_, err = e.Net.Dial(ctx, "pigeon:post")
			require.ErrorContains(t, err, "pigeon:post")
		})
	})
}

func echo(t *testing.T, ctx context.Context, e env.Env, addr string) {
	listener, err := e.Net.Listen(ctx, addr)
	require.NoError(t, err)
	g := e.Tasks.NewGroup(ctx)
	g.Go("echo", func(ctx context.Context) error {
		c, err := listener.Accept(ctx)
		if err != nil {
			return err
		}
		defer c.Close()
		buf := make([]byte, 1000)
		for {
			n, err := c.Read(ctx, buf)
			if err == io.EOF {
				return nil
			}
			if err != nil {
				return err
			}
			if _, err := c.Write(ctx, buf[:n]); err != nil {
				return err
			}
		}
	})
	c, err := e.Net.Dial(ctx, listener.Addr())
	require.NoError(t, err)
	sent := bytes.Repeat([]byte("varve"), 10_000)
	g.Go("send", func(ctx context.Context) error {
		_, err := c.Write(ctx, sent)
		return err
	})
	got := make([]byte, 0, len(sent))
	buf := make([]byte, 4096)
	for len(got) < len(sent) {
		n, err := c.Read(ctx, buf)
		require.NoError(t, err)
		got = append(got, buf[:n]...)
	}
	require.Equal(t, sent, got)
	require.NoError(t, c.Close())
	require.NoError(t, g.Wait())
	require.NoError(t, listener.Close())
}

func callsEnd(t *testing.T, ctx context.Context, e env.Env, addr string) {
	listener, err := e.Net.Listen(ctx, addr)
	require.NoError(t, err)
	c, err := e.Net.Dial(ctx, listener.Addr())
	require.NoError(t, err)
	peer, err := listener.Accept(ctx)
	require.NoError(t, err)

	short, cancel := e.Tasks.WithTimeout(ctx, time.Millisecond)
	defer cancel()
	_, err = c.Read(short, make([]byte, 1))
	require.ErrorIs(t, err, context.DeadlineExceeded)

	// A read that ran out of time leaves the connection usable.
	_, err = peer.Write(ctx, []byte("x"))
	require.NoError(t, err)
	n, err := c.Read(ctx, make([]byte, 1))
	require.NoError(t, err)
	require.Equal(t, 1, n)

	accepting, cancel := e.Tasks.WithTimeout(ctx, time.Millisecond)
	defer cancel()
	_, err = listener.Accept(accepting)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.NoError(t, c.Close())
	require.NoError(t, peer.Close())
}
