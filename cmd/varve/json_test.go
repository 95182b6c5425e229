package main

import (
	"encoding/json"
	"encoding/xml"
	"io"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/pgwal"
	"github.com/varvedb/varve/wal/pgwal/pgtest"
)

// printsNoData are the subcommands for which -o json means nothing, and why.
var printsNoData = map[string]string{
	"varve psql":             "prints what psql prints",
	"varve inspect map":      "prints a picture of what inspect index prints",
	"varve safekeeper":       "a role: tells its starter that it is ready",
	"varve pageserver":       "a role",
	"varve endpoint-process": "a role",
}

// TestJSON runs every subcommand that prints data with -o json, in an order in which
// each has something to show.
func TestJSON(t *testing.T) {
	server := pgtest.Init(t, pgtest.Options{})
	s := newStack(t)
	told := map[string]any{}
	show := func(code int, args ...string) any {
		t.Helper()
		cmd, _, err := newRoot().Find(args)
		require.NoError(t, err)
		r := s.run(append(args, "-o", "json")...)
		require.Equal(t, code, r.code, "%v: %s", args, r.stderr)
		value := requireJSON(t, r.stdout)
		told[cmd.CommandPath()] = value
		return value
	}
	main := show(0, "up", "--safekeepers", "1").(map[string]any)
	s.sql("main", "CREATE TABLE t AS SELECT generate_series(1, 1000) AS a")
	path := s.sql("main", "SELECT pg_relation_filepath('t')")
	at := show(0, "lsn", "main").(map[string]any)["lsn"]
	require.Equal(t, main["url"], show(0, "connection-string", "main").(map[string]any)["url"])
	require.Equal(t, at, show(0, "branch", "create", "fix").(map[string]any)["branch_lsn"])
	require.Equal(t, "theirs", show(0, "import", server.DataDir, "--branch", "theirs").(map[string]any)["name"])
	require.Len(t, show(0, "branch", "list"), 3)
	require.Len(t, show(0, "status").(map[string]any)["branches"], 3)
	show(0, "endpoint", "start", "fix")
	show(0, "endpoint", "stop", "fix")
	require.Equal(t, "main", show(0, "branch", "reset", "fix").(map[string]any)["parent"])
	require.NotContains(t, show(0, "branch", "detach", "fix"), "parent")
	require.Equal(t, "fix", show(0, "branch", "delete", "fix").(map[string]any)["deleted"])
	lease := show(0, "lease", "create", "main", "--for", "1h").(map[string]any)
	require.Equal(t, []any{lease}, show(0, "lease", "list", "main"))
	require.Equal(t, lease["id"], show(0, "lease", "delete", lease["id"].(string)).(map[string]any)["deleted"])
	require.Equal(t, true, show(0, "storage", "collect", "main", "--dry-run").(map[string]any)["dry_run"])

	stats := show(0, "storage", "stats", "main").(map[string]any)
	require.Positive(t, stats["pageserver"].(map[string]any)["bucket_puts"])
	require.Len(t, stats["branches"], 1)
	ofMain := stats["branches"].([]any)[0].(map[string]any)
	require.Equal(t, "main", ofMain["branch"])
	require.Positive(t, ofMain["metrics"].(map[string]any)["image_layer_bytes"])
	require.Regexp(t, `(?m)^main +merges +\d+$`, s.ok("storage", "stats"))

	page := show(0, "page", "get", path, "1").(map[string]any)
	require.Equal(t, []any{path, "main", 1.0}, []any{page["path"], page["fork"], page["block"]})
	s.fails("usage", []string{"--raw and -o json"}, "page", "get", path, "1", "--raw", "-o", "json")

	data := show(0, "endpoint", "stop", "main").(map[string]any)["data_dir"].(string)
	require.Empty(t, show(0, "verify", "main", "--against", data).(map[string]any)["mismatches"])
	flip(t, filepath.Join(data, path), pgwal.PageSize-8)
	require.Len(t, show(1, "verify", "main", "--against", data).(map[string]any)["mismatches"], 1)

	scrubbed := show(0, "scrub").(map[string]any)
	require.Equal(t, []any{}, scrubbed["flaws"])
	require.Greater(t, scrubbed["bytes"], 1e6)

	explained := show(0, "storage", "explain", "main").(map[string]any)
	kept := 0.0
	for _, k := range explained["keepers"].([]any) {
		kept += k.(map[string]any)["bytes"].(float64)
	}
	require.Equal(t, explained["bytes"], kept, "no branch shares a byte with another: each byte has one keeper")
	require.Greater(t, kept, 1e6)

	timeline := s.branches()[0].Timeline.String()
	require.Equal(t, s.dir, show(0, "down").(map[string]any)["stopped"])
	showFiles(s, show, timeline)

	for _, cmd := range leaves(newRoot()) {
		_, exempt := printsNoData[cmd.CommandPath()]
		_, shown := told[cmd.CommandPath()]
		require.NotEqual(t, exempt, shown, "%s: run it above, or say why it has no JSON", cmd.CommandPath())
	}
}

