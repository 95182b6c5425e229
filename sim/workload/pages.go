package workload

import (
	"context"
	"errors"
	"time"

	"github.com/varvedb/varve/lsm"
	"github.com/varvedb/varve/pageserver/pageapi"
	"github.com/varvedb/varve/pageserver/timeline"
	"github.com/varvedb/varve/sim/check"
	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/env"
	"github.com/varvedb/varve/wal/pgwal"
)

// requestMax bounds a request to a pageserver: somewhat longer than it makes a reader
// wait for the log, so that it is mostly the pageserver that says no.
const requestMax = 40 * time.Second

// Pages is a client of whichever pageserver an address leads to: it dials again after
// a failure, or when the address has changed. One task uses it.
type Pages struct {
	e      env.Env
	addr   func() string
	client *pageapi.Client
	dialed string
}

// NewPages makes a client. It dials when it is asked something.
func NewPages(e env.Env, addr func() string) *Pages { return &Pages{e: e, addr: addr} }

// Do has fn use a connection, for at most requestMax. After an error the connection is
// closed unless the pageserver itself sent it.
func (p *Pages) Do(ctx context.Context, fn func(ctx context.Context, c *pageapi.Client) error) error {
	if p.client != nil && (p.client.Err() != nil || p.dialed != p.addr()) {
		p.Close()
	}
	if p.client == nil {
		addr := p.addr()
		client, err := pageapi.Dial(ctx, p.e, addr)
		if err != nil {
			return err
		}
		p.client, p.dialed = client, addr
	}
	limited, cancel := p.e.Tasks.WithTimeout(ctx, requestMax)
	defer cancel()
	err := fn(limited, p.client)
	var told *pageapi.Error
	if err != nil && !errors.As(err, &told) {
		p.Close()
	}
	return err
}

// Close closes the connection, if there is one.
func (p *Pages) Close() {
	if p.client != nil {
		// Nothing is owed on it.
		_ = p.client.Close()
		p.client = nil
	}
}

// read reads pages at one LSN.
func (p *Pages) read(ctx context.Context, branch wal.TimelineID, pages []check.PageID, lsn wal.LSN) ([][]byte, error) {
	reads := make([]timeline.PageRead, len(pages))
	for i, page := range pages {
		reads[i] = timeline.PageRead{Rel: page.Rel, Fork: page.Fork, Block: page.Block, LSN: lsn}
	}
	found := make([][]byte, len(pages))
	err := p.Do(ctx, func(ctx context.Context, c *pageapi.Client) error {
		return c.Timeline(branch).GetPages(ctx, reads, found)
	})
	return found, err
}

// judge says what a reader is told by an error, and why, where a checker can hold the
// pageserver to it.
func judge(err error) (check.Outcome, check.Reason) {
	var told *pageapi.Error
	switch {
	case err == nil:
		return check.OK, check.OtherReason
	case !errors.As(err, &told):
		return check.Unknown, check.OtherReason
	case errors.Is(err, lsm.ErrBelowHorizon):
		return check.Failed, check.BelowHorizon
	case isAbsent(err):
		return check.Failed, check.NoSuchPage
	case errors.Is(err, lsm.ErrNoTimeline):
		return check.Failed, check.NoSuchBranch
	}
	return check.Failed, check.OtherReason
}

func isAbsent(err error) bool {
	return errors.Is(err, timeline.ErrNoRelation) || errors.Is(err, timeline.ErrBeyondEnd)
}

// found is what a reader sees in a page.
func found(page check.PageID, bytes []byte) check.PageValue {
	return check.PageValue{Page: page, Value: ValueOf(bytes), Digest: check.PageDigest(bytes)}
}

var zeroPage [pgwal.PageSize]byte
