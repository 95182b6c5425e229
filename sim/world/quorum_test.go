package world_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/sim/world"
	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/env"
	"github.com/varvedb/varve/wal/frame"
	"github.com/varvedb/varve/wal/pgwal"
	"github.com/varvedb/varve/wal/proposer"
	"github.com/varvedb/varve/wal/quorum"
	"github.com/varvedb/varve/wal/safekeeper"
	"github.com/varvedb/varve/wal/walapi"
)

// Real safekeepers and proposers in the world: what was acknowledged is in the
// committed log, whatever happens on the way.

const (
	keepers  = 3
	systemID = 7_000_000_000_000_000_001
	logStart = wal.LSN(3*wal.SegmentSize - 40_000) // a segment ends soon after
)

var timeline = quorum.Identity{Tenant: wal.TenantID{1}, Timeline: wal.TimelineID{0xA1}, SystemID: systemID, PGVersion: 15, Start: logStart}

// acked is bytes of the log that were reported committed.
type acked struct {
	begin wal.LSN
	bytes []byte
}

// quorumRun is a run of three safekeepers and two rival writers.
type quorumRun struct {
	t       testing.TB
	w       *world.World
	keepers []*world.Node
	writers []*world.Node
	acked   []acked
	stop    bool // no more terms are begun
	terms   int
	ends    map[string]int // why terms ended
}

func restart(n *world.Node) {
	if !n.Running() {
		n.Restart()
	}
}

func keeperAddr(i int) string { return fmt.Sprintf("tcp:sk%d:5454", i) }

func newQuorum(t testing.TB, cfg world.Config) *quorumRun {
	r := &quorumRun{t: t, w: newWorld(t, cfg), ends: map[string]int{}}
	for i := 1; i <= keepers; i++ {
		n := r.w.Node(fmt.Sprintf("sk%d", i))
		if i > 1 {
			n.Trust()
		}
		n.Start(func(ctx context.Context, e env.Env) error {
			return safekeeper.New(e, safekeeper.Config{ID: wal.NodeID(i), Dir: "sk", Listen: keeperAddr(i)}).Run(ctx)
		})
		// As a supervisor does with a safekeeper whose disk failed.
		n.OnEnd(func(error) { r.w.After(time.Second, func() { restart(n) }) })
		r.keepers = append(r.keepers, n)
	}
	require.NoError(t, r.w.Run(time.Second))
	must(t, r.w.Node("creator"), r.w, func(ctx context.Context, e env.Env) {
		for i := 1; i <= keepers; i++ {
			create(ctx, t, e, keeperAddr(i))
		}
	})
	for i := 1; i <= 2; i++ {
		n := r.w.Node(fmt.Sprintf("writer%d", i))
		n.Start(func(ctx context.Context, e env.Env) error { return r.write(ctx, e, wal.NodeID(100+i)) })
		r.writers = append(r.writers, n)
	}
	return r
}

// create tries until the timeline is there: at the beginning no storm blows, but
// calls fail. The disk that deceives may damage it at once, and is then found out.
func create(ctx context.Context, t testing.TB, e env.Env, addr string) {
	for {
		short, cancel := e.Tasks.WithTimeout(ctx, 5*time.Second)
		c, err := walapi.Dial(short, e, addr)
		if err == nil {
			err = c.Create(short, timeline)
			c.Close()
		}
		cancel()
		if err == nil || addr == keeperAddr(1) && frame.CodeOf(err) == walapi.CodeAmnesiac {
			return
		}
		require.NoError(t, e.Clock.Sleep(ctx, 100*time.Millisecond))
	}
}

func proposerConfig(id wal.NodeID) proposer.Config {
	cfg := proposer.Config{ID: id, Identity: timeline}
	for i := 1; i <= keepers; i++ {
		cfg.Safekeepers = append(cfg.Safekeepers, proposer.Safekeeper{ID: wal.NodeID(i), Addr: keeperAddr(i)})
	}
	return cfg
}

