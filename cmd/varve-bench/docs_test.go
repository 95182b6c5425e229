package main

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"
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
}
