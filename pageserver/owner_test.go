package pageserver_test

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/lsm"
	"github.com/varvedb/varve/pageserver/pageapi"
	"github.com/varvedb/varve/pageserver/timeline"
	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/env"
	"github.com/varvedb/varve/wal/env/osenv"
	"github.com/varvedb/varve/wal/pgwal"
	"github.com/varvedb/varve/wal/pgwal/pgtest"
)

// TestOfTwoServersTheOneThatIsToldToServeHasATimeline: another takes all timelines over;
// a branch can then be made through it alone, and a Follow brings them back, with the
// branches that the other made.
func TestOfTwoServersTheOneThatIsToldToServeHasATimeline(t *testing.T) {
	postgres := pgtest.Init(t, pgtest.Options{})
	dir, ctx := shortDir(t), t.Context()
	e, err := osenv.New(osenv.Config{Root: filepath.Join(dir, "logs")})
	require.NoError(t, err)
	addr := "unix:" + filepath.Join(dir, "sk")
	safekeeper := serveLogs(t, e, addr)
	first := run(t, dir, "ps1", addr)
	imported, err := first.client.Import(ctx, pageapi.ImportRequest{Timeline: mainID, Path: postgres.DataDir, Meta: []byte("main")})
	require.NoError(t, err)
	branch := func(ps *running, parent, child wal.TimelineID) error {
		return ps.client.Branch(ctx, pageapi.BranchRequest{Parent: parent, Child: child, At: imported.LSN})
	}
	second := run(t, dir, "ps2", addr)
	require.ErrorIs(t, branch(first, mainID, wal.TimelineID{0x77}), lsm.ErrFenced)
	require.NoError(t, branch(second, mainID, branchID))
	grandchild := wal.TimelineID{4}
	require.NoError(t, branch(second, branchID, grandchild))
	_, err = first.client.Timeline(grandchild).Position(ctx)
	require.ErrorIs(t, err, lsm.ErrNoTimeline)
	second.stop() // it dies, and nobody has told the first

	// Who needs the grandchild needs its ancestors too.
	require.NoError(t, first.client.Follow(ctx, grandchild))
	require.NoError(t, first.client.Timeline(grandchild).WaitLSN(ctx, imported.LSN))
	require.NoError(t, branch(first, grandchild, wal.TimelineID{5}))
	log := pgwal.NewEncoder(imported.LSN, imported.PrevRecord, imported.SystemID)
	_, end := log.Append(fpi(0, 7))
	safekeeper.commit(mainID, imported.LSN, log.Take())
	require.NoError(t, first.client.Timeline(mainID).WaitLSN(ctx, end))
	require.Equal(t, byte(7), read(t, first.client.Timeline(mainID), 0, end))
	position, err := first.client.Timeline(mainID).Flush(ctx)
	require.NoError(t, err)
	require.Equal(t, end, position.Durable, "it writes again")
	list, err := first.client.List(ctx)
	require.NoError(t, err)
	require.Len(t, list, 4)
	for _, info := range list {
		require.Empty(t, info.Stopped)
	}
	require.ErrorIs(t, first.client.Follow(ctx, wal.TimelineID{0x66}), lsm.ErrNoTimeline)
}

// TestABranchMadeDuringATakeoverIsFound: it is made after the new server listed what
// there is, and before that has attached the parent.
func TestABranchMadeDuringATakeoverIsFound(t *testing.T) {
	postgres := pgtest.Init(t, pgtest.Options{})
	dir, ctx := shortDir(t), t.Context()
	first := run(t, dir, "ps1")
	imported, err := first.client.Import(ctx, pageapi.ImportRequest{Timeline: mainID, Path: postgres.DataDir, Meta: []byte("main")})
	require.NoError(t, err)
	second := runOn(t, dir, "ps2", func(e *env.Env) {
		e.Bucket = &afterList{Bucket: e.Bucket, then: func() {
			require.NoError(t, first.client.Branch(ctx, pageapi.BranchRequest{Parent: mainID, Child: branchID, At: imported.LSN}))
		}, skip: 1}
	})
	require.NoError(t, second.client.Timeline(branchID).WaitLSN(ctx, imported.LSN))
}