// write is a writer's life: term after term.
func (r *quorumRun) write(ctx context.Context, e env.Env, id wal.NodeID) error {
	random := e.Rand.Stream("writer")
	for !r.stop {
		p := proposer.New(e, proposerConfig(id))
		group := e.Tasks.NewGroup(ctx)
		group.Go("proposer", p.Run)
		group.Go("write", func(ctx context.Context) error { return r.term(ctx, e, p) })
		err := group.Wait()
		if errors.Is(err, world.ErrKilled) {
			return err
		}
		r.ends[kindOf(err)]++
		// A rival has time to work before it is fenced.
		if err := e.Clock.Sleep(ctx, 500*time.Millisecond+time.Duration(random.Uint64()%uint64(5*time.Second))); err != nil {
			return err
		}
	}
	return nil
}

func kindOf(err error) string {
	switch {
	case errors.Is(err, proposer.ErrFenced):
		return "fenced"
	case errors.Is(err, proposer.ErrRejected):
		return "rejected"
	case errors.Is(err, context.DeadlineExceeded):
		return "too slow"
	case errors.Is(err, wal.ErrCorruption):
		return "corruption"
	}
	return fmt.Sprint(err)
}

// term elects and writes until something ends it, and notes what was acknowledged.
func (r *quorumRun) term(ctx context.Context, e env.Env, p *proposer.Proposer) error {
	short, cancel := e.Tasks.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	_, at, err := p.Elected(short)
	if err != nil {
		return err
	}
	prev, err := p.LastRecord(short)
	if err != nil {
		return err
	}
	r.terms++
	random := e.Rand.Stream("records")
	log := pgwal.NewEncoder(at, prev, systemID)
	for !r.stop {
		size := env.IntN(random, 9000)
		data := make([]byte, size)
		env.FillRandom(random, data)
		_, end := log.Append(pgwal.RecordSpec{RMgr: pgwal.RMgrLogicalMsg, MainData: data})
		b := log.Take()
		short, cancel := e.Tasks.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		if err := p.Append(short, at, b); err != nil {
			return err
		}
		if err := p.WaitCommit(short, end); err != nil {
			return err
		}
		cancel()
		r.acked = append(r.acked, acked{at, b})
		at += wal.LSN(len(b))
		if err := e.Clock.Sleep(ctx, time.Duration(random.Uint64()%uint64(50*time.Millisecond))); err != nil {
			return err
		}
	}
	return errStopped
}

var errStopped = errors.New("stopped")

// settle ends the storm and the writing, and compares: the sealed log has all that
// was acknowledged, and every safekeeper that serves has the same bytes.
func (r *quorumRun) settle() {
	r.stop = true
	r.w.Calm()
	require.NoError(r.t, r.w.Run(r.w.Now()+2*time.Minute))
	for _, n := range r.keepers {
		require.True(r.t, n.Running(), "%s: %v", n.Name(), n.Err())
	}
	head, logs := r.survey("reader")
	if logs[1] == nil {
		// It may have been found out by these very reads, and counted in the seal before.
		head, logs = r.survey("second reader")
	}
	whole := 0 // safekeepers that serve to the head
	for i := 1; i <= keepers; i++ {
		if b, ok := logs[i]; ok {
			r.holds(i, head, b)
			if len(b) == int(head-logStart) {
				whole++
			}
			for j := 1; j < i; j++ {
				both := min(len(b), len(logs[j]))
				require.True(r.t, bytes.Equal(b[:both], logs[j][:both]), "safekeepers %d and %d agree", j, i)
			}
		}
	}
	require.GreaterOrEqual(r.t, whole, keepers/2+1, "a majority serves all of the log")
}

// survey seals the log and reads it from every safekeeper that serves it.
func (r *quorumRun) survey(name string) (head wal.LSN, logs map[int][]byte) {
	logs = map[int][]byte{}
	must(r.t, r.w.Node(name), r.w, func(ctx context.Context, e env.Env) {
		short, cancel := e.Tasks.WithTimeout(ctx, 5*time.Minute)
		defer cancel()
		var err error
		head, err = proposer.Seal(short, e, proposerConfig(999))
		require.NoError(r.t, err)
		for i := 1; i <= keepers; i++ {
			b, err := readLog(short, e, keeperAddr(i), head)
			switch code := frame.CodeOf(err); {
			case i == 1 && (code == walapi.CodeAmnesiac || code == walapi.CodeNoTimeline || code == frame.CodeInternal):
				continue // it deceives, and was found out
			default:
				require.NoError(r.t, err, "safekeeper %d", i)
			}
			logs[i] = b[:r.sound(i, b)]
		}
	})
	return head, logs
}

