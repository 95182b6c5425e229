package proposer_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/env"
	"github.com/varvedb/varve/wal/env/osenv"
	"github.com/varvedb/varve/wal/frame"
	"github.com/varvedb/varve/wal/pgwal"
	"github.com/varvedb/varve/wal/proposer"
	"github.com/varvedb/varve/wal/quorum"
	"github.com/varvedb/varve/wal/safekeeper"
	"github.com/varvedb/varve/wal/segment"
	"github.com/varvedb/varve/wal/walapi"
)

const systemID = 7_000_000_000_000_000_001

// start is in the middle of a page in the middle of a segment.
const start = wal.LSN(3*wal.SegmentSize + 5*8192 + 1024)

func identity() quorum.Identity {
	return quorum.Identity{
		Tenant: wal.TenantID{1}, Timeline: wal.TimelineID{0xA1}, SystemID: systemID, PGVersion: 15, Start: start,
	}
}

// cluster is three safekeepers on real sockets and a real disk, one world each.
type cluster struct {
	t     testing.TB
	dir   string
	e     env.Env // of proposers and clients
	nodes []*node
}

type node struct {
	c     *cluster
	id    wal.NodeID
	e     env.Env
	addr  string
	group env.Group // nil while stopped

	process *exec.Cmd // of a node that is a process; see proof_test.go
}

func newCluster(t testing.TB) *cluster {
	c := &cluster{t: t, dir: t.TempDir()}
	c.e = newEnv(t, filepath.Join(c.dir, "client"))
	for id := wal.NodeID(1); id <= 3; id++ {
		n := &node{c: c, id: id, addr: fmt.Sprintf("unix:%s/%d.sock", c.dir, id)}
		n.e = newEnv(t, filepath.Join(c.dir, fmt.Sprint(id)))
		c.nodes = append(c.nodes, n)
		n.up()
	}
	t.Cleanup(func() {
		for _, n := range c.nodes {
			n.down()
		}
	})
	return c
}

func newEnv(t testing.TB, root string) env.Env {
	e, err := osenv.New(osenv.Config{Root: root, Bucket: root + "/bucket"})
	require.NoError(t, err)
	return e
}

func (n *node) up() {
	n.group = n.e.Tasks.NewGroup(context.Background())
	s := safekeeper.New(n.e, safekeeper.Config{ID: n.id, Dir: "sk", Listen: n.addr})
	n.group.Go("safekeeper", s.Run)
	_, err := s.Ready(n.c.t.Context())
	require.NoError(n.c.t, err)
}

func (n *node) down() {
	if n.group == nil {
		return
	}
	n.group.Stop()
	require.NoError(n.c.t, n.group.Wait())
	n.group = nil
}

func (n *node) client() *walapi.Client {
	client, err := walapi.Dial(context.Background(), n.c.e, n.addr)
	require.NoError(n.c.t, err)
	n.c.t.Cleanup(func() { client.Close() })
	return client
}

// create makes the timeline on all safekeepers.
func (c *cluster) create() {
	for _, n := range c.nodes {
		require.NoError(c.t, n.client().Create(c.t.Context(), identity()))
	}
}

func (c *cluster) config(id wal.NodeID) proposer.Config {
	cfg := proposer.Config{ID: id, Identity: identity()}
	for _, n := range c.nodes {
		cfg.Safekeepers = append(cfg.Safekeepers, proposer.Safekeeper{ID: n.id, Addr: n.addr})
	}
	return cfg
}

// writer is a proposer with an encoder at its head.
type writer struct {
	*proposer.Proposer
	c     *cluster
	group env.Group
	term  wal.Term
	x     wal.LSN
	at    wal.LSN
	log   *pgwal.Encoder
}

// propose runs a proposer until it is elected.
func (c *cluster) propose(id wal.NodeID) *writer {
	w := &writer{Proposer: proposer.New(c.e, c.config(id)), c: c, group: c.e.Tasks.NewGroup(context.Background())}
	w.group.Go("proposer", w.Run)
	c.t.Cleanup(func() { w.stop() })
	var err error
	w.term, w.x, err = w.Elected(c.t.Context())
	require.NoError(c.t, err)
	prev, err := w.LastRecord(c.t.Context())
	require.NoError(c.t, err)
	w.at, w.log = w.x, pgwal.NewEncoder(w.x, prev, systemID)
	return w
}

