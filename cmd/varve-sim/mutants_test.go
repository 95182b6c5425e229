package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/sim/mutant"
)

const bank = "../../sim/mutant/bank"

// theirs is a directory with a mutant that somebody else wrote, of this name and text.
func theirs(t *testing.T, name, text string) string {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, name+".txt"), []byte(text), 0o600))
	return dir
}

// like is the text of a mutant of the bank under another name.
func like(t *testing.T, of, name string) string {
	text, err := os.ReadFile(filepath.Join(bank, of+".txt"))
	require.NoError(t, err)
	return strings.Replace(string(text), "name: "+of, "name: "+name, 1)
}

// TestMutantsOfAnotherDirectory: one is tried as those of the bank are.
func TestMutantsOfAnotherDirectory(t *testing.T) {
	if testing.Short() {
		t.Skip("builds programs")
	}
	m := mutants{
		dir: theirs(t, "short-by-one", like(t, "relation-one-short", "short-by-one")), workers: 1,
		bench: mutant.Bench{First: 1, CPU: mutant.HuntCPU},
	}
	require.NoError(t, m.run(t.Context()))
	require.Len(t, m.trials, 1)
	require.Equal(t, "short-by-one", m.trials[0].Mutant.Name)
	require.True(t, m.trials[0].Killed)
	require.Empty(t, m.trials[0].Wrong)

	m = mutants{dir: m.dir, only: []string{"another"}}
	require.ErrorContains(t, m.run(t.Context()), "no mutant of "+m.dir+" is asked for")
}

// TestAMutantThatDoesNotFitIsNamed: before any is tried.
func TestAMutantThatDoesNotFitIsNamed(t *testing.T) {
	text := like(t, "relation-one-short", "theirs")
	find := "\tsize.Blocks = block + 1\n\tt.setSize(id, size)\n"
	require.Contains(t, text, find)
	for _, test := range []struct{ name, text, want string }{
		{"malformed", strings.Replace(text, "=======\n", "", 1), "theirs.txt:"},
		{"of an unknown fault", strings.Replace(text, "needs: nothing", "needs: disk.tear", 1), `needs fault "disk.tear"`},
		{"under another's name", strings.Replace(text, "name: theirs", "name: ours", 1), `its name is "ours"`},
		{"not found", strings.Replace(text, find, "\tsize.Blocks = block + 2\n", 1), "the text to find is 0 times in pageserver/timeline/sizes.go"},
		{"found twice", strings.Replace(text, find, "\treturn err\n", 1), "times in pageserver/timeline/sizes.go, not once"},
		{"of a file that is not there", strings.Replace(text, "timeline/sizes.go", "timeline/breadths.go", 1), "breadths.go"},
	} {
		t.Run(test.name, func(t *testing.T) {
			m := mutants{dir: theirs(t, "theirs", test.text)}
			require.ErrorContains(t, m.run(t.Context()), test.want)
			require.Empty(t, m.trials)
		})
	}
	m := mutants{dir: filepath.Join(t.TempDir(), "nothing")}
	require.Error(t, m.run(t.Context()))
}