// showFiles inspects the files of main, one of each kind.
func showFiles(s stack, show func(int, ...string) any, timeline string) {
	segment := filepath.Join(s.dir, "safekeeper-1", "timelines", timeline, "wal", "000000010000000000000001")
	records := show(0, "inspect", "wal", segment).([]any)
	lines := strings.Split(s.ok("inspect", "wal", segment), "\n")
	require.Equal(s, len(lines), len(records))
	require.Equal(s, lines[0], records[0].(map[string]any)["text"])

	// Damage ends the records, and the array as well.
	last := records[len(records)-1].(map[string]any)
	at, err := wal.ParseLSN(last["lsn"].(string))
	require.NoError(s, err)
	flip(s.T, segment, at.SegmentOffset()+8)
	require.Len(s, show(1, "inspect", "wal", segment), len(records)-1)
	r := s.run("inspect", "wal", segment)
	require.Regexp(s, `corruption in .* at offset `+jsonText(s, at.SegmentOffset())+`: `, r.stderr, "an offset in the file")
	require.Empty(s, show(1, "inspect", "wal", segment, "--start", at.String()))

	layer := s.files(filepath.Join("bucket", "tenants", "*", "layers", timeline, "*"))[0]
	held := show(0, "inspect", "layer", layer).(map[string]any)
	require.Equal(s, filepath.Base(layer), held["name"])
	require.Len(s, held["versions"], int(held["version_count"].(float64)))

	file := s.files(filepath.Join("bucket", "tenants", "*", "timelines", "root", timeline, "index"))[0]
	index := show(0, "inspect", "index", file).(map[string]any)
	drawn := s.ok("inspect", "map", file)
	require.NoError(s, xml.Unmarshal([]byte(drawn), new(struct{ XMLName xml.Name })))
	require.Equal(s, len(index["layers"].([]any)), strings.Count(drawn, "</title></rect>"), "each layer is drawn")
	require.Equal(s, "main", index["label"].(map[string]any)["name"])
	require.Regexp(s, "^[0-9a-f]{32}$", index["writer"])
	require.Equal(s, timeline, index["timeline"])
}

func jsonText(t require.TestingT, value any) string {
	body, err := json.Marshal(value)
	require.NoError(t, err)
	return string(body)
}

var snakeCase = regexp.MustCompile(`^[a-z][a-z0-9]*(_[a-z0-9]+)*$`)

// requireJSON reads the one value that text must be, and checks every key in it.
func requireJSON(t *testing.T, text string) (value any) {
	t.Helper()
	decoder := json.NewDecoder(strings.NewReader(text))
	require.NoError(t, decoder.Decode(&value), text)
	_, err := decoder.Token()
	require.ErrorIs(t, err, io.EOF, "one value and nothing else")
	requireSnakeCase(t, value)
	return value
}

func requireSnakeCase(t *testing.T, value any) {
	t.Helper()
	switch value := value.(type) {
	case map[string]any:
		for key, member := range value {
			if !snakeCase.MatchString(key) { // faster than to require it, of so many
				require.Failf(t, "not in snake_case", "key %q", key)
			}
			requireSnakeCase(t, member)
		}
	case []any:
		for _, member := range value {
			requireSnakeCase(t, member)
		}
	}
}

// leaves are the commands that do something.
func leaves(cmd *cobra.Command) (found []*cobra.Command) {
	if !cmd.HasSubCommands() && cmd.Name() != "help" {
		return []*cobra.Command{cmd}
	}
	for _, member := range cmd.Commands() {
		found = append(found, leaves(member)...)
	}
	return found
}