func (w *writer) stop() error {
	w.group.Stop()
	return w.group.Wait()
}

// write appends a record of n bytes of payload, without waiting for its commit.
func (w *writer) write(n int) (end wal.LSN) {
	_, end = w.log.Append(message(n, byte(w.term)))
	p := w.log.Take()
	require.NoError(w.c.t, w.Append(w.c.t.Context(), w.at, p))
	w.at += wal.LSN(len(p))
	return end
}

func (w *writer) commit(n int) wal.LSN {
	end := w.write(n)
	require.NoError(w.c.t, w.WaitCommit(w.c.t.Context(), end))
	return end
}

// message is a record that does nothing (XLOG_NOOP) and carries n bytes.
func message(n int, fill byte) pgwal.RecordSpec {
	return pgwal.RecordSpec{RMgr: pgwal.RMgrXLOG, Info: 0x20, MainData: bytes.Repeat([]byte{fill}, n)}
}

// follow reads the committed log of a safekeeper up to an LSN, waiting for it.
func (n *node) follow(to wal.LSN) []byte {
	client := n.client()
	defer client.Close()
	var log []byte
	for at := start; at < to; {
		chunk, err := client.Read(n.c.t.Context(), walapi.ReadRequest{Timeline: identity().Timeline, Begin: at, Wait: walapi.WaitMax})
		require.NoError(n.c.t, err)
		log = append(log, chunk.Bytes...)
		at = chunk.End()
	}
	require.Len(n.c.t, log, int(to-start))
	return log
}

// overwrite changes up to a page of log on the disk of a node that is down, from an LSN on.
func (n *node) overwrite(at wal.LSN, change func(b []byte)) {
	name := filepath.Join(n.c.dir, fmt.Sprint(n.id), "sk/timelines", identity().Timeline.String(), "wal", segment.Name(at.Segment()))
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	require.NoError(n.c.t, err)
	b := make([]byte, pgwal.PageStart(at)+pgwal.WALPageSize-at)
	_, err = f.ReadAt(b, int64(at.SegmentOffset()))
	require.NoError(n.c.t, err)
	change(b)
	_, err = f.WriteAt(b, int64(at.SegmentOffset()))
	require.NoError(n.c.t, err)
	require.NoError(n.c.t, f.Close())
}

// waitReadable waits until a safekeeper serves the committed log up to an LSN.
func (n *node) waitReadable(timeline wal.TimelineID, lsn wal.LSN) {
	client := n.client()
	defer client.Close()
	_, err := client.Read(n.c.t.Context(), walapi.ReadRequest{Timeline: timeline, Begin: lsn - 1, Wait: walapi.WaitMax})
	require.NoError(n.c.t, err)
}

func TestALogIsWrittenAndFollowed(t *testing.T) {
	c := newCluster(t)
	c.create()
	w := c.propose(100)
	require.Equal(t, wal.Term(1), w.term)
	require.Equal(t, start, w.x)
	var end wal.LSN
	for _, size := range []int{10, 9000, 100_000, 3 << 20, wal.SegmentSize, 5} {
		end = w.commit(size)
	}
	want := c.nodes[0].follow(end)
	for _, n := range c.nodes[1:] {
		require.True(t, bytes.Equal(want, n.follow(end)), "safekeeper %d has the same log", n.id)
	}
	require.Equal(t, end, w.CommitLSN())
}

func TestTheNextTermBeginsAtTheHead(t *testing.T) {
	c := newCluster(t)
	c.create()
	first := c.propose(100)
	end := first.commit(70_000)
	require.NoError(t, first.stop())
	second := c.propose(101)
	require.Equal(t, end, second.x)
	require.Equal(t, wal.Term(2), second.term)
	end = second.commit(10)
	c.nodes[0].follow(end)
}

