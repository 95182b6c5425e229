package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"

	"github.com/varvedb/varve/bench/latency"
	"github.com/varvedb/varve/bench/meter"
	"github.com/varvedb/varve/bench/peer"
)

// options are Pebble's defaults with what its makers use for a database of this kind: a
// memtable of 64 MiB as Varve has, a Bloom filter, and room for L0.
func options() *pebble.Options {
	o := &pebble.Options{
		MemTableSize: 64 << 20, L0CompactionThreshold: 2, L0StopWritesThreshold: 1000,
		Cache: pebble.NewCache(64 << 20), Logger: silent{},
	}
	o.Levels[0].FilterPolicy = bloom.FilterPolicy(10)
	return o
}

type silent struct{}

func (silent) Infof(string, ...any)  {}
func (silent) Errorf(string, ...any) {}
func (silent) Fatalf(format string, args ...any) {
	panic(fmt.Sprintf(format, args...))
}

// versionKey is a page and an LSN: 18 bytes and 8, in the order of Varve's own keys.
func versionKey(dst []byte, page, lsn uint64) []byte {
	dst = append(dst[:0], 0x10, 0, 0, 6, 0x7F, 0, 0, 0, 5, 0, 0, 0x40, 0, 0)
	dst = binary.BigEndian.AppendUint32(dst, uint32(page))
	return binary.BigEndian.AppendUint64(dst, lsn)
}

// fill makes a value that does not compress and differs from the next one.
func fill(dst []byte, rng *rand.Rand) {
	for at := 0; at+8 <= len(dst); at += 8 {
		binary.LittleEndian.PutUint64(dst[at:], rng.Uint64())
	}
}

// pebbleAppend makes each of ops values durable before the next.
func pebbleAppend(_ context.Context, load peer.Load) (peer.Answer, error) {
	db, err := pebble.Open(load.Dir, options())
	if err != nil {
		return peer.Answer{}, err
	}
	value, key := make([]byte, load.Bytes), make([]byte, 0, 26)
	fill(value, rand.New(rand.NewPCG(load.Seed, 1)))
	h, cpu := latency.New(), meter.Self()
	for n := range load.Ops {
		begin := time.Now()
		if err := db.Set(versionKey(key, uint64(n), 1), value, pebble.Sync); err != nil {
			return peer.Answer{}, err
		}
		h.Since(begin)
	}
	a := peer.Answer{Metrics: map[string]float64{"cpu_us_per_op": float64((meter.Self() - cpu).Microseconds()) / float64(load.Ops)}}
	a.Fill(h)
	return a, db.Close()
}

// pebbleStore takes ops versions of values in, without a write-ahead log, and makes them
// durable in sorted tables.
func pebbleStore(_ context.Context, load peer.Load) (peer.Answer, error) {
	o := options()
	o.DisableWAL = true
	db, err := pebble.Open(load.Dir, o)
	if err != nil {
		return peer.Answer{}, err
	}
	rng := rand.New(rand.NewPCG(load.Seed, 2))
	value, key := make([]byte, load.Bytes), make([]byte, 0, 26)
	fill(value, rng)
	begin, cpu := time.Now(), meter.Self()
	batch := db.NewBatch()
	for n := range load.Ops {
		fill(value, rng)
		if err := batch.Set(versionKey(key, pageOf(load, n, rng), uint64(n)), value, nil); err != nil {
			return peer.Answer{}, err
		}
		if batch.Count() == batchOf || n == load.Ops-1 {
			if err := batch.Commit(pebble.NoSync); err != nil {
				return peer.Answer{}, err
			}
			batch.Reset()
		}
	}
	if err := errors.Join(batch.Close(), db.Flush()); err != nil {
		return peer.Answer{}, err
	}
	took, used := time.Since(begin), meter.Self()-cpu
	if load.Settle {
		settle(db)
	}
	metrics := db.Metrics()
	total := metrics.Total()
	logical := float64(load.Ops) * float64(load.Bytes+26)
	a := peer.Answer{Metrics: map[string]float64{
		"cpu_us_per_record": float64(used.Microseconds()) / float64(load.Ops),
		"mib_per_s":         logical / (1 << 20) / took.Seconds(),
		"write_amp":         float64(total.TableBytesFlushed+total.TableBytesCompacted) / logical,
		"levels_per_read":   float64(metrics.ReadAmp()),
	}}
	return a, db.Close()
}

