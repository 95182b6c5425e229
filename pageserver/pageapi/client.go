package pageapi

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/varvedb/varve/lsm"
	"github.com/varvedb/varve/pageserver/pgkey"
	"github.com/varvedb/varve/pageserver/timeline"
	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/env"
	"github.com/varvedb/varve/wal/frame"
	"github.com/varvedb/varve/wal/pgwal"
)

// Client asks one pageserver. Many tasks may use it at once. It is dead when Err
// says so: close it and dial again.
type Client struct{ c *frame.Client }

// Dial connects to a pageserver. The client lives until ctx ends or Close.
func Dial(ctx context.Context, e env.Env, addr string) (*Client, error) {
	c, err := frame.DialClient(ctx, e, addr, Service)
	if err != nil {
		return nil, fmt.Errorf("connect to pageserver %s: %w", addr, err)
	}
	return &Client{c}, nil
}

// Err returns why the client is dead, nil while it lives.
func (c *Client) Err() error { return c.c.Err() }

// Close ends the connection.
func (c *Client) Close() error { return c.c.Close() }

// Import makes a root timeline of a cleanly stopped data directory on the
// pageserver's machine. A directory that cannot be imported is ErrRefused.
func (c *Client) Import(ctx context.Context, m ImportRequest) (Imported, error) {
	answer, err := c.call(ctx, TypeImport, m.AppendTo(nil))
	if err != nil {
		return Imported{}, err
	}
	return DecodeImported(answer)
}

// Branch makes a timeline that equals its parent up to an LSN.
func (c *Client) Branch(ctx context.Context, m BranchRequest) error {
	_, err := c.call(ctx, TypeBranch, m.AppendTo(nil))
	return err
}

// Delete removes a timeline without children; otherwise it is ErrHasChildren.
func (c *Client) Delete(ctx context.Context, id wal.TimelineID) error {
	_, err := c.call(ctx, TypeDelete, AppendTimeline(nil, id))
	return err
}

// List describes all timelines of the tenant, ordered by id.
func (c *Client) List(ctx context.Context) ([]TimelineInfo, error) {
	answer, err := c.call(ctx, TypeList, nil)
	if err != nil {
		return nil, err
	}
	return DecodeTimelines(answer)
}

// Follow has a timeline served by this pageserver, from now on: it attaches it and its
// ancestors if it does not keep them or another has taken them over, so it is sent by
// whoever directs where the tenant is served. It says where the log is received from, with
// the addresses of all its safekeepers, whose ids count from 1, and makes the pageserver look
// there at once; without addresses it keeps those it has.
func (c *Client) Follow(ctx context.Context, id wal.TimelineID, safekeepers ...string) error {
	_, err := c.call(ctx, TypeFollow, FollowRequest{Timeline: id, Safekeepers: safekeepers}.AppendTo(nil))
	return err
}

// Explain says what keeps a timeline's own bytes in the bucket, or what would with a later
// cutoff: see lsm.Timeline.Explain. All of its layers are read for it.
func (c *Client) Explain(ctx context.Context, id wal.TimelineID, cutoff wal.LSN) (lsm.Explanation, error) {
	answer, err := c.call(ctx, TypeExplain, AppendTimelineLSN(nil, id, cutoff))
	if err != nil {
		return lsm.Explanation{}, err
	}
	return DecodeExplanation(answer)
}

// Collect is lsm.Timeline.Collect. Unless it is a dry run, all that was taken in below the
// cutoff is made durable first.
func (c *Client) Collect(ctx context.Context, id wal.TimelineID, opts lsm.CollectOptions) (lsm.Collection, error) {
	answer, err := c.call(ctx, TypeCollect, CollectRequest{id, opts}.AppendTo(nil))
	if err != nil {
		return lsm.Collection{}, err
	}
	return DecodeCollection(answer)
}

// Lease is lsm.Timeline.Lease.
func (c *Client) Lease(ctx context.Context, id wal.TimelineID, lease lsm.LeaseInfo) error {
	_, err := c.call(ctx, TypeLease, LeaseRequest{id, lease}.AppendTo(nil))
	return err
}

