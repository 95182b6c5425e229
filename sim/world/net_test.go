package world_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/sim/world"
	"github.com/varvedb/varve/wal/env"
)

// pair is two nodes with a connection between them: server reads, client writes.
type pair struct {
	w              *world.World
	server, client *world.Node
	got            []byte
	serverErr      error // of the server's last read
	clientErr      error // of the client's last call
}

// newPair has the client run talk on its connection, and the server read all it can.
func newPair(t *testing.T, cfg world.Config, talk func(ctx context.Context, e env.Env, c env.Conn) error) *pair {
	p := &pair{w: newWorld(t, cfg)}
	p.server, p.client = p.w.Node("server"), p.w.Node("client")
	p.server.Start(func(ctx context.Context, e env.Env) error {
		l, err := e.Net.Listen(ctx, "tcp:server:1")
		require.NoError(t, err)
		c, err := l.Accept(ctx)
		require.NoError(t, err)
		buf := make([]byte, 1000)
		for {
			n, err := c.Read(ctx, buf)
			p.got = append(p.got, buf[:n]...)
			if p.serverErr = err; err != nil {
				return e.Clock.Sleep(ctx, long)
			}
		}
	})
	require.NoError(t, p.w.Run(time.Millisecond))
	p.client.Start(func(ctx context.Context, e env.Env) error {
		c, err := e.Net.Dial(ctx, "tcp:server:1")
		require.NoError(t, err)
		p.clientErr = talk(ctx, e, c)
		return e.Clock.Sleep(ctx, long)
	})
	return p
}

// say writes a word every 100 ms until that fails.
func say(word string) func(context.Context, env.Env, env.Conn) error {
	return func(ctx context.Context, e env.Env, c env.Conn) error {
		for {
			if _, err := c.Write(ctx, []byte(word)); err != nil {
				return err
			}
			if err := e.Clock.Sleep(ctx, 100*time.Millisecond); err != nil {
				return err
			}
		}
	}
}

func (p *pair) run(t *testing.T, d time.Duration) { require.NoError(t, p.w.Run(p.w.Now()+d)) }

func TestACutLinkHoldsBytesUntilItHeals(t *testing.T) {
	p := newPair(t, world.Config{}, say("."))
	p.run(t, 950*time.Millisecond)
	before := len(p.got)
	require.Equal(t, 10, before)
	p.w.Cut(p.server, p.client)
	p.run(t, time.Second)
	require.Equal(t, 20, len(p.got), "the other way is open")
	p.w.Cut(p.client, p.server)
	p.run(t, time.Minute)
	require.Equal(t, 20, len(p.got))
	require.NoError(t, p.clientErr)
	p.w.HealAll()
	p.run(t, 5*time.Second)
	require.Equal(t, 670, len(p.got), "nothing was lost")
	p.w.Isolate(p.server)
	p.run(t, time.Hour)
	require.ErrorIs(t, p.clientErr, world.ErrTimeout, "the sender loses patience")
	require.NoError(t, p.serverErr, "who only reads does not know")
}

func TestADialThroughACutLinkIsTriedAgain(t *testing.T) {
	w := newWorld(t, world.Config{})
	server, client := w.Node("server"), w.Node("client")
	server.Start(func(ctx context.Context, e env.Env) error {
		_, err := e.Net.Listen(ctx, "tcp:server:1")
		return errors.Join(err, e.Clock.Sleep(ctx, long))
	})
	require.NoError(t, w.Run(time.Second))
	w.Cut(server, client)
	client.Start(func(ctx context.Context, e env.Env) error {
		began := e.Clock.Now()
		_, err := e.Net.Dial(ctx, "tcp:server:1")
		require.NoError(t, err)
		require.Greater(t, e.Clock.Now()-began, 10*time.Second)
		_, err = e.Net.Dial(ctx, "tcp:server:2")
		require.ErrorIs(t, err, world.ErrRefused)
		w.Cut(client, server)
		_, err = e.Net.Dial(ctx, "tcp:server:1")
		require.ErrorIs(t, err, world.ErrTimeout)
		return nil
	})
	require.NoError(t, w.Run(11*time.Second))
	w.HealAll()
	require.NoError(t, w.Run(time.Hour))
	require.False(t, client.Running())
	require.NoError(t, client.Err())
}

