package endpoint

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/lsm"
	"github.com/varvedb/varve/pageserver/pageapi"
	"github.com/varvedb/varve/pageserver/timeline"
	"github.com/varvedb/varve/wal/env"
	"github.com/varvedb/varve/wal/frame"
)

// patient is a clock whose pauses are over at once, and counted.
type patient struct {
	env.Clock
	pauses chan time.Duration
}

func (p patient) Sleep(ctx context.Context, d time.Duration) error {
	p.pauses <- d
	return ctx.Err()
}

// TestOnlyAStopForGoodEndsAnEndpoint: a pageserver that is not there, dies, is fenced,
// or has stopped for a while, does not.
func TestOnlyAStopForGoodEndsAnEndpoint(t *testing.T) {
	w := newWorld(t, 0)
	id := testIdentity().Timeline
	transient := &timeline.StoppedError{Timeline: id, Cause: errors.New("the bucket is away")}
	answers := []error{
		context.Canceled, // stands for a server that dies without an answer
		transient,
		fmt.Errorf("flush: %w", lsm.ErrFenced),
		fmt.Errorf("timeline waits for its ancestors: %w", lsm.ErrAncestorNotReady),
		errors.New("something else"),
		&timeline.StoppedError{Timeline: id, At: 0x1500000, Cause: &timeline.MissingImageError{Timeline: id}},
	}
	clock := patient{w.Clock, make(chan time.Duration, len(answers)+1)}
	e := w.Env
	e.Clock = clock
	addr := fmt.Sprintf("unix:%s/scripted", w.dir)
	// Nobody listens yet.
	early, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- awaitUnreadable(early, e, addr, id) }()
	<-clock.pauses
	cancel()
	for done := false; !done; {
		select {
		case err := <-ended:
			require.ErrorIs(t, err, context.Canceled)
			done = true
		case <-clock.pauses:
		}
	}

	listener, err := w.Net.Listen(t.Context(), addr)
	require.NoError(t, err)
	group := w.Tasks.NewGroup(t.Context())
	asked, told := 0, 0
	group.Go("pageserver", func(ctx context.Context) error {
		return frame.Serve(ctx, w.Env, listener, pageapi.Service, func(ctx context.Context, c *frame.Conn) error {
			request, err := c.Read(ctx)
			if err != nil {
				return err
			}
			asked++ // by one connection after the other
			if answers[asked-1] == context.Canceled {
				return nil
			}
			answer := answers[asked-1]
			if err := c.Write(ctx, frame.ErrorFrame(request.ID, pageapi.ToWire(answer))); err != nil || !errors.Is(answer, lsm.ErrFenced) {
				return err
			}
			if request, err = c.Read(ctx); err != nil || request.Type != pageapi.TypeFollow {
				return err
			}
			told++
			return c.Write(ctx, frame.Frame{Type: request.Type, ID: request.ID})
		})
	})
	err = awaitUnreadable(t.Context(), e, addr, id)
	require.ErrorIs(t, err, ErrUnreadable)
	require.ErrorIs(t, err, timeline.ErrStoppedForGood)
	require.ErrorContains(t, err, "stopped at 0/1500000")
	group.Stop()
	require.NoError(t, group.Wait())
	require.Equal(t, len(answers), asked)
	require.Equal(t, 1, told, "a fenced pageserver is told to serve the timeline again")
}
