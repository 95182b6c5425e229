package remote

import (
	"context"
	"errors"
	"fmt"

	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/env"
)

// ErrGone says that a layer's object is not there. For whoever knows that the layer is
// still named, that is corruption, which the error matches too.
var ErrGone = errors.New("layer is gone")

// object is a layer in the bucket, read through what is open of it.
type object struct {
	files *Files
	key   string // in the bucket
	name  string // of what is open of it
	size  int64
}

// ReadRange implements layer.Source.
func (o *object) ReadRange(ctx context.Context, off int64, size int, sound func([]byte) error) ([]byte, error) {
	if data := o.readLocal(ctx, off, size, sound); data != nil {
		o.files.count(&o.files.stats.Hits)
		return data, nil
	}
	o.files.count(&o.files.stats.Fetches)
	data, err := o.files.env.Bucket.GetRange(ctx, o.key, off, int64(size))
	if err != nil {
		return nil, o.explain(ctx, err)
	}
	if len(data) != size {
		return nil, wal.Corruptf(o.key, off, "size of a range", size, len(data))
	}
	if err := sound(data); err != nil {
		return nil, err
	}
	o.files.mend(ctx, o.name, off, data)
	return data, nil
}

// readLocal returns nil if the range is not here, or not as it was written.
func (o *object) readLocal(ctx context.Context, off int64, size int, sound func([]byte) error) []byte {
	entry := o.files.open(ctx, o)
	if entry == nil {
		return nil
	}
	defer o.files.release(entry)
	data := make([]byte, size)
	if n, _ := entry.opened.ReadAt(ctx, data, off); n < size {
		return nil
	}
	if sound(data) != nil {
		return nil
	}
	return data
}

// explain turns the failure to read a range of an object that is gone or too
// short into the corruption that it is.
func (o *object) explain(ctx context.Context, cause error) error {
	if errors.Is(cause, env.ErrNoObject) {
		return fmt.Errorf("%w: %w", ErrGone, wal.Corruptf(o.key, 0, "layer object", fmt.Sprintf("%d bytes", o.size), "no such object"))
	}
	if info, err := o.files.env.Bucket.Head(ctx, o.key); err == nil && info.Size != o.size {
		return wal.Corruptf(o.key, 0, "layer object", fmt.Sprintf("%d bytes", o.size), fmt.Sprintf("%d bytes", info.Size))
	}
	return fmt.Errorf("read layer %s: %w", o.key, cause)
}
