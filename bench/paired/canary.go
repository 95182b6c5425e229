package paired

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// Canary is what the machine itself can do at a moment. Less is better in each part.
type Canary struct {
	CopyNanos float64 `json:"copy_ns"` // 8 KiB out of main memory
	CRCNanos  float64 `json:"crc_ns"`  // CRC-32C of 8 KiB in the cache
	SyncNanos float64 `json:"sync_ns"` // write and fdatasync of 8 KiB in an allocated file
	EchoNanos float64 `json:"echo_ns"` // 64 bytes there, 8 KiB back, over a unix socket, both ends on one core
}

// How often each part is done; its figure is the median. A hundred flushes take some 15
// ms; the median of 24 of them is apart from the next by as much as a disturbance.
const (
	canaryPage   = 8192
	canaryMemory = 64 << 20 // larger than the last cache
	canaryCopies = 4096
	canaryCRCs   = 2048
	canarySyncs  = 100
	canaryEchoes = 400
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// TakeCanary measures the machine; dir is on the file system that is measured. What we
// have written ourselves is brought to the disk first, so that it is not in the way.
func TakeCanary(dir string) (c Canary, err error) {
	if err := drain(dir); err != nil {
		return c, err
	}
	c.CopyNanos, c.CRCNanos = canaryCPU()
	if c.SyncNanos, err = canarySync(filepath.Join(dir, "canary")); err != nil {
		return c, err
	}
	c.EchoNanos, err = canaryEcho()
	return c, err
}

// drain writes out what the file system of dir has not yet written.
func drain(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return unix.Syncfs(int(d.Fd()))
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

// canaryEcho times questions and answers between two threads that are pinned to one
// core. By the runtime's poller the figure is one of two that are 1.7 times apart, at
// times when this one stands still; on two cores it is that of waking one up.
func canaryEcho() (nanos float64, err error) {
	ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, fmt.Errorf("make echo: %w", err)
	}
	// Each closes its end, so that neither waits for one that has failed.
	answered, asked := make(chan error, 1), make(chan error, 1)
	go func() {
		answered <- errors.Join(pinned(func() error { return answer(ends[1]) }), unix.Close(ends[1]))
	}()
	go func() {
		asked <- errors.Join(pinned(func() (err error) { nanos, err = ask(ends[0]); return err }), unix.Close(ends[0]))
	}()
	if err := errors.Join(<-asked, <-answered); err != nil {
		return 0, fmt.Errorf("echo: %w", err)
	}
	return nanos, nil
}

// pinned runs fn on a thread that may use the first of its cores only. The thread lives
// on as it was: programs that it has started would end with it.
func pinned(fn func() error) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var all, one unix.CPUSet
	if err := unix.SchedGetaffinity(0, &all); err != nil {
		return fmt.Errorf("find a core: %w", err)
	}
	core := 0
	for !all.IsSet(core) {
		core++
	}
	one.Set(core)
	if err := unix.SchedSetaffinity(0, &one); err != nil {
		return fmt.Errorf("pin to a core: %w", err)
	}
	return errors.Join(fn(), unix.SchedSetaffinity(0, &all))
}

func ask(fd int) (nanos float64, err error) {
	question, reply := make([]byte, 64), make([]byte, canaryPage)
	var took []float64
	for range canaryEchoes {
		begin := time.Now()
		if err := writeAll(fd, question); err != nil {
			return 0, err
		}
		if err := readFull(fd, reply); err != nil {
			return 0, err
		}
		took = append(took, float64(time.Since(begin)))
	}
	slices.Sort(took)
	return took[len(took)/2], nil
}

func answer(fd int) error {
	question, reply := make([]byte, 64), make([]byte, canaryPage)
	for {
		if err := readFull(fd, question); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		if err := writeAll(fd, reply); err != nil {
			return err
		}
	}
}

// readFull and writeAll make blocking calls of the system.
func readFull(fd int, p []byte) error {
	for len(p) > 0 {
		n, err := unix.Read(fd, p)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return err
		}
		if n == 0 {
			return io.EOF
		}
		p = p[n:]
	}
	return nil
}

func writeAll(fd int, p []byte) error {
	for len(p) > 0 {
		n, err := unix.Write(fd, p)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return err
		}
		p = p[n:]
	}
	return nil
}

// Worse is the worst of both, part by part.
func (c Canary) Worse(other Canary) Canary {
	return Canary{
		CopyNanos: max(c.CopyNanos, other.CopyNanos), CRCNanos: max(c.CRCNanos, other.CRCNanos),
		SyncNanos: max(c.SyncNanos, other.SyncNanos), EchoNanos: max(c.EchoNanos, other.EchoNanos),
	}
}
