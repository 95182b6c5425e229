package safekeeper_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/env"
	"github.com/varvedb/varve/wal/env/osenv"
	"github.com/varvedb/varve/wal/frame"
	"github.com/varvedb/varve/wal/pgwal"
	"github.com/varvedb/varve/wal/quorum"
	"github.com/varvedb/varve/wal/safekeeper"
	"github.com/varvedb/varve/wal/segment"
	"github.com/varvedb/varve/wal/walapi"
)

const (
	systemID = 7_000_000_000_000_000_001
	start    = wal.LSN(3*wal.SegmentSize + 5*8192 + 1024)
)

var id = quorum.Identity{Tenant: wal.TenantID{1}, Timeline: wal.TimelineID{0xA1}, SystemID: systemID, PGVersion: 15, Start: start}

// keeper is a safekeeper on a real disk and socket.
type keeper struct {
	t     testing.TB
	root  string
	e     env.Env
	addr  string
	group env.Group
}

func newKeeper(t testing.TB) *keeper {
	k := &keeper{t: t, root: t.TempDir()}
	e, err := osenv.New(osenv.Config{Root: k.root, Bucket: k.root + "/bucket"})
	require.NoError(t, err)
	k.e = e
	k.up()
	t.Cleanup(k.down)
	return k
}

func (k *keeper) up() {
	k.group = k.e.Tasks.NewGroup(context.Background())
	s := safekeeper.New(k.e, safekeeper.Config{ID: 1, Dir: "sk", Listen: "unix:" + k.root + "/sock"})
	k.group.Go("safekeeper", s.Run)
	addr, err := s.Ready(k.t.Context())
	require.NoError(k.t, err)
	k.addr = addr
}

func (k *keeper) down() {
	if k.group != nil {
		k.group.Stop()
		require.NoError(k.t, k.group.Wait())
		k.group = nil
	}
}

func (k *keeper) path(name string) string {
	return filepath.Join(k.root, "sk/timelines", id.Timeline.String(), name)
}

func (k *keeper) client() *walapi.Client {
	c, err := walapi.Dial(context.Background(), k.e, k.addr)
	require.NoError(k.t, err)
	k.t.Cleanup(func() { c.Close() })
	return c
}

// leader is the other end of a session: it says what a proposer would.
type leader struct {
	t       testing.TB
	session *walapi.Session
	head    quorum.Header
	log     *pgwal.Encoder
	begin   wal.LSN // of the last append
	at      wal.LSN // where it ended
}

// lead wins a term above all others, by this safekeeper's vote alone.
func (k *keeper) lead(term wal.Term) *leader {
	l := k.greet(term)
	require.Equal(k.t, quorum.Admitted, l.receive().(quorum.GreetingReply).Standing)
	l.send(quorum.VoteRequest{Header: l.head})
	vote := l.receive().(quorum.VoteReply)
	require.True(k.t, vote.Given)
	l.at = vote.Flush
	l.log = pgwal.NewEncoder(l.at, 0, systemID)
	history := vote.History.UpTo(vote.Flush).With(quorum.TermStart{Term: term, LSN: vote.Flush})
	l.send(quorum.Elected{Header: l.head, Start: vote.Flush, History: history})
	require.Equal(k.t, vote.Flush, l.receive().(quorum.ElectedReply).Flush)
	return l
}

// greet opens a session.
func (k *keeper) greet(term wal.Term) *leader {
	session, err := walapi.DialSession(k.t.Context(), k.e, k.addr)
	require.NoError(k.t, err)
	group := k.e.Tasks.NewGroup(context.Background())
	group.Go("send", session.Run)
	k.t.Cleanup(func() { group.Stop(); require.NoError(k.t, group.Wait()); session.Close() })
	l := &leader{t: k.t, session: session, head: quorum.Header{Timeline: id.Timeline, Term: term, Session: quorum.Session(term)}}
	l.send(quorum.Greeting{Header: l.head, Proposer: 100, Tenant: id.Tenant, SystemID: id.SystemID, PGVersion: id.PGVersion})
	return l
}

func (l *leader) send(m quorum.Message) { require.True(l.t, l.session.Queue(m)) }

