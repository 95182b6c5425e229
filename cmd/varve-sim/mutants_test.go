package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

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

// TestOnlyAWholeTableIsWritten: over the one in a document.
func TestOnlyAWholeTableIsWritten(t *testing.T) {
	document := filepath.Join(t.TempDir(), "doc.md")
	whole := func() *mutants {
		return &mutants{write: document, bench: mutant.Bench{First: 1, CPU: mutant.HuntCPU, ControlMin: mutant.ControlSeeds}}
	}
	for name, part := range map[string]func(m *mutants){
		"theirs":       func(m *mutants) { m.dir = theirs(t, "theirs", like(t, "relation-one-short", "theirs")) },
		"some":         func(m *mutants) { m.only = []string{"relation-one-short"} },
		"quick":        func(m *mutants) { m.quick = true },
		"fewer seeds":  func(m *mutants) { m.bench.Seeds = 5 },
		"other seeds":  func(m *mutants) { m.bench.First = 2 },
		"less time":    func(m *mutants) { m.bench.CPU = time.Second },
		"few controls": func(m *mutants) { m.bench.ControlMin = 10 },
		"blind":        func(m *mutants) { m.bench.Off = []string{"truth"} },
	} {
		m := whole()
		part(m)
		require.ErrorContains(t, m.run(t.Context()), "is not written", name)
	}
	m := whole()
	m.dir = m.bankDir()
	require.True(t, m.isWhole())
}

// TestTooFewAreKilled: of the bank, excuses or not; of others' mutants each counts.
func TestTooFewAreKilled(t *testing.T) {
	m := &mutants{bench: mutant.Bench{First: 1, CPU: mutant.HuntCPU, ControlMin: mutant.ControlSeeds}}
	m.dir = m.bankDir()
	killed := &mutant.Trial{Mutant: &mutant.Mutant{}, Killed: true}
	excused := &mutant.Trial{Mutant: &mutant.Mutant{Excuse: "rare"}}
	m.trials = append(slices.Repeat([]*mutant.Trial{killed}, 19), excused)
	require.NoError(t, m.verdict())
	m.trials = append(m.trials, excused)
	require.ErrorContains(t, m.verdict(), "19 of 21 mutants are killed, less than 95 %")
	m.dir = "theirs"
	require.NoError(t, m.verdict())
	m.trials[0] = &mutant.Trial{Mutant: &mutant.Mutant{}}
	require.ErrorContains(t, m.verdict(), "1 of 21 mutants survive and must not")
}
