package check

import (
	"bytes"

	"github.com/varvedb/varve/wal"
)

// Replicas checks that any two safekeepers' logs of a branch are the same bytes
// wherever both have them, up to the lesser of their commit LSNs.
func Replicas(r *Run) Verdict {
	j := newJudge("replicas")
	for i := range r.Replicas {
		a := &r.Replicas[i]
		if end := a.Start + wal.LSN(len(a.Bytes)); a.Commit > end {
			j.flag("node %d would serve branch %s up to %v, and its log ends at %v", a.Node, short(a.Branch), a.Commit, end)
			continue
		}
		for k := range r.Replicas[:i] {
			if b := &r.Replicas[k]; b.Branch == a.Branch && b.Commit <= b.Start+wal.LSN(len(b.Bytes)) {
				compareReplicas(j, a, b)
			}
		}
	}
	return j.done()
}

func compareReplicas(j *judge, a, b *Replica) {
	begin, end := max(a.Start, b.Start), min(a.Commit, b.Commit)
	if begin >= end {
		j.skip("pairs with nothing in common")
		return
	}
	j.count("pairs")
	x, y := a.Bytes[begin-a.Start:end-a.Start], b.Bytes[begin-b.Start:end-b.Start]
	if bytes.Equal(x, y) {
		return
	}
	n := 0
	for x[n] == y[n] {
		n++
	}
	j.flag("branch %s: nodes %d and %d differ at %v, below their commit LSN %v: %#02x and %#02x", short(a.Branch), a.Node, b.Node, begin+wal.LSN(n), end, x[n], y[n])
}
