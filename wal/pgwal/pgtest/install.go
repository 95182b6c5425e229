package pgtest

import (
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// defaultBin is where Debian installs the programs of PostgreSQL 15.
const defaultBin = "/usr/lib/postgresql/15/bin"

// install is a PostgreSQL 15 found on this machine, and whom to run it as.
type install struct {
	bin        string
	credential *syscall.Credential // nil: as ourselves
}

// find returns the PostgreSQL 15 of this machine. Without one the test is
// skipped, or fails where CI is set.
func find(t testing.TB) install {
	t.Helper()
	in := install{bin: defaultBin}
	if dir := os.Getenv("VARVE_PG_BIN"); dir != "" {
		in.bin = dir
	}
	version, err := exec.Command(in.path("postgres"), "--version").Output()
	if err != nil {
		missing(t, "PostgreSQL 15 is not in "+in.bin+" (set VARVE_PG_BIN): "+err.Error())
	}
	if !strings.Contains(string(version), " 15.") {
		missing(t, in.bin+" holds "+strings.TrimSpace(string(version))+", not PostgreSQL 15")
	}
	if os.Geteuid() == 0 {
		in.credential = serverUser(t)
	}
	return in
}

func missing(t testing.TB, reason string) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatal(reason)
	}
	t.Skip(reason)
}

func serverUser(t testing.TB) *syscall.Credential {
	t.Helper()
	u, err := user.Lookup("postgres")
	if err != nil {
		missing(t, "PostgreSQL refuses to run as root, and there is no user postgres: "+err.Error())
	}
	uid, errUID := strconv.ParseUint(u.Uid, 10, 32)
	gid, errGID := strconv.ParseUint(u.Gid, 10, 32)
	if errUID != nil || errGID != nil {
		t.Fatalf("user postgres has the ids %q and %q", u.Uid, u.Gid)
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
}

func (in install) path(name string) string { return filepath.Join(in.bin, name) }

// command prepares a program of the installation, run as the server's user. The
// kernel kills it should the test process die first.
func (in install) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(in.path(name), args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: in.credential, Pdeathsig: syscall.SIGKILL}
	cmd.Dir = os.TempDir()
	return cmd
}

// tempDir makes a directory that the server's user owns and that goes away with
// the test. Its path is short, for a socket's path holds 107 bytes at most, and
// every part of it can be entered, which testing's own TempDir does not promise.
func (in install) tempDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "pg")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	if in.credential != nil {
		if err := os.Chown(dir, int(in.credential.Uid), int(in.credential.Gid)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}
