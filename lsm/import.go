package lsm

import (
	"context"
	"fmt"

	"github.com/varvedb/varve/lsm/layer"
	"github.com/varvedb/varve/wal"
)

// ImportImages fills an empty root timeline with images as of an LSN, which
// becomes its start, its last and its durable LSN. next yields them in order of
// strictly ascending keys, and false after the last; its values may be reused.
//
// The images become image layers, and one index PUT at the end publishes them
// all. After a failure the attachment is of no further use: layers may have been
// written under names that another try would use for other bytes. Detach it and
// attach again.
func (t *Timeline) ImportImages(ctx context.Context, at wal.LSN, next func() (Key, []byte, bool, error)) error {
	if err := t.flushing.Lock(ctx); err != nil {
		return err
	}
	defer t.flushing.Unlock()
	if err := t.checkEmpty(at); err != nil {
		return err
	}
	if err := t.importImages(ctx, at, next); err != nil {
		err = fmt.Errorf("import images at %v into timeline %v: %w", at, t.node.id, err)
		t.fail(err)
		return err
	}
	return nil
}

func (t *Timeline) checkEmpty(at wal.LSN) error {
	x := t.index()
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.failed != nil {
		return t.failed
	}
	if !x.IsRoot() || len(x.Layers) > 0 || len(t.frozen) > 0 || t.LastLSN() != x.Start {
		return fmt.Errorf("import images into timeline %v: %w", t.node.id, ErrNotEmpty)
	}
	if at < x.Start {
		return fmt.Errorf("import images at %v into timeline %v, which starts at %v", at, t.node.id, x.Start)
	}
	return nil
}

func (t *Timeline) importImages(ctx context.Context, at wal.LSN, next func() (Key, []byte, bool, error)) error {
	x := t.nextIndex()
	before := x.Start
	x.Start, x.Cutoff, x.Durable = at, at, at
	newBuilder := func() *layer.Builder {
		return layer.NewBuilder(layer.ID{Timeline: t.node.id, Kind: layer.Image, LSNLo: at, LSNHi: at, Generation: x.Generation, Number: t.nextNumber()}, t.store.opts.BlockBytes)
	}
	b := newBuilder()
	finish := func() error {
		desc, data := b.Finish()
		desc.Level = 1
		x.Layers = insertLayer(x.Layers, desc)
		b = newBuilder()
		return t.upload(ctx, &desc, data)
	}
	for {
		if err := ctx.Err(); err != nil { // a bucket may not care
			return err
		}
		key, value, ok, err := next()
		if err != nil {
			return err
		}
		if !ok {
			break
		}
		b.Add(&Version{Key: key, LSN: at, Kind: Image, Value: value})
		if b.Size() >= t.store.opts.LayerBytes {
			if err := finish(); err != nil {
				return err
			}
		}
	}
	if b.Count() > 0 {
		if err := finish(); err != nil {
			return err
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := t.commit(ctx, x); err != nil {
		return err
	}
	return t.beginAnew(x, before)
}
