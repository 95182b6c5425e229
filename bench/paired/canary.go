package paired

import (
	"fmt"
	"hash/crc32"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// Canary is what the machine itself can do at a moment. Less is better in each part.
type Canary struct {
	CopyNanos float64 `json:"copy_ns"` // 8 KiB out of main memory
	CRCNanos  float64 `json:"crc_ns"`  // CRC-32C of 8 KiB in the cache
	SyncNanos float64 `json:"sync_ns"` // write and fdatasync of 8 KiB in an allocated file
	EchoNanos float64 `json:"echo_ns"` // 64 bytes there, 8 KiB back, over a unix socket
}

// How often each part is done. Its figure is the median: 24 flushes take 3 ms where a
// flush takes 0.1 ms, and that is what the whole canary may cost.
const (
	canaryPage   = 8192
	canaryMemory = 64 << 20 // larger than the last cache
	canaryCopies = 4096
	canaryCRCs   = 2048
	canarySyncs  = 24
	canaryEchoes = 200
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// TakeCanary measures the machine; dir is on the file system that is measured.
func TakeCanary(dir string) (c Canary, err error) {
	c.CopyNanos, c.CRCNanos = canaryCPU()
	if c.SyncNanos, err = canarySync(filepath.Join(dir, "canary")); err != nil {
		return c, err
	}
	c.EchoNanos, err = canaryEcho(filepath.Join(dir, "canary.sock"))
	return c, err
}

func (c Canary) parts() [4]float64 {
	return [4]float64{c.CopyNanos, c.CRCNanos, c.SyncNanos, c.EchoNanos}
}

// better is the best of both, part by part; the zero Canary is no measurement.
func (c Canary) better(other Canary) Canary {
	if c == (Canary{}) {
		return other
	}
	return Canary{
		CopyNanos: min(c.CopyNanos, other.CopyNanos), CRCNanos: min(c.CRCNanos, other.CRCNanos),
		SyncNanos: min(c.SyncNanos, other.SyncNanos), EchoNanos: min(c.EchoNanos, other.EchoNanos),
	}
}

func (c Canary) worseThan(best Canary, factor float64) bool {
	bests := best.parts()
	for i, part := range c.parts() {
		if part > bests[i]*factor {
			return true
		}
	}
	return false
}

// canaryCPU returns the nanoseconds of a copy and of a checksum. They are sums, not
// medians of single ones, for those are shorter than a look at the clock is exact; each
// is the best of three sums.
func canaryCPU() (copied, summed float64) {
	memory := make([]byte, canaryMemory)
	for i := 0; i < len(memory); i += 4096 {
		memory[i] = byte(i >> 12)
	}
	page := make([]byte, canaryPage)
	var sink uint32
	for range 3 {
		begin := time.Now()
		for i := range canaryCopies {
			// A stride that never meets a page twice in a pass, and no prefetcher follows.
			at := (i * 1048583 * 4096) % (len(memory) - canaryPage)
			copy(page, memory[at:at+canaryPage])
		}
		copied = least(copied, float64(time.Since(begin))/canaryCopies)
		begin = time.Now()
		for range canaryCRCs {
			sink = crc32.Update(sink, castagnoli, page)
		}
		summed = least(summed, float64(time.Since(begin))/canaryCRCs)
	}
	if sink == 1 { // so that the sums are not optimised away
		page[0]++
	}
	return copied, summed
}

func least(best, next float64) float64 {
	if best == 0 {
		return next
	}
	return min(best, next)
}

func canarySync(path string) (nanos float64, err error) {
	f, err := os.Create(path)
	if err != nil {
		return 0, err
	}
	defer os.Remove(path)
	defer f.Close()
	page := make([]byte, canaryPage)
	for range canarySyncs {
		if _, err := f.Write(page); err != nil {
			return 0, err
		}
	}
	if err := f.Sync(); err != nil {
		return 0, err
	}
	var took []float64
	for i := range canarySyncs {
		begin := time.Now()
		if _, err := f.WriteAt(page, int64(i)*canaryPage); err != nil {
			return 0, err
		}
		if err := unix.Fdatasync(int(f.Fd())); err != nil {
			return 0, err
		}
		took = append(took, float64(time.Since(begin)))
	}
	slices.Sort(took)
	return took[len(took)/2], nil
}

func canaryEcho(path string) (nanos float64, err error) {
	l, err := net.Listen("unix", path)
	if err != nil {
		return 0, err
	}
	defer l.Close()
	served := make(chan error, 1)
	go func() { served <- echo(l) }()
	conn, err := net.Dial("unix", path)
	if err != nil {
		return 0, err
	}
	question, answer := make([]byte, 64), make([]byte, canaryPage)
	var took []float64
	for range canaryEchoes {
		begin := time.Now()
		if _, err := conn.Write(question); err != nil {
			return 0, err
		}
		if _, err := io.ReadFull(conn, answer); err != nil {
			return 0, err
		}
		took = append(took, float64(time.Since(begin)))
	}
	if err := conn.Close(); err != nil {
		return 0, err
	}
	if err := <-served; err != nil {
		return 0, fmt.Errorf("echo: %w", err)
	}
	slices.Sort(took)
	return took[len(took)/2], nil
}

func echo(l net.Listener) error {
	conn, err := l.Accept()
	if err != nil {
		return err
	}
	defer conn.Close()
	question, answer := make([]byte, 64), make([]byte, canaryPage)
	for {
		if _, err := io.ReadFull(conn, question); err != nil {
			if err == io.EOF {
				return nil
			}
			return err
		}
		if _, err := conn.Write(answer); err != nil {
			return err
		}
	}
}

// Worse is the worst of both, part by part.
func (c Canary) Worse(other Canary) Canary {
	return Canary{
		CopyNanos: max(c.CopyNanos, other.CopyNanos), CRCNanos: max(c.CRCNanos, other.CRCNanos),
		SyncNanos: max(c.SyncNanos, other.SyncNanos), EchoNanos: max(c.EchoNanos, other.EchoNanos),
	}
}
