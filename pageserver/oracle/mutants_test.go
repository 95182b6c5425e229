package oracle_test

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/pageserver/oracle"
	"github.com/varvedb/varve/wal/planted"
)

// mutant is a bug in redo, about one kind of record: see package planted. Beside its name
// and what it does it says by whom it is found: the oracle, or the standby's pages where
// the oracle is blind.
type mutant struct {
	planted.Bug
	kind, does, foundBy string
	quick               bool // CI tries it
}

const (
	byOracle  = "oracle"
	byStandby = "standby"
	root      = "../.."
)

func parseMutant(file, text string) (*mutant, error) {
	m := new(mutant)
	bug, err := planted.Parse(file, text, m.field, "kind", "bug", "found by")
	m.Bug = bug
	return m, err
}

func (m *mutant) field(name, value string) error {
	switch name {
	case "kind":
		m.kind = value
	case "bug":
		m.does = value
	case "found by":
		if m.foundBy = value; value != byOracle && value != byStandby {
			return fmt.Errorf("found by is %s or %s, not %q", byOracle, byStandby, value)
		}
	case "quick":
		if m.quick = value == "yes"; !m.quick {
			return fmt.Errorf("quick is yes or is not there, not %q", value)
		}
	default:
		return fmt.Errorf("field %q is not known", name)
	}
	return nil
}

// kindsOf maps the names of all kinds that have mutants.
func kindsOf() map[string]oracle.Kind {
	kinds := map[string]oracle.Kind{}
	for _, k := range oracle.All() {
		kinds[k.String()] = k
	}
	return kinds
}

// TestEveryKindHasAMutant: each kind of record has one that the oracle is to find, and each
// mutant fits the code.
func TestEveryKindHasAMutant(t *testing.T) {
	all, err := planted.Load("bank", parseMutant)
	require.NoError(t, err)
	kinds, have := kindsOf(), map[string]bool{}
	for _, m := range all {
		_, err := planted.Apply(root, m.Edits)
		require.NoError(t, err, m.Name)
		if m.foundBy == byOracle {
			require.Contains(t, kinds, m.kind, m.Name)
			have[m.kind] = true
		}
	}
	require.Len(t, have, len(kinds))
}

// verdict is what came of the comparisons that a program made once more.
type verdict struct {
	Records, Pages int
	Caught         bool   // by the last of them
	Says           string // what was wrong
	Field          string
}

// tried is what came of a mutant.
type tried struct {
	*mutant
	verdict
}

// build runs go build or go test, with a mutant in what is built unless m is nil.
func build(t testing.TB, m *mutant, what string, args ...string) (program string) {
	t.Helper()
	dir := t.TempDir()
	program = filepath.Join(dir, "program")
	args = append(args, "-ldflags=-s -w", "-buildvcs=false", "-o", program)
	if m != nil {
		abs, err := filepath.Abs(root)
		require.NoError(t, err)
		overlay, err := planted.Overlay(abs, dir, m.Edits)
		require.NoError(t, err, m.Name)
		args = append(args, "-overlay", overlay)
	}
	out, err := exec.Command("go", append(args, what)...).CombinedOutput()
	require.NoError(t, err, string(out))
	return program
}

// buildAgain builds the program that redoes comparisons: see testdata/again.
func buildAgain(t testing.TB, m *mutant) (program string) {
	return build(t, m, "./testdata/again", "build")
}

// again has such a program redo the comparisons of a file.
func again(t testing.TB, program, file string) (v verdict) {
	t.Helper()
	out, err := exec.Command(program, file).CombinedOutput()
	require.NoError(t, err, string(out))
	require.NoError(t, json.Unmarshal(out, &v), string(out))
	return v
}

var mismatchAt = regexp.MustCompile(`mismatch: at \S+: \S+ block \d+ \([^)]*\): byte \d+ \(([^)]*)\)`)

