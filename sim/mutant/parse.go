package mutant

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/varvedb/varve/wal/planted"
)

const seedsMost = 2000

// Parse reads a mutant's text; file is named in errors, and names the mutant.
func Parse(file, text string) (*Mutant, error) {
	m := &Mutant{Profile: "swarm", Seeds: seedsMost}
	bug, err := planted.Parse(file, text, m.field, "source", "bug", "needs", "found by")
	if err != nil {
		return nil, err
	}
	m.Name, m.Edits = bug.Name, bug.Edits
	if err := m.check(); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return m, nil
}

// field takes one field of the text.
func (m *Mutant) field(name, value string) (err error) {
	switch name {
	case "source":
		m.Source = value
	case "bug":
		m.Bug = value
	case "needs":
		if value != "nothing" {
			m.Needs, err = list(value)
		}
	case "found by":
		m.FoundBy, err = list(value)
	case "profile":
		m.Profile = value
	case "seeds":
		if m.Seeds, err = strconv.Atoi(value); err != nil || m.Seeds < 1 || m.Seeds > seedsMost {
			err = fmt.Errorf("seeds are 1 to %d, not %q", seedsMost, value)
		}
	case "quick":
		if m.Quick = value == "yes"; !m.Quick && value != "no" {
			err = fmt.Errorf("quick is yes or no, not %q", value)
		}
	case "may survive":
		m.Excuse = value
	default:
		return fmt.Errorf("field %q is not known", name)
	}
	return err
}

// list reads names separated by commas, each once.
func list(value string) (names []string, err error) {
	for name := range strings.SplitSeq(value, ",") {
		if name = strings.TrimSpace(name); name == "" || slices.Contains(names, name) {
			return nil, fmt.Errorf("%q is no list of different names", value)
		}
		names = append(names, name)
	}
	return names, nil
}
