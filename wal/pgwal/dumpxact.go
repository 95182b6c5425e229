package pgwal

import "fmt"

func appendXactBody(dst []byte, rec *Record) ([]byte, error) {
	switch rec.Op() {
	case OpXactCommit, OpXactCommitPrepared, OpXactAbort, OpXactAbortPrepared:
		return appendCompletion(dst, rec)
	case OpXactPrepare:
		return appendPrepare(dst, rec)
	case OpXactAssignment:
		a, err := ParseAssignment(rec)
		return appendXIDs(fmt.Appendf(dst, "xtop %d: subxacts:", a.TopXID), a.SubXIDs), err
	case OpXactInvalidations:
		list, err := ParseXactInvalidations(rec)
		return appendInvals(dst, list), err
	}
	return dst, nil
}

func appendCompletion(dst []byte, rec *Record) ([]byte, error) {
	var x XactCompletion
	if err := x.parse(rec); err != nil {
		return dst, err
	}
	if x.Prepared {
		dst = fmt.Appendf(dst, "%d: ", x.XID)
	}
	dst = x.Time.appendTo(dst)
	dst = appendRels(dst, "rels", x.Rels)
	dst = appendSubXIDs(dst, x.SubXIDs)
	if op := rec.Op(); op == OpXactAbort || op == OpXactAbortPrepared {
		dst = appendOrigin(dst, rec, &x)
		return appendStats(dst, "", x.DroppedStats), nil
	}
	dst = appendStats(dst, "", x.DroppedStats)
	if x.Flags&XactUpdateInitFile != 0 && len(x.Invals) > 0 {
		dst = appendInitFile(dst, x.DB, x.Tablespace)
	}
	dst = appendInvals(dst, x.Invals)
	if x.Flags&XactApplyFeedback != 0 {
		dst = append(dst, "; apply_feedback"...)
	}
	if x.Flags&XactForceSyncCommit != 0 {
		dst = append(dst, "; sync"...)
	}
	return appendOrigin(dst, rec, &x), nil
}

func appendPrepare(dst []byte, rec *Record) ([]byte, error) {
	p, err := ParsePrepare(rec)
	dst = p.Time.appendTo(fmt.Appendf(dst, "gid %s: ", p.GID))
	dst = appendRels(dst, "rels(commit)", p.CommitRels)
	dst = appendRels(dst, "rels(abort)", p.AbortRels)
	dst = appendStats(dst, "commit ", p.CommitStats)
	dst = appendStats(dst, "abort ", p.AbortStats)
	dst = appendSubXIDs(dst, p.SubXIDs)
	if p.InitFileInval && len(p.Invals) > 0 {
		dst = appendInitFile(dst, p.DB, 0)
	}
	dst = appendInvals(dst, p.Invals)
	if rec.Origin != 0 {
		dst = p.OriginTime.appendTo(fmt.Appendf(dst, "; origin: node %d, lsn %s, at ", rec.Origin, p.OriginLSN))
	}
	return dst, err
}

func appendOrigin(dst []byte, rec *Record, x *XactCompletion) []byte {
	if x.Flags&XactHasOrigin == 0 {
		return dst
	}
	return x.OriginTime.appendTo(fmt.Appendf(dst, "; origin: node %d, lsn %s, at ", rec.Origin, x.OriginLSN))
}

func appendRels(dst []byte, label string, rels []RelFileNode) []byte {
	if len(rels) > 0 {
		dst = fmt.Appendf(dst, "; %s:", label)
	}
	for _, rel := range rels {
		dst = rel.AppendPath(append(dst, ' '), MainFork)
	}
	return dst
}

func appendXIDs(dst []byte, xids []XID) []byte {
	for _, xid := range xids {
		dst = fmt.Appendf(dst, " %d", xid)
	}
	return dst
}

func appendSubXIDs(dst []byte, xids []XID) []byte {
	if len(xids) == 0 {
		return dst
	}
	return appendXIDs(append(dst, "; subxacts:"...), xids)
}

func appendStats(dst []byte, label string, stats []DroppedStat) []byte {
	if len(stats) > 0 {
		dst = fmt.Appendf(dst, "; %sdropped stats:", label)
	}
	for _, s := range stats {
		dst = fmt.Appendf(dst, " %d/%d/%d", s.Kind, s.DB, s.Object)
	}
	return dst
}

func appendInitFile(dst []byte, db, tablespace uint32) []byte {
	return fmt.Appendf(dst, "; relcache init file inval dbid %d tsid %d", db, tablespace)
}

func appendInvals(dst []byte, list []Invalidation) []byte {
	if len(list) > 0 {
		dst = append(dst, "; inval msgs:"...)
	}
	for _, m := range list {
		switch {
		case m.ID >= 0:
			dst = fmt.Appendf(dst, " catcache %d", m.ID)
		case m.ID == InvalCatalog:
			dst = fmt.Appendf(dst, " catalog %d", m.Object)
		case m.ID == InvalRelcache:
			dst = fmt.Appendf(dst, " relcache %d", m.Object)
		case m.ID == InvalSmgr:
			dst = append(dst, " smgr"...)
		case m.ID == InvalRelmap:
			dst = fmt.Appendf(dst, " relmap db %d", m.DB)
		case m.ID == InvalSnapshot:
			dst = fmt.Appendf(dst, " snapshot %d", m.Object)
		default:
			dst = fmt.Appendf(dst, " unrecognized id %d", m.ID)
		}
	}
	return dst
}

func appendStandbyBody(dst []byte, rec *Record) ([]byte, error) {
	switch rec.Op() {
	case OpStandbyLock:
		locks, err := ParseStandbyLocks(rec)
		for _, l := range locks {
			dst = fmt.Appendf(dst, "xid %d db %d rel %d ", l.XID, l.DB, l.Rel)
		}
		return dst, err
	case OpStandbyRunningXacts:
		r, err := ParseRunningXacts(rec)
		return r.appendDump(dst), err
	case OpStandbyInvalidations:
		s, err := ParseStandbyInvalidations(rec)
		if s.InitFileInval && len(s.Invals) > 0 {
			dst = appendInitFile(dst, s.DB, s.Tablespace)
		}
		return appendInvals(dst, s.Invals), err
	}
	return dst, nil
}

func (r *RunningXacts) appendDump(dst []byte) []byte {
	dst = fmt.Appendf(dst, "nextXid %d latestCompletedXid %d oldestRunningXid %d", r.NextXID, r.LatestCompletedXID, r.OldestRunningXID)
	if len(r.XIDs) > 0 {
		dst = appendXIDs(fmt.Appendf(dst, "; %d xacts:", len(r.XIDs)), r.XIDs)
	}
	if r.SubXIDOverflow {
		dst = append(dst, "; subxid ovf"...)
	}
	return dst
}
