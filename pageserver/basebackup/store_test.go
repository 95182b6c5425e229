package basebackup_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/lsm"
	"github.com/varvedb/varve/pageserver/basebackup"
	"github.com/varvedb/varve/pageserver/datadir"
	"github.com/varvedb/varve/pageserver/pgkey"
	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/pgwal"
	"github.com/varvedb/varve/wal/pgwal/pgtest"
)

// memory is a timeline that holds images as of one LSN.
type memory struct {
	at     wal.LSN
	keys   []lsm.Key // ascending
	values map[lsm.Key][]byte
}

func (m *memory) ImportImages(_ context.Context, at wal.LSN, next func() (lsm.Key, []byte, bool, error)) error {
	m.at, m.values = at, map[lsm.Key][]byte{}
	for {
		key, value, ok, err := next()
		if err != nil || !ok {
			return err
		}
		if n := len(m.keys); n > 0 && !m.keys[n-1].Less(key) {
			return errors.New("key " + pgkey.Describe(key) + " after " + pgkey.Describe(m.keys[n-1]))
		}
		m.keys = append(m.keys, key)
		m.values[key] = slices.Clone(value)
	}
}

func (m *memory) Value(_ context.Context, key lsm.Key, at wal.LSN) ([]byte, bool, error) {
	value, ok := m.values[key]
	return value, ok && at >= m.at, nil
}

func (m *memory) Values(_ context.Context, lo, hi lsm.Key, at wal.LSN, fn func(lsm.Key, []byte) error) error {
	for _, key := range m.keys {
		if at < m.at || key.Less(lo) || !key.Less(hi) {
			continue
		}
		if err := fn(key, m.values[key]); err != nil {
			return err
		}
	}
	return nil
}

// imported imports the directory of a stopped server.
func imported(t *testing.T, dir string) (*memory, *basebackup.Info) {
	m := &memory{}
	info, err := basebackup.Import(context.Background(), os.DirFS(dir), m)
	require.NoError(t, err)
	return m, info
}

// materialise writes a data directory beside the server's own and points the server
// to it: the start state, the log's segments, relations as stored, and the server's
// configuration. Unlogged relations get a copy of their init fork.
func materialise(t *testing.T, server *pgtest.Server, relations []basebackup.File, state *basebackup.State) {
	old := server.DataDir
	server.DataDir = server.MkdirAll(t, filepath.Base(old)+"-next")
	require.NoError(t, os.Chmod(server.DataDir, 0o700))
	info, err := os.Stat(old)
	require.NoError(t, err)
	write := func(f basebackup.File) {
		path := filepath.Join(server.DataDir, f.Path)
		if f.Mode.IsDir() {
			require.NoError(t, os.MkdirAll(path, f.Mode.Perm()))
		} else {
			require.NoError(t, os.WriteFile(path, f.Body, f.Mode.Perm()))
		}
		own(t, path, info)
	}
	for _, f := range append(state.Files, state.Segments()...) {
		write(f)
	}
	for _, name := range []string{"postgresql.conf", "pg_hba.conf", "pg_ident.conf"} {
		body, err := os.ReadFile(filepath.Join(old, name))
		require.NoError(t, err)
		write(basebackup.File{Path: name, Mode: 0o600, Body: body})
	}
	for _, f := range relations {
		write(f)
		if main, unlogged := strings.CutSuffix(f.Path, "_init"); unlogged {
			write(basebackup.File{Path: main, Mode: 0o600, Body: f.Body})
		}
	}
}

// forks are the files of all stored relations, which are short of a segment.
func (m *memory) forks(t *testing.T) (files []basebackup.File) {
	lo, hi := pgkey.AllSizes()
	require.NoError(t, m.Values(context.Background(), lo, hi, m.at, func(key lsm.Key, value []byte) error {
		parsed, err := pgkey.ParseKey(key)
		require.NoError(t, err)
		size, err := pgkey.DecodeSize(value)
		require.NoError(t, err)
		rel := parsed.RelFileNode()
		body := make([]byte, int(size.Blocks)*pgwal.PageSize)
		for block := range size.Blocks {
			copy(body[block*pgwal.PageSize:], m.values[pgkey.Block(rel, parsed.Fork, block)])
		}
		files = append(files, basebackup.File{Path: datadir.ForkPath(rel, parsed.Fork), Mode: 0o600, Body: body})
		return nil
	}))
	return files
}
