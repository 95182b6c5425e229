package check

// Snapshots checks reads of several pages at one LSN: each page is the replay's there,
// so that no transaction is seen in part, and the LSN of a snapshot that was to be of
// the head, and was confirmed, is in real-time order with the commits.
func Snapshots(r *Run) Verdict {
	j := newJudge("snapshots")
	replay := NewReplay(&r.Log)
	commits := commitLSNs(&r.Log)
	var order byBranch
	for i := range r.Ops {
		op := &r.Ops[i]
		if op.Kind == Write {
			if p, happened := commitPoint(op, commits); happened {
				order.add(op.Branch, p)
			}
		}
		if op.Kind != SnapshotRead || op.Outcome != OK {
			continue
		}
		if replay.beyondTerm(op) {
			j.skip("unconfirmed, beyond what their term committed")
			continue
		}
		j.count("snapshots")
		if op.Confirmed {
			j.count("confirmed at the head")
			order.add(op.Branch, readPoint(op))
		}
		replay.judgePages(j, op)
	}
	order.flagDisorders(j, SnapshotRead) // of two commits: RealTime's
	return j.done()
}
