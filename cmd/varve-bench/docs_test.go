package main

import (
	"bytes"
	"encoding/csv"
	"html"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/bench/plot"
)

// Documents are those that report writes, so that no figure in them is anybody's own.
func TestDocumentsAreOfTheCommittedRun(t *testing.T) {
	t.Chdir("../..")
	docs, err := render(t.Context(), "bench/results/latest", "docs/BENCHMARKS.md", "docs/figures/bench", "README.md")
	require.NoError(t, err)
	for path, want := range map[string]string{"docs/BENCHMARKS.md": docs.doc, "README.md": docs.readme} {
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Equal(t, want, string(text), "%s is not what bench/results/latest says: make bench-docs", path)
	}
	for _, f := range docs.figures {
		requireDrawn(t, f, "docs/figures/bench/"+f.Name)
	}
	stale, err := others("docs/figures/bench", docs.figures)
	require.NoError(t, err)
	require.Empty(t, stale, "make bench-docs removes what no run has any more")
}

// requireDrawn fails unless the files of a figure hold what it shows, and its caption: that
// of the planted bugs is of a table in another document, which changes without this one.
func requireDrawn(t *testing.T, f *plot.Figure, path string) {
	t.Helper()
	picture, err := os.ReadFile(path + ".svg")
	require.NoError(t, err, "make bench-docs")
	require.True(t, strings.Contains(html.UnescapeString(string(picture)), f.Caption), "%s.svg has another caption: make bench-docs", path)
	data, err := os.ReadFile(path + ".csv")
	require.NoError(t, err, "make bench-docs")
	var want bytes.Buffer
	require.NoError(t, csv.NewWriter(&want).WriteAll(append([][]string{f.Header}, f.Rows...)))
	require.True(t, bytes.Equal(want.Bytes(), data), "%s.csv is not what is drawn today: make bench-docs", path)
}

func TestOlderFiguresAreRemoved(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"now.svg", "now.csv", "gone.svg", "gone.csv", "notes.txt"} {
		require.NoError(t, os.WriteFile(dir+"/"+name, nil, 0o644))
	}
	require.NoError(t, removeOthers(dir, []*plot.Figure{{Name: "now"}}))
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	var names []string
	for _, e := range left {
		names = append(names, e.Name())
	}
	require.Equal(t, []string{"notes.txt", "now.csv", "now.svg"}, names)
}
