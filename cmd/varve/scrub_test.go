package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/compute/control"
	"github.com/varvedb/varve/lsm"
)

// TestScrub damages a bucket in every way, beside a varve that runs.
func TestScrub(t *testing.T) {
	s := newStack(t)
	s.ok("up", "--safekeepers", "1")
	s.sql("main", "CREATE TABLE t AS SELECT generate_series(1, 1000) AS a")
	s.ok("branch", "create", "child")
	s.ok("endpoint", "start", "child")
	// A stop leaves a layer of each branch: what was taken in is flushed.
	s.ok("endpoint", "stop", "child")
	s.ok("endpoint", "stop", "main")
	s.ok("down")
	s.ok("up")
	branches := map[string]control.Branch{}
	for _, b := range s.branches() {
		branches[b.Name] = b
	}
	tenant := s.files("bucket/tenants/*")[0]
	object := func(name string) string {
		key, err := filepath.Rel(filepath.Join(s.dir, "bucket"), name)
		require.NoError(t, err)
		return key
	}
	layers := s.files("bucket/tenants/*/layers/" + branches["main"].Timeline.String() + "/*")
	require.NotEmpty(t, layers)
	layer := layers[0]
	log := s.files("bucket/tenants/*/logs/" + branches["child"].Timeline.String())[0]
	index := s.files("bucket/tenants/*/timelines/*/" + branches["child"].Timeline.String() + "/index")[0]

	whole := s.run("scrub")
	require.Zero(t, whole.code, whole.stderr)
	require.Empty(t, whole.stdout)
	require.Regexp(t, `^nothing is corrupt or missing, 0 objects have leaked: read 2 indexes, \d+ layers? and 3 other objects, \d{7,} bytes\n$`, whole.stderr)

	// scrub damages a file, or makes one, looks for it, and undoes that.
	scrub := func(code int, path string, damage func(body []byte) []byte, args ...string) (found control.Flaw) {
		t.Helper()
		sound, err := os.ReadFile(path)
		if err == nil {
			defer func() { require.NoError(t, os.WriteFile(path, sound, 0o600)) }()
		} else {
			defer func() { require.NoError(t, os.Remove(path)) }()
		}
		if body := damage(append([]byte{}, sound...)); body == nil {
			require.NoError(t, os.Remove(path))
		} else {
			require.NoError(t, os.WriteFile(path, body, 0o600))
		}
		r := s.run(append([]string{"scrub", "-o", "json"}, args...)...)
		require.Equal(t, code, r.code, r.stderr)
		var report control.ScrubReport
		require.NoError(t, json.Unmarshal([]byte(r.stdout), &report))
		require.Len(t, report.Flaws, 1, "%+v", report.Flaws)
		require.Equal(t, code, report.Lost)
		table := s.run(append([]string{"scrub"}, args...)...)
		require.Equal(t, code, table.code)
		found = report.Flaws[0]
		require.Regexp(t, `(?m)^`+string(found.Kind)+` .*`+filepath.Base(path), table.stdout)
		if code != 0 {
			s.failed(result{"", r.stderr, r.code}, control.CodeFailed, "1 object is corrupt or missing in the bucket "+filepath.Join(s.dir, "bucket"))
		}
		return found
	}
	flipped := func(body []byte) []byte { body[len(body)/2] ^= 0x40; return body }
	gone := func([]byte) []byte { return nil }

	found := scrub(1, layer, flipped)
	require.Equal(t, []any{lsm.FlawCorrupt, object(layer), "main"}, []any{found.Kind, found.Object, found.Branch})
	require.NotEqual(t, found.Wanted, found.Got)
	require.NotZero(t, found.Offset)
	found = scrub(1, layer, func(body []byte) []byte { return body[:1000] })
	require.Equal(t, []any{lsm.FlawCorrupt, object(layer), int64(1000), "1000"}, []any{found.Kind, found.Object, found.Offset, found.Got})
	found = scrub(1, layer, gone)
	require.Equal(t, []any{lsm.FlawMissing, object(layer), "main"}, []any{found.Kind, found.Object, found.Branch})
	require.Equal(t, object(layer), scrub(1, layer, gone, "child").Object, "a child reads its parent's layers")
	found = scrub(0, layer+".copy", func([]byte) []byte { return []byte("some bytes") })
	require.Equal(t, []any{lsm.FlawLeaked, object(layer + ".copy"), int64(10)}, []any{found.Kind, found.Object, found.Bytes})
	found = scrub(0, filepath.Join(tenant, "stray"), func([]byte) []byte { return []byte("x") })
	require.Equal(t, lsm.FlawLeaked, found.Kind)

	deleted := filepath.Join(filepath.Dir(filepath.Dir(layer)), strings.Repeat("ab", 16))
	require.NoError(t, os.Mkdir(deleted, 0o700))
	late := filepath.Join(deleted, filepath.Base(layer))
	found = scrub(0, late, func([]byte) []byte { body, _ := os.ReadFile(layer); return body })
	require.Equal(t, []any{lsm.FlawLeaked, object(late), ""}, []any{found.Kind, found.Object, found.Branch})

	found = scrub(1, index, flipped)
	require.Equal(t, []any{lsm.FlawCorrupt, object(index)}, []any{found.Kind, found.Object})
	found = scrub(1, log, flipped)
	require.Equal(t, []any{lsm.FlawCorrupt, object(log)}, []any{found.Kind, found.Object})
	other := strings.Replace(log, branches["child"].Timeline.String(), branches["main"].Timeline.String(), 1)
	found = scrub(1, other, func([]byte) []byte { body, _ := os.ReadFile(log); return body })
	require.Equal(t, []any{lsm.FlawCorrupt, object(other)}, []any{found.Kind, found.Object})
	require.Empty(t, asJSON[control.ScrubReport](s, "scrub").Flaws)
}