// afterList does something once, after a listing but the first few.
type afterList struct {
	env.Bucket
	mu   sync.Mutex
	skip int // the store lists when it is opened
	then func()
}

func (b *afterList) List(ctx context.Context, prefix string) ([]env.ObjectInfo, error) {
	infos, err := b.Bucket.List(ctx, prefix)
	b.mu.Lock()
	then := b.then
	if b.skip--; b.skip >= 0 {
		then = nil
	} else {
		b.then = nil
	}
	b.mu.Unlock()
	if then != nil {
		then()
	}
	return infos, err
}

// ahead is a clock that can be set forward.
type ahead struct {
	env.Clock
	by atomic.Int64
}

func (c *ahead) Now() time.Duration { return c.Clock.Now() + time.Duration(c.by.Load()) }

// TestAServerThatIsNotToldOfADeletionLearnsOfIt: another takes the branch over and deletes
// it; the first serves it no longer than it takes to look.
func TestAServerThatIsNotToldOfADeletionLearnsOfIt(t *testing.T) {
	postgres := pgtest.Init(t, pgtest.Options{})
	dir, ctx := shortDir(t), t.Context()
	clock := &ahead{}
	first := runOn(t, dir, "ps1", func(e *env.Env) { clock.Clock, e.Clock = e.Clock, clock })
	imported, err := first.client.Import(ctx, pageapi.ImportRequest{Timeline: mainID, Path: postgres.DataDir, Meta: []byte("main")})
	require.NoError(t, err)
	require.NoError(t, first.client.Branch(ctx, pageapi.BranchRequest{Parent: mainID, Child: branchID, At: imported.LSN}))
	require.NoError(t, first.client.Timeline(branchID).WaitLSN(ctx, imported.LSN))
	second := run(t, dir, "ps2")
	require.NoError(t, second.client.Delete(ctx, branchID))
	clock.by.Store(int64(time.Minute))
	_, err = first.client.Timeline(branchID).Position(ctx)
	require.ErrorIs(t, err, lsm.ErrNoTimeline)
	_, err = first.client.Timeline(branchID).Position(ctx)
	require.ErrorIs(t, err, lsm.ErrNoTimeline)
	_, err = first.client.Timeline(mainID).Position(ctx)
	require.NoError(t, err, "what was taken over and is there is served")
}

// failedList fails one listing of what branches from a timeline, after some others.
type failedList struct {
	env.Bucket
	skip atomic.Int64 // 0: it is not armed
}

func (b *failedList) List(ctx context.Context, prefix string) ([]env.ObjectInfo, error) {
	if strings.Contains(prefix, branchID.String()) && b.skip.Load() > 0 && b.skip.Add(-1) == 0 {
		return nil, errors.New("the bucket does not hear")
	}
	return b.Bucket.List(ctx, prefix)
}

// TestAFailedDeletionLeavesTheBranchServed: it was detached for its deletion, which was then
// not decided.
func TestAFailedDeletionLeavesTheBranchServed(t *testing.T) {
	postgres := pgtest.Init(t, pgtest.Options{})
	dir, ctx := shortDir(t), t.Context()
	bucket := &failedList{}
	server := runOn(t, dir, "ps1", func(e *env.Env) { bucket.Bucket, e.Bucket = e.Bucket, bucket })
	imported, err := server.client.Import(ctx, pageapi.ImportRequest{Timeline: mainID, Path: postgres.DataDir, Meta: []byte("main")})
	require.NoError(t, err)
	require.NoError(t, server.client.Branch(ctx, pageapi.BranchRequest{Parent: mainID, Child: branchID, At: imported.LSN}))
	require.NoError(t, server.client.Timeline(branchID).WaitLSN(ctx, imported.LSN))
	for _, look := range []int64{2, 3} { // the first is for a branch that is attached, before that ends
		bucket.skip.Store(look)
		require.ErrorContains(t, server.client.Delete(ctx, branchID), "does not hear")
		count := 0
		require.NoError(t, server.client.Timeline(branchID).Relations(ctx, imported.LSN, func(timeline.RelationSize) error {
			count++
			return nil
		}))
		require.NotZero(t, count)
	}
	require.NoError(t, server.client.Delete(ctx, branchID))
}

