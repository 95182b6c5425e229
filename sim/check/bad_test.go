package check

import (
	"iter"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/lsm/manifest"
	"github.com/varvedb/varve/lsm/remote"
	"github.com/varvedb/varve/wal"
)

// bad is a way to break the good run that exactly one checker sees.
type bad struct {
	name    string
	checker string
	says    string
	spoil   func(*Run)
}

// op finds the operation that was called at an event.
func (r *Run) op(call Event) *Op {
	i := slices.IndexFunc(r.Ops, func(op Op) bool { return op.Call == call })
	return &r.Ops[i]
}

func (r *Run) add(op Op) { r.Ops = append(r.Ops, op) }

func (r *Run) version(tx TxID) *Version {
	i := slices.IndexFunc(r.Log.Versions, func(v Version) bool { return v.Tx == tx })
	return &r.Log.Versions[i]
}

// oneBad is, for each checker, the smallest history that it alone flags.
var oneBad = []bad{
	{"an acknowledged commit is lost", "truth", "acknowledged, and not in the log", func(r *Run) {
		r.add(Op{Kind: Write, Client: 9, Call: 53, Return: 102, Outcome: OK, Branch: mainLine, LSN: 790, Term: 2, Tx: 9, Pages: []PageValue{{Page: pageC, Value: 90}}})
	}},
	{"two safekeepers differ below the commit", "replicas", "differ at 0/69", func(r *Run) { r.Replicas[1].Bytes[1]++ }},
	{"a layer that the index names is deleted", "bucket", "was there at event 10 and is deleted", func(r *Run) {
		s := &r.Bucket[1]
		s.Objects = slices.DeleteFunc(s.Objects, func(o Object) bool { return o.Key == remote.LayerKey(tenant, s.Indexes[0].Layers[0].ID) })
	}},
	{"a branch that was deleted is there again", "branches", "was deleted, and has an index", func(r *Run) {
		r.add(Op{Kind: BranchDelete, Client: 9, Call: 85, Return: 86, Outcome: OK, Branch: child})
	}},
	{"commits stand still after the faults", "liveness", "stood still", func(r *Run) {
		r.Progress[0].Samples = r.Progress[0].Samples[:1]
	}},
	{"a read of history finds an older page", "history", "found 1, and the log has 11", func(r *Run) {
		r.op(73).Pages = []PageValue{{Page: pageA, Value: 1}}
	}},
	{"a confirmed read misses a commit that was acknowledged before, on a page that it did not touch", "real time", "returned before this was called", func(r *Run) {
		r.add(Op{Kind: LatestRead, Client: 9, Call: 101, Return: 102, Outcome: OK, Confirmed: true, Branch: mainLine, LSN: 610, Term: 2, Pages: []PageValue{{Page: pageC}}})
	}},
	{"a snapshot shows half of a transaction", "snapshots", "found 2, and the log has 12", func(r *Run) {
		r.op(67).Pages[1].Value = 2
	}},
	{"a page that is read without an LSN is stale", "porcupine", "no order of the", func(r *Run) {
		r.add(Op{Kind: LatestRead, Client: 9, Call: 101, Return: 102, Outcome: OK, Confirmed: true, Branch: mainLine, Term: 2, Pages: []PageValue{{Page: pageB, Value: 12}}})
	}},
}

