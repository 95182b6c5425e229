package frame

import (
	"bytes"
	"context"
	"errors"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

// A buffer that grew for a large frame stays for the next, unless it is huge, and goes
// when small frames have come for a while.
func TestAGrownBufferStaysWhileItIsNeeded(t *testing.T) {
	p := &pipe{step: 1 << 20}
	c := NewConn(p)
	read := func(size int) {
		require.NoError(t, c.Write(t.Context(), Frame{Type: 1, Payload: bytes.Repeat([]byte{7}, size)}))
		f, err := c.Read(t.Context())
		require.NoError(t, err)
		require.Len(t, f.Payload, size)
	}
	read(1 << 20)
	grown := &c.in[:1][0]
	for range 3 {
		read(10)
		read(1 << 20)
		require.Same(t, grown, &c.in[:1][0])
	}
	for range smallFramesMax + 2 {
		read(10)
	}
	require.Equal(t, readChunk, cap(c.in))
	read(3 * keptBytesMax)
	read(10)
	require.Equal(t, readChunk, cap(c.in))
}

func TestAnAnswerIsTakenOrDropped(t *testing.T) {
	e := newEnv(t)
	var sent atomic.Int32
	t.Cleanup(func() { require.GreaterOrEqual(t, sent.Load(), int32(4)) }) // when the server has ended
	echo := echoServer(e)
	c, err := DialClient(t.Context(), e, serve(t, e, "varve-test", func(ctx context.Context, r Frame) (Frame, error) {
		f, err := echo(ctx, r)
		f.Sent = func() { sent.Add(1) }
		return f, err
	}), "varve-test")
	require.NoError(t, err)
	defer c.Close()
	start := func(typ uint8, payload string, take func([]byte) error) *Pending {
		p, err := c.StartTaking(t.Context(), typ, []byte(payload), take)
		require.NoError(t, err)
		return p
	}

	var taken []byte
	answer, err := start(typeEcho, "one", func(b []byte) error { taken = append(taken, b...); return nil }).Wait(t.Context())
	require.NoError(t, err)
	require.Equal(t, "one", string(taken))
	require.Nil(t, answer.Payload)

	refused := errors.New("not what was asked for")
	_, err = start(typeEcho, "two", func([]byte) error { return refused }).Wait(t.Context())
	require.ErrorIs(t, err, refused)

	never := func([]byte) error { panic("taken") }
	var remote *RemoteError
	_, err = start(typeFail, "", never).Wait(t.Context())
	require.ErrorAs(t, err, &remote)
	start(typeHold, "", never).Drop()
	require.Empty(t, c.waiting)
	_, err = c.Call(t.Context(), typeFree, nil)
	require.NoError(t, err)
	_, err = c.Call(t.Context(), typeEcho, nil)
	require.NoError(t, err)
}