// Two writers of one timeline: the second fences the first, whose later bytes go nowhere.
func TestAFencedProposerWritesNothingMore(t *testing.T) {
	c := newCluster(t)
	c.create()
	first := c.propose(100)
	first.commit(100)
	second := c.propose(101)
	err := first.group.Wait()
	require.ErrorIs(t, err, proposer.ErrFenced)
	t.Logf("the first proposer: %v", err)
	require.ErrorIs(t, first.Append(t.Context(), first.at, []byte("anything")), proposer.ErrFenced)
	require.ErrorIs(t, first.WaitCommit(t.Context(), first.at+1), proposer.ErrFenced)
	end := second.commit(100)
	want := c.nodes[0].follow(end)
	for _, n := range c.nodes[1:] {
		require.True(t, bytes.Equal(want, n.follow(end)))
	}
}

func TestASafekeeperThatWasAwayIsFilled(t *testing.T) {
	c := newCluster(t)
	c.create()
	w := c.propose(100)
	w.commit(1000)
	c.nodes[2].down()
	w.commit(5 << 20)
	require.NoError(t, w.stop())
	second := c.propose(101) // whose buffer does not reach back
	end := second.commit(10)
	c.nodes[2].up()
	require.True(t, bytes.Equal(c.nodes[0].follow(end), c.nodes[2].follow(end)))
}

// What one disk has damaged is neither taken nor passed on: another donor has it whole.
func TestDamageOnOneDiskDoesNotSpread(t *testing.T) {
	c := newCluster(t)
	c.create()
	w := c.propose(100)
	w.commit(1000)
	c.nodes[2].down()
	for range 5 {
		w.commit(1 << 20)
	}
	require.NoError(t, w.stop())
	second := c.propose(101) // whose buffer does not reach back
	end := second.commit(10)

	at := identity().Start + 3<<20
	c.nodes[0].overwrite(at, func(b []byte) { b[0] ^= 1 })

	c.nodes[2].up()
	third := c.nodes[2].client()
	for limit := start; limit < end; {
		chunk, err := third.Read(t.Context(), walapi.ReadRequest{Timeline: identity().Timeline, Begin: end - 1, Wait: walapi.WaitMax})
		require.NoError(t, err)
		limit = chunk.Limit
	}
	sound := c.nodes[1].follow(end)
	require.True(t, bytes.Equal(sound, c.nodes[2].follow(end)))
	first := c.nodes[0].client()
	// Between the discovery and the verdict it is out of service.
	var err error
	for again := true; again; again = frame.CodeOf(err) == frame.CodeInternal {
		_, err = first.Read(t.Context(), walapi.ReadRequest{Timeline: identity().Timeline, Begin: at})
	}
	require.Equal(t, walapi.CodeAmnesiac, frame.CodeOf(err), "the damage was where it could spread from, and was found")
}

// A disk that lost what it had made durable shows sound records that were there before. By
// term and LSN the log is a part of the donor's, and by its bytes it is not.
func TestALogThatDiffersIsNotFilled(t *testing.T) {
	c := newCluster(t)
	c.create()
	w := c.propose(100)
	end := w.commit(1000)
	c.nodes[2].waitReadable(identity().Timeline, end)
	c.nodes[2].down()
	last := w.commit(1000)

	stale := pgwal.NewEncoder(start, 0, systemID)
	_, staleEnd := stale.Append(message(1000, byte(w.term)+1))
	require.Equal(t, end, staleEnd)
	c.nodes[2].overwrite(start, func(b []byte) { copy(b, stale.Take()) })
	c.nodes[2].up()
	c.nodes[2].waitReadable(identity().Timeline, last) // what this leader holds yet, it sends

	f := quorum.Fetch{From: 1, For: 3, Term: w.term, Flush: end, Record: end, Begin: end, End: last}
	_, _, err := w.FetchOnce(t.Context(), f)
	require.ErrorIs(t, err, proposer.ErrDiffers)
	f.For = 2
	c.nodes[1].waitReadable(identity().Timeline, last)
	got, recordEnd, err := w.FetchOnce(t.Context(), f)
	require.NoError(t, err)
	require.Equal(t, last, recordEnd)
	require.True(t, bytes.Equal(c.nodes[0].follow(last)[end-start:], got))
}