// moreBad are further ways, each seen by one checker alone.
var moreBad = []bad{
	// Truth: the log.
	{"a branch twice", "truth", "in the log twice", func(r *Run) { r.Log.Branches = append(r.Log.Branches, r.Log.Branches[1]) }},
	{"terms that fall", "truth", "after term", func(r *Run) { r.Log.Branches[1].Terms[1].Term = 0 }},
	{"a branch above its parent's end", "truth", "above the end", func(r *Run) {
		id := wal.TimelineID{0xEE}
		r.Log.Branches = append(r.Log.Branches, Branch{ID: id, Parent: mainLine, Start: 801, End: 801})
		r.add(Op{Kind: BranchCreate, Client: 9, Call: 101, Return: 102, Outcome: OK, Branch: mainLine, LSN: 801, Child: id})
	}},
	{"a branch without a parent", "truth", "no line of parents", func(r *Run) {
		id := wal.TimelineID{0xEE}
		r.Log.Branches = append(r.Log.Branches, Branch{ID: id, Parent: wal.TimelineID{0xDD}, Start: 5, End: 5})
		r.add(Op{Kind: BranchCreate, Client: 9, Call: 101, Return: 102, Outcome: OK, Branch: wal.TimelineID{0xDD}, LSN: 5, Child: id})
	}},
	{"branches in a ring", "truth", "no line of parents", func(r *Run) {
		x, y := wal.TimelineID{0xEE}, wal.TimelineID{0xEF}
		r.Log.Branches = append(r.Log.Branches, Branch{ID: x, Parent: y, Start: 5, End: 5}, Branch{ID: y, Parent: x, Start: 5, End: 5})
		r.add(Op{Kind: BranchCreate, Client: 9, Call: 101, Return: 102, Outcome: OK, Branch: y, LSN: 5, Child: x})
		r.add(Op{Kind: BranchCreate, Client: 9, Call: 103, Return: 104, Outcome: OK, Branch: x, LSN: 5, Child: y})
	}},
	{"a log that ends before it starts", "truth", "before its start", func(r *Run) {
		id := wal.TimelineID{0xEE}
		r.Log.Branches = append(r.Log.Branches, Branch{ID: id, Parent: mainLine, Start: 200, End: 199})
		r.add(Op{Kind: BranchCreate, Client: 9, Call: 79, Return: 80, Outcome: OK, Branch: mainLine, LSN: 200, Child: id})
	}},
	{"a transaction committed twice", "truth", "is committed twice", func(r *Run) { r.Log.Commits = append(r.Log.Commits, Commit{child, 430, 1}) }},
	{"commits out of order", "truth", "out of the order", func(r *Run) {
		r.Log.Commits[1], r.Log.Commits[2] = r.Log.Commits[2], r.Log.Commits[1]
	}},
	{"two commits at one LSN", "truth", "out of the order", func(r *Run) {
		r.add(Op{Kind: Write, Client: 9, Call: 53, Return: Never, Branch: mainLine, Tx: 9})
		r.Log.Commits = append(r.Log.Commits, Commit{mainLine, 620, 9})
	}},
	{"two versions at one LSN", "truth", "follows the one at", func(r *Run) {
		r.Log.Versions = append(r.Log.Versions, Version{mainLine, pageA, 700, 18, 4, 0})
		r.op(51).Pages = append(r.op(51).Pages, PageValue{Page: pageA, Value: 18})
		r.op(61).Outcome, r.op(65).Outcome = Unknown, Unknown
	}},
	{"another value of a transaction than it wrote", "truth", "asked for by nobody", func(r *Run) {
		r.Log.Versions = append(r.Log.Versions, Version{mainLine, pageC, 710, 90, 4, 0})
		r.op(51).Pages = append(r.op(51).Pages, PageValue{Page: pageC, Value: 91})
	}},
	{"a branch of another parent", "truth", "is of a1000000", func(r *Run) {
		other := wal.TimelineID{0xEE}
		r.Log.Branches = append(r.Log.Branches, Branch{ID: other, Start: 100, End: 400})
		r.op(21).Branch = other
		r.op(93).Reason = OtherReason
	}},
	{"a commit above the end", "truth", "out of the order", func(r *Run) {
		r.Log.Branches[1].End = 410
		r.op(63).Outcome, r.op(75).Outcome = Unknown, Unknown
	}},
	{"a value applied twice", "truth", "is written twice", func(r *Run) {
		r.Log.Versions = append(r.Log.Versions, Version{mainLine, pageA, 720, 15, 4, 0})
		r.op(65).Outcome = Unknown
	}},
	{"a version outside of its log", "truth", "outside of the branch's log", func(r *Run) {
		r.Log.Versions = append(r.Log.Versions, Version{child, pageC, 320, 0, 0, 0})
	}},
	{"versions out of order", "truth", "follows the one at", func(r *Run) {
		v := r.Log.Versions
		v[2], v[4] = v[4], v[2]
	}},
	{"a value from nowhere", "truth", "nobody wrote value", func(r *Run) {
		r.Log.Versions = append(r.Log.Versions, Version{mainLine, pageC, 710, 90, 0, 0})
	}},
	{"a value of a transaction that did not write it", "truth", "asked for by nobody", func(r *Run) {
		r.Log.Versions = append(r.Log.Versions, Version{mainLine, pageC, 710, 90, 4, 0})
	}},
	{"a page of a transaction that nobody asked for", "truth", "asked for by nobody", func(r *Run) {
		r.Log.Versions = append(r.Log.Versions, Version{mainLine, pageC, 710, 90, 44, 0})
	}},
	{"a commit that nobody asked for", "truth", "asked for by nobody", func(r *Run) {
		r.Log.Commits = append(r.Log.Commits, Commit{mainLine, 700, 44})
	}},
	{"a branch that nobody asked for", "truth", "asked for by nobody", func(r *Run) {
		r.op(21).Kind, r.op(21).LSN = CutoffAdvance, 0
		r.op(93).Reason = OtherReason
	}},
	// Truth: what clients were told.
	{"one transaction, two operations", "truth", "not one operation's alone", func(r *Run) { r.add(Op{Kind: Write, Tx: 5, Return: Never}) }},
	{"acknowledged at another LSN", "truth", "acknowledged at 0/276, committed at 0/26C", func(r *Run) { r.op(40).LSN = 630 }},
	{"acknowledged in another term", "truth", "acknowledged in term 1", func(r *Run) { r.op(40).Term = 1 }},
	{"failed and committed", "truth", "failed, and committed", func(r *Run) { r.Log.Commits = append(r.Log.Commits, Commit{mainLine, 710, 4}) }},
	{"committed on another branch", "truth", "committed on branch", func(r *Run) {
		r.Log.Commits = append(r.Log.Commits, Commit{child, 430, 5})
		r.op(52).Call = 38
	}},
	{"a committed transaction without one of its pages", "truth", "of a committed transaction is not in the log", func(r *Run) {
		r.op(40).Pages = append(r.op(40).Pages, PageValue{Page: pageC, Value: 90})
	}},
	{"a value on another page", "truth", "is in the log as transaction", func(r *Run) {
		r.Log.Versions = append(r.Log.Versions, Version{mainLine, pageC, 710, 90, 4, 0})
		r.op(51).Pages = append(r.op(51).Pages, PageValue{Page: pageC, Value: 90}, PageValue{Page: pageID(9), Value: 90})
	}},
	{"a page of a transaction above its commit", "truth", "above the commit", func(r *Run) { r.version(6).LSN = 421; r.op(63).LSN = 421 }},
	{"a page at another LSN", "truth", "was written at", func(r *Run) { r.op(1).Pages[0].LSN = 199 }},
	{"a write of nothing", "truth", "a write of no value", func(r *Run) { r.op(52).Pages[0].Value = 0 }},
	{"a branch that is not there", "truth", "and is not there", func(r *Run) {
		r.add(Op{Kind: BranchCreate, Client: 9, Call: 101, Return: 102, Outcome: OK, Branch: mainLine, LSN: 500, Child: wal.TimelineID{0xEE}})
	}},
	{"a branch that failed and is there", "truth", "failed, and is there", func(r *Run) { r.op(21).Outcome = Failed }},
	{"a branch at another LSN", "truth", "at 0/140", func(r *Run) { r.op(21).LSN = 330 }},
	{"a prefix that changed", "truth", "with digest", func(r *Run) { r.Prefixes[1].Digest++ }},
	{"a prefix that was cut off", "truth", "the log ends before", func(r *Run) { r.Prefixes[1].LSN = 900 }},
	{"a prefix that is no record's end", "truth", "where no record of the log ends", func(r *Run) { r.Prefixes[1].LSN = 219 }},
	{"a term that was won and is not in the log", "truth", "and the log has terms", func(r *Run) { r.Wins[1].Term = 3 }},
	{"a term that begins elsewhere than its winner was told", "truth", "and the log has terms", func(r *Run) { r.Wins[1].LSN = 510 }},
	{"a term that falls", "truth", "was in term 2", func(r *Run) { r.Terms[2].Life = 0 }},
	// Replicas.
	{"a commit LSN beyond the log", "replicas", "its log ends at", func(r *Run) { r.Replicas[0].Commit = 113 }},
	// Bucket.
	{"a layer that was never there", "bucket", "never seen", func(r *Run) {
		r.Bucket[0].Indexes[0].Layers = append(r.Bucket[0].Indexes[0].Layers, layerOf(mainLine, 9, 100, 200, "?"))
	}},
	{"a layer that is torn", "bucket", "and there are 12", func(r *Run) {
		i := slices.IndexFunc(r.Bucket[1].Objects, func(o Object) bool { return o.Size == 13 })
		r.Bucket[1].Objects[i].Size--
	}},
	{"a layer with other bytes", "bucket", "with sum", func(r *Run) {
		i := slices.IndexFunc(r.Bucket[1].Objects, func(o Object) bool { return o.Size == 13 })
		r.Bucket[1].Objects[i].Sum++
	}},
	{"a parent being deleted", "bucket", "and its parent", func(r *Run) { r.Bucket[1].Indexes[byID(r, mainLine)].State = manifest.Deleting }},
	{"a parent deleted", "bucket", "and its parent", func(r *Run) {
		i := byID(r, mainLine)
		r.Bucket[1].Indexes = slices.Delete(r.Bucket[1].Indexes, i, i+1)
		r.add(Op{Kind: BranchDelete, Client: 9, Call: 85, Return: Never, Branch: mainLine})
	}},
	{"an index of an older generation", "bucket", "went back", func(r *Run) { r.Bucket[1].Indexes[byID(r, mainLine)].Generation-- }},
	{"an index that is durable no longer", "bucket", "went back", func(r *Run) { r.Bucket[1].Indexes[byID(r, mainLine)].Durable-- }},
	{"a cutoff that falls", "bucket", "went back", func(r *Run) { r.Bucket[1].Indexes[byID(r, mainLine)].Cutoff-- }},
	{"a timeline that is live again", "bucket", "went back", func(r *Run) { r.Bucket[0].Indexes[byID(r, child)].State = manifest.Doomed }},
	// Branches.
	{"a branch that is gone, and nobody deleted it", "branches", "is gone, and nobody deleted it", func(r *Run) {
		i := byID(r, child)
		r.Bucket[1].Indexes = slices.Delete(r.Bucket[1].Indexes, i, i+1)
	}},
	{"a branch that is gone, though its deletion was refused", "branches", "is gone, and nobody deleted it", func(r *Run) {
		i := byID(r, child)
		r.Bucket[1].Indexes = slices.Delete(r.Bucket[1].Indexes, i, i+1)
		r.add(Op{Kind: BranchDelete, Client: 9, Call: 85, Return: 86, Outcome: Failed, Branch: child})
	}},
	{"a deletion that is refused for no child", "branches", "has none", func(r *Run) { r.op(93).Branch = child }},
	{"a deletion that is refused for a child that was deleted", "branches", "has none", func(r *Run) {
		r.add(Op{Kind: BranchDelete, Client: 9, Call: 91, Return: 92, Outcome: OK, Branch: child})
	}},
	{"a deletion that is refused for a child that was detached", "branches", "has none", func(r *Run) {
		r.add(Op{Kind: BranchDetach, Client: 9, Call: 91, Return: 92, Outcome: OK, Branch: child})
	}},
	{"a deleted branch that answers", "branches", "is deleted, and answers", func(r *Run) {
		r.add(Op{Kind: BranchDelete, Client: 9, Call: 101, Return: 102, Outcome: OK, Branch: child})
		r.add(Op{Kind: HistoryRead, Client: 9, Call: 103, Return: 104, Outcome: OK, Confirmed: true, Branch: child, LSN: 450, Pages: []PageValue{{Page: pageB, Value: 12}}})
	}},
	{"a branch that is said not to be there", "branches", "nobody deleted c1000000", func(r *Run) {
		r.add(Op{Kind: HistoryRead, Client: 9, Call: 101, Return: 102, Outcome: Failed, Reason: NoSuchBranch, Confirmed: true, Branch: child, LSN: 450})
	}},
	{"a branch that lost its parent", "branches", "nobody detached it", func(r *Run) {
		x := &r.Bucket[1].Indexes[byID(r, child)]
		x.Parent, x.BranchLSN = wal.TimelineID{}, 0
	}},
	{"a detached branch that has a parent", "branches", "was detached, and has a parent", func(r *Run) {
		r.add(Op{Kind: BranchDetach, Client: 9, Call: 80, Return: 81, Outcome: OK, Branch: child})
	}},
	{"a refusal of what is leased", "branches", "leased since event 96", func(r *Run) {
		r.add(Op{Kind: CutoffAdvance, Client: 9, Call: 96, Return: Never, Branch: mainLine, LSN: 500})
		r.op(97).Outcome, r.op(97).Reason = Failed, BelowHorizon
	}},
	// Liveness.
	{"movement that is too late", "liveness", "stood still", func(r *Run) { r.Progress[0].Samples[2].Time = 61*time.Second + 1 }},
	{"movement short of the goal", "liveness", "stood still", func(r *Run) { r.Progress[0].Goal = 8 }},
	{"movement from nowhere", "liveness", "stood still", func(r *Run) { r.Progress[0].Samples = r.Progress[0].Samples[1:] }},
	{"no sample", "liveness", "stood still", func(r *Run) { r.Progress[0].Samples = nil }},
	{"an excuse with a quorum", "liveness", "the excuse is none", func(r *Run) { r.Progress[1].Stall.Sound = []wal.NodeID{2, 3} }},
	{"an excuse with a stranger", "liveness", "the excuse is none", func(r *Run) { r.Progress[1].Stall.Sound = []wal.NodeID{9} }},
	{"an excuse that nothing could meet", "liveness", "the excuse is none", func(r *Run) { r.Progress[1].Stall.Need = 4 }},
	// History.
	{"a page above the end of the log", "history", "beyond the end", func(r *Run) { r.op(90).Outcome = OK }},
	{"a page of a branch that is not there", "history", "beyond the end", func(r *Run) { r.op(71).Branch = wal.TimelineID{0xEE} }},
	{"other bytes of the same version", "history", "differ from bytes", func(r *Run) {
		r.Log.Versions[2].Digest = 0
		r.op(73).Pages[0].Digest = 0xBAD
	}},
	{"other bytes in a snapshot", "history", "differ from bytes", func(r *Run) {
		r.Log.Versions[2].Digest = 0
		r.op(67).Pages[0].Digest = 0xBAD
	}},
	{"other bytes than the log makes", "history", "the log makes", func(r *Run) { r.op(71).Pages[0].Digest, r.op(73).Pages[0].Digest = 0xBAD, 0xBAD }},
	{"an answer below the cutoff", "history", "answered below the cutoff", func(r *Run) {
		r.add(Op{Kind: HistoryRead, Client: 9, Call: 101, Return: 102, Outcome: OK, Branch: mainLine, LSN: 399, Pages: []PageValue{{Page: pageA, Value: 13}}})
	}},
	{"an answer before the beginning", "history", "answered below the start", func(r *Run) { r.op(88).Outcome = OK }},
	{"an answer of a child below its parent's cutoff", "history", "answered below the cutoff", func(r *Run) {
		r.add(Op{Kind: HistoryRead, Client: 9, Call: 101, Return: 102, Outcome: OK, Branch: child, LSN: 200, Pages: []PageValue{{Page: pageA, Value: 11}}})
	}},
	{"a refusal of the beginning", "history", "no cutoff of branch", func(r *Run) {
		r.add(Op{Kind: HistoryRead, Client: 9, Call: 79, Return: 79, Outcome: Failed, Reason: BelowHorizon, Branch: mainLine, LSN: 100})
	}},
	{"an unconfirmed read that is wrong at the end of the log", "history", "found 11, and the log has 15", func(r *Run) {
		r.add(Op{Kind: LatestRead, Client: 9, Call: 101, Return: 102, Outcome: OK, Branch: mainLine, LSN: 800, Term: 2, Pages: []PageValue{{Page: pageA, Value: 11}}})
	}},
	{"an unconfirmed read that is wrong where its term ends", "history", "found 11, and the log has 13", func(r *Run) {
		r.add(Op{Kind: LatestRead, Client: 9, Call: 101, Return: 102, Outcome: OK, Branch: mainLine, LSN: 500, Term: 1, Pages: []PageValue{{Page: pageA, Value: 11}}})
	}},
	{"a branch below the cutoff", "history", "answered below the cutoff", func(r *Run) {
		id := wal.TimelineID{0xEE}
		r.Log.Branches = append(r.Log.Branches, Branch{ID: id, Parent: mainLine, Start: 300, End: 300})
		r.add(Op{Kind: BranchCreate, Client: 9, Call: 101, Return: 102, Outcome: OK, Branch: mainLine, LSN: 300, Child: id})
	}},
	{"a refusal above the cutoff", "history", "no cutoff of branch", func(r *Run) { r.op(83).LSN = 400 }},
	{"a refusal before the cutoff was asked for", "history", "no cutoff of branch", func(r *Run) { r.op(83).Return = 79 }},
	{"a refusal for a cutoff that failed", "history", "no cutoff of branch", func(r *Run) { r.op(80).Outcome = Failed }},
	{"a refusal of a branch point", "history", "no cutoff of branch", func(r *Run) { r.op(86).Outcome, r.op(86).Reason = Failed, BelowHorizon }},
	{"a page that is said to be absent", "history", "refused as absent", func(r *Run) { r.op(77).Pages[0].Page = pageA }},
	{"a page of zeros that is said to be absent", "history", "refused as absent, and its relation has 3 blocks", func(r *Run) { r.Log.Sizes[0].Blocks = 3 }},
	{"a page of a branch that its parent's relation is too short for", "history", "served, and its relation has 1 blocks", func(r *Run) {
		r.Log.Sizes = append(r.Log.Sizes, Size{mainLine, pageA.Rel, 310, 1})
		r.add(Op{Kind: HistoryRead, Client: 9, Call: 101, Return: 102, Outcome: OK, Branch: child, LSN: 330, Pages: []PageValue{{Page: pageB, Value: 12}}})
		r.Ops = slices.DeleteFunc(r.Ops, func(op Op) bool { return op.Call != 101 && op.Kind == SnapshotRead })
	}},
	{"a page beyond the end of its relation", "history", "served, and its relation has 2 blocks", func(r *Run) { r.op(77).Outcome, r.op(77).Reason = OK, OtherReason }},
	{"a page that is said to be absent on a branch", "history", "refused as absent", func(r *Run) {
		r.add(Op{Kind: HistoryRead, Client: 9, Call: 93, Return: 94, Outcome: Failed, Reason: NoSuchPage, Branch: child, LSN: 330, Pages: []PageValue{{Page: pageB}}})
	}},
	{"an unconfirmed read that is wrong within its term", "history", "found 11, and the log has 13", func(r *Run) { r.op(33).Pages[0].Value = 11 }},
	{"a confirmed read that is wrong and busy", "history", "beyond the end", func(r *Run) {
		r.add(Op{Kind: LatestRead, Client: 9, Call: 101, Return: 102, Outcome: OK, Confirmed: true, Branch: child, LSN: 501, Term: 1, Pages: []PageValue{{Page: pageC}}})
	}},
	// RealTime.
	{"a commit below one that was acknowledged before its call", "real time", "returned before this was called", func(r *Run) {
		r.Log.Versions = append(r.Log.Versions, Version{mainLine, pageC, 500, 90, 9, 0})
		r.Log.Commits = slices.Insert(r.Log.Commits, 2, Commit{mainLine, 510, 9})
		r.add(Op{Kind: Write, Client: 9, Call: 55, Return: 102, Outcome: OK, Branch: mainLine, LSN: 510, Term: 2, Tx: 9, Pages: []PageValue{{Page: pageC, Value: 90}}})
	}},
	{"a commit below a head that was read before its call", "real time", "returned before this was called", func(r *Run) {
		r.add(Op{Kind: LatestRead, Client: 9, Call: 35, Return: 39, Outcome: OK, Confirmed: true, Branch: mainLine, LSN: 620, Term: 2, Pages: []PageValue{{Page: pageC}}})
	}},
	{"a branch at a head that was not", "real time", "returned before this was called", func(r *Run) {
		r.op(21).Call, r.op(21).Return = 53, 54
	}},
	{"an unknown commit that was seen before its call", "real time", "returned before this was called", func(r *Run) {
		r.op(12).Call = 35
		r.op(13).Pages[0] = PageValue{Page: pageC}
	}},
	// Snapshots.
	{"a snapshot at a head that is old", "snapshots", "returned before this was called", func(r *Run) {
		r.op(65).LSN, r.op(65).Pages = 320, []PageValue{{Page: pageA, Value: 13}, {Page: pageB, Value: 12}}
	}},
	{"a confirmed snapshot above the end", "snapshots", "beyond the end", func(r *Run) { r.op(65).LSN = 801 }},
	{"a snapshot with bytes that the log does not make", "snapshots", "the log makes", func(r *Run) {
		r.op(67).Pages[0].Digest = 0xBAD
		r.op(71).Pages[0].Digest, r.op(73).Pages[0].Digest = 0, 0
	}},
	// Porcupine.
	{"a value from nowhere, read without an LSN", "porcupine", "no order of the", func(r *Run) { r.op(61).Pages[0].Value = 88 }},
	{"values that are read in turns", "porcupine", "no order of the", func(r *Run) {
		r.add(Op{Kind: LatestRead, Client: 9, Call: 41, Return: 42, Outcome: OK, Confirmed: true, Branch: mainLine, Term: 2, Pages: []PageValue{{Page: pageB, Value: 14}}})
		r.add(Op{Kind: LatestRead, Client: 9, Call: 43, Return: 44, Outcome: OK, Confirmed: true, Branch: mainLine, Term: 2, Pages: []PageValue{{Page: pageB, Value: 12}}})
	}},
	{"a child that sees what its parent wrote later", "porcupine", "no order of the", func(r *Run) {
		r.add(Op{Kind: LatestRead, Client: 9, Call: 101, Return: 102, Outcome: OK, Confirmed: true, Branch: child, Term: 1, Pages: []PageValue{{Page: pageB, Value: 14}}})
	}},
}

