package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/compute/control"
	"github.com/varvedb/varve/compute/pgdata"
	"github.com/varvedb/varve/pageserver/pagediff"
	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/pgwal"
)

// TestStorageAgainstFiles stops a Postgres and looks at the same data by all the
// commands that read storage.
func TestStorageAgainstFiles(t *testing.T) {
	s := newStack(t)
	s.ok("up", "--safekeepers", "1")
	// Never read, so that no hint is set that is not in the log.
	s.sql("main", "CREATE TABLE t AS SELECT generate_series(1, 1000) AS a")
	s.sql("main", "CREATE TABLE v AS SELECT 1 AS a")
	s.sql("main", "VACUUM v")
	tablePath, vmPath := s.sql("main", "SELECT pg_relation_filepath('t')"), s.sql("main", "SELECT pg_relation_filepath('v')")+"_vm"
	timeline := s.branches()[0].Timeline.String()
	data := s.ok("endpoint", "stop", "main")
	at := s.ok("lsn", "main")

	t.Run("page get", func(t *testing.T) {
		s := stack{t, s.dir}
		pages := 0
		lsn, err := wal.ParseLSN(at)
		require.NoError(t, err)
		compare := pagediff.Comparer{At: lsn}
		for _, path := range []string{tablePath, vmPath} {
			file, err := os.ReadFile(filepath.Join(data, path))
			require.NoError(t, err)
			for i := 0; i < len(file)/pgwal.PageSize; i++ {
				want := file[i*pgwal.PageSize:][:pgwal.PageSize]
				block := fmt.Sprint(i)
				raw := s.run("page", "get", path, block, "--lsn", at, "--raw")
				require.Zero(t, raw.code, raw.stderr)
				fork := pgwal.MainFork
				if path == vmPath {
					fork = pgwal.VMFork
				}
				differs, _ := compare.Compare(fork, uint32(i), []byte(raw.stdout), want)
				require.Equal(t, -1, differs, "%s block %d", path, i)
				shown := asJSON[pageView](s, "page", "get", path, block)
				require.True(t, raw.stdout == string(shown.Page), "%s block %d", path, i)
				pages++
			}
		}
		require.GreaterOrEqual(t, pages, 5)
		require.Len(t, strings.Split(s.ok("page", "get", "global/1262", "0", "--branch", "main"), "\n"), pgwal.PageSize/16)
	})
	t.Run("verify", func(t *testing.T) {
		s := stack{t, s.dir}
		require.Contains(t, s.ok("verify", "main", "--against", data), "mismatches: 0")
		file := filepath.Join(data, tablePath)
		flip(t, file, pgwal.PageSize+pgwal.PageSize-8)
		r := s.run("verify", "main", "--against", data)
		require.Equal(t, exitCodes[control.CodeFailed], r.code)
		require.Contains(t, r.stdout, tablePath)
		require.Contains(t, r.stdout, "mismatches: 1")
		require.Regexp(t, `^varve: 1 difference between .* and branch main at `+at+"\n$", r.stderr)
		flip(t, file, pgwal.PageSize+pgwal.PageSize-8)
		require.Contains(t, s.ok("verify", "main", "--against", data), "mismatches: 0")
	})
	s.ok("down")
	t.Run("inspect", func(t *testing.T) { testInspect(stack{t, s.dir}, timeline) })
}

// testInspect looks at the files of a varve that is stopped.
func testInspect(s stack, timeline string) {
	segment := filepath.Join(s.dir, "safekeeper-1", "timelines", timeline, "wal", "000000010000000000000001")
	binaries, err := pgdata.FindBinaries(s.Context(), "")
	require.NoError(s, err)
	records := lsns(s.ok("inspect", "wal", segment))
	require.Greater(s, len(records), 100)
	waldump := s.command(segment, "--start", records[0])
	waldump.Path, waldump.Args[0] = binaries.Path("pg_waldump"), "pg_waldump"
	require.Equal(s, lsns(finish(s.T, waldump).stdout), records, "the records that pg_waldump finds")
	require.Equal(s, records[5:], lsns(s.ok("inspect", "wal", segment, "--start", records[5])))
	s.fails(control.CodeNotFound, []string{"no record begins at 7/0"}, "inspect", "wal", segment, "--start", "7/0")

	layers, err := filepath.Glob(filepath.Join(s.dir, "bucket", "tenants", "*", "layers", timeline, "*"))
	require.NoError(s, err)
	require.NotEmpty(s, layers)
	held := 0
	for _, layer := range layers {
		r := s.run("inspect", "layer", layer)
		require.Zero(s, r.code, r.stderr)
		require.Contains(s, r.stderr, "every checksum right")
		held += strings.Count(r.stdout, "\nrelation ")
		flip(s.T, layer, 1000)
		s.failed(s.run("inspect", "layer", layer), control.CodeFailed, "corruption in "+filepath.Base(layer))
	}
	require.Greater(s, held, 1000)

	index := s.files(filepath.Join("bucket", "tenants", "*", "timelines", "root", timeline, "index"))[0]
	body := asJSON[struct {
		Timeline string
		Layers   []json.RawMessage
	}](s, "inspect", "index", index)
	require.Equal(s, timeline, body.Timeline)
	require.Len(s, body.Layers, len(layers))
	flip(s.T, index, 20)
	s.fails(control.CodeFailed, []string{"corruption in index"}, "inspect", "index", index)
}

var lsnField = regexp.MustCompile(`lsn: ([0-9A-F]+/[0-9A-F]+)`)

func lsns(dump string) (found []string) {
	for _, match := range lsnField.FindAllStringSubmatch(dump, -1) {
		found = append(found, match[1])
	}
	return found
}

// flip changes one byte of a file, and the second time back again.
func flip(t *testing.T, path string, offset int) {
	t.Helper()
	body, err := os.ReadFile(path)
	require.NoError(t, err)
	body[offset] ^= 0x40
	require.NoError(t, os.WriteFile(path, body, 0o600))
}
