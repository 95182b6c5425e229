package check

import (
	"slices"

	"github.com/varvedb/varve/wal/assert"
)

// Recorder writes down a run's history. It is for one task at a time, as the
// simulator's are: its order is the order in which it is called.
type Recorder struct {
	now     Event
	clients ClientID
	ops     []*Op
	open    map[ClientID]*Op
}

// NewRecorder returns an empty recorder.
func NewRecorder() *Recorder { return &Recorder{open: map[ClientID]*Op{}} }

// Tick takes the next event, for a sample or a fault.
func (r *Recorder) Tick() Event {
	r.now++
	return r.now
}

// NewClient gives out a client's number, never given before. The first is 1.
func (r *Recorder) NewClient() ClientID {
	r.clients++
	return r.clients
}

// Begin records the call of an operation, before its request leaves. The result is
// the recorder's own: the client fills in what it learns (LSN, Pages, Term,
// Confirmed, Reason) until it calls End. An operation that never ends is of unknown
// outcome, and what was filled in counts.
func (r *Recorder) Begin(op Op) *Op {
	before := r.open[op.Client]
	assert.That(before == nil, "client %d has no open operation when it calls another: %v", op.Client, before)
	op.Call, op.Return, op.Outcome = r.Tick(), Never, Unknown
	own := &op
	r.ops = append(r.ops, own)
	r.open[op.Client] = own
	return own
}

// End records the return of an operation, after its answer came. After an unknown
// outcome the operation stays open for good: its client goes on under a new number.
func (r *Recorder) End(op *Op, outcome Outcome) {
	assert.That(r.open[op.Client] == op, "the operation that ends is its client's open one: %v", op)
	if outcome == Unknown {
		return
	}
	op.Outcome, op.Return = outcome, r.Tick()
	delete(r.open, op.Client)
}

// Ops returns the history, in order of calls.
func (r *Recorder) Ops() []Op {
	ops := make([]Op, len(r.ops))
	for i, op := range r.ops {
		ops[i] = *op
		ops[i].Pages = slices.Clone(op.Pages)
	}
	return ops
}

// Pending returns the operations of unknown outcome, in order of calls.
func (r *Recorder) Pending() (pending []Op) {
	for _, op := range r.ops {
		if op.Outcome == Unknown {
			pending = append(pending, *op)
		}
	}
	return pending
}
