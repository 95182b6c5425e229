package frame

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/env"
	"github.com/varvedb/varve/wal/env/osenv"
)

func crcOf(p []byte) (sum [4]byte) {
	binary.LittleEndian.PutUint32(sum[:], crc32.Checksum(p, castagnoli))
	return sum
}

func newEnv(t *testing.T) env.Env {
	e, err := osenv.New(osenv.Config{Root: t.TempDir()})
	require.NoError(t, err)
	return e
}

// pipe is a Conn's two ends in memory: reads give at most step bytes.
type pipe struct {
	bytes.Buffer
	step int
}

func (p *pipe) Read(_ context.Context, b []byte) (int, error) {
	return p.Buffer.Read(b[:min(len(b), p.step)])
}
func (p *pipe) Write(_ context.Context, b []byte) (int, error) { return p.Buffer.Write(b) }
func (p *pipe) Close() error                                   { return nil }

func TestConnReadsWhatWasWrittenHoweverItIsCut(t *testing.T) {
	for _, step := range []int{1, 7, 100, 1 << 20} {
		c := NewConn(&pipe{step: step})
		big := bytes.Repeat([]byte("season "), 30_000)
		frames := append(sampleFrames(), Frame{Type: 3, ID: 4, Payload: big}, Frame{Type: 5, Payload: []byte{1}})
		require.NoError(t, c.Write(t.Context(), frames...))
		for i, want := range frames {
			peeked, err := c.Peek(t.Context())
			require.NoError(t, err)
			require.Equal(t, want, peeked, "frame %d, cut at %d", i, step)
			got, err := c.Read(t.Context())
			require.NoError(t, err)
			require.Equal(t, want, got, "frame %d, cut at %d", i, step)
		}
		_, err := c.Read(t.Context())
		require.Equal(t, io.EOF, err)
	}
}

func TestConnNamesATornFrame(t *testing.T) {
	p := &pipe{step: 100}
	f := sampleFrames()[1]
	encoded := f.AppendTo(nil)
	p.Buffer.Write(encoded[:len(encoded)-1])
	_, err := NewConn(p).Read(t.Context())
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
}

func TestConnNamesWhereBadBytesAre(t *testing.T) {
	p := &pipe{step: 100}
	f := sampleFrames()[1]
	encoded := f.AppendTo(f.AppendTo(nil))
	encoded[len(encoded)-6] ^= 1
	p.Buffer.Write(encoded)
	c := NewConn(p)
	_, err := c.Read(t.Context())
	require.NoError(t, err)
	_, err = c.Read(t.Context())
	var corruption *wal.CorruptionError
	require.ErrorAs(t, err, &corruption)
	require.Equal(t, int64(len(encoded)/2), corruption.Offset)
}

// serve runs a server for the test's life and returns its address.
func serve(t *testing.T, e env.Env, service string, handle Handler) string {
	l, err := e.Net.Listen(t.Context(), "unix:"+filepath.Join(t.TempDir(), "s"))
	require.NoError(t, err)
	group := e.Tasks.NewGroup(context.Background())
	group.Go("server", func(ctx context.Context) error {
		return Serve(ctx, e, l, service, func(ctx context.Context, c *Conn) error {
			return ServeRequests(ctx, e, c, handle)
		})
	})
	t.Cleanup(func() { group.Stop(); require.NoError(t, group.Wait()) })
	return l.Addr()
}

const (
	typeEcho = 1
	typeHold = 2 // is answered after a typeFree
	typeFree = 3
	typeFail = 4
	typeHuge = 5 // is answered with more than a frame holds
)

// echoServer answers typeHold only when a typeFree has come.
func echoServer(e env.Env) Handler {
	var mu sync.Mutex
	free := false
	freed := e.Tasks.NewCond(&mu)
	return func(ctx context.Context, r Frame) (Frame, error) {
		mu.Lock()
		defer mu.Unlock()
		switch r.Type {
		case typeHold:
			for !free {
				if err := freed.Wait(ctx); err != nil {
					return Frame{}, err
				}
			}
		case typeFree:
			free = true
			freed.Broadcast()
		case typeHuge:
			return Frame{Type: r.Type, Payload: make([]byte, MaxPayload+1)}, nil
		case typeFail:
			return Frame{}, fmt.Errorf("answer: %w", Errorf(CodeService+3, "asked to fail"))
		}
		return Frame{Type: r.Type, Payload: r.Payload}, nil
	}
}

