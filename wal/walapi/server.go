package walapi

import (
	"context"

	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/env"
	"github.com/varvedb/varve/wal/frame"
	"github.com/varvedb/varve/wal/quorum"
)

// Server is what a safekeeper does with what clients ask. Its errors carry this
// package's codes.
type Server interface {
	// Session serves a proposer until the connection ends. It need not close it.
	Session(ctx context.Context, s *Session) error
	Create(ctx context.Context, id quorum.Identity) error
	Status(ctx context.Context, timeline wal.TimelineID) (TimelineStatus, error)
	List(ctx context.Context) ([]wal.TimelineID, error)
	Read(ctx context.Context, m ReadRequest) (Chunk, error)
}

// Serve serves connections until ctx or the listener ends.
func Serve(ctx context.Context, e env.Env, l env.Listener, server Server) error {
	return frame.Serve(ctx, e, l, Service, func(ctx context.Context, c *frame.Conn) error {
		first, err := c.Peek(ctx)
		if err != nil {
			return err
		}
		if first.Type == TypeQuorum {
			return server.Session(ctx, NewSession(e, c))
		}
		return frame.ServeRequests(ctx, e, c, func(ctx context.Context, request frame.Frame) (frame.Frame, error) {
			payload, err := handle(ctx, server, request)
			return frame.Frame{Type: request.Type, Payload: payload}, err
		})
	})
}

func handle(ctx context.Context, server Server, request frame.Frame) ([]byte, error) {
	switch request.Type {
	case TypeCreate:
		id, err := DecodeCreate(request.Payload)
		if err != nil {
			return nil, badRequest(err)
		}
		return nil, server.Create(ctx, id)
	case TypeStatus:
		timeline, err := DecodeTimeline(request.Payload)
		if err != nil {
			return nil, badRequest(err)
		}
		status, err := server.Status(ctx, timeline)
		return status.AppendTo(nil), err
	case TypeList:
		timelines, err := server.List(ctx)
		return appendTimelines(nil, timelines), err
	case TypeRead:
		m, err := DecodeRead(request.Payload)
		if err != nil {
			return nil, badRequest(err)
		}
		chunk, err := server.Read(ctx, m)
		return chunk.AppendTo(nil), err
	}
	return nil, frame.Errorf(frame.CodeBadFrame, "request of unknown type %d", request.Type)
}

func badRequest(err error) error { return frame.Errorf(frame.CodeBadFrame, "%v", err) }