// Release is lsm.Timeline.Release.
func (c *Client) Release(ctx context.Context, id wal.TimelineID, lease lsm.LeaseID) error {
	_, err := c.call(ctx, TypeRelease, AppendRelease(nil, id, lease))
	return err
}

// Leases is lsm.Timeline.Leases.
func (c *Client) Leases(ctx context.Context, id wal.TimelineID) ([]lsm.LeaseInfo, error) {
	answer, err := c.call(ctx, TypeLeases, AppendTimeline(nil, id))
	if err != nil {
		return nil, err
	}
	return DecodeLeases(answer)
}

// Stats are counters and gauges of a timeline, or of all if id is zero, and before them of
// the pageserver.
func (c *Client) Stats(ctx context.Context, id wal.TimelineID) ([]Stats, error) {
	answer, err := c.call(ctx, TypeStats, AppendTimeline(nil, id))
	if err != nil {
		return nil, err
	}
	return DecodeStats(answer)
}

// DetachFromParent is lsm.Timeline.DetachFromParent.
func (c *Client) DetachFromParent(ctx context.Context, id wal.TimelineID) error {
	_, err := c.call(ctx, TypeDetach, AppendTimeline(nil, id))
	return err
}

// Timeline reads one timeline.
func (c *Client) Timeline(id wal.TimelineID) *Timeline { return &Timeline{client: c, id: id} }

// callMax bounds how long a request's answer may take.
func callMax(typ uint8) time.Duration {
	switch typ {
	case TypeImport, TypeBranch, TypeDelete, TypeFlush, TypeExplain, TypeCollect, TypeDetach:
		// An import takes as long as it copies, and what makes or removes timelines waits
		// for its end. The others read all of a timeline, or write it.
		return time.Hour
	}
	return frame.AnswerMax
}

func (c *Client) call(ctx context.Context, typ uint8, payload []byte) ([]byte, error) {
	answer, err := c.c.CallWithin(ctx, callMax(typ), typ, payload)
	if err != nil {
		return nil, fromWire(err)
	}
	return answer.Payload, nil
}

// Timeline is one timeline of a pageserver, read over the network.
type Timeline struct {
	client *Client
	id     wal.TimelineID
}

// ID names the timeline.
func (t *Timeline) ID() wal.TimelineID { return t.id }

// GetPages is timeline.Timeline.GetPages. All requests it takes are in flight at once.
func (t *Timeline) GetPages(ctx context.Context, reads []timeline.PageRead, dst [][]byte) error {
	var pending []*frame.Pending
	defer func() {
		for _, p := range pending {
			p.Drop() // dst is the caller's again
		}
	}()
	for len(reads) > 0 {
		n := min(len(reads), PagesMax)
		part := dst[:n]
		p, err := t.client.c.StartTaking(ctx, TypeGetPages, AppendGetPages(nil, t.id, reads[:n]), func(answer []byte) error {
			return takePages(part, answer)
		})
		if err != nil {
			return err
		}
		pending, reads, dst = append(pending, p), reads[n:], dst[n:]
	}
	for _, p := range pending {
		if _, err := p.Wait(ctx); err != nil {
			return fromWire(err)
		}
	}
	return nil
}

// takePages copies the pages of an answer.
func takePages(dst [][]byte, answer []byte) error {
	if len(answer) != len(dst)*pgwal.PageSize {
		return wal.Corruptf("answer to GetPages", 0, "length", len(dst)*pgwal.PageSize, len(answer))
	}
	for i := range dst {
		dst[i] = append(dst[i][:0], answer[i*pgwal.PageSize:(i+1)*pgwal.PageSize]...)
	}
	return nil
}

// RelSize is timeline.Timeline.RelSize.
func (t *Timeline) RelSize(ctx context.Context, rel pgwal.RelFileNode, fork pgwal.Fork, lsn wal.LSN) (uint32, error) {
	request := RelSizeRequest{Timeline: t.id, Rel: rel, Fork: fork, LSN: lsn}
	answer, err := t.client.call(ctx, TypeRelSize, request.AppendTo(nil))
	if err != nil {
		return 0, err
	}
	return pgkey.DecodeUint32(answer)
}