func TestADeadProcesssPeerHearsOfIt(t *testing.T) {
	p := newPair(t, world.Config{}, say("."))
	p.run(t, time.Second)
	p.client.Crash()
	p.run(t, time.Second)
	require.Equal(t, io.EOF, p.serverErr)
}

func TestANodeWithoutPowerSaysNothing(t *testing.T) {
	p := newPair(t, world.Config{}, say("."))
	p.run(t, time.Second)
	p.client.Kill()
	p.run(t, time.Hour)
	require.NoError(t, p.serverErr, "the reader waits for ever")

	p = newPair(t, world.Config{}, say("."))
	p.run(t, time.Second)
	p.server.Kill()
	p.run(t, 10*time.Second)
	require.NoError(t, p.clientErr, "the writer does not know yet")
	p.server.Start(func(ctx context.Context, e env.Env) error { return e.Clock.Sleep(ctx, long) })
	p.run(t, 10*time.Second)
	require.ErrorIs(t, p.clientErr, world.ErrReset, "until there is someone to say so")
}

func TestAWindowBoundsWhatIsUnderWay(t *testing.T) {
	w := newWorld(t, world.Config{})
	server, client := w.Node("server"), w.Node("client")
	server.Start(func(ctx context.Context, e env.Env) error {
		l, err := e.Net.Listen(ctx, "tcp:server:1")
		require.NoError(t, err)
		_, err = l.Accept(ctx)
		return errors.Join(err, e.Clock.Sleep(ctx, long))
	})
	require.NoError(t, w.Run(time.Second))
	wrote := 0
	client.Start(func(ctx context.Context, e env.Env) error {
		c, err := e.Net.Dial(ctx, "tcp:server:1")
		require.NoError(t, err)
		for {
			n, err := c.Write(ctx, make([]byte, 1000))
			wrote += n
			if err != nil {
				return err
			}
		}
	})
	require.NoError(t, w.Run(time.Minute))
	require.Less(t, wrote, 256<<10)
	require.Greater(t, wrote, 250<<10)
}

func TestAResetIsHeardAtBothEnds(t *testing.T) {
	faults := always(world.NetReset)
	faults[world.NetReset].PerMillion = 100_000
	p := newPair(t, world.Config{Faults: faults}, say("."))
	p.run(t, time.Minute)
	require.ErrorIs(t, p.clientErr, world.ErrReset)
	require.ErrorIs(t, p.serverErr, world.ErrReset)
}

// A write is cut in the middle, and what comes of it is a reset.
func TestATornWriteArrivesInPart(t *testing.T) {
	const word = "0123456789"
	for seed := range uint64(20) {
		faults := always(world.NetTorn)
		faults[world.NetTorn].PerMillion = 100_000
		p := newPair(t, world.Config{Seed: seed, Faults: faults}, say(word))
		p.run(t, time.Minute)
		require.ErrorIs(t, p.clientErr, world.ErrReset)
		require.ErrorIs(t, p.serverErr, world.ErrReset)
		require.EqualValues(t, 1, p.w.Fired(world.NetTorn))
		part := len(p.got) % len(word)
		require.NotZero(t, part)
		require.Equal(t, word[:part], string(p.got[len(p.got)-part:]))
	}
}

// Of a connection that was reset long ago, bytes still arrive.
func TestLateBytesArriveAfterTheReset(t *testing.T) {
	late := 0
	for seed := range uint64(20) {
		faults := always(world.NetReset, world.NetLate, world.NetDelay)
		faults[world.NetReset].PerMillion = 100_000
		var ended time.Duration
		p := newPair(t, world.Config{Seed: seed, Faults: faults}, then(say("."), func(e env.Env) { ended = e.Clock.Now() }))
		for ended == 0 && p.w.Now() < time.Hour {
			p.run(t, time.Millisecond)
		}
		before := len(p.got)
		p.run(t, time.Minute)
		if len(p.got) > before {
			late++
		}
	}
	require.NotZero(t, late)
}

