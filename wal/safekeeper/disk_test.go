package safekeeper_test

import (
	"context"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/varvedb/varve/wal/env"
	"github.com/varvedb/varve/wal/segment"
)

// gate holds calls until they are let go, one by one, or the test is over.
type gate struct{ begun, proceed, over chan struct{} }

func newGate(t testing.TB) *gate {
	g := &gate{begun: make(chan struct{}), proceed: make(chan struct{}), over: make(chan struct{})}
	t.Cleanup(func() { close(g.over) })
	return g
}

func (g *gate) pass() {
	select {
	case g.begun <- struct{}{}:
	case <-g.over:
	}
	select {
	case <-g.proceed:
	case <-g.over:
	}
}

// slowDisk holds each sync of a segment.
type slowDisk struct {
	env.FS
	*gate
}

type slowFile struct {
	env.File
	d *slowDisk
}

func (d *slowDisk) Open(ctx context.Context, name string) (env.File, error) {
	f, err := d.FS.Open(ctx, name)
	if _, ok := segment.ParseName(filepath.Base(name)); ok && err == nil {
		f = &slowFile{f, d}
	}
	return f, err
}

func (f *slowFile) Sync(ctx context.Context) error {
	f.d.pass()
	return f.File.Sync(ctx)
}

// heldReads holds the reads of segments, once armed.
type heldReads struct {
	env.FS
	armed atomic.Bool
	*gate
}

type heldFile struct {
	env.File
	d *heldReads
}

func (d *heldReads) Open(ctx context.Context, name string) (env.File, error) {
	f, err := d.FS.Open(ctx, name)
	if _, ok := segment.ParseName(filepath.Base(name)); ok && err == nil {
		f = &heldFile{f, d}
	}
	return f, err
}

func (f *heldFile) ReadAt(ctx context.Context, p []byte, off int64) (int, error) {
	if f.d.armed.Load() {
		f.d.pass()
	}
	return f.File.ReadAt(ctx, p, off)
}

// illDisk fails calls that change it: all those for which ill says so.
type illDisk struct {
	env.FS
	mu  sync.Mutex
	ill func(call, name string) bool
}

type illFile struct {
	env.File
	d    *illDisk
	name string
}

func (d *illDisk) set(ill func(call, name string) bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ill = ill
}

func (d *illDisk) check(call, name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ill != nil && d.ill(call, name) {
		return errDisk
	}
	return nil
}

func (d *illDisk) wrap(f env.File, name string, err error) (env.File, error) {
	if err != nil {
		return nil, err
	}
	return &illFile{f, d, name}, nil
}

func (d *illDisk) Open(ctx context.Context, name string) (env.File, error) {
	if err := d.check("open", name); err != nil {
		return nil, err
	}
	f, err := d.FS.Open(ctx, name)
	return d.wrap(f, name, err)
}

func (d *illDisk) Create(ctx context.Context, name string) (env.File, error) {
	if err := d.check("create", name); err != nil {
		return nil, err
	}
	f, err := d.FS.Create(ctx, name)
	return d.wrap(f, name, err)
}

func (d *illDisk) MkdirAll(ctx context.Context, name string) error {
	if err := d.check("mkdir", name); err != nil {
		return err
	}
	return d.FS.MkdirAll(ctx, name)
}

func (d *illDisk) Rename(ctx context.Context, from, to string) error {
	if err := d.check("rename", to); err != nil {
		return err
	}
	return d.FS.Rename(ctx, from, to)
}

func (d *illDisk) Remove(ctx context.Context, name string) error {
	if err := d.check("remove", name); err != nil {
		return err
	}
	return d.FS.Remove(ctx, name)
}

func (d *illDisk) SyncDir(ctx context.Context, name string) error {
	if err := d.check("syncdir", name); err != nil {
		return err
	}
	return d.FS.SyncDir(ctx, name)
}

func (f *illFile) WriteAt(ctx context.Context, p []byte, off int64) (int, error) {
	if err := f.d.check("write", f.name); err != nil {
		return 0, err
	}
	return f.File.WriteAt(ctx, p, off)
}

func (f *illFile) Allocate(ctx context.Context, size int64) error {
	if err := f.d.check("allocate", f.name); err != nil {
		return err
	}
	return f.File.Allocate(ctx, size)
}

func (f *illFile) Sync(ctx context.Context) error {
	if err := f.d.check("sync", f.name); err != nil {
		return err
	}
	return f.File.Sync(ctx)
}

// heldClock holds each pause until it is let go.
type heldClock struct {
	env.Clock
	proceed chan struct{}
}

func (c heldClock) Sleep(ctx context.Context, _ time.Duration) error {
	select {
	case <-c.proceed:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// newIllKeeper is a safekeeper on a disk that is well until told otherwise. What it
// takes out of service stays so until a value is sent on heal.
func newIllKeeper(t *testing.T) (k *keeper, d *illDisk, heal chan<- struct{}) {
	k = newKeeper(t)
	k.down()
	d = &illDisk{FS: k.e.FS}
	clock := heldClock{k.e.Clock, make(chan struct{})}
	k.e.FS, k.e.Clock = d, clock
	k.up()
	return k, d, clock.proceed
}
