package peer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"github.com/varvedb/varve/bench/latency"
	"github.com/varvedb/varve/bench/meter"
	"github.com/varvedb/varve/bench/paired"
)

// Echo answers each question of so many bytes with an answer of so many over a unix
// socket: what asking for pages costs if finding them is free.
type Echo struct {
	listener net.Listener
	path     string
}

const (
	questionBytes = 64
	pageBytes     = 8192
)

// NewEcho listens on a socket. A question for n pages has n times 64 bytes.
func NewEcho(path string) (*Echo, error) {
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	return &Echo{listener: l, path: path}, nil
}

// Close ends the echo.
func (e *Echo) Close() error { return e.listener.Close() }

// Ask asks ops times for a batch of pages, one question after the other.
func (e *Echo) Ask(ctx context.Context, ops, batch int) (paired.Sample, error) {
	served := make(chan error, 1)
	go func() { served <- e.serve(batch) }()
	conn, err := net.Dial("unix", e.path)
	if err != nil {
		return paired.Sample{}, fmt.Errorf("dial echo: %w", err)
	}
	h, question, answer := latency.New(), make([]byte, questionBytes*batch), make([]byte, pageBytes*batch)
	begin, cpu := time.Now(), meter.Self()
	for range ops {
		asked := time.Now()
		if _, err := conn.Write(question); err != nil {
			return paired.Sample{}, fmt.Errorf("ask echo: %w", err)
		}
		if _, err := io.ReadFull(conn, answer); err != nil {
			return paired.Sample{}, fmt.Errorf("ask echo: %w", err)
		}
		h.Record(time.Since(asked) / time.Duration(batch))
	}
	took, used, pages := time.Since(begin), meter.Self()-cpu, float64(ops*batch)
	err = errors.Join(conn.Close(), <-served, ctx.Err())
	return paired.Sample{Latency: h, Metrics: map[string]float64{
		"pages_per_s": pages / took.Seconds(), "cpu_us_per_op": float64(used.Microseconds()) / pages,
	}}, err
}

// serve answers one connection.
func (e *Echo) serve(batch int) error {
	conn, err := e.listener.Accept()
	if err != nil {
		return err
	}
	defer conn.Close()
	question, answer := make([]byte, questionBytes*batch), make([]byte, pageBytes*batch)
	for {
		if _, err := io.ReadFull(conn, question); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		if _, err := conn.Write(answer); err != nil {
			return err
		}
	}
}

// Pread reads random pages of a file that is in the page cache.
func Pread(ctx context.Context, f *os.File, pages, ops int, random func(int) int) (paired.Sample, error) {
	h, page, cpu := latency.New(), make([]byte, pageBytes), meter.Self()
	for range ops {
		at := int64(random(pages)) * pageBytes
		begin := time.Now()
		if _, err := f.ReadAt(page, at); err != nil {
			return paired.Sample{}, fmt.Errorf("read plain file: %w", err)
		}
		h.Since(begin)
	}
	return paired.Sample{Latency: h, Metrics: map[string]float64{
		"cpu_us_per_op": float64((meter.Self() - cpu).Microseconds()) / float64(ops), "preads_per_op": 1,
	}}, ctx.Err()
}

// File is the first of the plain files.
func (p *Plain) File() *os.File { return p.files[0] }

// Pages is the number of pages in it.
func (p *Plain) Pages() int { return fileBytes / pageBytes }
