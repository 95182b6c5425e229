package pgdata

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
)

const (
	// BinDirVariable is the environment variable that names the directory of
	// PostgreSQL's programs.
	BinDirVariable = "VARVE_PG_BIN"

	debianBinDir = "/usr/lib/postgresql/15/bin"
	majorVersion = "15"
)

// Binaries are the programs of a PostgreSQL 15.
type Binaries struct {
	Dir     string
	Version string // such as 15.18
}

// FindBinaries looks for PostgreSQL 15 in dir, or if that is empty in the directory
// that VARVE_PG_BIN names, or in the place where Debian installs it.
func FindBinaries(ctx context.Context, dir string) (Binaries, error) {
	for _, candidate := range []string{os.Getenv(BinDirVariable), debianBinDir} {
		if dir == "" {
			dir = candidate
		}
	}
	b := Binaries{Dir: dir}
	out, err := exec.CommandContext(ctx, b.Path("postgres"), "--version").Output()
	if err != nil {
		return Binaries{}, fmt.Errorf("find PostgreSQL %s in %s: %w: install Debian's postgresql-15, or set %s to the directory that holds the program postgres",
			majorVersion, dir, err, BinDirVariable)
	}
	b.Version, err = parseVersion(string(out))
	if err != nil {
		return Binaries{}, fmt.Errorf("find PostgreSQL %s in %s: %w: set %s to the directory of another", majorVersion, dir, err, BinDirVariable)
	}
	return b, nil
}

// Path is the file name of a program.
func (b Binaries) Path(program string) string { return filepath.Join(b.Dir, program) }

var versionPattern = regexp.MustCompile(`^postgres \(PostgreSQL\) ((\d+)\.\d+)\b`)

// parseVersion reads what postgres --version prints.
func parseVersion(text string) (string, error) {
	match := versionPattern.FindStringSubmatch(text)
	if match == nil {
		return "", fmt.Errorf("want the version of a released PostgreSQL %s, got %q", majorVersion, text)
	}
	if match[2] != majorVersion {
		return "", fmt.Errorf("want PostgreSQL %s, got %s", majorVersion, match[1])
	}
	return match[1], nil
}