func (l *leader) receive() quorum.Message {
	m, err := l.session.Receive(l.t.Context())
	require.NoError(l.t, err)
	return m
}

// append sends a record of n bytes with a commit LSN, and returns its end.
func (l *leader) append(n int, commit wal.LSN) wal.LSN {
	_, end := l.log.Append(pgwal.RecordSpec{RMgr: pgwal.RMgrLogicalMsg, MainData: bytes.Repeat([]byte{7}, n)})
	p := l.log.Take()
	for ; len(p) > quorum.AppendBytesMax; p = p[quorum.AppendBytesMax:] {
		l.send(quorum.Append{Header: l.head, Begin: l.at, Bytes: p[:quorum.AppendBytesMax]})
		l.at += quorum.AppendBytesMax
	}
	l.begin = l.at
	l.send(quorum.Append{Header: l.head, Begin: l.begin, RecordEnd: end, Commit: commit, Bytes: p})
	l.at += wal.LSN(len(p))
	return end
}

// flushed waits until an LSN is acknowledged.
func (l *leader) flushed(lsn wal.LSN) {
	for l.receive().(quorum.AppendReply).Flush < lsn {
	}
}

func TestATimelineIsCreatedOnce(t *testing.T) {
	k := newKeeper(t)
	c := k.client()
	_, err := c.Status(t.Context(), id.Timeline)
	require.Equal(t, walapi.CodeNoTimeline, frame.CodeOf(err))
	require.NoError(t, c.Create(t.Context(), id))
	require.NoError(t, c.Create(t.Context(), id), "the same again changes nothing")
	other := id
	other.SystemID++
	require.Equal(t, walapi.CodeForeign, frame.CodeOf(c.Create(t.Context(), other)))

	status, err := c.Status(t.Context(), id.Timeline)
	require.NoError(t, err)
	require.Equal(t, walapi.TimelineStatus{
		Identity: id, Node: 1, Standing: quorum.Admitted, Flush: start, Commit: start, Readable: start,
		History: quorum.TermHistory{{Term: 0, LSN: start}},
	}, status)
	timelines, err := c.List(t.Context())
	require.NoError(t, err)
	require.Equal(t, []wal.TimelineID{id.Timeline}, timelines)
}

// TestALostLogIsNotMadeAgain: the bucket says that it was made, so whoever asks for it to
// be made has been too slow.
func TestALostLogIsNotMadeAgain(t *testing.T) {
	k := newKeeper(t)
	require.NoError(t, k.client().Create(t.Context(), id))
	_, err := k.e.Bucket.Put(t.Context(), walapi.MadeKey(id), walapi.AppendMade(nil, id), env.IfAbsent())
	require.NoError(t, err)
	require.NoError(t, k.client().Create(t.Context(), id), "it is here")
	k.down()
	require.NoError(t, os.RemoveAll(filepath.Join(k.root, "sk")))
	k.up()
	err = k.client().Create(t.Context(), id)
	require.Equal(t, walapi.CodeAmnesiac, frame.CodeOf(err))
	require.ErrorContains(t, err, walapi.MadeKey(id)+" says that it was made")
	_, err = k.client().Status(t.Context(), id.Timeline)
	require.Equal(t, walapi.CodeNoTimeline, frame.CodeOf(err))
	other := id
	other.Timeline[5]++
	require.NoError(t, k.client().Create(t.Context(), other), "another log is not that one")
}

func TestAnUnfinishedCreationIsDoneOver(t *testing.T) {
	k := newKeeper(t)
	require.NoError(t, k.client().Create(t.Context(), id))
	k.down()
	require.NoError(t, os.WriteFile(filepath.Join(k.root, "sk/creating", id.Timeline.String()), nil, 0o600))
	require.NoError(t, os.WriteFile(k.path("state"), []byte("torn"), 0o600))
	k.up()
	c := k.client()
	_, err := c.Status(t.Context(), id.Timeline)
	require.Equal(t, walapi.CodeNoTimeline, frame.CodeOf(err))
	require.NoError(t, c.Create(t.Context(), id))
	k.down()
	k.up()
	k.lead(1)
}

