package sim

import (
	"context"
	"fmt"
	"time"

	"github.com/varvedb/varve/sim/check"
	"github.com/varvedb/varve/sim/workload"
	"github.com/varvedb/varve/sim/world"
	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/env"
	"github.com/varvedb/varve/wal/frame"
	"github.com/varvedb/varve/wal/pgwal"
	"github.com/varvedb/varve/wal/walapi"
)

// sampler follows the logs of one safekeeper, and notes in which term it is and what
// it holds as committed.
type sampler struct {
	c      *cluster
	e      env.Env
	node   int
	client *walapi.Client
	logs   map[wal.TimelineID]*followed
	seen   map[wal.TimelineID]time.Duration // when it last told its status
	told   map[wal.TimelineID]walapi.TimelineStatus
}

// followed is a log as a reader has it. Where a disk deceives, a reader must tell by
// the bytes: it checks records, and goes no further in a log that it found damaged.
type followed struct {
	check.Prefix
	records *pgwal.Scanner // nil: bytes are taken as they come
	damaged bool
}

// take takes in bytes, which end where a record does if whole says so, and reports
// whether they can be the log's.
func (f *followed) take(bytes []byte, whole bool) bool {
	if f.records != nil {
		f.records.Feed(bytes)
		more, err := true, error(nil)
		for more && err == nil {
			more, err = f.records.Next()
		}
		if end := f.LSN + wal.LSN(len(bytes)); err != nil || whole && f.records.Position() != end {
			f.damaged = true
			return false
		}
	}
	f.Digest = check.Extend(f.Digest, bytes)
	f.LSN += wal.LSN(len(bytes))
	return true
}

func newSampler(c *cluster, e env.Env, node int) *sampler {
	return &sampler{c: c, e: e, node: node, logs: map[wal.TimelineID]*followed{}, seen: map[wal.TimelineID]time.Duration{}, told: map[wal.TimelineID]walapi.TimelineStatus{}}
}

// sampleLogs has the logs of all safekeepers followed.
func (c *cluster) sampleLogs(group env.Group, e env.Env) {
	for i := range c.members {
		s := newSampler(c, e, i)
		c.samplers = append(c.samplers, s)
		group.Go(fmt.Sprintf("sampler %d", i), s.run)
	}
}

// sampleEvery is the pause between two rounds: long enough to cost little.
var sampleEvery = world.Range{Lo: 300 * time.Millisecond, Hi: 2 * time.Second}

func (s *sampler) run(ctx context.Context) error {
	for {
		if err := s.e.Clock.Sleep(ctx, s.c.conductor.Between(sampleEvery)); err != nil {
			return err
		}
		if s.c.ended.rest {
			continue
		}
		for _, b := range s.c.ledger.Branches {
			if err := s.sample(ctx, b); err != nil && frame.CodeOf(err) == 0 {
				break
			}
		}
	}
}

// callMax bounds a request to a safekeeper.
const callMax = 10 * time.Second

// sample takes one sample of a branch. It closes the connection after an error that
// the safekeeper did not send.
func (s *sampler) sample(ctx context.Context, b *workload.Branch) (err error) {
	if s.client == nil {
		if s.client, err = walapi.Dial(ctx, s.e, s.c.members[s.node].Addr); err != nil {
			s.client = nil
			return err
		}
	}
	ctx, cancel := s.e.Tasks.WithTimeout(ctx, callMax)
	defer cancel()
	if err := s.follow(ctx, b); err != nil {
		if frame.CodeOf(err) == 0 {
			// Nothing is owed on it.
			_ = s.client.Close()
			s.client = nil
		}
		return err
	}
	return nil
}

func (s *sampler) follow(ctx context.Context, b *workload.Branch) error {
	status, err := s.client.Status(ctx, b.ID)
	if err != nil {
		return err
	}
	s.seen[b.ID], s.told[b.ID] = s.c.w.Now(), status
	s.c.noteLog(b, status)
	run, id := &s.c.run, s.c.members[s.node].ID
	run.Terms = append(run.Terms, check.TermSample{At: s.c.ledger.Tick(), Node: id, Branch: b.ID, Term: status.Term})
	at := s.logs[b.ID]
	if at == nil {
		at = &followed{Prefix: check.Prefix{LSN: status.Start}}
		if s.c.deceived(s.node) {
			at.records = pgwal.NewScanner("sample", status.Start)
		}
		s.logs[b.ID] = at
	}
	for !at.damaged && at.LSN < status.Readable {
		chunk, err := s.client.Read(ctx, walapi.ReadRequest{Timeline: b.ID, Begin: at.LSN})
		if err != nil {
			return err
		}
		if len(chunk.Bytes) == 0 {
			return nil
		}
		switch {
		case !at.take(chunk.Bytes, chunk.End() == chunk.Limit):
			s.c.damaged++
		case at.LSN == chunk.Limit:
			run.Prefixes = append(run.Prefixes, check.PrefixSample{At: s.c.ledger.Tick(), Node: id, Branch: b.ID, Prefix: at.Prefix})
		}
	}
	return nil
}

// look is sampleBucket in a run that is watched.
func (c *cluster) look() error {
	if c.unwatched {
		return nil
	}
	return c.sampleBucket()
}

// sampleBucket looks at all objects from outside.
func (c *cluster) sampleBucket() error {
	sample, err := check.SampleBucket(c.ledger.Tick(), tenant, func(yield func(string, []byte) bool) {
		for _, key := range c.w.Objects() {
			if body, ok := c.w.Object(key); ok && !yield(key, body) {
				return
			}
		}
	})
	if err != nil {
		return fmt.Errorf("sample the bucket at %v: %w", c.w.Now(), err)
	}
	c.noteCutoffs(&sample)
	c.noteIndexes(&sample)
	c.run.Bucket = append(c.run.Bucket, sample)
	return nil
}

// noteCutoffs records the cutoffs that rose since the bucket was last looked at. When a
// server learns of them is not known, so none must refuse what lies below.
func (c *cluster) noteCutoffs(sample *check.BucketSample) {
	since, before := check.Event(0), map[wal.TimelineID]wal.LSN{}
	if n := len(c.run.Bucket); n > 0 {
		since = c.run.Bucket[n-1].At
		for i := range c.run.Bucket[n-1].Indexes {
			x := &c.run.Bucket[n-1].Indexes[i]
			before[x.Timeline] = x.Cutoff
		}
	}
	for i := range sample.Indexes {
		if x := &sample.Indexes[i]; x.Cutoff > max(before[x.Timeline], x.Start) {
			c.cutoffs = append(c.cutoffs, check.Op{
				Kind: check.CutoffAdvance, Client: c.ledger.NewClient(), Call: since, Return: check.Never, Branch: x.Timeline, LSN: x.Cutoff,
			})
		}
	}
}
