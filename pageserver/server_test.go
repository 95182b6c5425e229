package pageserver_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/lsm"
	"github.com/varvedb/varve/lsm/manifest"
	"github.com/varvedb/varve/lsm/remote"
	"github.com/varvedb/varve/pageserver"
	"github.com/varvedb/varve/pageserver/basebackup"
	"github.com/varvedb/varve/pageserver/pageapi"
	"github.com/varvedb/varve/pageserver/redo"
	"github.com/varvedb/varve/pageserver/timeline"
	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/env"
	"github.com/varvedb/varve/wal/env/osenv"
	"github.com/varvedb/varve/wal/frame"
	"github.com/varvedb/varve/wal/pgwal"
	"github.com/varvedb/varve/wal/pgwal/pgtest"
	"github.com/varvedb/varve/wal/quorum"
	"github.com/varvedb/varve/wal/walapi"
)

var (
	tenant   = wal.TenantID{1}
	mainID   = wal.TimelineID{2}
	branchID = wal.TimelineID{3}
	rel      = pgwal.RelFileNode{Spc: 1663, DB: 5, Rel: 30000}
)

// logs is a safekeeper as far as readers of committed log see one.
type logs struct {
	e     env.Env
	mu    sync.Mutex
	grown env.Cond
	logs  map[wal.TimelineID]*committed
}

type committed struct {
	start wal.LSN
	bytes []byte
}

func serveLogs(t *testing.T, e env.Env, addr string) *logs {
	l := &logs{e: e, logs: map[wal.TimelineID]*committed{}}
	l.grown = e.Tasks.NewCond(&l.mu)
	listener, err := e.Net.Listen(t.Context(), addr)
	require.NoError(t, err)
	group := e.Tasks.NewGroup(t.Context())
	group.Go("serve logs", func(ctx context.Context) error { return walapi.Serve(ctx, e, listener, l) })
	t.Cleanup(func() {
		group.Stop()
		_ = group.Wait()
	})
	return l
}

// commit adds bytes to a log, which begins at start if it is new.
func (l *logs) commit(id wal.TimelineID, start wal.LSN, bytes []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.logs[id]
	if c == nil {
		c = &committed{start: start}
		l.logs[id] = c
	}
	c.bytes = append(c.bytes, bytes...)
	l.grown.Broadcast()
}

// replace makes bytes all of a log.
func (l *logs) replace(id wal.TimelineID, bytes []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.logs[id].bytes = bytes
	l.grown.Broadcast()
}

func (l *logs) Session(context.Context, *walapi.Session) error { return nil }
func (l *logs) Create(context.Context, quorum.Identity) error  { return nil }
func (l *logs) List(context.Context) ([]wal.TimelineID, error) { return nil, nil }
func (l *logs) noTimeline(id wal.TimelineID) error {
	return frame.Errorf(walapi.CodeNoTimeline, "no timeline %v", id)
}

func (l *logs) Status(_ context.Context, id wal.TimelineID) (walapi.TimelineStatus, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.logs[id]
	if c == nil {
		return walapi.TimelineStatus{}, l.noTimeline(id)
	}
	return walapi.TimelineStatus{Identity: quorum.Identity{Tenant: tenant, Timeline: id, Start: c.start}, Standing: 1}, nil
}

func (l *logs) Read(ctx context.Context, m walapi.ReadRequest) (walapi.Chunk, error) {
	limited, cancel := l.e.Tasks.WithTimeout(ctx, m.Wait)
	defer cancel()
	l.mu.Lock()
	defer l.mu.Unlock()
	for {
		c := l.logs[m.Timeline]
		if c == nil {
			return walapi.Chunk{}, l.noTimeline(m.Timeline)
		}
		end := c.start + wal.LSN(len(c.bytes))
		if m.Begin < end || limited.Err() != nil {
			if m.Begin > end { // another has more
				return walapi.Chunk{Begin: m.Begin, Limit: m.Begin}, nil
			}
			n := min(end-m.Begin, 1000) // small pieces, cut anywhere
			at := m.Begin - c.start
			return walapi.Chunk{Begin: m.Begin, Limit: end, Bytes: c.bytes[at : at+n]}, nil
		}
		_ = l.grown.Wait(limited)
	}
}

// running is a pageserver on a bucket.
type running struct {
	client *pageapi.Client
	stop   func()
}

// run starts a pageserver with an empty local disk.
func run(t *testing.T, dir, local string, safekeepers ...string) *running {
	t.Helper()
	return runOn(t, dir, local, func(*env.Env) {}, safekeepers...)
}

