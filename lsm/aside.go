package lsm

import (
	"errors"
	"slices"
	"time"

	"github.com/varvedb/varve/lsm/layer"
	"github.com/varvedb/varve/lsm/remote"
	"github.com/varvedb/varve/wal"
)

// asideFor is how long merges leave a damaged layer alone. Shorter: others wait more often
// for one that is damaged for good to be read in vain. Longer: one that was mended, or only
// arrived damaged, costs reads for longer.
const asideFor = 10 * time.Minute

// Aside is a layer that merges leave alone, since its bytes are wrong or gone. Reads that
// need it fail; the layers beside it are merged without it.
type Aside struct {
	Layer  layer.ID
	Object string // its key
	Cause  error
	until  time.Duration // of the monotonic clock
}

// inputError is what befell a merge at one of its inputs.
type inputError struct {
	id  layer.ID
	err error
}

func (e *inputError) Error() string { return e.err.Error() }
func (e *inputError) Unwrap() error { return e.err }

// isDamage reports whether bytes are wrong, or are not there.
func isDamage(err error) bool { return errors.Is(err, wal.ErrCorruption) || isGone(err) }

// setAside reports whether a merge failed for the damage of an input, which the next ones
// are then picked without. The caller holds t.compacting.
func (t *Timeline) setAside(err error) bool {
	var at *inputError
	if !isDamage(err) || !errors.As(err, &at) {
		return false
	}
	a := Aside{Layer: at.id, Object: remote.LayerKey(t.store.opts.Tenant, at.id), Cause: at.err, until: t.store.env.Clock.Now() + asideFor}
	t.store.env.Trace.Cover("lsm layer set aside")
	t.store.env.Trace.Event("lsm.aside", "timeline", t.node.id, "layer", a.Object, "error", a.Cause)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.aside = append(slices.DeleteFunc(slices.Clone(t.aside), func(b Aside) bool { return b.Layer == a.Layer }), a)
	return true
}

// Aside lists the layers that merges leave alone.
func (t *Timeline) Aside() []Aside {
	x, now := t.index(), t.store.env.Clock.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.aside = slices.DeleteFunc(slices.Clone(t.aside), func(a Aside) bool {
		return a.until <= now || !slices.ContainsFunc(x.Layers, func(d layer.Desc) bool { return d.ID == a.Layer })
	})
	return slices.Clone(t.aside)
}
