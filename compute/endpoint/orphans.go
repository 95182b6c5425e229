package endpoint

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// EndLeftovers kills what is left of a PostgreSQL whose endpoint, in directory dir,
// was killed, and returns when nothing is left.
func EndLeftovers(dir string) error {
	deadline := time.Now().Add(goneTimeout)
	for left := processesIn(dataDir(dir)); len(left) > 0; left = processesIn(dataDir(dir)) {
		if time.Now().After(deadline) {
			return fmt.Errorf("end processes %v of an earlier life: they do not end", left)
		}
		killProcessesIn(dataDir(dir))
		// Not our children: there is nothing to wait on.
		time.Sleep(time.Millisecond)
	}
	return nil
}

// killProcessesIn kills every process whose working directory is dir: all processes
// of a PostgreSQL stand in its data directory. They are not ours to wait for.
func killProcessesIn(dir string) {
	for _, pid := range processesIn(dir) {
		// It may have left meanwhile.
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
}

func processesIn(dir string) (pids []int) {
	// The kernel names a directory by its path without links.
	if resolved, err := filepath.EvalSymlinks(dir); err == nil {
		dir = resolved
	}
	links, err := filepath.Glob("/proc/[0-9]*/cwd")
	if err != nil {
		return nil
	}
	for _, link := range links {
		cwd, err := os.Readlink(link)
		if err != nil || strings.TrimSuffix(cwd, " (deleted)") != dir {
			continue
		}
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(link))); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}
