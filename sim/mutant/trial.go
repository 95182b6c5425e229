package mutant

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Trial is what came of a mutant.
type Trial struct {
	Mutant    *Mutant
	Killed    bool
	By        []string // who found it, on the seed that failed
	Says      string   // what the first of them said
	Seed      uint64   // that failed
	Seeds     int      // until it failed, or that survived
	Virtual   time.Duration
	CPU       time.Duration // of the hunt
	Control   int           // seeds with the needed faults off; 0: there was no control
	Survived  bool          // the control did
	Worthless bool          // the kill is: the seed fails without the mutant too
	Wrong     string        // what makes the kill worthless, or the control fail; else empty
}

// Expected reports whether one of those who found it was expected to.
func (t *Trial) Expected() bool {
	return slices.ContainsFunc(t.By, func(by string) bool { return slices.Contains(t.Mutant.FoundBy, by) })
}

// OK reports whether the mutant was killed or may survive, its seed passes without it,
// and its control survived.
func (t *Trial) OK() bool { return t.Wrong == "" && (t.Killed || t.Mutant.Excuse != "") }

// Try builds a mutant, hunts it, and runs its control, unless that is known already.
// plain is the program without it.
func (b *Bench) Try(ctx context.Context, m *Mutant, plain string) (*Trial, error) {
	program, err := b.Build(ctx, m)
	if err != nil {
		return nil, err
	}
	key, err := b.key(m, program)
	if err != nil {
		return nil, err
	}
	if t := b.known(key, m); t != nil {
		return t, nil
	}
	t, err := b.try(ctx, m, program, plain)
	if err != nil {
		return nil, err
	}
	return t, b.keep(key, t)
}

func (b *Bench) try(ctx context.Context, m *Mutant, program, plain string) (*Trial, error) {
	t := &Trial{Mutant: m}
	if err := b.hunt(ctx, t, program); err != nil {
		return nil, fmt.Errorf("hunt %s: %w", m.Name, err)
	}
	if !t.Killed {
		return t, nil
	}
	if err := b.plain(ctx, t, plain); err != nil {
		return nil, fmt.Errorf("run %s's seed without it: %w", m.Name, err)
	}
	if t.Wrong != "" || len(m.Needs) == 0 || b.ControlMin == 0 {
		return t, nil
	}
	if err := b.control(ctx, t, program); err != nil {
		return nil, fmt.Errorf("control of %s: %w", m.Name, err)
	}
	return t, nil
}

// hunt runs seeds until one fails.
func (b *Bench) hunt(ctx context.Context, t *Trial, program string) error {
	seeds := t.Mutant.Seeds
	if b.Seeds > 0 {
		seeds = min(seeds, b.Seeds)
	}
	batch := Batch{Profile: t.Mutant.Profile, First: b.First, Seeds: seeds, Off: b.Off}
	return b.run(ctx, program, batch, func(line Line) error {
		t.Seeds++
		t.Virtual += line.Virtual
		t.CPU = line.CPU
		if len(line.Failed) > 0 {
			t.Killed, t.By, t.Says, t.Seed = true, line.Failed, line.Says, line.Seed
			return errEnough
		}
		if b.CPU > 0 && line.CPU > b.CPU {
			return errEnough
		}
		return nil
	})
}

// plain runs the seed that failed on the code as it is.
func (b *Bench) plain(ctx context.Context, t *Trial, program string) error {
	batch := Batch{Profile: t.Mutant.Profile, First: t.Seed, Seeds: 1, Off: b.Off}
	return b.run(ctx, program, batch, func(line Line) error {
		if len(line.Failed) > 0 {
			t.Worthless = true
			t.Wrong = fmt.Sprintf("seed %d fails without the mutant too, by %s", line.Seed, strings.Join(line.Failed, ", "))
		}
		return nil
	})
}

// control runs the hunt with the needed faults off.
func (b *Bench) control(ctx context.Context, t *Trial, program string) error {
	batch := Batch{Profile: t.Mutant.Profile, First: b.First, Seeds: max(2*t.Seeds, b.ControlMin), Without: t.Mutant.Needs, Off: b.Off}
	err := b.run(ctx, program, batch, func(line Line) error {
		t.Control++
		if len(line.Failed) > 0 {
			t.Wrong = fmt.Sprintf("the control fails: seed %d, by %s: %s", line.Seed, strings.Join(line.Failed, ", "), firstLine(line.Says))
			return errEnough
		}
		return nil
	})
	t.Survived = t.Wrong == ""
	return err
}

func firstLine(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	return line
}
