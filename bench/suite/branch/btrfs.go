package branch

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/varvedb/varve/bench/latency"
	"github.com/varvedb/varve/bench/paired"
)

// volume is a btrfs on a loop file, with a subvolume that holds data.
type volume struct{ mount string }

// mountBtrfs makes one below dir. That needs root, a loop device and btrfs-progs.
func mountBtrfs(dir string) (*volume, error) {
	file, mount := filepath.Join(dir, "btrfs.img"), filepath.Join(dir, "mnt")
	f, err := os.Create(file)
	if err != nil {
		return nil, fmt.Errorf("make image: %w", err)
	}
	err = f.Truncate(1 << 30)
	if err = errors.Join(err, f.Close(), os.Mkdir(mount, 0o755)); err != nil {
		return nil, fmt.Errorf("make image: %w", err)
	}
	if err := system("mkfs.btrfs", "-q", file); err != nil {
		return nil, err
	}
	if err := system("mount", "-o", "loop", file, mount); err != nil {
		return nil, err
	}
	v := &volume{mount: mount}
	if err := v.fill(); err != nil {
		return nil, errors.Join(err, v.close())
	}
	return v, nil
}

// fill makes a subvolume of 64 MiB in files of a MiB.
func (v *volume) fill() error {
	origin := filepath.Join(v.mount, "origin")
	if err := system("btrfs", "subvolume", "create", origin); err != nil {
		return err
	}
	for n := range 64 {
		if err := os.WriteFile(filepath.Join(origin, fmt.Sprint(n)), bytes.Repeat([]byte{byte(n), 1, 2, 3}, 1<<18), 0o644); err != nil {
			return fmt.Errorf("fill subvolume: %w", err)
		}
	}
	return system("sync", "-f", origin)
}

func (v *volume) close() error { return system("umount", v.mount) }

// snapshotsEach is how many snapshots are made in a round.
const snapshotsEach = 5

// snapshots makes snapshots by btrfs's own program and makes each durable. The program's
// start is part of it, as it is for its users; so is one sync of the file system.
func (v *volume) snapshots(ctx context.Context, round int) (paired.Sample, error) {
	h := latency.New()
	for n := range snapshotsEach {
		name, begin := filepath.Join(v.mount, fmt.Sprintf("s%d-%d", round, n)), time.Now()
		if err := system("btrfs", "subvolume", "snapshot", filepath.Join(v.mount, "origin"), name); err != nil {
			return paired.Sample{}, err
		}
		if err := system("btrfs", "filesystem", "sync", v.mount); err != nil {
			return paired.Sample{}, err
		}
		h.Since(begin)
	}
	return paired.Sample{Latency: h, Metrics: map[string]float64{}}, ctx.Err()
}

func system(name string, args ...string) error {
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("run %s: %w: %s", name, err, strings.TrimSpace(string(out)))
	}
	return nil
}
