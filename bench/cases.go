package bench

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/varvedb/varve/bench/paired"
)

// Builder makes cases whose names are known before, so that a filter that leaves none of
// them leaves the work out as well.
type Builder struct {
	Names []string
	Build func(context.Context) ([]paired.Case, error) // nil: it is measured outside of the rounds
}

// One builds a single case.
func One(name string, build func(context.Context) (paired.Case, error)) Builder {
	return Builder{Names: []string{name}, Build: func(ctx context.Context) ([]paired.Case, error) {
		c, err := build(ctx)
		return []paired.Case{c}, err
	}}
}

// ErrNoCase is matched by the error of a filter that leaves nothing of a suite.
var ErrNoCase = errors.New("no case matches")

// Build makes the cases that are wanted, in the order of their builders. That none is
// wanted is an error that lists those that there are.
func (s *Session) Build(ctx context.Context, builders ...Builder) (cases []paired.Case, err error) {
	var names []string
	for _, b := range builders {
		names = append(names, b.Names...)
	}
	if !slices.ContainsFunc(names, s.Wants) {
		return nil, fmt.Errorf("%w %q in suite %s, which has: %s", ErrNoCase, s.Cases, s.Result.Suite, strings.Join(names, ", "))
	}
	for _, b := range builders {
		if b.Build == nil || !slices.ContainsFunc(b.Names, s.Wants) {
			continue
		}
		built, err := b.Build(ctx)
		if err != nil {
			return nil, err
		}
		for _, c := range built {
			if !slices.Contains(b.Names, c.Name) {
				return nil, fmt.Errorf("suite %s has a case %s that no filter finds: it names %s", s.Result.Suite, c.Name, strings.Join(b.Names, ", "))
			}
		}
		cases = append(cases, built...)
	}
	return cases, nil
}

// Wants reports whether a case is to be measured.
func (s *Session) Wants(name string) bool { return s.Cases == nil || s.Cases.MatchString(name) }