// runOn is run in an environment that differs a little.
func runOn(t *testing.T, dir, local string, adapt func(*env.Env), safekeepers ...string) *running {
	t.Helper()
	e, err := osenv.New(osenv.Config{Root: filepath.Join(dir, local), Bucket: filepath.Join(dir, "bucket")})
	require.NoError(t, err)
	adapt(&e)
	ready := env.NewMailbox[string](e.Tasks, 1)
	server := pageserver.New(e, pageserver.Config{
		Tenant: tenant, Listen: "unix:" + filepath.Join(dir, local+".sock"), Safekeepers: safekeepers,
		OpenDir: func(path string) (fs.FS, error) { return os.DirFS(path), nil },
		Ready:   func(addr string) { ready.TryPut(addr) },
	})
	group := e.Tasks.NewGroup(t.Context())
	group.Go("pageserver", server.Run)
	addr, err := ready.Take(t.Context())
	require.NoError(t, err)
	client, err := pageapi.Dial(t.Context(), e, addr)
	require.NoError(t, err)
	var once sync.Once
	stop := func() {
		once.Do(func() {
			client.Close()
			group.Stop()
			_ = group.Wait()
		})
	}
	t.Cleanup(stop)
	return &running{client: client, stop: stop}
}

// shortDir is a directory whose path leaves room for the names of sockets.
func shortDir(t *testing.T) string {
	dir, err := os.MkdirTemp("", "varve")
	require.NoError(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func page(content byte) []byte {
	p := make([]byte, pgwal.PageSize)
	p[12], p[15], p[17], p[18], p[19] = 25, 0x20, 0x20, 4, 0x20
	p[24] = content
	return p
}

func fpi(block uint32, content byte) pgwal.RecordSpec {
	return pgwal.FullPageImage(rel, pgwal.MainFork, block, page(content), pgwal.CompressionLZ4)
}

func read(t *testing.T, tl *pageapi.Timeline, block uint32, lsn wal.LSN) byte {
	t.Helper()
	pages := make([][]byte, 1)
	require.NoError(t, tl.GetPages(t.Context(), []timeline.PageRead{{Rel: rel, Block: block, LSN: lsn}}, pages))
	return pages[0][24]
}

func TestAClusterIsImportedFollowedBranchedAndServedFromTheBucket(t *testing.T) {
	postgres := pgtest.Init(t, pgtest.Options{})
	dir, ctx := shortDir(t), t.Context()
	e, err := osenv.New(osenv.Config{Root: filepath.Join(dir, "logs")})
	require.NoError(t, err)
	addrs := []string{"unix:" + filepath.Join(dir, "sk1"), "unix:" + filepath.Join(dir, "sk2"), "unix:" + filepath.Join(dir, "sk3")}
	stalled, good := serveLogs(t, e, addrs[1]), serveLogs(t, e, addrs[2]) // nobody listens at the first

	first := run(t, dir, "ps1", addrs...)
	imported, err := first.client.Import(ctx, pageapi.ImportRequest{Timeline: mainID, Path: postgres.DataDir, Meta: []byte("main")})
	require.NoError(t, err)
	require.NotZero(t, imported.SystemID)
	log := pgwal.NewEncoder(imported.LSN, imported.PrevRecord, imported.SystemID)
	_, at := log.Append(fpi(0, 1))
	stalled.commit(mainID, imported.LSN, log.Bytes())
	for i := range byte(40) {
		log.Append(fpi(uint32(i), 2))
	}
	_, end := log.Append(fpi(40, 3))
	good.commit(mainID, imported.LSN, log.Take())

	tl := first.client.Timeline(mainID)
	require.NoError(t, tl.WaitLSN(ctx, end))
	require.Equal(t, byte(1), read(t, tl, 0, at))
	require.Equal(t, byte(2), read(t, tl, 0, end))
	size, err := tl.RelSize(ctx, rel, pgwal.MainFork, end)
	require.NoError(t, err)
	require.Equal(t, uint32(41), size)
	reads, pages := []timeline.PageRead(nil), make([][]byte, 1000)
	for i := range pages {
		reads = append(reads, timeline.PageRead{Rel: rel, Block: uint32(i % 41), LSN: end})
	}
	require.NoError(t, tl.GetPages(ctx, reads, pages))
	for i, p := range pages {
		require.Equal(t, byte(2+i%41/40), p[24])
		require.NotZero(t, redo.PageLSN(p))
	}

	// The same state over the network that basebackup would make beside the timeline.
	state, err := basebackup.StartState(ctx, tl, end, 0, time.Unix(0, 0))
	require.NoError(t, err)
	require.Equal(t, imported.SystemID, state.Control.SystemID)
	relations := 0
	require.NoError(t, tl.Relations(ctx, end, func(timeline.RelationSize) error { relations++; return nil }))
	require.Greater(t, relations, 500)

	// A branch in the past; its parent cannot be deleted.
	require.NoError(t, first.client.Branch(ctx, pageapi.BranchRequest{Parent: mainID, Child: branchID, At: at, Meta: []byte("branch")}))
	child := first.client.Timeline(branchID)
	require.Equal(t, byte(1), read(t, child, 0, at))
	own := pgwal.NewEncoder(at, 0, imported.SystemID)
	_, childEnd := own.Append(fpi(0, 9))
	good.commit(branchID, at, own.Take())
	require.NoError(t, child.WaitLSN(ctx, childEnd))
	require.Equal(t, byte(9), read(t, child, 0, childEnd))
	err = first.client.Delete(ctx, mainID)
	require.ErrorIs(t, err, pageapi.ErrHasChildren)
	require.ErrorContains(t, err, branchID.String())
	require.Equal(t, byte(2), read(t, tl, 0, end), "a refusal changes nothing")

	// All from the bucket: another local disk, no safekeepers.
	position, err := tl.Flush(ctx)
	require.NoError(t, err)
	require.Equal(t, end, position.Durable)
	_, err = child.Flush(ctx)
	require.NoError(t, err)
	first.stop()
	second := run(t, dir, "ps2")
	tl, child = second.client.Timeline(mainID), second.client.Timeline(branchID)
	require.Equal(t, byte(1), read(t, tl, 0, at))
	require.Equal(t, byte(3), read(t, tl, 40, end))
	require.Equal(t, byte(9), read(t, child, 0, childEnd))
	list, err := second.client.List(ctx)
	require.NoError(t, err)
	require.Len(t, list, 2)
	require.Equal(t, mainID, list[1].Parent)
	require.Equal(t, at, list[1].BranchLSN)
	require.Equal(t, "main", string(list[0].Meta))
	require.Equal(t, "branch", string(list[1].Meta))
	require.Equal(t, childEnd, list[1].Last)
	require.Empty(t, list[1].Stopped)

	// It follows as soon as it is told whom.
	_, more := log.Append(fpi(41, 4))
	good.commit(mainID, imported.LSN, log.Take())
	require.NoError(t, second.client.Follow(ctx, mainID, addrs[2]))
	require.NoError(t, tl.WaitLSN(ctx, more))
	require.Equal(t, byte(4), read(t, tl, 41, more))

	require.NoError(t, second.client.Delete(ctx, branchID))
	_, err = child.Position(ctx)
	require.ErrorIs(t, err, lsm.ErrNoTimeline)
}

func TestErrorsCrossTheWireAsWhatTheyAre(t *testing.T) {
	postgres := pgtest.Init(t, pgtest.Options{})
	dir, ctx := shortDir(t), t.Context()
	e, err := osenv.New(osenv.Config{Root: filepath.Join(dir, "logs")})
	require.NoError(t, err)
	addr := "unix:" + filepath.Join(dir, "sk")
	safekeeper := serveLogs(t, e, addr)
	ps := run(t, dir, "ps", addr)

	postgres.Up(t)
	_, err = ps.client.Import(ctx, pageapi.ImportRequest{Timeline: mainID, Path: postgres.DataDir, Meta: []byte("main")})
	require.ErrorIs(t, err, pageapi.ErrRefused, "it runs")
	postgres.Stop(t, syscall.SIGINT)
	list, err := ps.client.List(ctx)
	require.NoError(t, err)
	require.Empty(t, list, "nothing is left of a refused import")

	imported, err := ps.client.Import(ctx, pageapi.ImportRequest{Timeline: mainID, Path: postgres.DataDir, Meta: []byte("main")})
	require.NoError(t, err)
	_, err = ps.client.Import(ctx, pageapi.ImportRequest{Timeline: mainID, Path: postgres.DataDir, Meta: []byte("main")})
	require.ErrorIs(t, err, lsm.ErrTimelineExists)
	tl := ps.client.Timeline(mainID)
	get := func(rel pgwal.RelFileNode, block uint32, lsn wal.LSN) error {
		return tl.GetPages(ctx, []timeline.PageRead{{Rel: rel, Block: block, LSN: lsn}}, make([][]byte, 1))
	}
	pgClass := pgwal.RelFileNode{Spc: 1663, DB: 5, Rel: 1259}
	require.NoError(t, get(pgClass, 0, imported.LSN))
	require.ErrorIs(t, get(rel, 0, imported.LSN), timeline.ErrNoRelation)
	require.ErrorIs(t, get(pgClass, 1<<20, imported.LSN), timeline.ErrBeyondEnd)
	require.ErrorIs(t, get(pgClass, 0, imported.LSN-1), lsm.ErrBelowHorizon)
	require.ErrorIs(t, ps.client.Branch(ctx, pageapi.BranchRequest{Parent: mainID, Child: branchID, At: imported.LSN - 1, Meta: []byte("branch")}), lsm.ErrBelowHorizon)
	require.ErrorIs(t, ps.client.Branch(ctx, pageapi.BranchRequest{Parent: wal.TimelineID{77}, Child: branchID, At: imported.LSN, Meta: []byte("branch")}), lsm.ErrNoTimeline)
	_, err = tl.LSNAt(ctx, time.Unix(1_000_000_000, 0))
	require.ErrorIs(t, err, timeline.ErrBeforeHistory)
	_, err = tl.LSNAt(ctx, time.Now().Add(time.Hour))
	require.ErrorIs(t, err, timeline.ErrFutureTime)
	lsn, err := tl.LSNAt(ctx, time.Now())
	require.NoError(t, err)
	require.Equal(t, imported.LSN, lsn)
	prev, err := tl.PrevRecord(ctx, imported.LSN)
	require.NoError(t, err)
	require.Equal(t, imported.PrevRecord, prev)

	log := pgwal.NewEncoder(imported.LSN, imported.PrevRecord, imported.SystemID)
	_, bad := log.Append(pgwal.RecordSpec{RMgr: 128, Blocks: []pgwal.BlockSpec{{Rel: rel, Block: 4, Data: []byte("x")}}})
	safekeeper.commit(mainID, imported.LSN, log.Take())
	err = tl.WaitLSN(ctx, bad)
	require.ErrorIs(t, err, timeline.ErrStopped)
	require.ErrorContains(t, err, "relation 1663/5/30000 fork main block 4 without an image")
	require.NoError(t, get(pgClass, 0, imported.LSN), "what came before is served")
	list, err = ps.client.List(ctx)
	require.NoError(t, err)
	require.Contains(t, list[0].Stopped, "without an image")

	err = ps.client.Branch(ctx, pageapi.BranchRequest{Parent: mainID, Child: branchID, At: bad, Meta: []byte("branch")})
	require.ErrorIs(t, err, timeline.ErrStoppedForGood, "a branch there could never be read")
	require.ErrorContains(t, err, "stopped at "+imported.LSN.String())
	list, err = ps.client.List(ctx)
	require.NoError(t, err)
	require.Len(t, list, 1)
	require.NoError(t, ps.client.Branch(ctx, pageapi.BranchRequest{Parent: mainID, Child: branchID, At: imported.LSN, Meta: []byte("branch")}))
	require.NoError(t, ps.client.Timeline(branchID).GetPages(ctx, []timeline.PageRead{{Rel: pgClass, LSN: imported.LSN}}, make([][]byte, 1)))
}

// edit changes the bytes of a timeline's index in the bucket.
func edit(t *testing.T, dir string, id wal.TimelineID, change func([]byte) []byte) {
	t.Helper()
	e, err := osenv.New(osenv.Config{Root: filepath.Join(dir, "hand"), Bucket: filepath.Join(dir, "bucket")})
	require.NoError(t, err)
	key := remote.IndexKey(tenant, mainID, id)
	body, tag, err := e.Bucket.Get(t.Context(), key)
	require.NoError(t, err)
	_, err = e.Bucket.Put(t.Context(), key, change(body), env.IfMatch(tag))
	require.NoError(t, err)
}

func TestABrokenTimelineKeepsNoOtherFromBeingServed(t *testing.T) {
	postgres := pgtest.Init(t, pgtest.Options{})
	dir, ctx := shortDir(t), t.Context()
	first := run(t, dir, "ps1")
	imported, err := first.client.Import(ctx, pageapi.ImportRequest{Timeline: mainID, Path: postgres.DataDir, Meta: []byte("main")})
	require.NoError(t, err)
	damagedID, begunID, deletingID := wal.TimelineID{4}, wal.TimelineID{5}, wal.TimelineID{6}
	for _, id := range []wal.TimelineID{branchID, damagedID, begunID, deletingID} {
		require.NoError(t, first.client.Branch(ctx, pageapi.BranchRequest{Parent: mainID, Child: id, At: imported.LSN, Meta: []byte("branch")}))
	}
	first.stop()
	edit(t, dir, damagedID, func(index []byte) []byte {
		index[len(index)/2] ^= 1
		return index
	})
	for id, state := range map[wal.TimelineID]manifest.State{begunID: manifest.Deleting, deletingID: manifest.Doomed} {
		edit(t, dir, id, func(index []byte) []byte {
			x, err := manifest.Decode("index", index)
			require.NoError(t, err)
			x.State = state
			return x.AppendTo(nil)
		})
	}

	second := run(t, dir, "ps2")
	for _, id := range []wal.TimelineID{mainID, branchID, begunID} {
		position, err := second.client.Timeline(id).Position(ctx)
		require.NoError(t, err)
		require.Equal(t, imported.LSN, position.Last)
	}
	_, err = second.client.Timeline(damagedID).Position(ctx)
	require.ErrorIs(t, err, wal.ErrCorruption)
	_, err = second.client.Timeline(deletingID).Position(ctx)
	require.ErrorContains(t, err, "being deleted")
	list, err := second.client.List(ctx)
	require.NoError(t, err)
	require.Len(t, list, 5)
	require.Equal(t, []wal.TimelineID{damagedID, mainID}, []wal.TimelineID{list[2].ID, list[2].Parent})
	require.Contains(t, list[2].Stopped, "corruption")
	require.Empty(t, list[3].Stopped, "its deletion was cut short before it was decided")
	require.Contains(t, list[4].Stopped, "being deleted")

	require.NoError(t, second.client.Delete(ctx, deletingID), "a deletion is taken up again")
	list, err = second.client.List(ctx)
	require.NoError(t, err)
	require.Len(t, list, 4)
}

// damagedLogs is a pageserver that follows two sources of a log of two records, in the
// last of which a bit is flipped.
type damagedLogs struct {
	ps             *running
	sources        [2]*logs
	start, end     wal.LSN
	sound, flipped []byte
}

func newDamagedLogs(t *testing.T) *damagedLogs {
	postgres := pgtest.Init(t, pgtest.Options{})
	dir := shortDir(t)
	e, err := osenv.New(osenv.Config{Root: filepath.Join(dir, "logs")})
	require.NoError(t, err)
	addrs := []string{"unix:" + filepath.Join(dir, "sk1"), "unix:" + filepath.Join(dir, "sk2")}
	d := &damagedLogs{sources: [2]*logs{serveLogs(t, e, addrs[0]), serveLogs(t, e, addrs[1])}}
	d.ps = run(t, dir, "ps", addrs...)
	imported, err := d.ps.client.Import(t.Context(), pageapi.ImportRequest{Timeline: mainID, Path: postgres.DataDir, Meta: []byte("main")})
	require.NoError(t, err)
	log := pgwal.NewEncoder(imported.LSN, imported.PrevRecord, imported.SystemID)
	log.Append(fpi(0, 1))
	_, d.end = log.Append(fpi(1, 2))
	d.start, d.sound = imported.LSN, log.Take()
	d.flipped = slices.Clone(d.sound)
	d.flipped[len(d.flipped)-20] ^= 1
	return d
}

// serves checks that the log's last page is served and that nothing has stopped.
func (d *damagedLogs) serves(t *testing.T) {
	require.Equal(t, byte(2), read(t, d.ps.client.Timeline(mainID), 1, d.end))
	list, err := d.ps.client.List(t.Context())
	require.NoError(t, err)
	require.Empty(t, list[0].Stopped)
}

func TestOneDamagedSourceStopsNothing(t *testing.T) {
	for i, name := range []string{"damaged first", "damaged last"} {
		t.Run(name, func(t *testing.T) {
			d := newDamagedLogs(t)
			d.sources[i].commit(mainID, d.start, d.flipped)
			d.sources[1-i].commit(mainID, d.start, d.sound)
			require.NoError(t, d.ps.client.Timeline(mainID).WaitLSN(t.Context(), d.end), "not even for a moment")
			d.serves(t)
		})
	}
}

func TestDamageOfAllSourcesStopsUntilOneIsSound(t *testing.T) {
	d := newDamagedLogs(t)
	for _, source := range d.sources {
		source.commit(mainID, d.start, d.flipped)
	}
	tl := d.ps.client.Timeline(mainID)
	var err error
	for err == nil {
		err = tl.WaitLSN(t.Context(), d.end)
	}
	require.ErrorIs(t, err, timeline.ErrStopped)
	require.NotErrorIs(t, err, timeline.ErrStoppedForGood, "sound bytes may come yet")
	require.ErrorContains(t, err, "corruption")

	d.sources[1].replace(mainID, d.sound)
	for errors.Is(err, timeline.ErrStopped) {
		err = tl.WaitLSN(t.Context(), d.end)
	}
	require.NoError(t, err)
	d.serves(t)
}
