package frame

import (
	"context"
	"fmt"
	"time"

	"github.com/varvedb/varve/wal/assert"
	"github.com/varvedb/varve/wal/env"
)

// helloTimeout bounds dialing and the exchange of hellos: far above a round trip
// between continents, well below anyone's patience.
const helloTimeout = 5 * time.Second

// maxServiceName bounds a service's name, in bytes: its length takes one.
const maxServiceName = 255

// Dial connects to a service. It fails if the peer is another service or speaks
// another version.
func Dial(ctx context.Context, e env.Env, addr, service string) (*Conn, error) {
	assert.That(len(service) <= maxServiceName, "the service name %q is short", service)
	limited, cancel := e.Tasks.WithTimeout(ctx, helloTimeout)
	defer cancel()
	raw, err := e.Net.Dial(limited, addr)
	if err != nil {
		return nil, fmt.Errorf("dial %s at %s: %w", service, addr, err)
	}
	c := NewConn(raw)
	if err := c.greet(limited, service); err != nil {
		c.Close()
		return nil, fmt.Errorf("greet %s at %s: %w", service, addr, err)
	}
	return c, nil
}

func (c *Conn) greet(ctx context.Context, service string) error {
	mine := hello{version: protocolLatest, service: service}
	if err := c.Write(ctx, Frame{Type: TypeHello, Payload: mine.AppendTo(nil)}); err != nil {
		return err
	}
	answer, err := c.Read(ctx)
	if err != nil {
		return err
	}
	if err := AsError(answer); err != nil {
		return err
	}
	return checkHello(answer, mine)
}

// accept answers a client's hello, or refuses it.
func (c *Conn) accept(ctx context.Context, service string) error {
	first, err := c.Read(ctx)
	if err != nil {
		return err
	}
	mine := hello{version: protocolLatest, service: service}
	if err := checkHello(first, mine); err != nil {
		// Whether the refusal arrives does not matter: the connection ends anyway.
		_ = c.Write(ctx, ErrorFrame(0, err))
		return err
	}
	return c.Write(ctx, Frame{Type: TypeHello, Payload: mine.AppendTo(nil)})
}

func checkHello(f Frame, mine hello) error {
	if f.Type != TypeHello {
		return Errorf(CodeBadHello, "the first frame is of type %d, not a hello", f.Type)
	}
	theirs, err := decodeHello(f.Payload)
	if err != nil {
		return err
	}
	if theirs != mine {
		return Errorf(CodeBadHello, "one side speaks %s version %d, the other %s version %d",
			mine.service, mine.version, theirs.service, theirs.version)
	}
	return nil
}
