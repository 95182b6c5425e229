package endpoint

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

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
