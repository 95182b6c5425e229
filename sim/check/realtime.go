package check

// RealTime checks that commits, and reads of the head that a quorum confirmed, can
// have taken effect in the order of their LSNs, each between its call and its return.
// It looks at LSNs only; what was read at them is [History]'s.
func RealTime(r *Run) Verdict {
	j := newJudge("real time")
	commits := commitLSNs(&r.Log)
	var order byBranch
	for i := range r.Ops {
		op := &r.Ops[i]
		switch op.Kind {
		case Write:
			if p, happened := commitPoint(op, commits); happened {
				j.count("writes")
				order.add(op.Branch, p)
			}
		case LatestRead, BranchCreate:
			switch {
			case op.Outcome != OK:
			case !op.Confirmed:
				j.skip("unconfirmed reads")
			case op.LSN == 0:
				j.skip("reads without an LSN")
			default:
				j.count(headReads[op.Kind])
				order.add(op.Branch, readPoint(op))
			}
		}
	}
	order.flagDisorders(j, Write, LatestRead, BranchCreate)
	return j.done()
}

var headReads = map[Kind]string{LatestRead: "confirmed latest reads", BranchCreate: "branches at the head"}
