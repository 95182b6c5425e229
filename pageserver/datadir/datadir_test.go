package datadir_test

import (
	"bytes"
	"io"
	"io/fs"
	"os"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/varvedb/varve/pageserver/datadir"
	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/pgwal"
	"github.com/varvedb/varve/wal/pgwal/pgtest"
)

func TestPathsOfForks(t *testing.T) {
	for path, want := range map[string]struct {
		rel     pgwal.RelFileNode
		fork    pgwal.Fork
		segment uint32
	}{
		"base/5/16384":        {pgwal.RelFileNode{Spc: 1663, DB: 5, Rel: 16384}, pgwal.MainFork, 0},
		"base/5/16384.1":      {pgwal.RelFileNode{Spc: 1663, DB: 5, Rel: 16384}, pgwal.MainFork, 1},
		"base/5/16384_fsm.12": {pgwal.RelFileNode{Spc: 1663, DB: 5, Rel: 16384}, pgwal.FSMFork, 12},
		"global/1262_vm":      {pgwal.RelFileNode{Spc: 1664, Rel: 1262}, pgwal.VMFork, 0},
		"pg_tblspc/16400/PG_15_202209061/5/16386_init": {pgwal.RelFileNode{Spc: 16400, DB: 5, Rel: 16386}, pgwal.InitFork, 0},
	} {
		rel, fork, segment, err := datadir.ParseForkPath(path)
		require.NoError(t, err)
		require.Equal(t, want.rel, rel, path)
		require.Equal(t, want.fork, fork, path)
		require.Equal(t, want.segment, segment, path)
		require.Equal(t, path, datadir.SegmentPath(rel, fork, segment))
	}
}

func TestPathsThatAreNoFork(t *testing.T) {
	for _, path := range []string{
		"", "1262", "base/16384", "base/5/", "base/5/0", "base/5/016384", "base/5/+16384", "base/5/16384_", "base/5/16384_main",
		"base/5/16384.0", "base/5/16384.", "base/5/16384.1_vm", "base/x/1", "global/5/1", "base/5/t3_16384", "/base/5/1",
		"base/5/pg_filenode.map", "base/5/4294967296", "pg_tblspc/16400/PG_14_202107181/5/1", "pg_tblspc/1663/PG_15_202209061/5/1", "base//5/1",
	} {
		_, _, _, err := datadir.ParseForkPath(path)
		require.ErrorContains(t, err, "as PostgreSQL names it", path)
	}
}

func TestPathRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		oid := rapid.Uint32Min(1)
		rel := pgwal.RelFileNode{Spc: oid.Draw(t, "tablespace"), DB: oid.Draw(t, "database"), Rel: oid.Draw(t, "relation")}
		if rel.Spc == datadir.GlobalTablespace {
			rel.DB = 0
		}
		fork := pgwal.Fork(rapid.IntRange(0, 3).Draw(t, "fork"))
		segment := rapid.Uint32().Draw(t, "segment")
		gotRel, gotFork, gotSegment, err := datadir.ParseForkPath(datadir.SegmentPath(rel, fork, segment))
		require.NoError(t, err)
		require.Equal(t, rel, gotRel)
		require.Equal(t, fork, gotFork)
		require.Equal(t, segment, gotSegment)
	})
}

func file(blocks int) *fstest.MapFile {
	return &fstest.MapFile{Data: []byte(strings.Repeat("x", blocks*pgwal.PageSize))}
}

func TestScan(t *testing.T) {
	fsys := fstest.MapFS{
		"global/1262": file(1), "global/1262_vm": file(1), "global/pg_control": file(1), "global/pg_internal.init": file(1),
		"base/5/16384": file(2), "base/5/PG_VERSION": file(0), "base/5/900": file(0), "base/5/t3_77_vm": file(1), "base/5/core": file(1),
		"base/1/16384_init": file(1), "base/1/16384": file(3), "base/pgsql_tmp/x": file(1), "base/5/16384.2": file(1),
		"pg_tblspc/16400/PG_15_202209061/5/1": file(1),
	}
	tree, err := datadir.Scan(fsys)
	require.NoError(t, err)
	require.Equal(t, []datadir.Database{{Spc: 1663, DB: 1}, {Spc: 1663, DB: 5}, {Spc: 16400, DB: 5}}, tree.Databases)
	require.Equal(t, []uint32{16400}, tree.Tablespaces)
	var paths []string
	for _, f := range tree.Forks {
		paths = append(paths, f.Path())
	}
	require.Equal(t, []string{"base/1/16384", "base/1/16384_init", "base/5/900", "base/5/16384",
		"global/1262", "global/1262_vm", "pg_tblspc/16400/PG_15_202209061/5/1"}, paths)
	require.Equal(t, map[pgwal.RelFileNode]bool{{Spc: 1663, DB: 1, Rel: 16384}: true}, tree.Unlogged())
	require.Equal(t, []datadir.Other{
		{Path: "base/5/PG_VERSION", Reason: datadir.Known}, {Path: "base/5/core", Reason: datadir.Unknown},
		{Path: "base/5/t3_77_vm", Reason: datadir.Temporary}, {Path: "base/pgsql_tmp", Reason: datadir.Temporary},
		{Path: "global/pg_control", Reason: datadir.Known}, {Path: "global/pg_internal.init", Reason: datadir.Cache},
	}, tree.Others)

	blocks, err := tree.Forks[0].Blocks()
	require.NoError(t, err)
	require.Equal(t, uint32(3), blocks)
	_, err = tree.Forks[3].Blocks()
	require.ErrorIs(t, err, wal.ErrCorruption, "segment 1 is missing")
	require.ErrorContains(t, err, "base/5/16384")
}

