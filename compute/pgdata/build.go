package pgdata

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/varvedb/varve/pageserver/basebackup"
	"github.com/varvedb/varve/pageserver/datadir"
)

const (
	dirMode  fs.FileMode = 0o700
	fileMode fs.FileMode = 0o600

	// tablespacesSuffix makes the name of the directory beside a data directory that
	// holds its tablespaces; buildingSuffix that of one that is not whole yet.
	tablespacesSuffix = ".tablespaces"
	buildingSuffix    = ".building"
)

// Contents is everything that goes into a data directory.
type Contents struct {
	Settings Settings
	Files    []basebackup.File // of the start state, and of the log
	Pages    Pages
}

// Stats counts what Build wrote.
type Stats struct {
	Relations int   // with at least one fork
	Pages     int64 // read, zero pages included
	ZeroPages int64 // left as holes
}

// Build makes the data directory dir, which must not exist, owned by account. After
// an error nothing is there.
func Build(ctx context.Context, dir string, account Account, c Contents) (Stats, error) {
	if _, err := os.Lstat(dir); !errors.Is(err, fs.ErrNotExist) {
		return Stats{}, fmt.Errorf("build data directory %s: it is there already, or cannot be looked at (%v)", dir, err)
	}
	b := &builder{
		root:        dir + buildingSuffix,
		tablespaces: dir + tablespacesSuffix,
		account:     account,
		writable:    c.Settings.Mode == ReadWrite,
	}
	err := b.build(ctx, c)
	if err == nil {
		err = os.Rename(b.root, dir)
	}
	if err != nil {
		return Stats{}, fmt.Errorf("build data directory %s: %w", dir, errors.Join(err, Discard(dir)))
	}
	return b.stats, nil
}

// Discard removes a data directory, whole or not, with its tablespaces. It is no
// error if nothing is there. No PostgreSQL may run on it.
func Discard(dir string) error {
	for _, path := range []string{dir, dir + tablespacesSuffix, dir + buildingSuffix} {
		if err := os.RemoveAll(path); err != nil {
			return fmt.Errorf("discard data directory: %w", err)
		}
	}
	return nil
}

type builder struct {
	root        string // of the directory while it is built
	tablespaces string
	account     Account
	writable    bool // PostgreSQL will write here
	stats       Stats
	buffer      []byte    // pages on their way
	room        freeSpace // of the fork that is written
}

func (b *builder) build(ctx context.Context, c Contents) error {
	if err := b.account.MakeDir(b.root, dirMode); err != nil {
		return err
	}
	for _, file := range append(configFiles(c.Settings), c.Files...) {
		if err := b.file(file); err != nil {
			return err
		}
	}
	return b.relations(ctx, c.Pages)
}

func configFiles(s Settings) []basebackup.File {
	files := []basebackup.File{
		{Path: "postgresql.conf", Mode: fileMode, Body: s.Conf()},
		{Path: "pg_hba.conf", Mode: fileMode, Body: s.HBA()},
		{Path: "pg_ident.conf", Mode: fileMode},
	}
	if s.Mode == ReadOnly {
		files = append(files, basebackup.File{Path: "standby.signal", Mode: fileMode})
	}
	return files
}

func (b *builder) file(file basebackup.File) error {
	if file.Mode.IsDir() {
		return b.directory(file.Path, file.Mode.Perm())
	}
	if err := b.parent(file.Path); err != nil {
		return err
	}
	path := b.path(file.Path)
	if err := os.WriteFile(path, file.Body, file.Mode.Perm()); err != nil {
		return err
	}
	return b.account.Own(path)
}

func (b *builder) path(name string) string { return filepath.Join(b.root, filepath.FromSlash(name)) }

// parent makes the directories that lead to a file.
func (b *builder) parent(name string) error {
	dir := filepath.ToSlash(filepath.Dir(filepath.FromSlash(name)))
	if dir == "." {
		return nil
	}
	return b.directory(dir, dirMode)
}

// directory makes a directory and those that lead to it, each the account's. One
// directly in pg_tblspc is a tablespace.
func (b *builder) directory(name string, mode fs.FileMode) error {
	if !filepath.IsLocal(filepath.FromSlash(name)) {
		return fmt.Errorf("make directory %q: it is outside the data directory", name)
	}
	if err := b.parent(name); err != nil {
		return err
	}
	path := b.path(name)
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	if oid, ok := strings.CutPrefix(name, "pg_tblspc/"); ok && !strings.Contains(oid, "/") {
		return b.tablespace(oid, path)
	}
	return b.account.MakeDir(path, mode)
}

// tablespace makes a tablespace's directory and the link to it. PostgreSQL makes the
// version's directory in it only with CREATE TABLESPACE.
func (b *builder) tablespace(oid, link string) error {
	spc, err := strconv.ParseUint(oid, 10, 32)
	if err != nil {
		return fmt.Errorf("make tablespace: %w", err)
	}
	version := filepath.Base(datadir.TablespaceDir(uint32(spc)))
	for _, dir := range []string{"", oid, filepath.Join(oid, version)} {
		if err := b.account.MakeDir(filepath.Join(b.tablespaces, dir), dirMode); err != nil {
			return err
		}
	}
	if err := os.Symlink(filepath.Join(b.tablespaces, oid), link); err != nil {
		return err
	}
	return b.account.Own(link)
}
