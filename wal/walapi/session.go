package walapi

import (
	"context"
	"fmt"

	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/env"
	"github.com/varvedb/varve/wal/frame"
	"github.com/varvedb/varve/wal/quorum"
)

// Session is a connection that carries the messages of package quorum. One task
// receives; any task sends.
type Session struct {
	conn   *frame.Conn
	sender *frame.Sender
}

// DialSession connects a proposer to a safekeeper. The caller runs Run, and closes.
func DialSession(ctx context.Context, e env.Env, addr string) (*Session, error) {
	conn, err := frame.Dial(ctx, e, addr, Service)
	if err != nil {
		return nil, err
	}
	return NewSession(e, conn), nil
}

// NewSession puts messages on a connection that has exchanged hellos, and owns it.
func NewSession(e env.Env, conn *frame.Conn) *Session {
	return &Session{conn: conn, sender: frame.NewSender(e, conn)}
}

// Run sends what is queued, until ctx or the connection ends.
func (s *Session) Run(ctx context.Context) error { return s.sender.Run(ctx) }

// Queue queues a message without waiting. False means that it was not queued, so
// that the session is of no more use: none may be skipped.
func (s *Session) Queue(m quorum.Message) bool { return s.sender.Queue(TypeQuorum, m) }

// Receive returns the next message, which is the caller's.
func (s *Session) Receive(ctx context.Context) (quorum.Message, error) {
	f, err := s.conn.Read(ctx)
	if err != nil {
		return nil, fmt.Errorf("receive quorum message: %w", err)
	}
	if f.Type != TypeQuorum {
		return nil, fmt.Errorf("receive quorum message: %w",
			wal.Corruptf("session", 0, "frame type", TypeQuorum, f.Type))
	}
	return quorum.DecodeMessage(f.Payload)
}

// Close ends the connection and makes pending calls return.
func (s *Session) Close() error { return s.conn.Close() }