func TestARestartKeepsTermVoteAndLog(t *testing.T) {
	k := newKeeper(t)
	require.NoError(t, k.client().Create(t.Context(), id))
	l := k.lead(5)
	end := l.append(20_000, 0)
	l.flushed(end)
	k.down()
	k.up()
	status, err := k.client().Status(t.Context(), id.Timeline)
	require.NoError(t, err)
	require.Equal(t, wal.Term(5), status.Term)
	require.Equal(t, end, status.Flush)
	again := k.greet(5)
	again.receive()
	again.send(quorum.VoteRequest{Header: again.head})
	require.False(t, again.receive().(quorum.VoteReply).Given, "the vote of term 5 is spent")
}

func TestReadersGetWhatIsCommittedAndWaitForMore(t *testing.T) {
	k := newKeeper(t)
	c := k.client()
	require.NoError(t, c.Create(t.Context(), id))
	l := k.lead(1)
	first := l.append(100, 0)
	l.flushed(first)
	read := walapi.ReadRequest{Timeline: id.Timeline, Begin: start}

	chunk, err := c.Read(t.Context(), read)
	require.NoError(t, err)
	require.Equal(t, walapi.Chunk{Begin: start, Limit: start, Bytes: []byte{}}, chunk, "flushed is not committed")

	read.Term = 1
	chunk, err = c.Read(t.Context(), read)
	require.NoError(t, err)
	require.Equal(t, first, chunk.End(), "the term's proposer may read it all the same")

	read.Term = 2
	_, err = c.Read(t.Context(), read)
	require.Equal(t, walapi.CodeWrongTerm, frame.CodeOf(err))

	read.Term, read.Wait = 0, time.Millisecond
	chunk, err = c.Read(t.Context(), read)
	require.NoError(t, err)
	require.Empty(t, chunk.Bytes)

	read.Wait = walapi.WaitMax
	waiting := make(chan walapi.Chunk)
	go func() {
		chunk, err := c.Read(context.Background(), read)
		if err != nil {
			t.Error(err)
		}
		waiting <- chunk
	}()
	second := l.append(10, first)
	require.Equal(t, first, (<-waiting).End())
	l.flushed(second)

	read.Begin = start - 8
	_, err = c.Read(t.Context(), read)
	require.Equal(t, walapi.CodeBelowStart, frame.CodeOf(err))
}

// What is lost is named; the safekeeper takes no part, and does not start anew.
func TestALossMakesAnAmnesiac(t *testing.T) {
	damages := map[string]func(k *keeper) error{
		"state flipped": func(k *keeper) error {
			state, err := os.ReadFile(k.path("state"))
			require.NoError(k.t, err)
			state[70] ^= 1
			return os.WriteFile(k.path("state"), state, 0o600)
		},
		"state missing": func(k *keeper) error { return os.Remove(k.path("state")) },
		"log missing":   func(k *keeper) error { return os.RemoveAll(k.path("wal")) },
		"record damaged": func(k *keeper) error {
			name := k.path("wal/" + segment.Name(start.Segment()))
			f, err := os.OpenFile(name, os.O_RDWR, 0)
			require.NoError(k.t, err)
			defer f.Close()
			_, err = f.WriteAt([]byte{0xFF}, int64(start.SegmentOffset()+50))
			return err
		},
		"all missing": func(k *keeper) error { return os.RemoveAll(k.path("")) },
	}
	for name, damage := range damages {
		t.Run(name, func(t *testing.T) {
			k := newKeeper(t)
			require.NoError(t, k.client().Create(t.Context(), id))
			l := k.lead(1)
			l.flushed(l.append(100, 0))
			k.down()
			require.NoError(t, damage(k))
			k.up()
			again := k.greet(2)
			refused, ok := again.receive().(quorum.Refused)
			require.True(t, ok)
			require.Equal(t, quorum.ReasonAmnesiac, refused.Reason)
			again.send(quorum.VoteRequest{Header: again.head})
			require.IsType(t, quorum.Refused{}, again.receive())
			if name == "all missing" {
				return // only whoever created the timeline knows that it was here
			}
			c := k.client()
			require.Equal(t, walapi.CodeAmnesiac, frame.CodeOf(c.Create(t.Context(), id)))
			_, err := c.Read(t.Context(), walapi.ReadRequest{Timeline: id.Timeline, Begin: start})
			require.Equal(t, walapi.CodeAmnesiac, frame.CodeOf(err))
		})
	}
}

