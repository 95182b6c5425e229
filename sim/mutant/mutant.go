package mutant

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/varvedb/varve/sim"
	"github.com/varvedb/varve/sim/check"
	"github.com/varvedb/varve/sim/world"
)

// Mutant is one planted bug.
type Mutant struct {
	Name    string
	Source  string   // where it happened
	Bug     string   // what it does
	Needs   []string // faults without which it does nothing
	FoundBy []string // finders that are expected to find it
	Profile string
	Seeds   int // budget
	Quick   bool
	Excuse  string // why it may survive; empty: it must not
	Edits   []Edit
}

// Edit replaces lines of a file.
type Edit struct {
	File          string // below the module's root
	Find, Replace string // whole lines; Replace may be empty
}

// The finders that are no checkers.
const (
	Assertion = "assertion" // of the code that was run
	Panic     = "panic"     // of the code that was run, any other
	Phases    = "phases"    // the run did not come to where it could be judged
)

// Finders names all that can find a bug, checkers first.
func Finders() (names []string) {
	for _, v := range check.All(&check.Run{}) {
		names = append(names, v.Checker)
	}
	return append(names, Assertion, Panic, Phases)
}

// Load reads the mutants of a directory, in order of their names.
func Load(dir string) ([]*Mutant, error) {
	names, err := filepath.Glob(filepath.Join(dir, "*"+suffix))
	if err != nil {
		return nil, err
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("load mutants: no file *%s in %s", suffix, dir)
	}
	slices.Sort(names)
	var all []*Mutant
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("load mutants: %w", err)
		}
		m, err := Parse(name, string(text))
		if err != nil {
			return nil, err
		}
		all = append(all, m)
	}
	return all, nil
}

// check says what is wrong with a mutant beyond its syntax.
func (m *Mutant) check() error {
	for _, name := range m.Needs {
		if !slices.ContainsFunc(world.FaultKinds(), func(k world.FaultKind) bool { return k.String() == name }) {
			return fmt.Errorf("needs fault %q, which is not known", name)
		}
	}
	finders := Finders()
	for _, name := range m.FoundBy {
		if !slices.Contains(finders, name) {
			return fmt.Errorf("found by %q, which is not known: want some of %s", name, strings.Join(finders, ", "))
		}
	}
	if !slices.Contains(sim.Profiles(), m.Profile) {
		return fmt.Errorf("profile %q is not known: want one of %s", m.Profile, strings.Join(sim.Profiles(), ", "))
	}
	for _, e := range m.Edits {
		if !filepath.IsLocal(e.File) || !strings.HasSuffix(e.File, ".go") || strings.HasSuffix(e.File, "_test.go") {
			return fmt.Errorf("edits %q: want a Go file of the module that is no test", e.File)
		}
		if e.Find == e.Replace {
			return fmt.Errorf("edits %s and changes nothing", e.File)
		}
	}
	return nil
}

// Apply returns the files of the module at root that the mutant changes, by their
// names below root, as they then are.
func (m *Mutant) Apply(root string) (map[string][]byte, error) {
	files := map[string][]byte{}
	for _, e := range m.Edits {
		text, edited := files[e.File]
		if !edited {
			var err error
			if text, err = os.ReadFile(filepath.Join(root, e.File)); err != nil {
				return nil, fmt.Errorf("apply mutant %s: %w", m.Name, err)
			}
		}
		if n := count(text, e.Find); n != 1 {
			return nil, fmt.Errorf("apply mutant %s: the text to find is %d times in %s, not once:\n%s", m.Name, n, e.File, e.Find)
		}
		at := index(text, e.Find)
		files[e.File] = slices.Concat(text[:at], []byte(e.Replace), text[at+len(e.Find):])
	}
	return files, nil
}

// count is how often lines are in a text.
func count(text []byte, lines string) (n int) {
	for {
		at := index(text, lines)
		if at < 0 {
			return n
		}
		n++
		text = text[at+len(lines):]
	}
}

// index is where lines are in a text, at the beginning of a line; -1 if nowhere.
func index(text []byte, lines string) int {
	for from := 0; ; {
		at := bytes.Index(text[from:], []byte(lines))
		if at < 0 {
			return -1
		}
		if at += from; at == 0 || text[at-1] == '\n' {
			return at
		}
		from = at + 1
	}
}