// runStandby compares pages with those of a standby. That this test fails does not count;
// a mismatch of pages does, or a page that differs where a standby's must not.
func runStandby(t testing.TB, m *mutant) (v verdict) {
	t.Helper()
	cmd := exec.Command(build(t, m, ".", "test", "-c"), "-test.run", "^TestRedoMakesStandbyPages$", "-test.v")
	cmd.Env = append(os.Environ(), "VARVE_FULL=")
	out, err := cmd.CombinedOutput()
	var failed *exec.ExitError
	require.True(t, err == nil || errors.As(err, &failed), "%v", err)
	if found := mismatchAt.FindSubmatch(out); found != nil {
		v.Caught, v.Field = true, string(found[1])
	} else if strings.Contains(string(out), "page LSN of an unlogged hint: ") {
		v.Caught, v.Field = err != nil, "pd_lsn"
	}
	v.Says = string(out[max(0, len(out)-2000):])
	return v
}

// tryMutants tries mutants on recorded comparisons. The code as it is passes all of them.
func tryMutants(t testing.TB, r *recorder, quick bool) (all []tried) {
	bank, err := planted.Load("bank", parseMutant)
	require.NoError(t, err)
	kinds, plain := kindsOf(), buildAgain(t, nil)
	for _, m := range bank {
		if quick && !m.quick {
			continue
		}
		var v verdict
		if m.foundBy == byStandby {
			v = runStandby(t, m)
		} else {
			as := again(t, plain, r.path(kinds[m.kind]))
			require.False(t, as.Caught, "%s: the code as it is: %s", m.kind, as.Says)
			require.Positive(t, as.Pages, m.kind)
			v = again(t, buildAgain(t, m), r.path(kinds[m.kind]))
		}
		t.Logf("%-32s %-28s caught: %v, record %d, page %d: %s", m.Name, m.kind, v.Caught, v.Records, v.Pages, v.Says)
		all = append(all, tried{m, v})
	}
	return all
}

// The marks between which a document holds the table of mutants.
const (
	tableBegin = "<!-- redo mutants: begin -->"
	tableEnd   = "<!-- redo mutants: end -->"
)

// tuple is the number in a field's name, which the table leaves out.
var tuple = regexp.MustCompile(` (of tuple )?\d+(, byte \d+)?$`)

// table prints what came of mutants, in Markdown, and how many were caught.
func table(all []tried) string {
	var b strings.Builder
	b.WriteString("| kind of record | mutant | caught by | records |\n|---|---|---|---|\n")
	all = slices.SortedFunc(slices.Values(all), func(a, b tried) int {
		return strings.Compare(a.kind+a.Name, b.kind+b.Name)
	})
	caught := 0
	for _, m := range all {
		by, records := "**survives**", "-"
		if m.Caught {
			caught++
			by = m.foundBy + ": " + tuple.ReplaceAllString(m.Field, "")
		}
		if m.foundBy == byOracle {
			records = fmt.Sprint(m.Records)
		}
		fmt.Fprintf(&b, "| %s | `%s`: %s | %s | %s |\n", m.kind, m.Name, m.does, by, records)
	}
	fmt.Fprintf(&b, "\nCaught: %d of %d.\n", caught, len(all))
	return b.String()
}

var (
	keptIn       = flag.String("kept-in", "", "directory in which comparisons are kept, or were")
	writeMutants = flag.String("write-mutants", "", "put the table of mutants into this document")
)

// TestKeptComparisonsCatchMutants tries the bank on comparisons that TestRedoMakesPostgresPages
// has kept before, without a PostgreSQL but for the standby's: with -kept-in.
func TestKeptComparisonsCatchMutants(t *testing.T) {
	if *keptIn == "" {
		t.Skip("TestRedoMakesPostgresPages does so")
	}
	requireMutantsCaught(t, newRecorder(*keptIn, 0), false)
}

// requireMutantsCaught tries the bank, or those of it that are quick.
func requireMutantsCaught(t *testing.T, r *recorder, quick bool) {
	all := tryMutants(t, r, quick)
	text := table(all)
	t.Log("\n" + text)
	for _, m := range all {
		require.True(t, m.Caught, "%s survives %d records of kind %s", m.Name, m.Records, m.kind)
	}
	if *writeMutants != "" {
		document, err := os.ReadFile(*writeMutants)
		require.NoError(t, err)
		document, err = planted.Insert(document, tableBegin, tableEnd, text)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(*writeMutants, document, 0o644))
	}
}
