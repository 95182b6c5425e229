package control

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/varvedb/varve/compute/pgdata"
	"github.com/varvedb/varve/lsm"
)

const portMax = 65535

func (c Config) validate() error {
	if !slices.Contains([]int{1, 3, 5}, c.Safekeepers) {
		return Errorf(CodeUsage, "--safekeepers %d: want 1, 3 or 5", c.Safekeepers)
	}
	if c.Port < 0 || c.Port > portMax {
		return Errorf(CodeUsage, "--port %d: want 1 to %d", c.Port, portMax)
	}
	if c.IndexCacheBytes < 0 || c.IndexCacheBytes > lsm.IndexCacheBytesMax {
		return Errorf(CodeUsage, "--index-cache %d: want 1 to %d bytes, which is %dTiB", c.IndexCacheBytes, int64(lsm.IndexCacheBytesMax), lsm.IndexCacheBytesMax>>40)
	}
	if _, err := c.bucketLocation(); err != nil {
		return err
	}
	if strings.ContainsAny(c.Dir, `',\`) {
		return Errorf(CodeUsage, "data directory %s: quotes, commas and backslashes mean something else in addresses of PostgreSQL: choose another --dir", c.Dir)
	}
	if len(c.Dir) > dirPathMax {
		return Errorf(CodeUsage, "data directory %s: its path has %d bytes, and sockets below it allow %d: choose a shorter --dir", c.Dir, len(c.Dir), dirPathMax)
	}
	return nil
}

// Check tells what would keep [Run] from serving the directory, as far as that can be
// known before anything is made or changed.
func Check(ctx context.Context, cfg Config) error {
	if err := cfg.validate(); err != nil {
		return err
	}
	if conn, err := net.Dial("unix", SocketPath(cfg.Dir)); err == nil {
		// Nothing was said on it.
		_ = conn.Close()
		return Errorf(CodeConflict, "varve runs in %s already: see `varve status --dir %s`, or stop it with `varve down --dir %s`", cfg.Dir, shellWord(cfg.Dir), shellWord(cfg.Dir))
	}
	binaries, err := pgdata.FindBinaries(ctx, cfg.PGBin)
	if err != nil {
		return err
	}
	if err := checkReach(ctx, binaries, cfg.Dir); err != nil {
		return err
	}
	return checkPort("varve up", cfg.Port)
}

// checkReach tells whether PostgreSQL, which refuses to be root, may enter the
// directory, or the nearest above it that is there.
func checkReach(ctx context.Context, binaries pgdata.Binaries, dir string) error {
	account, err := pgdata.FindAccount()
	if err != nil {
		return err
	}
	for {
		info, err := os.Stat(dir)
		if err == nil && !info.IsDir() {
			return Errorf(CodeUsage, "%s is not a directory: choose another data directory with --dir", dir)
		}
		if err == nil || dir == filepath.Dir(dir) {
			break
		}
		dir = filepath.Dir(dir)
	}
	cmd := exec.CommandContext(ctx, binaries.Path("postgres"), "--version")
	cmd.Dir = dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: account.Credential()}
	err = cmd.Run()
	if errors.Is(err, fs.ErrPermission) {
		return Errorf(CodeFailed, "PostgreSQL may not enter %s: choose another directory with --dir, or let it in with `chmod a+x`, there and above", dir)
	}
	if err != nil {
		return fmt.Errorf("run %s in %s: %w", binaries.Path("postgres"), dir, err)
	}
	return nil
}

// checkPort tells whether a Postgres can have a port; 0 is any. The command is the
// one to choose another port with.
func checkPort(command string, port int) error {
	if port == 0 {
		return nil
	}
	l, err := net.Listen("tcp", net.JoinHostPort(loopback, fmt.Sprint(port)))
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return Errorf(CodeConflict, "port %d is in use: choose another with `%s --port N`", port, command)
	case errors.Is(err, fs.ErrPermission):
		return portForRoot(command, port, portForAllMin())
	case err != nil:
		return fmt.Errorf("try port %d: %w: choose another with `%s --port N`", port, err, command)
	}
	// We may have it, but PostgreSQL, which we start as its own user, may not.
	if least := portForAllMin(); port < least && os.Geteuid() == 0 {
		return errors.Join(portForRoot(command, port, least), l.Close())
	}
	return l.Close()
}

func portForRoot(command string, port, least int) error {
	return Errorf(CodeFailed, "port %d is for root only, and PostgreSQL refuses to be root: choose one from %d on with `%s --port N`", port, least, command)
}

// portForAllMin is the least port that every user may listen on.
func portForAllMin() int {
	const usual = 1024
	body, err := os.ReadFile("/proc/sys/net/ipv4/ip_unprivileged_port_start")
	if err != nil {
		return usual // an older kernel, which has no such setting
	}
	least, err := strconv.Atoi(strings.TrimSpace(string(body)))
	if err != nil {
		return usual
	}
	return least
}

// OpenDir opens a directory that a user named.
func OpenDir(dir string) (fs.FS, error) {
	// Unlike Stat, it needs what every later step needs.
	_, err := os.ReadDir(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, Errorf(CodeNotFound, "there is no directory %s: name the data directory of a stopped PostgreSQL 15", dir)
	case errors.Is(err, syscall.ENOTDIR):
		return nil, Errorf(CodeUsage, "%s is not a directory: name the data directory of a stopped PostgreSQL 15", dir)
	case errors.Is(err, fs.ErrPermission):
		return nil, Errorf(CodeFailed, "%s may not be read: run `varve up` and this command as the owner of the directory, or as root", dir)
	case err != nil:
		return nil, fmt.Errorf("open directory: %w", err)
	}
	return os.DirFS(dir), nil
}
