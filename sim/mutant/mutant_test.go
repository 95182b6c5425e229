package mutant

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/wal/planted"
)

const root = "../.."

// TestTheBankIsSound: every mutant of the bank is understood, and fits the code.
func TestTheBankIsSound(t *testing.T) {
	all, err := Load("bank")
	require.NoError(t, err)
	quick := 0
	for _, m := range all {
		_, err := m.Apply(root)
		require.NoError(t, err)
		if m.Quick {
			quick++
		}
	}
	require.Equal(t, quickMutants, quick, "mutants that are quick")
}

const sound = `# A comment.
name: early
source: etcd 14370
bug: an acknowledgement comes early
needs: disk.loss, disk.torn
found by: truth, real time, assertion
profile: disk
seeds: 7
quick: yes

edit wal/lsn.go
<<<<<<<
	one
=======
>>>>>>>
# Another.
edit wal/ids.go
<<<<<<<
two

three
=======
four
>>>>>>>
`

func TestParse(t *testing.T) {
	m, err := Parse("bank/early.txt", sound)
	require.NoError(t, err)
	require.Equal(t, &Mutant{
		Name: "early", Source: "etcd 14370", Bug: "an acknowledgement comes early",
		Needs: []string{"disk.loss", "disk.torn"}, FoundBy: []string{"truth", "real time", "assertion"},
		Profile: "disk", Seeds: 7, Quick: true,
		Edits: []planted.Edit{{File: "wal/lsn.go", Find: "\tone\n"}, {File: "wal/ids.go", Find: "two\n\nthree\n", Replace: "four\n"}},
	}, m)
}

func TestWhatIsWrongIsNamed(t *testing.T) {
	for _, test := range []struct{ from, to, want string }{
		{"name: early", "name: late", `its name is "late"`},
		{"source: etcd 14370\n", "", `field "source" is missing`},
		{"source: etcd 14370", "source:", "want a field and its value"},
		{"seeds: 7", "seeds: 7\nseeds: 8", `early.txt:9: field "seeds" is there twice`},
		{"seeds: 7", "seeds: 0", "seeds are 1 to 2000"},
		{"quick: yes", "quick: maybe", "quick is yes or no"},
		{"quick: yes", "fast: yes", `field "fast" is not known`},
		{"disk.loss, disk.torn", "disk.tear", `needs fault "disk.tear", which is not known`},
		{"disk.loss, disk.torn", "disk.loss, disk.loss", "no list of different names"},
		{"real time", "clairvoyance", `found by "clairvoyance", which is not known`},
		{"profile: disk", "profile: tape", `profile "tape" is not known`},
		{"edit wal/ids.go", "edit ../ids.go", "want a Go file of the module"},
		{"edit wal/ids.go", "edit wal/ids_test.go", "want a Go file of the module"},
		{"four\n", "two\n\nthree\n", "changes nothing"},
		{"two\n\nthree\n", "", "nothing to find"},
		{"four\n>>>>>>>\n", "four\n", "has no end"},
		{"four\n>>>>>>>\n", "four\n=======\n", "======= is out of place"},
		{"edit wal/ids.go\n", "", "<<<<<<< is out of place"},
		{"edit wal/ids.go\n", "edit wal/ids.go\nwords\n", `got "words", want <<<<<<<`},
	} {
		require.Contains(t, sound, test.from)
		_, err := Parse("bank/early.txt", strings.Replace(sound, test.from, test.to, 1))
		require.ErrorContains(t, err, test.want, "%q for %q", test.to, test.from)
	}
	_, err := Parse("bank/early.txt", strings.Split(sound, "edit")[0])
	require.ErrorContains(t, err, "it edits nothing")
}

// TestWhatIsNoVerdictIsAnError: a program that ends before its seeds do, prints what is
// none of its lines, or cannot be built, has killed nothing.
func TestWhatIsNoVerdictIsAnError(t *testing.T) {
	dir, ctx := t.TempDir(), context.Background()
	program := filepath.Join(dir, "program")
	take := func(Line) error { return nil }
	for script, want := range map[string]string{
		"exit 0":                             "ended at seed 3",
		"echo '{\"Seed\":3}'; exit 2":        "ended at seed 4",
		"echo panic; exit 2":                 "invalid character",
		"echo '{}'; echo 'too bad' >&2":      "too bad",
		"echo '{}'; echo '{}'; kill -9 $$":   "",
		"echo '{\"Seed\":3}'; echo '{}'; :;": "",
	} {
		require.NoError(t, os.WriteFile(program, []byte("#!/bin/sh\n"+script+"\n"), 0o700))
		err := (&Bench{}).run(ctx, program, Batch{First: 3, Seeds: 2}, take)
		if want == "" {
			require.NoError(t, err, script)
			continue
		}
		require.ErrorContains(t, err, want, script)
	}
	m := &Mutant{Name: "broken", Edits: []planted.Edit{{File: "cmd/varve-sim/main.go", Find: "package main\n", Replace: "package\n"}}}
	abs, err := filepath.Abs(root)
	require.NoError(t, err)
	_, err = (&Bench{Root: abs, Work: dir}).Try(ctx, m, "")
	require.ErrorContains(t, err, "build broken")
}