// batchOf is how many versions go into the store at once, as Varve's own load has it.
const batchOf = 1000

// settle waits until no compaction has run for some looks in a row.
func settle(db *pebble.DB) {
	const looks, between = 10, 10 * time.Millisecond
	for calm := 0; calm < looks; calm++ {
		if db.Metrics().Compact.NumInProgress > 0 {
			calm = 0
		}
		time.Sleep(between)
	}
}

// pageOf is the page of the n-th version, as Varve's own load has it.
func pageOf(load peer.Load, n int, rng *rand.Rand) uint64 {
	switch load.Order {
	case "sequential":
		return uint64(n)
	case "reuse":
		return uint64(n % 1024)
	default:
		return rng.Uint64N(uint64(load.Pages))
	}
}

// pages is the store that pebbleLoad filled for pebbleGetPage.
var pages struct {
	db  *pebble.DB
	dir string
}

// pebbleLoad stores an image and a number of deltas of each page, all LSNs of a page
// apart in time as they are in a log.
func pebbleLoad(_ context.Context, load peer.Load) (peer.Answer, error) {
	if pages.db != nil {
		if err := pages.db.Close(); err != nil {
			return peer.Answer{}, err
		}
	}
	o := options()
	o.DisableWAL = true
	db, err := pebble.Open(load.Dir, o)
	if err != nil {
		return peer.Answer{}, err
	}
	pages.db, pages.dir = db, load.Dir
	rng, key := rand.New(rand.NewPCG(load.Seed, 3)), make([]byte, 0, 26)
	image, delta := make([]byte, 8192), make([]byte, load.Bytes)
	fill(image, rng)
	fill(delta, rng)
	for lsn := range load.Deltas + 1 {
		value := delta
		if lsn == 0 {
			value = image
		}
		for page := range load.Pages {
			if err := db.Set(versionKey(key, uint64(page), uint64(lsn)), value, pebble.NoSync); err != nil {
				return peer.Answer{}, err
			}
		}
	}
	return peer.Answer{}, db.Flush()
}

// pebbleGetPage seeks to the newest version of random pages and walks down to the image.
// It gets no redo charge: it only copies what it finds.
func pebbleGetPage(_ context.Context, load peer.Load) (peer.Answer, error) {
	rng, key := rand.New(rand.NewPCG(load.Seed, 4)), make([]byte, 0, 26)
	page := make([]byte, 8192)
	h, cpu := latency.New(), meter.Self()
	for range load.Ops {
		at := rng.Uint64N(uint64(load.Pages))
		begin := time.Now()
		it, err := pages.db.NewIter(&pebble.IterOptions{LowerBound: versionKey(nil, at, 0)})
		if err != nil {
			return peer.Answer{}, err
		}
		versions := 0
		for ok := it.SeekLT(versionKey(key, at, 1<<62)); ok; ok = it.Prev() {
			value, err := it.ValueAndErr()
			if err != nil {
				return peer.Answer{}, err
			}
			versions++
			if copy(page, value) == len(page) {
				break
			}
		}
		if err := it.Close(); err != nil {
			return peer.Answer{}, err
		}
		h.Since(begin)
		if versions != load.Deltas+1 {
			return peer.Answer{}, fmt.Errorf("page %d has %d versions, not %d", at, versions, load.Deltas+1)
		}
	}
	a := peer.Answer{Metrics: map[string]float64{"cpu_us_per_op": float64((meter.Self() - cpu).Microseconds()) / float64(load.Ops)}}
	a.Fill(h)
	return a, nil
}
