package bench

import (
	"context"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/varvedb/varve/compute/pgdata"
)

// ThisMachine describes the machine, and the file system that holds dir. What it does
// not tell is left out.
func ThisMachine(dir string) Machine {
	m := Machine{Cores: runtime.NumCPU(), Go: runtime.Version(), Filesystem: filesystem(dir)}
	for line := range strings.Lines(contents("/proc/cpuinfo")) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			m.CPU = strings.TrimSpace(value)
			break
		}
	}
	for line := range strings.Lines(contents("/proc/meminfo")) {
		if rest, ok := strings.CutPrefix(line, "MemTotal:"); ok {
			kib, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			m.MemoryMiB = kib >> 10
		}
	}
	m.Kernel, _, _ = strings.Cut(strings.TrimSpace(contents("/proc/sys/kernel/osrelease")), "-") // The builder's part says nothing.
	if binaries, err := pgdata.FindBinaries(context.Background(), ""); err == nil {
		m.Postgres = binaries.Version
	}
	return m
}

func contents(path string) string {
	text, _ := os.ReadFile(path)
	return string(text)
}

// filesystem names the type of dir's file system.
func filesystem(dir string) string {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return ""
	}
	names := map[int64]string{
		unix.EXT4_SUPER_MAGIC: "ext4", unix.BTRFS_SUPER_MAGIC: "btrfs", unix.XFS_SUPER_MAGIC: "xfs",
		unix.TMPFS_MAGIC: "tmpfs", unix.OVERLAYFS_SUPER_MAGIC: "overlayfs",
	}
	if name, ok := names[s.Type]; ok {
		return name
	}
	return "type " + strconv.FormatInt(s.Type, 16)
}

// Commit names the source that is measured: the commit that is checked out, with "+"
// if there are changes but to results; "unknown" outside of a repository.
func Commit(ctx context.Context) string {
	head, err := exec.CommandContext(ctx, "git", "rev-parse", "--short=12", "HEAD").Output()
	if err != nil {
		return "unknown"
	}
	commit := strings.TrimSpace(string(head))
	changes, err := exec.CommandContext(ctx, "git", "status", "--porcelain", "--untracked-files=no", "--", ":/", ":(top,exclude)bench/results").Output()
	if err != nil || len(changes) > 0 {
		commit += "+"
	}
	return commit
}

// Commits are those that results are of, "+" left out.
func Commits(results []*Result) (ids []string) {
	for _, r := range results {
		if id := strings.TrimSuffix(r.Commit, "+"); !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	return ids
}