func TestSizesOfSegments(t *testing.T) {
	const full = datadir.SegmentBlocks * pgwal.PageSize
	rel := pgwal.RelFileNode{Spc: 1663, DB: 5, Rel: 7}
	sound := datadir.Fork{Rel: rel, Segments: []int64{full, full, 3 * pgwal.PageSize}}
	blocks, err := sound.Blocks()
	require.NoError(t, err)
	require.Equal(t, uint32(2*datadir.SegmentBlocks+3), blocks)
	for name, segments := range map[string][]int64{
		"base/5/7":   {full - pgwal.PageSize, 0},
		"base/5/7.1": {full, -1, full},
		"base/5/7.2": {full, full, 100},
		"base/5/7.3": {full, full, full, full + pgwal.PageSize},
	} {
		torn := datadir.Fork{Rel: rel, Segments: segments}
		_, err := torn.Blocks()
		require.ErrorIs(t, err, wal.ErrCorruption)
		require.ErrorContains(t, err, "in "+name+" at")
	}
}

// sparse is a file system of segments that are zeros but for one byte each.
type sparse map[string]int64

func (s sparse) Open(name string) (fs.File, error) {
	at, ok := s[name]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return &sparseFile{mark: at, size: (at/pgwal.PageSize + 1) * pgwal.PageSize}, nil
}

type sparseFile struct {
	fs.File
	at, mark, size int64
}

func (f *sparseFile) Close() error { return nil }

func (f *sparseFile) Read(p []byte) (int, error) {
	if f.at == f.size {
		return 0, io.EOF
	}
	n := min(int64(len(p)), f.size-f.at)
	clear(p[:n])
	if f.at <= f.mark && f.mark < f.at+n {
		p[f.mark-f.at] = 9
	}
	f.at += n
	return int(n), nil
}

// TestReaderCrossesSegments reads a fork of two segments.
func TestReaderCrossesSegments(t *testing.T) {
	const full = datadir.SegmentBlocks * pgwal.PageSize
	fsys := sparse{"global/7": full - 1, "global/7.1": pgwal.PageSize}
	fork := datadir.Fork{Rel: pgwal.RelFileNode{Spc: 1664, Rel: 7}, Segments: []int64{full, 2 * pgwal.PageSize}}
	r := datadir.NewReader(fsys, &fork)
	defer r.Close()
	marks := map[uint32]int{}
	for want := uint32(0); ; want++ {
		block, page, err := r.Next()
		if err == io.EOF {
			require.Equal(t, uint32(datadir.SegmentBlocks+2), want)
			break
		}
		if err != nil || block != want {
			t.Fatalf("block %d instead of %d: %v", block, want, err)
		}
		if at := bytes.IndexByte(page, 9); at >= 0 {
			marks[block] = at
		}
	}
	require.Equal(t, map[uint32]int{datadir.SegmentBlocks - 1: pgwal.PageSize - 1, datadir.SegmentBlocks + 1: 0}, marks)
}

// TestScanOfRealCluster: every file of a fresh cluster is accounted for.
func TestScanOfRealCluster(t *testing.T) {
	server := pgtest.Init(t, pgtest.Options{})
	tree, err := datadir.Scan(os.DirFS(server.DataDir))
	require.NoError(t, err)
	require.Len(t, tree.Databases, 3)
	require.Greater(t, len(tree.Forks), 600)
	for _, f := range tree.Forks {
		_, err := f.Blocks()
		require.NoError(t, err)
	}
	for _, other := range tree.Others {
		require.Contains(t, []string{datadir.Known, datadir.Cache}, other.Reason, other.Path)
	}
}
