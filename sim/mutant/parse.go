package mutant

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

const (
	suffix    = ".txt"
	markFind  = "<<<<<<<"
	markWith  = "======="
	markEnd   = ">>>>>>>"
	seedsMost = 2000
)

// Parse reads a mutant's text; file is named in errors, and names the mutant.
func Parse(file, text string) (*Mutant, error) {
	p := parser{mutant: &Mutant{Profile: "swarm", Seeds: seedsMost}, seen: map[string]bool{}}
	for line := range strings.Lines(text) {
		p.number++
		if err := p.line(line); err != nil {
			return nil, fmt.Errorf("%s:%d: %w", file, p.number, err)
		}
	}
	if err := p.end(); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	if want := strings.TrimSuffix(filepath.Base(file), suffix); p.mutant.Name != want {
		return nil, fmt.Errorf("%s: its name is %q, not %q", file, p.mutant.Name, want)
	}
	if err := p.mutant.check(); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return p.mutant, nil
}

// parser reads one line at a time.
type parser struct {
	mutant *Mutant
	number int
	seen   map[string]bool // fields
	edit   *Edit           // begun and not ended
	in     *string         // what lines are added to
}

func (p *parser) line(line string) error {
	switch trimmed := strings.TrimSpace(line); {
	case trimmed == markFind, trimmed == markWith, trimmed == markEnd:
		return p.mark(trimmed)
	case p.in != nil:
		*p.in += strings.TrimSuffix(line, "\n") + "\n"
		return nil
	case trimmed == "" || strings.HasPrefix(trimmed, "#"):
		return nil
	case p.edit != nil:
		return fmt.Errorf("got %q, want %s", trimmed, markFind)
	default:
		if file, ok := strings.CutPrefix(trimmed, "edit "); ok {
			p.edit = &Edit{File: strings.TrimSpace(file)}
			return nil
		}
		return p.field(trimmed)
	}
}

// mark goes from one part of an edit to the next.
func (p *parser) mark(mark string) error {
	switch {
	case p.edit != nil && mark == markFind && p.in == nil:
		p.in = &p.edit.Find
	case p.edit != nil && mark == markWith && p.in == &p.edit.Find:
		if p.edit.Find == "" {
			return errors.New("there is nothing to find")
		}
		p.in = &p.edit.Replace
	case p.edit != nil && mark == markEnd && p.in == &p.edit.Replace:
		p.mutant.Edits = append(p.mutant.Edits, *p.edit)
		p.edit, p.in = nil, nil
	default:
		return fmt.Errorf("%s is out of place", mark)
	}
	return nil
}

func (p *parser) field(line string) (err error) {
	name, value, ok := strings.Cut(line, ":")
	if value = strings.TrimSpace(value); !ok || value == "" {
		return fmt.Errorf("got %q, want a field and its value, or an edit", line)
	}
	if p.seen[name] {
		return fmt.Errorf("field %q is there twice", name)
	}
	p.seen[name] = true
	m := p.mutant
	switch name {
	case "name":
		m.Name = value
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

func (p *parser) end() error {
	if p.edit != nil {
		return fmt.Errorf("the edit of %s has no end", p.edit.File)
	}
	for _, name := range []string{"name", "source", "bug", "needs", "found by"} {
		if !p.seen[name] {
			return fmt.Errorf("field %q is missing", name)
		}
	}
	if len(p.mutant.Edits) == 0 {
		return errors.New("it edits nothing")
	}
	return nil
}