func TestTable(t *testing.T) {
	one := &Mutant{Name: "one", Bug: "it is wrong", Source: "generic", Needs: []string{"disk.rot"}}
	table := Table([]*Trial{
		{Mutant: one, Killed: true, By: []string{"truth", "history"}, Seeds: 12, Virtual: 61e9, Control: 50, Survived: true},
		{Mutant: one, Seeds: 2000},
		{Mutant: &Mutant{Name: "three", Bug: "rare", Source: "here", Excuse: "two crashes in a row"}, Seeds: 2000},
		{Mutant: one, Killed: true, By: []string{"truth"}, Seeds: 1, Wrong: "the control fails: seed 4"},
		{Mutant: &Mutant{Name: "two", Bug: "so is it", Source: "here"}, Killed: true, By: []string{"panic"}, Seeds: 1},
		{Mutant: one, Killed: true, By: []string{"truth"}, Seeds: 7, Worthless: true, Wrong: "seed 7 fails without the mutant too"},
	})
	require.Equal(t, "| mutant | source | killed by | seeds | virtual time | control |\n|---|---|---|---|---|---|\n"+
		"| `one`: it is wrong | generic | truth, history | 12 | 1m1s | 50 without disk.rot |\n"+
		"| `one`: it is wrong | generic | **survives** | 2000 | 0s | none |\n"+
		"| `three`: rare | here | **survives**: two crashes in a row | 2000 | 0s | none |\n"+
		"| `one`: it is wrong | generic | truth | 1 | 0s | **the control fails: seed 4** |\n"+
		"| `two`: so is it | here | panic | 1 | 0s | needs no fault |\n"+
		"| `one`: it is wrong | generic | truth | 7 | 0s | **seed 7 fails without the mutant too** |\n"+
		"\nKilled: 3 of 6, 50 %.\n", table)
	text, err := Insert([]byte("before\n"+TableBegin+"\nold\n"+TableEnd+"\nafter\n"), "new\n")
	require.NoError(t, err)
	require.Equal(t, "before\n"+TableBegin+"\nnew\n"+TableEnd+"\nafter\n", string(text))
	_, err = Insert([]byte("before\n"), "new\n")
	require.ErrorContains(t, err, "no place for the table")
}

// TestResultsAreKept: a trial of the same program is not made again, unless it survived
// a smaller budget.
func TestResultsAreKept(t *testing.T) {
	dir := t.TempDir()
	program := filepath.Join(dir, "program")
	require.NoError(t, os.WriteFile(program, []byte("one"), 0o600))
	b := &Bench{Results: filepath.Join(dir, "results"), First: 1, CPU: 10}
	killed, survived := &Mutant{Name: "killed"}, &Mutant{Name: "survived"}
	of := func(m *Mutant) *Trial {
		key, err := b.key(m, program)
		require.NoError(t, err)
		return b.known(key, m)
	}
	require.Nil(t, of(killed), "there is no file yet")
	for _, trial := range []*Trial{{Mutant: killed, Killed: true, By: []string{"truth"}, Seeds: 3}, {Mutant: survived, Seeds: 9, CPU: 10}} {
		key, err := b.key(trial.Mutant, program)
		require.NoError(t, err)
		require.NoError(t, b.keep(key, trial))
		require.Equal(t, trial, of(trial.Mutant))
	}
	b.CPU = 11
	require.NotNil(t, of(killed))
	require.Nil(t, of(survived), "it may be killed within the larger budget")
	b.First = 2
	require.Nil(t, of(killed), "other seeds")
	b.First = 1
	require.NoError(t, os.WriteFile(program, []byte("two"), 0o600))
	require.Nil(t, of(killed), "another program")
}