// A safekeeper that is to be filled has to show what it has acknowledged, and nothing
// of what may be on its way to it.
func TestALogThatIsNotShownIsNotFilled(t *testing.T) {
	c := newCluster(t)
	c.create()
	w := c.propose(100)
	end := w.commit(1000)
	c.nodes[2].waitReadable(identity().Timeline, end)
	c.nodes[2].down()
	sent, last := w.commit(1000), w.commit(1000)
	c.nodes[0].waitReadable(identity().Timeline, last)
	require.NoError(t, w.stop()) // or it would send what is missing
	c.nodes[2].up()

	f := quorum.Fetch{From: 1, For: 3, Term: w.term, Flush: end, Record: sent, Begin: sent, End: last}
	got, recordEnd, err := w.FetchOnce(t.Context(), f)
	require.NoError(t, err)
	require.Equal(t, last, recordEnd)
	require.True(t, bytes.Equal(c.nodes[0].follow(last)[sent-start:], got))
	f.Flush = sent
	_, _, err = w.FetchOnce(t.Context(), f)
	require.EqualError(t, err, fmt.Sprintf("safekeeper 3, which is to be filled, gives its log only up to %v of %v, which it has acknowledged", end, sent))
}

func TestNothingIsCommittedByAMinority(t *testing.T) {
	c := newCluster(t)
	c.create()
	w := c.propose(100)
	w.commit(10)
	c.nodes[0].down()
	c.nodes[1].down()
	before := w.CommitLSN()
	end := w.write(10)
	alone := c.nodes[2].client()
	for flush := wal.LSN(0); flush < end; {
		status, err := alone.Status(t.Context(), identity().Timeline)
		require.NoError(t, err)
		flush = status.Flush
	}
	require.Equal(t, before, w.CommitLSN(), "one of three has it")
	c.nodes[0].up()
	require.NoError(t, w.WaitCommit(t.Context(), end))
}

func TestRestartOfEverySafekeeperLosesNothing(t *testing.T) {
	c := newCluster(t)
	c.create()
	var end wal.LSN
	for round := range 4 {
		w := c.propose(wal.NodeID(100 + round))
		for i := range 5 {
			n := c.nodes[i%3]
			n.down()
			end = w.commit(1000 * (i + 1))
			n.up()
		}
		require.NoError(t, w.stop())
	}
	w := c.propose(200)
	require.Equal(t, end, w.x)
	end = w.commit(1)
	want := c.nodes[0].follow(end)
	for _, n := range c.nodes[1:] {
		require.True(t, bytes.Equal(want, n.follow(end)))
	}
}

func TestRepeatedBytesAreComparedAndNotAppended(t *testing.T) {
	c := newCluster(t)
	c.create()
	w := c.propose(100)
	w.log.Append(message(300, 1))
	first := w.log.Take()
	w.log.Append(message(300, 2))
	second := w.log.Take()
	require.NoError(t, w.Append(t.Context(), w.x, first))
	require.NoError(t, w.Append(t.Context(), w.x, append(bytes.Clone(first), second...)))
	end := w.x + wal.LSN(len(first)+len(second))
	require.NoError(t, w.WaitCommit(t.Context(), end))
	require.Equal(t, append(bytes.Clone(first), second...), c.nodes[0].follow(end))

	first[len(first)/2] ^= 1
	require.ErrorIs(t, w.Append(t.Context(), w.x, first), wal.ErrCorruption)
	require.ErrorIs(t, w.Append(t.Context(), end, []byte{1}), wal.ErrCorruption, "the intake stays broken")
	require.Equal(t, end, w.CommitLSN())
}

func TestWhatIsNoRecordIsRefused(t *testing.T) {
	c := newCluster(t)
	c.create()
	w := c.propose(100)
	w.log.Append(message(300, 1))
	bad := w.log.Take()
	bad[100] ^= 1
	require.ErrorIs(t, w.Append(t.Context(), w.x, bad), wal.ErrCorruption)
}

func TestAGapIsRefused(t *testing.T) {
	c := newCluster(t)
	c.create()
	w := c.propose(100)
	require.ErrorContains(t, w.Append(t.Context(), w.x+8, []byte{1}), "gap")
}

func TestSealTellsTheHead(t *testing.T) {
	c := newCluster(t)
	c.create()
	head, err := proposer.Seal(t.Context(), c.e, c.config(100))
	require.NoError(t, err)
	require.Equal(t, start, head)
	w := c.propose(101)
	end := w.commit(10)
	head, err = proposer.Seal(t.Context(), c.e, c.config(102))
	require.NoError(t, err)
	require.Equal(t, end, head)
	require.ErrorIs(t, w.group.Wait(), proposer.ErrFenced)
}

