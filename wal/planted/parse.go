package planted

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

const (
	suffix   = ".txt"
	markFind = "<<<<<<<"
	markWith = "======="
	markEnd  = ">>>>>>>"
)

// Bug is one bug to plant.
type Bug struct {
	Name  string
	Edits []Edit
}

// Load reads the bugs of a directory, in order of their names; parse is given a file's
// name and its text.
func Load[T any](dir string, parse func(file, text string) (T, error)) ([]T, error) {
	names, err := filepath.Glob(filepath.Join(dir, "*"+suffix))
	if err != nil {
		return nil, err
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("load bugs: no file *%s in %s", suffix, dir)
	}
	slices.Sort(names)
	var all []T
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("load bugs: %w", err)
		}
		bug, err := parse(name, string(text))
		if err != nil {
			return nil, err
		}
		all = append(all, bug)
	}
	return all, nil
}

// Parse reads a bug's text; file is named in errors, and names the bug. field is given
// each field but the name; the required ones must be there.
func Parse(file, text string, field func(name, value string) error, required ...string) (Bug, error) {
	p := parser{take: field, seen: map[string]bool{}}
	for line := range strings.Lines(text) {
		p.number++
		if err := p.line(line); err != nil {
			return Bug{}, fmt.Errorf("%s:%d: %w", file, p.number, err)
		}
	}
	if err := p.end(required); err != nil {
		return Bug{}, fmt.Errorf("%s: %w", file, err)
	}
	if want := strings.TrimSuffix(filepath.Base(file), suffix); p.bug.Name != want {
		return Bug{}, fmt.Errorf("%s: its name is %q, not %q", file, p.bug.Name, want)
	}
	return p.bug, nil
}

// parser reads one line at a time.
type parser struct {
	bug    Bug
	take   func(name, value string) error
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
		p.bug.Edits = append(p.bug.Edits, *p.edit)
		p.edit, p.in = nil, nil
	default:
		return fmt.Errorf("%s is out of place", mark)
	}
	return nil
}

func (p *parser) field(line string) error {
	name, value, ok := strings.Cut(line, ":")
	if value = strings.TrimSpace(value); !ok || value == "" {
		return fmt.Errorf("got %q, want a field and its value, or an edit", line)
	}
	if p.seen[name] {
		return fmt.Errorf("field %q is there twice", name)
	}
	p.seen[name] = true
	if name == "name" {
		p.bug.Name = value
		return nil
	}
	return p.take(name, value)
}

func (p *parser) end(required []string) error {
	if p.edit != nil {
		return fmt.Errorf("the edit of %s has no end", p.edit.File)
	}
	for _, name := range append([]string{"name"}, required...) {
		if !p.seen[name] {
			return fmt.Errorf("field %q is missing", name)
		}
	}
	if len(p.bug.Edits) == 0 {
		return errors.New("it edits nothing")
	}
	for i := range p.bug.Edits {
		if err := p.bug.Edits[i].check(); err != nil {
			return err
		}
	}
	return nil
}
