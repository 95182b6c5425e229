package check

import (
	"cmp"
	"slices"

	"github.com/varvedb/varve/wal"
)

// point is an operation in the order of its branch's log. The key of a commit at L is
// 2L and of a read at R is 2R+1: a read sees the commits at and below it.
type point struct {
	key  uint64
	call Event
	ret  Event
	op   *Op
}

// commitPoint places a transaction; false if it never happened.
func commitPoint(op *Op, commits map[TxID]wal.LSN) (point, bool) {
	switch lsn, inLog := commits[op.Tx]; {
	case op.Outcome == OK:
		return point{2 * uint64(op.LSN), op.Call, op.Return, op}, true
	case op.Outcome == Unknown && inLog:
		return point{2 * uint64(lsn), op.Call, Never, op}, true
	}
	return point{}, false
}

func readPoint(op *Op) point { return point{2*uint64(op.LSN) + 1, op.Call, op.Return, op} }

func commitLSNs(log *Log) map[TxID]wal.LSN {
	commits := make(map[TxID]wal.LSN, len(log.Commits))
	for _, c := range log.Commits {
		commits[c.Tx] = c.LSN
	}
	return commits
}

// disorder is a pair that contradicts the order of the log: first returned before
// second was called, and has the greater key.
type disorder struct{ first, second *Op }

// disorders returns one pair for each operation that is the second of any. There is
// none exactly if the operations, ordered by key, can each have taken effect at a
// moment between call and return. It sorts points; O(n log n).
func disorders(points []point) (found []disorder) {
	slices.SortStableFunc(points, func(a, b point) int { return cmp.Compare(a.key, b.key) })
	earliest := Event(Never) // return among the points of greater keys
	var witness *Op
	for end := len(points); end > 0; {
		begin := end - 1
		for begin > 0 && points[begin-1].key == points[end-1].key {
			begin--
		}
		for _, p := range points[begin:end] {
			if earliest < p.call {
				found = append(found, disorder{witness, p.op})
			}
		}
		for _, p := range points[begin:end] {
			if p.ret < earliest {
				earliest, witness = p.ret, p.op
			}
		}
		end = begin
	}
	slices.Reverse(found)
	return found
}

// byBranch holds the points of each branch, branches in order of appearance.
type byBranch struct {
	ids    []wal.TimelineID
	points map[wal.TimelineID][]point
}

func (b *byBranch) add(branch wal.TimelineID, p point) {
	if b.points == nil {
		b.points = map[wal.TimelineID][]point{}
	}
	if b.points[branch] == nil {
		b.ids = append(b.ids, branch)
	}
	b.points[branch] = append(b.points[branch], p)
}

// flagDisorders flags every disorder of every branch that one of kinds has a part in.
func (b *byBranch) flagDisorders(j *judge, kinds ...Kind) {
	for _, id := range b.ids {
		for _, d := range disorders(b.points[id]) {
			if !slices.Contains(kinds, d.first.Kind) && !slices.Contains(kinds, d.second.Kind) {
				continue
			}
			j.flag("branch %s: %v\n  returned before this was called, which lies below it in the log: %v", short(id), d.first, d.second)
		}
	}
}
