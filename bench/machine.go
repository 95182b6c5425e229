package bench

import (
	"context"
	"errors"
	"fmt"
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

// Commits are those that results are of, with "+" where there were changes.
func Commits(results []*Result) (ids []string) {
	for _, r := range results {
		if !slices.Contains(ids, r.Commit) {
			ids = append(ids, r.Commit)
		}
	}
	return ids
}

// ErrNotOfRecord is matched by the error of results that nobody can measure again.
var ErrNotOfRecord = errors.New("no run of record")

// OfRecord refuses results of changes that were not committed, and of commits that the
// repository around the working directory does not have below HEAD. Outside of one, and
// for what a shallow one does not hold, nobody can tell.
func OfRecord(ctx context.Context, results []*Result) error {
	for _, r := range results {
		if strings.HasSuffix(r.Commit, "+") {
			return fmt.Errorf("%w: suite %s was measured with changes that are not committed (%s): commit them and measure it anew", ErrNotOfRecord, r.Suite, r.Commit)
		}
		if r.Commit != "unknown" && !isBelowHead(ctx, r.Commit) {
			return fmt.Errorf("%w: suite %s was measured at %s, which is not below HEAD: check out a branch that has it, or measure it anew here", ErrNotOfRecord, r.Suite, r.Commit)
		}
	}
	return nil
}

// isBelowHead reports whether HEAD is a commit or has it as an ancestor, as far as git
// can tell.
func isBelowHead(ctx context.Context, commit string) bool {
	shallow, err := exec.CommandContext(ctx, "git", "rev-parse", "--is-shallow-repository").Output()
	if err != nil {
		return true
	}
	err = exec.CommandContext(ctx, "git", "merge-base", "--is-ancestor", commit, "HEAD").Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() != 1 { // It does not know the commit.
		return strings.TrimSpace(string(shallow)) != "false"
	}
	return err == nil
}
