package walapi

import (
	"context"
	"fmt"

	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/assert"
	"github.com/varvedb/varve/wal/env"
	"github.com/varvedb/varve/wal/frame"
	"github.com/varvedb/varve/wal/quorum"
)

// Client asks one safekeeper. Many tasks may use it at once. After an error that is
// not a *frame.RemoteError it is dead: close it and dial again.
type Client struct{ c *frame.Client }

// Dial connects to a safekeeper. The client lives until ctx ends or Close.
func Dial(ctx context.Context, e env.Env, addr string) (*Client, error) {
	c, err := frame.DialClient(ctx, e, addr, Service)
	if err != nil {
		return nil, err
	}
	return &Client{c}, nil
}

// Create makes a timeline with an empty log. It may be repeated with the same identity.
// A safekeeper that does not have the log refuses, as an amnesiac, once the bucket says
// that it was made ([MadeKey]): an empty one would take part as if nothing had been.
func (c *Client) Create(ctx context.Context, id quorum.Identity) error {
	if _, err := c.c.Call(ctx, TypeCreate, appendIdentity(nil, id)); err != nil {
		return fmt.Errorf("create timeline %v: %w", id.Timeline, err)
	}
	return nil
}

// Status tells how a timeline stands.
func (c *Client) Status(ctx context.Context, timeline wal.TimelineID) (TimelineStatus, error) {
	answer, err := c.c.Call(ctx, TypeStatus, appendTimeline(nil, timeline))
	if err != nil {
		return TimelineStatus{}, fmt.Errorf("status of timeline %v: %w", timeline, err)
	}
	return DecodeStatus(answer.Payload)
}

// List names the timelines, in the order of their ids.
func (c *Client) List(ctx context.Context) ([]wal.TimelineID, error) {
	answer, err := c.c.Call(ctx, TypeList, nil)
	if err != nil {
		return nil, fmt.Errorf("list timelines: %w", err)
	}
	return DecodeTimelines(answer.Payload)
}

// Read reads a piece of the log.
func (c *Client) Read(ctx context.Context, m ReadRequest) (Chunk, error) {
	assert.That(m.BytesMax >= 0 && m.BytesMax <= ReadBytesMax, "a read of %d bytes is within %d", m.BytesMax, ReadBytesMax)
	assert.That(m.Wait >= 0 && m.Wait <= WaitMax, "a wait of %v is within %v", m.Wait, WaitMax)
	answer, err := c.c.Call(ctx, TypeRead, m.AppendTo(nil))
	if err != nil {
		return Chunk{}, fmt.Errorf("read log at %v: %w", m.Begin, err)
	}
	chunk, err := DecodeChunk(answer.Payload)
	if err == nil && chunk.Begin != m.Begin {
		err = wal.Corruptf("chunk of log", 0, "begin", m.Begin, chunk.Begin)
	}
	return chunk, err
}

// Err returns why the client is dead, nil while it lives.
func (c *Client) Err() error { return c.c.Err() }

// Close ends the connection.
func (c *Client) Close() error { return c.c.Close() }