// Relations is timeline.Timeline.Relations.
func (t *Timeline) Relations(ctx context.Context, lsn wal.LSN, fn func(timeline.RelationSize) error) error {
	lo, hi := pgkey.AllSizes()
	return t.relations(ctx, lo, hi, lsn, fn)
}

// DatabaseRelations is timeline.Timeline.DatabaseRelations.
func (t *Timeline) DatabaseRelations(ctx context.Context, spc, db uint32, lsn wal.LSN, fn func(timeline.RelationSize) error) error {
	lo, hi := pgkey.SizeRange(spc, db)
	return t.relations(ctx, lo, hi, lsn, fn)
}

func (t *Timeline) relations(ctx context.Context, lo, hi lsm.Key, lsn wal.LSN, fn func(timeline.RelationSize) error) error {
	return t.Values(ctx, lo, hi, lsn, func(key lsm.Key, value []byte) error {
		size, err := timeline.ParseRelationSize(key, value)
		if err != nil {
			return err
		}
		return fn(size)
	})
}

// Values is timeline.Timeline.Values. It asks in pieces; fn may end it early.
func (t *Timeline) Values(ctx context.Context, lo, hi lsm.Key, lsn wal.LSN, fn func(key lsm.Key, value []byte) error) error {
	for {
		request := ValuesRequest{Timeline: t.id, Lo: lo, Hi: hi, LSN: lsn}
		answer, err := t.client.call(ctx, TypeValues, request.AppendTo(nil))
		if err != nil {
			return err
		}
		last, more, err := decodeValuesAnswer(answer, fn)
		if err != nil || !more {
			return err
		}
		lo, _ = last.Next()
	}
}

// errFound ends a walk over values that has what it looked for.
var errFound = errors.New("found")

// Value is timeline.Timeline.Value.
func (t *Timeline) Value(ctx context.Context, key lsm.Key, lsn wal.LSN) (value []byte, ok bool, err error) {
	next, more := key.Next()
	if !more {
		return nil, false, fmt.Errorf("read key %v: it is no PostgreSQL object's", key)
	}
	err = t.Values(ctx, key, next, lsn, func(_ lsm.Key, v []byte) error {
		value, ok = v, true
		return errFound
	})
	if errors.Is(err, errFound) {
		err = nil
	}
	return value, ok, err
}

// Position says how far the timeline has come.
func (t *Timeline) Position(ctx context.Context) (Position, error) {
	return t.position(ctx, TypePosition, AppendTimeline(nil, t.id))
}

// Flush makes everything taken in durable in the bucket.
func (t *Timeline) Flush(ctx context.Context) (Position, error) {
	return t.position(ctx, TypeFlush, AppendTimeline(nil, t.id))
}

// WaitLSN returns when the timeline has taken in everything up to lsn, or when ctx ends.
func (t *Timeline) WaitLSN(ctx context.Context, lsn wal.LSN) error {
	for {
		p, err := t.position(ctx, TypeWaitLSN, AppendTimelineLSN(nil, t.id, lsn))
		if err != nil || p.Last >= lsn {
			return err
		}
	}
}

func (t *Timeline) position(ctx context.Context, typ uint8, payload []byte) (Position, error) {
	answer, err := t.client.call(ctx, typ, payload)
	if err != nil {
		return Position{}, err
	}
	return DecodePosition(answer)
}

// LSNAt is timeline.Timeline.LSNAt.
func (t *Timeline) LSNAt(ctx context.Context, at time.Time) (wal.LSN, error) {
	answer, err := t.client.call(ctx, TypeLSNAt, AppendLSNAt(nil, t.id, at))
	if err != nil {
		return 0, err
	}
	return DecodeLSN(answer)
}

// PrevRecord is timeline.Timeline.PrevRecord.
func (t *Timeline) PrevRecord(ctx context.Context, lsn wal.LSN) (wal.LSN, error) {
	answer, err := t.client.call(ctx, TypePrevRecord, AppendTimelineLSN(nil, t.id, lsn))
	if err != nil {
		return 0, err
	}
	return DecodeLSN(answer)
}
