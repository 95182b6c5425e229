package lsm

import (
	"errors"
	"fmt"

	"github.com/varvedb/varve/lsm/kv"
	"github.com/varvedb/varve/wal"
)

// Options configure a [Store]. Zero fields take their defaults.
type Options struct {
	// Tenant is whose timelines these are. Required.
	Tenant wal.TenantID

	// CacheDir is the directory of Env's FS that keeps copies of layers' bytes.
	// It may be wiped at any moment. Default "layers".
	CacheDir string

	// CacheBytes bounds CacheDir. Default 1 GiB: the hot layers of a database
	// larger than memory; less only means more requests to the bucket.
	CacheBytes int64

	// BlockCacheBytes bounds the decoded blocks kept in memory. Default 64 MiB.
	BlockCacheBytes int64

	// MemtableBytes is the size at which a memtable is frozen and written.
	// Default 64 MiB. Smaller: more layers to visit per read. Larger: more log to
	// read again after a restart.
	MemtableBytes int64

	// FrozenMax bounds the memtables that wait to be written; Apply waits while
	// there are so many. Default 2: one being written, one that filled meanwhile.
	FrozenMax int

	// BlockBytes is the size, before compression, at which a layer's block is
	// closed. Default 16 KiB: a database page has a block of its own, and some
	// hundred deltas share one.
	BlockBytes int

	// ImageLayerBytes is the size at which an image layer is closed. Default
	// 64 MiB. A layer is built in memory.
	ImageLayerBytes int64
}

func (o Options) withDefaults() Options {
	if o.CacheDir == "" {
		o.CacheDir = "layers"
	}
	setDefault(&o.CacheBytes, 1<<30)
	setDefault(&o.BlockCacheBytes, 64<<20)
	setDefault(&o.MemtableBytes, 64<<20)
	setDefault(&o.FrozenMax, 2)
	setDefault(&o.BlockBytes, 16<<10)
	setDefault(&o.ImageLayerBytes, 64<<20)
	return o
}

func setDefault[T int | int64](field *T, value T) {
	if *field == 0 {
		*field = value
	}
}

// Validate returns all that is wrong with the options.
func (o Options) Validate() error {
	var problems []error
	if o.Tenant.IsZero() {
		problems = append(problems, errors.New("tenant is not set"))
	}
	bound := func(name string, value, low, high int64) {
		if value < low || value > high {
			problems = append(problems, fmt.Errorf("%s %d lies outside %d..%d", name, value, low, high))
		}
	}
	o = o.withDefaults()
	bound("cache bytes", o.CacheBytes, 1, 1<<50)
	bound("block cache bytes", o.BlockCacheBytes, 1, 1<<40)
	bound("memtable bytes", o.MemtableBytes, 1, 1<<30)
	bound("frozen memtables", int64(o.FrozenMax), 1, 64)
	bound("block bytes", int64(o.BlockBytes), 64, kv.ValueBytesMax)
	bound("image layer bytes", o.ImageLayerBytes, 1, 1<<30)
	return errors.Join(problems...)
}