func TestAnswersComeInAnyOrder(t *testing.T) {
	e := newEnv(t)
	c, err := DialClient(t.Context(), e, serve(t, e, "varve-test", echoServer(e)), "varve-test")
	require.NoError(t, err)
	defer c.Close()
	held, err := c.Start(t.Context(), typeHold, []byte("held"))
	require.NoError(t, err)
	for i := range 100 {
		payload := fmt.Appendf(nil, "request %d", i)
		answer, err := c.Call(t.Context(), typeEcho, payload)
		require.NoError(t, err)
		require.Equal(t, payload, answer.Payload)
	}
	_, err = c.Call(t.Context(), typeFree, nil)
	require.NoError(t, err)
	answer, err := held.Wait(t.Context())
	require.NoError(t, err)
	require.Equal(t, "held", string(answer.Payload))
}

func TestOneTaskPipelinesMoreThanTheServerHolds(t *testing.T) {
	e := newEnv(t)
	c, err := DialClient(t.Context(), e, serve(t, e, "varve-test", echoServer(e)), "varve-test")
	require.NoError(t, err)
	defer c.Close()
	var pending []*Pending
	for i := range 3 * maxInFlight {
		p, err := c.Start(t.Context(), typeEcho, fmt.Appendf(nil, "%d", i))
		require.NoError(t, err)
		pending = append(pending, p)
	}
	for i, p := range pending {
		answer, err := p.Wait(t.Context())
		require.NoError(t, err)
		require.Equal(t, fmt.Sprint(i), string(answer.Payload))
	}
}

func TestAFailedRequestTellsItsCodeAndLeavesTheConnection(t *testing.T) {
	e := newEnv(t)
	c, err := DialClient(t.Context(), e, serve(t, e, "varve-test", echoServer(e)), "varve-test")
	require.NoError(t, err)
	defer c.Close()
	_, err = c.Call(t.Context(), typeFail, nil)
	require.EqualError(t, err, "answer: asked to fail")
	require.Equal(t, Code(CodeService+3), CodeOf(err))
	_, err = c.Call(t.Context(), typeHuge, nil)
	require.ErrorContains(t, err, "the answer has 33554433 bytes")
	_, err = c.Call(t.Context(), typeEcho, nil)
	require.NoError(t, err)
}

// jammed is a connection that takes no bytes until it is let go.
type jammed struct {
	pipe
	lock *env.Lock
}

func (j *jammed) Write(ctx context.Context, b []byte) (int, error) {
	if err := j.lock.Lock(ctx); err != nil {
		return 0, err
	}
	defer j.lock.Unlock()
	return j.pipe.Write(ctx, b)
}

const largeBytes = 1 << 20

// large is a message that tells which it is.
type large struct{ n int }

func (l large) AppendTo(dst []byte) []byte {
	return append(dst, bytes.Repeat([]byte{byte(l.n)}, largeBytes)...)
}

func TestASenderQueuesUpToItsBound(t *testing.T) {
	e := newEnv(t)
	j := &jammed{pipe: pipe{step: 1 << 20}, lock: env.NewLock(e.Tasks)}
	require.NoError(t, j.lock.Lock(t.Context()))
	s := NewSender(e, NewConn(j))
	queued := 0
	for s.Queue(1, large{queued}) {
		queued++
	}
	require.Equal(t, queueBytesMax/(largeBytes+Overhead), queued)
	group := e.Tasks.NewGroup(t.Context())
	group.Go("sender", s.Run)
	j.lock.Unlock()
	require.NoError(t, s.Send(t.Context(), Frame{Type: 2})) // waits for room
	group.Stop()
	require.NoError(t, group.Wait())
	require.False(t, s.Queue(3, large{}), "the sender has ended")
	c := NewConn(&j.pipe)
	for i := range queued {
		f, err := c.Read(t.Context())
		require.NoError(t, err)
		require.Equal(t, Frame{Type: 1, Payload: large{i}.AppendTo(nil)}, f)
	}
}

func TestAnotherServiceIsRefusedByName(t *testing.T) {
	e := newEnv(t)
	addr := serve(t, e, "varve-log", echoServer(e))
	_, err := DialClient(t.Context(), e, addr, "varve-page")
	require.Equal(t, CodeBadHello, CodeOf(err))
	require.ErrorContains(t, err, "varve-log")
	require.ErrorContains(t, err, "varve-page")
}