// atLayers does something once, before a layer of a timeline is written or deleted.
type atLayers struct {
	env.Bucket
	once sync.Once
	of   wal.TimelineID
	then func()
}

func (b *atLayers) look(key string) {
	if strings.Contains(key, "/layers/"+b.of.String()) {
		b.once.Do(b.then)
	}
}

func (b *atLayers) Put(ctx context.Context, key string, body []byte, cond env.Condition) (env.ETag, error) {
	b.look(key)
	return b.Bucket.Put(ctx, key, body, cond)
}

func (b *atLayers) Delete(ctx context.Context, key string) error {
	b.look(key)
	return b.Bucket.Delete(ctx, key)
}

// TestNobodyWaitsForAnImport: while a directory is imported, other timelines are branched
// from, which lists what there is, and followed; and the new one is for nobody yet.
func TestNobodyWaitsForAnImport(t *testing.T) {
	postgres := pgtest.Init(t, pgtest.Options{})
	dir := shortDir(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	other := wal.TimelineID{4}
	bucket := &atLayers{of: other}
	server := runOn(t, dir, "ps1", func(e *env.Env) { bucket.Bucket, e.Bucket = e.Bucket, bucket })
	bring := func(id wal.TimelineID) (pageapi.Imported, error) {
		return server.client.Import(ctx, pageapi.ImportRequest{Timeline: id, Path: postgres.DataDir, Meta: []byte("label")})
	}
	imported, err := bring(mainID)
	require.NoError(t, err)
	met := false
	bucket.then = func() {
		met = true
		require.NoError(t, server.client.Branch(ctx, pageapi.BranchRequest{Parent: mainID, Child: branchID, At: imported.LSN}))
		require.NoError(t, server.client.Timeline(branchID).WaitLSN(ctx, imported.LSN))
		require.NoError(t, server.client.Follow(ctx, branchID))
		_, err := server.client.Timeline(other).Position(ctx)
		require.ErrorIs(t, err, lsm.ErrNoTimeline)
		_, err = bring(other)
		require.ErrorContains(t, err, lsm.ErrTimelineExists.Error())
	}
	_, err = bring(other)
	require.NoError(t, err)
	require.True(t, met)
	require.NoError(t, server.client.Timeline(other).WaitLSN(ctx, imported.LSN))
}

// TestAnImportThatIsDeletedMeanwhileIsGone: neither waits for the other for ever, and who asks
// again whether it is deleted hears that it is.
func TestAnImportThatIsDeletedMeanwhileIsGone(t *testing.T) {
	postgres := pgtest.Init(t, pgtest.Options{})
	dir := shortDir(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	bucket := &atLayers{of: mainID}
	server := runOn(t, dir, "ps1", func(e *env.Env) { bucket.Bucket, e.Bucket = e.Bucket, bucket })
	deleted := make(chan error, 1)
	bucket.then = func() { go func() { deleted <- server.client.Delete(ctx, mainID) }() }
	_, imported := server.client.Import(ctx, pageapi.ImportRequest{Timeline: mainID, Path: postgres.DataDir, Meta: []byte("main")})
	if err := <-deleted; err != nil {
		// The import was written, or given up, at the same time.
		err = server.client.Delete(ctx, mainID)
		require.True(t, err == nil || errors.Is(err, lsm.ErrNoTimeline), "%v after %v", err, imported)
	}
	_, err := server.client.Timeline(mainID).Position(ctx)
	require.ErrorIs(t, err, lsm.ErrNoTimeline)
	list, err := server.client.List(ctx)
	require.NoError(t, err)
	require.Empty(t, list)
}

// heldPut is a bucket in which something is done before each PUT.
type heldPut struct {
	env.Bucket
	before func(ctx context.Context, key string) error
}

func (b *heldPut) Put(ctx context.Context, key string, body []byte, cond env.Condition) (env.ETag, error) {
	if err := b.before(ctx, key); err != nil {
		return "", err
	}
	return b.Bucket.Put(ctx, key, body, cond)
}

// TestADeletionEndsAnImport: the import is told to end, nobody waits until it has, and
// nothing of it is left.
func TestADeletionEndsAnImport(t *testing.T) {
	postgres := pgtest.Init(t, pgtest.Options{})
	dir := shortDir(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	other := wal.TimelineID{4}
	bucket := &heldPut{before: func(context.Context, string) error { return nil }}
	server := runOn(t, dir, "ps1", func(e *env.Env) { bucket.Bucket, e.Bucket = e.Bucket, bucket })
	bring := func(id wal.TimelineID) (pageapi.Imported, error) {
		return server.client.Import(ctx, pageapi.ImportRequest{Timeline: id, Path: postgres.DataDir, Meta: []byte("label")})
	}
	imported, err := bring(other)
	require.NoError(t, err)
	deleted := make(chan error, 1)
	held := false
	bucket.before = func(importing context.Context, key string) error {
		if held || !strings.Contains(key, "/layers/"+mainID.String()) {
			return nil
		}
		held = true
		go func() { deleted <- server.client.Delete(ctx, mainID) }()
		select {
		case <-importing.Done():
		case <-ctx.Done():
			t.Error("the import is not told to end")
		}
		require.NoError(t, server.client.Branch(ctx, pageapi.BranchRequest{Parent: other, Child: branchID, At: imported.LSN}))
		require.NoError(t, server.client.Follow(ctx, branchID))
		return nil // this layer comes late
	}
	_, err = bring(mainID)
	require.ErrorIs(t, err, lsm.ErrNoTimeline)
	require.ErrorContains(t, err, "was deleted while it was imported")
	require.NoError(t, <-deleted)
	require.True(t, held)
	list, err := server.client.List(ctx)
	require.NoError(t, err)
	require.Equal(t, []wal.TimelineID{branchID, other}, []wal.TimelineID{list[0].ID, list[1].ID})
	objects, err := bucket.List(ctx, "")
	require.NoError(t, err)
	for _, o := range objects {
		require.NotContains(t, o.Key, mainID.String())
	}
	_, err = bring(mainID)
	require.NoError(t, err, "the id may be taken again")
}

// TestNobodyWaitsForADeletion: while the layers of a timeline are deleted, others are
// branched from, and the deleted one is served to nobody.
func TestNobodyWaitsForADeletion(t *testing.T) {
	postgres := pgtest.Init(t, pgtest.Options{})
	dir := shortDir(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	bucket := &atLayers{of: mainID, then: func() {}}
	server := runOn(t, dir, "ps1", func(e *env.Env) { bucket.Bucket, e.Bucket = e.Bucket, bucket })
	other := wal.TimelineID{4}
	var imported pageapi.Imported
	for _, id := range []wal.TimelineID{mainID, other} {
		var err error
		imported, err = server.client.Import(ctx, pageapi.ImportRequest{Timeline: id, Path: postgres.DataDir, Meta: []byte("label")})
		require.NoError(t, err)
	}
	met := false
	bucket.once, bucket.then = sync.Once{}, func() {
		met = true
		require.NoError(t, server.client.Branch(ctx, pageapi.BranchRequest{Parent: other, Child: branchID, At: imported.LSN}))
		_, err := server.client.Timeline(mainID).Position(ctx)
		require.ErrorIs(t, err, lsm.ErrNoTimeline)
		list, err := server.client.List(ctx)
		require.NoError(t, err)
		require.Contains(t, list[0].Stopped, "being deleted")
	}
	require.NoError(t, server.client.Delete(ctx, mainID))
	require.True(t, met)
	list, err := server.client.List(ctx)
	require.NoError(t, err)
	require.Equal(t, []wal.TimelineID{branchID, other}, []wal.TimelineID{list[0].ID, list[1].ID})
	_, err = server.client.Timeline(mainID).Position(ctx)
	require.ErrorIs(t, err, lsm.ErrNoTimeline)
}
