package check

import (
	"slices"

	"github.com/varvedb/varve/wal"
)

// Liveness checks that, once the faults had ended, everything that should move moved
// within its bound, or that its standing still is proved legitimate.
func Liveness(r *Run) Verdict {
	j := newJudge("liveness")
	for i := range r.Progress {
		p := &r.Progress[i]
		if p.moved() {
			j.count("moved")
			continue
		}
		switch {
		case p.Stall == nil:
			j.flag("%s stood still for %v after %v, when nothing stood in its way: %v", p.What, p.Bound, p.Healed, p.Samples)
		case !p.Stall.proved():
			j.flag("%s stood still for %v after %v, and the excuse is none: of %v, %v are sound and %d are enough", p.What, p.Bound, p.Healed, p.Stall.Members, p.Stall.Sound, p.Stall.Need)
		default:
			j.count("stalls proved legitimate")
		}
	}
	return j.done()
}

// moved reports whether a sample within the bound counts more than all before it, and
// reaches the goal. No sample there, or none before, is no movement: what nobody saw
// is not proved.
func (p *Progress) moved() bool {
	if len(p.Samples) == 0 || p.Samples[0].Time > p.Healed {
		return false
	}
	var before uint64
	for _, s := range p.Samples {
		if s.Time <= p.Healed {
			before = max(before, s.Count)
		}
	}
	return slices.ContainsFunc(p.Samples, func(s ProgressSample) bool {
		return s.Time > p.Healed && s.Time <= p.Healed+p.Bound && s.Count > before && s.Count >= p.Goal
	})
}

// proved reports whether the sound are members, each once, and fewer than needed,
// while all members would be enough.
func (s *Stall) proved() bool {
	sound := map[wal.NodeID]bool{}
	for _, n := range s.Sound {
		if !slices.Contains(s.Members, n) {
			return false
		}
		sound[n] = true
	}
	return len(sound) < s.Need && s.Need <= len(s.Members)
}