func TestADirectoryHasOneOwner(t *testing.T) {
	k := newKeeper(t)
	second := safekeeper.New(k.e, safekeeper.Config{ID: 1, Dir: "sk", Listen: "unix:" + k.root + "/other"})
	require.ErrorIs(t, second.Run(t.Context()), env.ErrLocked)
	_, err := second.Ready(t.Context())
	require.ErrorIs(t, err, env.ErrLocked)
}

func TestWhatArrivesDuringASyncSharesTheNext(t *testing.T) {
	k := newKeeper(t)
	require.NoError(t, k.client().Create(t.Context(), id))
	k.down()
	d := &slowDisk{FS: k.e.FS, gate: newGate(t)}
	k.e.FS = d
	k.up()
	l := k.lead(1)
	first := l.append(10, 0)
	<-d.begun
	var last wal.LSN
	for range 50 {
		last = l.append(10, l.at)
	}
	// A commit LSN is adopted at once: when the last one is there, so are its bytes.
	c := k.client()
	for status := (walapi.TimelineStatus{}); status.Commit < l.begin; {
		var err error
		status, err = c.Status(t.Context(), id.Timeline)
		require.NoError(t, err)
		require.Equal(t, start, status.Flush, "nothing is flushed before its sync has ended")
	}
	d.proceed <- struct{}{}
	require.Equal(t, first, l.receive().(quorum.AppendReply).Flush)
	<-d.begun
	d.proceed <- struct{}{}
	require.Equal(t, last, l.receive().(quorum.AppendReply).Flush, "one sync for all fifty")
}

// Bytes that are not committed may be cut while they are read: they are given only
// if the term is still the reader's afterwards.
func TestBytesReadWhileTheTermChangedAreNotGiven(t *testing.T) {
	k := newKeeper(t)
	require.NoError(t, k.client().Create(t.Context(), id))
	k.down()
	d := &heldReads{FS: k.e.FS, gate: newGate(t)}
	k.e.FS = d
	k.up()
	l := k.lead(1)
	l.flushed(l.append(100, 0))
	d.armed.Store(true)
	c := k.client()
	failed := make(chan error, 1)
	go func() {
		_, err := c.Read(context.Background(), walapi.ReadRequest{Timeline: id.Timeline, Term: 1, Begin: start})
		failed <- err
	}()
	<-d.begun
	k.lead(2)
	d.proceed <- struct{}{}
	require.Equal(t, walapi.CodeWrongTerm, frame.CodeOf(<-failed))
}

var errDisk = errors.New("the disk is ill")

// Wherever a creation is cut short, a restart leaves it to be done over.
func TestACreationMayBeCutAnywhere(t *testing.T) {
	for cut, whole := 0, false; !whole; cut++ {
		k, d, _ := newIllKeeper(t)
		calls := 0
		d.set(func(string, string) bool { calls++; return calls > cut })
		whole = k.client().Create(t.Context(), id) == nil
		k.down()
		d.set(nil)
		k.up()
		require.NoError(t, k.client().Create(t.Context(), id), "cut after %d calls", cut)
		k.lead(1)
		k.down()
		require.True(t, whole || cut < 100)
	}
}

