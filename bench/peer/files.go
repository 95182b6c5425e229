package peer

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/varvedb/varve/bench/latency"
	"github.com/varvedb/varve/bench/meter"
	"github.com/varvedb/varve/bench/paired"
)

// fileBytes is the size of a plain file, allocated before it is measured: larger than
// what a round writes, so that no write changes metadata.
const fileBytes = 128 << 20

// Plain is a number of allocated files on one disk: the floor under every log.
type Plain struct {
	files []*os.File
	at    int64
}

// NewPlain makes files in a directory.
func NewPlain(dir string, count int) (*Plain, error) {
	p := &Plain{}
	zeros := make([]byte, 1<<20)
	for n := range count {
		f, err := os.Create(filepath.Join(dir, fmt.Sprint("plain", n)))
		if err != nil {
			return nil, fmt.Errorf("make plain file: %w", err)
		}
		p.files = append(p.files, f)
		for at := int64(0); at < fileBytes; at += int64(len(zeros)) {
			if _, err := f.WriteAt(zeros, at); err != nil {
				return nil, fmt.Errorf("fill plain file: %w", err)
			}
		}
		if err := f.Sync(); err != nil {
			return nil, fmt.Errorf("fill plain file: %w", err)
		}
	}
	return p, nil
}

// Close closes the files.
func (p *Plain) Close() error {
	for _, f := range p.files {
		if err := f.Close(); err != nil {
			return fmt.Errorf("close plain file: %w", err)
		}
	}
	return nil
}

// flush overwrites a block in one file and makes it durable.
func flush(f *os.File, block []byte, at int64) error {
	if _, err := f.WriteAt(block, at); err != nil {
		return fmt.Errorf("write plain file: %w", err)
	}
	if err := unix.Fdatasync(int(f.Fd())); err != nil {
		return fmt.Errorf("flush plain file: %w", err)
	}
	return nil
}

// step returns the place of the next block.
func (p *Plain) step(size int) int64 {
	at := p.at
	if p.at += int64(size); p.at+int64(size) > fileBytes {
		p.at = 0
	}
	return at
}

// Overwrite writes and flushes blocks, one after the other, to the first file.
func (p *Plain) Overwrite(ctx context.Context, ops, size int) (paired.Sample, error) {
	h, block, cpu := latency.New(), make([]byte, size), meter.Self()
	for range ops {
		begin := time.Now()
		if err := flush(p.files[0], block, p.step(size)); err != nil {
			return paired.Sample{}, err
		}
		h.Since(begin)
	}
	return paired.Sample{Latency: h, Metrics: map[string]float64{
		"cpu_us_per_op": float64((meter.Self() - cpu).Microseconds()) / float64(ops),
	}}, ctx.Err()
}

// Quorum writes and flushes each block to all files at once, and counts the time until
// the given number of them has it: what a commit costs if everything else is free.
func (p *Plain) Quorum(ctx context.Context, ops, size, enough int) (paired.Sample, error) {
	h, block, cpu := latency.New(), make([]byte, size), meter.Self()
	type turn struct {
		at   int64
		done chan<- error
	}
	work := make([]chan turn, len(p.files))
	var writers sync.WaitGroup
	for i, f := range p.files {
		work[i] = make(chan turn, ops)
		writers.Go(func() {
			for t := range work[i] {
				t.done <- flush(f, block, t.at)
			}
		})
	}
	var failed error
	for range ops {
		begin, done, at := time.Now(), make(chan error, len(p.files)), p.step(size)
		for _, w := range work {
			w <- turn{at, done}
		}
		for range enough {
			if err := <-done; err != nil {
				failed = err
			}
		}
		h.Since(begin)
	}
	for _, w := range work {
		close(w)
	}
	writers.Wait()
	if failed != nil {
		return paired.Sample{}, failed
	}
	return paired.Sample{Latency: h, Metrics: map[string]float64{
		"cpu_us_per_op": float64((meter.Self() - cpu).Microseconds()) / float64(ops),
	}}, ctx.Err()
}

// Stream writes so many bytes to every file at once, in pieces, and flushes each piece.
func (p *Plain) Stream(ctx context.Context, total int64, piece int) (paired.Sample, error) {
	block, begin := make([]byte, piece), time.Now()
	errs := make(chan error, len(p.files))
	for _, f := range p.files {
		go func() {
			for at := int64(0); at < total; at += int64(piece) {
				if err := flush(f, block, at%(fileBytes-int64(piece))); err != nil {
					errs <- err
					return
				}
			}
			errs <- nil
		}()
	}
	for range p.files {
		if err := <-errs; err != nil {
			return paired.Sample{}, err
		}
	}
	return paired.Sample{Metrics: map[string]float64{
		"mib_per_s": float64(total) / (1 << 20) / time.Since(begin).Seconds(),
	}}, ctx.Err()
}