func TestASealThatIsGivenUpTellsNoHead(t *testing.T) {
	c := newCluster(t)
	c.create()
	c.nodes[0].down()
	c.nodes[1].down()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := proposer.Seal(ctx, c.e, c.config(100))
	require.ErrorIs(t, err, context.Canceled)
}

func TestSafekeepersWithoutTheTimelineRefuse(t *testing.T) {
	c := newCluster(t)
	_, err := proposer.Seal(t.Context(), c.e, c.config(100))
	require.ErrorIs(t, err, proposer.ErrRejected)
	require.ErrorContains(t, err, "amnesiac")
}

// TestPresenceNamesWhoIsMissing: one has lost the log, one is down; then that one is back.
func TestPresenceNamesWhoIsMissing(t *testing.T) {
	c := newCluster(t)
	for _, n := range c.nodes[1:] {
		require.NoError(t, n.client().Create(t.Context(), identity()))
	}
	c.nodes[1].down()
	p := proposer.New(c.e, c.config(100))
	require.Equal(t, "0 of 3 safekeepers answer (safekeeper 1 does not answer, safekeeper 2 does not answer, safekeeper 3 does not answer)", p.Presence().String())
	group := c.e.Tasks.NewGroup(t.Context())
	group.Go("proposer", p.Run)
	await := func(want proposer.Presence) {
		now := p.Presence()
		for now != want {
			var err error
			now, err = p.AwaitPresence(t.Context(), now)
			require.NoError(t, err)
		}
	}
	await(proposer.Presence{Answer: 1, Majority: 2, Members: 3, Lost: 1, Missing: "safekeeper 1 is amnesiac, safekeeper 2 does not answer"})
	c.nodes[1].up()
	await(proposer.Presence{Answer: 2, Majority: 2, Members: 3, Lost: 1, Missing: "safekeeper 1 is amnesiac"})
	_, _, err := p.Elected(t.Context())
	require.NoError(t, err)
	c.nodes[2].down()
	await(proposer.Presence{Answer: 1, Majority: 2, Members: 3, Lost: 1, Missing: "safekeeper 1 is amnesiac, safekeeper 3 does not answer"})
	group.Stop()
	require.NoError(t, group.Wait())
}

// stopWhile is a network on which no dial succeeds, and during which the proposer is stopped.
type stopWhile struct {
	env.Net
	stop func()
}

func (n stopWhile) Dial(context.Context, string) (env.Conn, error) {
	n.stop()
	return nil, io.EOF
}

// TestAConnectionLostAsItStopsIsNoFailure: who stops a proposer hears that it has
// stopped, not what a safekeeper did in that moment.
func TestAConnectionLostAsItStopsIsNoFailure(t *testing.T) {
	c := newCluster(t)
	c.create()
	e := c.e
	group := e.Tasks.NewGroup(t.Context())
	e.Net = stopWhile{Net: e.Net, stop: group.Stop}
	group.Go("proposer", proposer.New(e, c.config(100)).Run)
	require.NoError(t, group.Wait())
}

func TestACancelledProposerEnds(t *testing.T) {
	c := newCluster(t)
	p := proposer.New(c.e, c.config(100))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, p.Run(ctx), context.Canceled)
	_, _, err := p.Elected(t.Context())
	require.True(t, errors.Is(err, context.Canceled), "%v", err)
}

// BenchmarkCommit waits for each commit of a small record: the latency of a quorum.
func BenchmarkCommit(b *testing.B) {
	c := newCluster(b)
	c.create()
	w := c.propose(100)
	for b.Loop() {
		w.commit(200)
	}
}

// BenchmarkStream appends without waiting, and waits once at the end.
func BenchmarkStream(b *testing.B) {
	c := newCluster(b)
	c.create()
	w := c.propose(100)
	const size = 128 << 10
	b.SetBytes(size)
	var end wal.LSN
	for b.Loop() {
		end = w.write(size)
	}
	require.NoError(b, w.WaitCommit(b.Context(), end))
}