// then calls after when talk has ended.
func then(talk func(context.Context, env.Env, env.Conn) error, after func(env.Env)) func(context.Context, env.Env, env.Conn) error {
	return func(ctx context.Context, e env.Env, c env.Conn) error {
		err := talk(ctx, e, c)
		after(e)
		return err
	}
}

func TestAHalfOpenConnectionSwallows(t *testing.T) {
	faults := always(world.NetHalfOpen)
	faults[world.NetHalfOpen].PerMillion = 50_000
	p := newPair(t, world.Config{Faults: faults}, say("."))
	p.run(t, 5*time.Minute)
	require.NotZero(t, p.w.Fired(world.NetHalfOpen))
	require.NoError(t, p.clientErr, "nobody is told")
	require.NoError(t, p.serverErr)
	swallowed := len(p.got)
	require.Less(t, swallowed, 1000)
	p.run(t, time.Hour)
	require.Len(t, p.got, swallowed)
	require.ErrorIs(t, p.clientErr, world.ErrTimeout)
}

// Delays and short reads change neither bytes nor their order.
func TestAStreamIsInOrderHoweverItIsCarried(t *testing.T) {
	var sent []byte
	for i := range 100_000 {
		sent = append(sent, byte(i*i>>7))
	}
	for seed := range uint64(10) {
		p := newPair(t, world.Config{Seed: seed, Faults: often(world.NetDelay, world.NetShortRead)}, func(ctx context.Context, e env.Env, c env.Conn) error {
			for rest := sent; len(rest) > 0; {
				n := min(len(rest), 1+env.IntN(e.Rand.Stream("size"), 3000))
				if _, err := c.Write(ctx, rest[:n]); err != nil {
					return err
				}
				rest = rest[n:]
			}
			return c.Close()
		})
		p.run(t, time.Hour)
		require.NoError(t, p.clientErr)
		require.Equal(t, io.EOF, p.serverErr)
		require.True(t, bytes.Equal(sent, p.got))
	}
}

func TestAUnixSocketIsOfItsNode(t *testing.T) {
	w := newWorld(t, world.Config{})
	a, b := w.Node("a"), w.Node("b")
	a.Start(func(ctx context.Context, e env.Env) error {
		_, err := e.Net.Listen(ctx, "unix:s")
		require.NoError(t, err)
		_, err = e.Net.Listen(ctx, "unix:s")
		require.ErrorContains(t, err, "address in use")
		_, err = e.Net.Dial(ctx, "unix:s")
		require.NoError(t, err)
		return e.Clock.Sleep(ctx, time.Hour)
	})
	require.NoError(t, w.Run(time.Second))
	require.True(t, a.Running(), "%v", a.Err())
	must(t, b, w, func(ctx context.Context, e env.Env) {
		_, err := e.Net.Dial(ctx, "unix:s")
		require.ErrorIs(t, err, world.ErrRefused)
	})
}

// storm has episodes of one kind among four nodes, once every 30 seconds of at most 10,
// and returns what it wrote to the trace.
func storm(t *testing.T, seed uint64, kind world.FaultKind) (entries []world.Entry) {
	faults := world.Worst().Only(kind)
	faults[kind].Every = world.Range{Lo: 30 * time.Second, Hi: 30 * time.Second}
	faults[kind].Lasts = world.Range{Lo: 5 * time.Second, Hi: 10 * time.Second}
	w := newWorld(t, world.Config{Seed: seed, Faults: faults, Log: func(e world.Entry) { entries = append(entries, e) }})
	var nodes []*world.Node
	for _, name := range []string{"a", "b", "c", "d"} {
		n := w.Node(name)
		n.Start(func(ctx context.Context, e env.Env) error { return e.Clock.Sleep(ctx, long) })
		nodes = append(nodes, n)
	}
	w.Storm(nodes...)
	require.NoError(t, w.Run(59*time.Second))
	require.EqualValues(t, 1, w.Fired(kind))
	return entries
}