func TestADeadConnectionFailsWhatIsInFlight(t *testing.T) {
	e := newEnv(t)
	l, err := e.Net.Listen(t.Context(), "unix:"+filepath.Join(t.TempDir(), "s"))
	require.NoError(t, err)
	group := e.Tasks.NewGroup(t.Context())
	group.Go("server that hangs up", func(ctx context.Context) error {
		return Serve(ctx, e, l, "varve-test", func(ctx context.Context, c *Conn) error {
			_, err := c.Read(ctx)
			return err
		})
	})
	c, err := DialClient(t.Context(), e, l.Addr(), "varve-test")
	require.NoError(t, err)
	_, err = c.Call(t.Context(), typeEcho, nil)
	require.ErrorIs(t, err, io.EOF)
	require.ErrorIs(t, c.Err(), io.EOF)
	_, err = c.Call(t.Context(), typeEcho, nil)
	require.Error(t, err)
	require.NoError(t, c.Close())
	group.Stop()
	require.NoError(t, group.Wait())
}

func TestACallerWhoGivesUpIsForgotten(t *testing.T) {
	e := newEnv(t)
	c, err := DialClient(t.Context(), e, serve(t, e, "varve-test", echoServer(e)), "varve-test")
	require.NoError(t, err)
	defer c.Close()
	held, err := c.Start(t.Context(), typeHold, nil)
	require.NoError(t, err)
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = held.Wait(gone)
	require.True(t, errors.Is(err, context.Canceled))
	require.Empty(t, c.waiting)
	_, err = c.Call(t.Context(), typeFree, nil)
	require.NoError(t, err)
}

// TestASilentPeerIsGivenUp: a request has its time; then the client is dead, and who
// else waits on it learns so.
func TestASilentPeerIsGivenUp(t *testing.T) {
	e := newEnv(t)
	c, err := DialClient(t.Context(), e, serve(t, e, "varve-test", echoServer(e)), "varve-test")
	require.NoError(t, err)
	defer c.Close()
	other, err := c.Start(t.Context(), typeHold, nil)
	require.NoError(t, err)
	_, err = c.CallWithin(t.Context(), time.Millisecond, typeHold, nil)
	require.ErrorIs(t, err, ErrSilent)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorIs(t, c.Err(), ErrSilent)
	_, err = other.Wait(t.Context())
	require.ErrorIs(t, err, ErrSilent)
	_, err = c.Call(t.Context(), typeEcho, nil)
	require.ErrorIs(t, err, ErrSilent)
}

// troubled is a listener whose first calls fail as if too many files were open.
type troubled struct {
	env.Listener
	failures int
}

func (l *troubled) Accept(ctx context.Context) (env.Conn, error) {
	if l.failures > 0 {
		l.failures--
		return nil, errors.New("accept: too many open files")
	}
	return l.Listener.Accept(ctx)
}

// hasty is a clock whose pauses are over at once.
type hasty struct {
	env.Clock
	pauses int
}

func (c *hasty) Sleep(ctx context.Context, _ time.Duration) error {
	c.pauses++
	return ctx.Err()
}

// TestServeEndsOnlyWhenItsListenerIsClosed, not when a connection cannot be accepted.
func TestServeEndsOnlyWhenItsListenerIsClosed(t *testing.T) {
	e := newEnv(t)
	clock := &hasty{Clock: e.Clock}
	e.Clock = clock
	real, err := e.Net.Listen(t.Context(), "unix:"+filepath.Join(t.TempDir(), "s"))
	require.NoError(t, err)
	group := e.Tasks.NewGroup(t.Context())
	ended := make(chan error, 1)
	group.Go("server", func(ctx context.Context) error {
		err := Serve(ctx, e, &troubled{real, 3}, "varve-test", func(ctx context.Context, c *Conn) error { return ServeRequests(ctx, e, c, echoServer(e)) })
		ended <- err
		return nil
	})
	c, err := DialClient(t.Context(), e, real.Addr(), "varve-test")
	require.NoError(t, err)
	_, err = c.Call(t.Context(), typeEcho, nil)
	require.NoError(t, err)
	require.Equal(t, 3, clock.pauses)
	require.NoError(t, c.Close())
	require.NoError(t, real.Close())
	require.ErrorIs(t, <-ended, env.ErrListenerClosed)
	require.NoError(t, group.Wait())
}