// A disk that fails takes one timeline out of service, until it is well again.
func TestAFailedDiskHealsAndHarmsNoOtherTimeline(t *testing.T) {
	other := id
	other.Timeline = wal.TimelineID{0xA2}
	for _, call := range []string{"sync", "write", "rename"} {
		k, d, heal := newIllKeeper(t)
		c := k.client()
		require.NoError(t, c.Create(t.Context(), id))
		require.NoError(t, c.Create(t.Context(), other))
		l := k.lead(1)
		first := l.append(100, 0)
		l.flushed(first)
		d.set(func(which, name string) bool { return which == call && strings.Contains(name, id.Timeline.String()) })
		if call == "rename" {
			l.send(quorum.VoteRequest{Header: quorum.Header{Timeline: id.Timeline, Term: 2, Session: l.head.Session}})
		} else {
			l.append(100, first)
		}
		var err error
		for err == nil {
			_, err = c.Status(t.Context(), id.Timeline)
		}
		require.ErrorContains(t, err, errDisk.Error())
		require.Equal(t, frame.CodeInternal, frame.CodeOf(err))
		_, err = c.Status(t.Context(), other.Timeline)
		require.NoError(t, err)

		d.set(nil)
		heal <- struct{}{}
		var status walapi.TimelineStatus
		for err = errDisk; err != nil; {
			status, err = c.Status(t.Context(), id.Timeline)
		}
		require.GreaterOrEqual(t, status.Flush, first, "what was acknowledged is there")
		l = k.lead(3)
		l.flushed(l.append(100, 0))
		k.down()
	}
}

func TestWhatIsNoRecordIsNotWritten(t *testing.T) {
	k, _, heal := newIllKeeper(t)
	c := k.client()
	require.NoError(t, c.Create(t.Context(), id))
	l := k.lead(1)
	first := l.append(100, 0)
	l.flushed(first)
	_, end := l.log.Append(pgwal.RecordSpec{RMgr: pgwal.RMgrLogicalMsg, MainData: make([]byte, 100)})
	p := l.log.Take()
	p[50] ^= 1
	l.send(quorum.Append{Header: l.head, Begin: first, RecordEnd: end, Bytes: p})
	var err error
	for err == nil {
		_, err = c.Status(t.Context(), id.Timeline)
	}
	require.ErrorContains(t, err, "record checksum")
	heal <- struct{}{}
	var status walapi.TimelineStatus
	for err != nil {
		status, err = c.Status(t.Context(), id.Timeline)
	}
	require.Equal(t, first, status.Flush)
	segment, err := os.ReadFile(k.path("wal/" + segment.Name(start.Segment())))
	require.NoError(t, err)
	require.NotContains(t, string(segment), string(p[:60]))
}

func TestAnEndThatIsNoneIsNotCounted(t *testing.T) {
	k, _, _ := newIllKeeper(t)
	c := k.client()
	require.NoError(t, c.Create(t.Context(), id))
	l := k.lead(1)
	l.log.Append(pgwal.RecordSpec{RMgr: pgwal.RMgrLogicalMsg, MainData: make([]byte, 100)})
	p := l.log.Take()[:64]
	l.send(quorum.Append{Header: l.head, Begin: start, RecordEnd: start + 64, Bytes: p})
	var err error
	for err == nil {
		var status walapi.TimelineStatus
		status, err = c.Status(t.Context(), id.Timeline)
		require.LessOrEqual(t, status.Flush, start)
	}
	require.ErrorContains(t, err, "whole records up to")
}

// Proposers that are gone without a word do not keep a new one from being heard.
func TestManyDeadSessionsGiveWay(t *testing.T) {
	k := newKeeper(t)
	require.NoError(t, k.client().Create(t.Context(), id))
	for term := range wal.Term(100) {
		k.greet(term + 1).receive()
	}
	l := k.lead(101)
	l.flushed(l.append(10, 0))
}

// flip changes one byte of the log on disk.
func (k *keeper) flip(at wal.LSN) {
	f, err := os.OpenFile(k.path("wal/"+segment.Name(at.Segment())), os.O_RDWR, 0)
	require.NoError(k.t, err)
	defer f.Close()
	b := make([]byte, 1)
	_, err = f.ReadAt(b, int64(at.SegmentOffset()))
	require.NoError(k.t, err)
	b[0] ^= 4
	_, err = f.WriteAt(b, int64(at.SegmentOffset()))
	require.NoError(k.t, err)
}

