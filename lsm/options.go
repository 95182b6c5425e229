package lsm

import (
	"errors"
	"fmt"
	"time"

	"github.com/varvedb/varve/lsm/layer"
	"github.com/varvedb/varve/wal"
)

// IndexCacheBytesMax bounds [Options.IndexCacheBytes].
const IndexCacheBytesMax = 1 << 40

// Options configure a [Store]. Zero fields take their defaults.
type Options struct {
	// Tenant is whose timelines these are. Required.
	Tenant wal.TenantID

	// CacheDir is the directory of Env's FS that keeps copies of layers' bytes.
	// It may be wiped at any moment. Where the bucket is near ([env.Near]) there are none.
	// Default "layers".
	CacheDir string

	// CacheBytes bounds CacheDir. Default 1 GiB: the hot layers of a database
	// larger than memory; less only means more requests to the bucket.
	CacheBytes int64

	// BlockCacheBytes bounds the decoded data blocks kept in memory. Default 64 MiB.
	BlockCacheBytes int64

	// IndexCacheBytes bounds the layers' indexes and key filters kept in memory, beside
	// BlockCacheBytes: about a thousandth of the data. Default 64 MiB: those of 64 GiB. A
	// read that misses its layer's fetches and checks it whole.
	IndexCacheBytes int64

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

	// LayerBytes is the size at which a layer that is imported or merged is closed.
	// Default 64 MiB. A layer is built in memory, so this bounds what a merge takes,
	// with what is kept of one key, which lies in one layer, however much that is: what its
	// readers can meet below the cutoff, and its versions above.
	LayerBytes int64

	// FlushedMax is how many flushed layers are merged together. Default 8. A read may
	// look into each of them: more, and reads cost more; fewer, and bytes are written
	// more often.
	FlushedMax int

	// TierFanout is how many neighbouring tiers of layers are merged into one.
	// Default 4: a byte is written log4 of (history / MemtableBytes / FlushedMax) times.
	TierFanout int

	// ChainMax is the length of a chain of deltas in whose place a merge puts an image,
	// if there is a Redo. Default 64: an image costs about what thirty deltas do. What
	// is read much gets its images sooner.
	ChainMax int

	// HistoryBytes and HistoryTime say how much history stays readable: as much log, and
	// as far back in time, whichever is more. Default 64 MiB and 7 days. Negative
	// HistoryBytes: all of it, for ever.
	HistoryBytes int64
	HistoryTime  time.Duration

	// Redo lets merges make images. Nil: none are made.
	Redo Redo
}

func (o Options) withDefaults() Options {
	if o.CacheDir == "" {
		o.CacheDir = "layers"
	}
	setDefault(&o.CacheBytes, 1<<30)
	setDefault(&o.BlockCacheBytes, 64<<20)
	setDefault(&o.IndexCacheBytes, 64<<20)
	setDefault(&o.MemtableBytes, 64<<20)
	setDefault(&o.FrozenMax, 2)
	setDefault(&o.BlockBytes, 16<<10)
	setDefault(&o.LayerBytes, 64<<20)
	setDefault(&o.FlushedMax, 8)
	setDefault(&o.TierFanout, 4)
	setDefault(&o.ChainMax, 64)
	setDefault(&o.HistoryBytes, 64<<20)
	setDefault(&o.HistoryTime, 7*24*time.Hour)
	return o
}

func setDefault[T int | int64 | time.Duration](field *T, value T) {
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
	bound("index cache bytes", o.IndexCacheBytes, 1, IndexCacheBytesMax)
	bound("memtable bytes", o.MemtableBytes, 1, 1<<30)
	bound("frozen memtables", int64(o.FrozenMax), 1, 64)
	bound("block bytes", int64(o.BlockBytes), 64, layer.BlockBytesMax)
	bound("layer bytes", o.LayerBytes, 1, 1<<30)
	bound("flushed layers", int64(o.FlushedMax), 1, flushedInputsMax)
	bound("tier fanout", int64(o.TierFanout), 2, 64)
	bound("chain length", int64(o.ChainMax), 1, 1<<20)
	bound("history bytes", o.HistoryBytes, -1, 1<<60)
	if o.HistoryTime < 0 {
		problems = append(problems, fmt.Errorf("history time %v is negative", o.HistoryTime))
	}
	return errors.Join(problems...)
}