// sound is how many bytes of a log a reader would take. Only the one disk that
// deceives may give others, and a reader finds them out.
func (r *quorumRun) sound(i int, b []byte) int {
	scanner := pgwal.NewScanner(fmt.Sprintf("log of safekeeper %d", i), logStart)
	scanner.ExpectSystemID(systemID)
	scanner.Feed(b)
	ok, err := true, error(nil)
	for ok && err == nil {
		ok, err = scanner.Next()
	}
	if i != 1 {
		require.NoError(r.t, err)
	}
	return int(scanner.Position() - logStart)
}

// holds checks one safekeeper's committed log.
func (r *quorumRun) holds(i int, head wal.LSN, b []byte) {
	for _, a := range r.acked {
		end := a.begin + wal.LSN(len(a.bytes))
		require.LessOrEqual(r.t, end, head, "safekeeper %d: what was acknowledged is below the head", i)
		got := b[min(int(a.begin-logStart), len(b)):min(int(end-logStart), len(b))]
		require.True(r.t, bytes.HasPrefix(a.bytes, got), "safekeeper %d: bytes from %v are those that were acknowledged", i, a.begin)
	}
}

// readLog reads what is committed up to the head, as far as the safekeeper has it
// within a while.
func readLog(ctx context.Context, e env.Env, addr string, head wal.LSN) (b []byte, err error) {
	c, err := walapi.Dial(ctx, e, addr)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	for at := logStart; at < head; {
		chunk, err := c.Read(ctx, walapi.ReadRequest{Timeline: timeline.Timeline, Begin: at, Wait: time.Second})
		if err != nil {
			return nil, err
		}
		if len(chunk.Bytes) == 0 {
			break
		}
		b = append(b, chunk.Bytes...)
		at = chunk.End()
	}
	return b, nil
}

func TestQuorumWithoutFaults(t *testing.T) {
	for seed := range uint64(3) {
		r := newQuorum(t, world.Config{Seed: seed})
		require.NoError(t, r.w.Run(20*time.Second))
		r.keepers[0].Kill()
		require.NoError(t, r.w.Run(30*time.Second))
		r.keepers[0].Restart()
		require.NoError(t, r.w.Run(40*time.Second))
		r.settle()
		require.Greater(t, len(r.acked), 200)
		t.Logf("seed %d: %d acknowledged, %d terms, ends %v, %d events", seed, len(r.acked), r.terms, r.ends, r.w.Events())
	}
}

// foundOut are seeds that found bugs: in the first five, damage of one disk spread to
// others; in 5 and 183, the disk was found out after it had been counted; in 373, its
// timeline was damaged as it was made.
var foundOut = []uint64{189, 248, 574, 587, 663, 5, 183, 373}

// TestQuorumUnderFaults draws its faults from seeds; VARVE_QUORUM_SEEDS says "FROM TO".
func TestQuorumUnderFaults(t *testing.T) {
	from, to := uint64(0), uint64(20)
	seeds := slices.Clone(foundOut)
	if text := os.Getenv("VARVE_QUORUM_SEEDS"); text != "" {
		_, err := fmt.Sscan(text, &from, &to)
		require.NoError(t, err)
		seeds = nil
	}
	for seed := from; seed < to; seed++ {
		if !slices.Contains(seeds, seed) {
			seeds = append(seeds, seed)
		}
	}
	sum := 0
	for _, seed := range seeds {
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			faults := world.DrawFaults(seed)
			r := newQuorum(t, world.Config{Seed: seed, Faults: faults})
			r.w.Storm(append(r.keepers, r.writers...)...)
			require.NoError(t, r.w.Run(90*time.Second), "faults:\n%v", faults)
			r.settle()
			sum += len(r.acked)
			t.Logf("seed %d: %d acknowledged, %d terms, ends %v, %d events", seed, len(r.acked), r.terms, r.ends, r.w.Events())
		})
	}
	require.NotZero(t, sum)
}