// Reads are cut behind whole records, wherever they begin, and join to the same log.
func TestReadsFromAnywhereAreTheLog(t *testing.T) {
	k := newKeeper(t)
	c := k.client()
	require.NoError(t, c.Create(t.Context(), id))
	l := k.lead(1)
	var end wal.LSN
	for _, size := range []int{100, 3 << 20, 9000, 1, 50, 20_000} {
		end = l.append(size, end)
		l.flushed(end)
	}
	l.send(quorum.Append{Header: l.head, Begin: end, Commit: end})
	read := func(begin wal.LSN) (log []byte) {
		for at := begin; at < end; {
			chunk, err := c.Read(t.Context(), walapi.ReadRequest{Timeline: id.Timeline, Begin: at, Wait: walapi.WaitMax})
			require.NoError(t, err)
			require.NotEmpty(t, chunk.Bytes)
			log = append(log, chunk.Bytes...)
			at = chunk.End()
		}
		return log
	}
	whole := read(start)
	require.Len(t, whole, int(end-start))
	for begin := start; begin < end; begin += 7919 * 13 {
		require.True(t, bytes.Equal(whole[begin-start:], read(begin)), "from %v", begin)
	}
}

func TestDamageIsNamedAndNeverServed(t *testing.T) {
	k := newKeeper(t)
	other := id
	other.Timeline[0]++
	c := k.client()
	require.NoError(t, c.Create(t.Context(), id))
	require.NoError(t, c.Create(t.Context(), other))
	l := k.lead(1)
	first := l.append(20_000, 0)
	second := l.append(20_000, first)
	third := l.append(20_000, second)
	l.flushed(third)
	k.flip(second - 1000)
	read := func(begin wal.LSN, size int) error {
		_, err := c.Read(t.Context(), walapi.ReadRequest{Timeline: id.Timeline, Term: 1, Begin: begin, BytesMax: size})
		return err
	}
	require.NoError(t, read(second, 0), "what is not damaged is served")
	err := read(second-900, 10)
	require.Equal(t, walapi.CodeAmnesiac, frame.CodeOf(err))
	require.ErrorContains(t, err, "wal/"+segment.Name(start.Segment()))
	require.ErrorContains(t, err, "record checksum")
	err = read(second, 0)
	require.Error(t, err, "the timeline is out of service")
	for frame.CodeOf(err) != walapi.CodeAmnesiac {
		_, err = c.Status(t.Context(), id.Timeline)
	}
	k.down()
	k.up()
	require.Equal(t, quorum.ReasonAmnesiac, k.greet(2).receive().(quorum.Refused).Reason)
	c = k.client()
	require.Equal(t, walapi.CodeAmnesiac, frame.CodeOf(read(start, 0)))
	_, err = c.Status(t.Context(), other.Timeline)
	require.NoError(t, err)
}

// A length that leads beyond the end of the log, a page header that lies about where a
// record begins, and a segment that is gone are damage as well.
func TestDamageOfEveryKindIsFound(t *testing.T) {
	damages := map[string]func(k *keeper, last wal.LSN){
		"length of the last record": func(k *keeper, last wal.LSN) { k.flip(last) },
		"page header":               func(k *keeper, last wal.LSN) { k.flip(pgwal.PageStart(last) + 16) },
		"segment": func(k *keeper, last wal.LSN) {
			require.NoError(k.t, os.Remove(k.path("wal/"+segment.Name(last.Segment()))))
		},
	}
	for name, damage := range damages {
		t.Run(name, func(t *testing.T) {
			k := newKeeper(t)
			c := k.client()
			require.NoError(t, c.Create(t.Context(), id))
			l := k.lead(1)
			last := l.append(20_000, 0)
			end := l.append(50, 0)
			l.flushed(end)
			damage(k, last)
			_, err := c.Read(t.Context(), walapi.ReadRequest{Timeline: id.Timeline, Term: 1, Begin: last, BytesMax: 8})
			if name == "page header" {
				_, err = c.Read(t.Context(), walapi.ReadRequest{Timeline: id.Timeline, Term: 1, Begin: last - 8, BytesMax: 8})
			}
			require.Equal(t, walapi.CodeAmnesiac, frame.CodeOf(err), "%v", err)
			require.ErrorContains(t, err, "wal/"+segment.Name(last.Segment()))
		})
	}
}
