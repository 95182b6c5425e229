package main

import (
	"os"
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
		require.FileExists(t, "docs/figures/bench/"+f.Name+".svg", "make bench-docs")
	}
	stale, err := others("docs/figures/bench", docs.figures)
	require.NoError(t, err)
	require.Empty(t, stale, "make bench-docs removes what no run has any more")
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
