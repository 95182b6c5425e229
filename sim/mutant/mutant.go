package mutant

import (
	"fmt"
	"slices"
	"strings"

	"github.com/varvedb/varve/sim"
	"github.com/varvedb/varve/sim/check"
	"github.com/varvedb/varve/sim/world"
	"github.com/varvedb/varve/wal/planted"
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
	Edits   []planted.Edit
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
func Load(dir string) ([]*Mutant, error) { return planted.Load(dir, Parse) }

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
	return nil
}

// Apply returns the files of the module at root that the mutant changes, by their
// names below root, as they then are.
func (m *Mutant) Apply(root string) (map[string][]byte, error) {
	files, err := planted.Apply(root, m.Edits)
	if err != nil {
		return nil, fmt.Errorf("apply mutant %s: %w", m.Name, err)
	}
	return files, nil
}