func byID(r *Run, id wal.TimelineID) int {
	return slices.IndexFunc(r.Bucket[1].Indexes, func(x manifest.Index) bool { return x.Timeline == id })
}

// TestEachCheckerFlagsWhatNoOtherDoes: each of these runs is flagged by one checker,
// for the reason given, and passed by all others.
func TestEachCheckerFlagsWhatNoOtherDoes(t *testing.T) {
	var covered []string
	for _, b := range oneBad {
		covered = append(covered, b.checker)
	}
	var all []string
	for _, v := range All(&Run{}) {
		all = append(all, v.Checker)
	}
	require.ElementsMatch(t, all, covered, "each checker has one")
	for _, b := range slices.Concat(oneBad, moreBad) {
		t.Run(b.checker+"/"+b.name, func(t *testing.T) {
			r := goodRun()
			b.spoil(r)
			for _, v := range All(r) {
				if v.Checker != b.checker {
					require.True(t, v.OK, "%v", &v)
					continue
				}
				require.False(t, v.OK, "%v", &v)
				require.Contains(t, v.Detail, b.says)
				require.Positive(t, v.Checked())
			}
		})
	}
}

func objectsOf(indexes []manifest.Index, bodies []string) iter.Seq2[string, []byte] {
	return func(yield func(string, []byte) bool) {
		for i := range indexes {
			x := &indexes[i]
			if !yield(remote.IndexKey(tenant, x.Parent, x.Timeline), x.AppendTo(nil)) {
				return
			}
			if !yield(remote.LayerKey(tenant, x.Layers[0].ID), []byte(bodies[i])) {
				return
			}
		}
	}
}