// In a ring of five each reaches two, and one comes from each to all others by them.
func TestARingLeavesEachItsNeighbours(t *testing.T) {
	for seed := range uint64(20) {
		parts := []string{"bucket", "a", "b", "c", "d"}
		cut := map[string]int{} // by link: times it was cut less times it was healed
		for _, e := range storm(t, seed, world.NetRing) {
			if e.Kind == world.KindLink && e.Payload&1 == 1 {
				cut[e.Text]++
			} else if e.Kind == world.KindLink {
				require.Equal(t, 1, cut[e.Text], "what heals was cut")
				cut[e.Text] = 2
			}
		}
		require.Len(t, cut, 10)
		neighbours := map[string][]string{}
		for _, from := range parts {
			for _, to := range parts {
				if n := cut[from+">"+to]; from != to && n == 0 {
					neighbours[from] = append(neighbours[from], to)
				} else if from != to {
					require.Equal(t, 2, n, "it heals")
				}
			}
			require.Len(t, neighbours[from], 2)
		}
		seen, at := map[string]bool{}, "bucket"
		for !seen[at] {
			seen[at] = true
			next := neighbours[at]
			at = next[0]
			if seen[at] {
				at = next[1]
			}
		}
		require.Len(t, seen, len(parts), "one ring")
	}
}

// What is sent on a clogged link arrives when that is free, and nobody has to send it
// again; the other way is free all the time.
func TestACloggedLinkHoldsBytesUntilItIsFree(t *testing.T) {
	held, free := 0, 0
	for seed := range uint64(20) {
		faults := world.Worst().Only(world.NetClog)
		faults[world.NetClog].Every.Lo = faults[world.NetClog].Lasts.Hi // one at a time
		var entries []world.Entry
		p := newPair(t, world.Config{Seed: seed, Faults: faults, Log: func(e world.Entry) { entries = append(entries, e) }}, say("."))
		p.w.Storm(p.client)
		p.run(t, 4*time.Minute)
		require.NoError(t, p.clientErr)
		require.NoError(t, p.serverErr)
		until := map[time.Duration]time.Duration{} // a clog, from when it came
		var began []time.Duration
		for _, e := range entries {
			if e.Kind == world.KindClog && e.Text == "client>server" && e.Payload == 1 {
				began = append(began, e.At)
			} else if e.Kind == world.KindClog && e.Text == "client>server" && len(began) > 0 {
				until[began[0]] = e.At
				began = began[1:]
			}
		}
		for _, e := range entries {
			if e.Kind != world.KindDeliver || e.Node != "server" {
				continue
			}
			clogged := time.Duration(0)
			for from, to := range until {
				if from <= e.Sent && e.Sent < to {
					clogged = max(clogged, to)
				}
			}
			if clogged == 0 {
				free++
				continue
			}
			held++
			require.InDelta(t, clogged, e.At, float64(time.Millisecond))
		}
	}
	require.NotZero(t, held)
	require.NotZero(t, free)
}

// Nodes are clogged in one order and freed in another.
func TestASwizzleFreesInAnotherOrder(t *testing.T) {
	other := 0
	for seed := range uint64(40) {
		var clogged, freed []string
		for _, e := range storm(t, seed, world.NetSwizzle) {
			if e.Kind != world.KindClog {
				continue
			}
			if e.Payload == 1 {
				require.Empty(t, freed, "none is free before the last is clogged")
				clogged = append(clogged, e.Node)
			} else {
				freed = append(freed, e.Node)
			}
		}
		require.ElementsMatch(t, clogged, freed)
		if len(clogged) > 1 && clogged[0] != freed[0] {
			other++
		}
	}
	require.NotZero(t, other)
}
