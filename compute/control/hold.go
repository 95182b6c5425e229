package control

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

const (
	// holdFD is where a child inherits the held file: the first after the standard ones.
	holdFD = 3
	// holdPoll is how often a held directory is tried again: the kernel's lock has no
	// wait that ends.
	holdPoll = 5 * time.Millisecond
	// leftoverWait bounds how long a supervisor waits for the children of one that was
	// killed: longer than orphanMax.
	leftoverWait = 2 * orphanMax
)

// holdDir locks a data directory for a supervisor and its children, all of which hold
// the open file: the kernel gives the lock up when the last of them has ended, however
// it ends. So whoever takes it knows that nobody else works in the directory. It waits
// until ctx ends, and calls waiting before, if it must.
func holdDir(ctx context.Context, dir string, waiting func()) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, "run", "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the directory's lock: %w", err)
	}
	for tries := 0; ; tries++ {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return f, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, errors.Join(fmt.Errorf("lock %s: %w", f.Name(), err), f.Close())
		}
		if tries == 0 {
			waiting()
		}
		select {
		case <-time.After(holdPoll):
		case <-ctx.Done():
			return nil, errors.Join(fmt.Errorf("wait for the lock %s: %w", f.Name(), context.Cause(ctx)), f.Close())
		}
	}
}
