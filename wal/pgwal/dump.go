package pgwal

import (
	"fmt"
	"strconv"
)

// AppendDump appends one line, without its newline, that describes the record as
// pg_waldump --bkp-details prints it with TZ=UTC, but for two things:
//
//   - the lines of the block references, which begin with a tab, are joined to the
//     record's line;
//   - what follows the kind in a record of a Btree, Hash, Gin, Gist, SPGist or BRIN
//     index is left out.
//
// A body that cannot be parsed is replaced by the error.
func AppendDump(dst []byte, rec *Record) []byte {
	images := uint32(0)
	for i := range rec.Blocks {
		images += uint32(rec.Blocks[i].Image.Length)
	}
	dst = fmt.Appendf(dst, "rmgr: %-11s len (rec/tot): %6d/%6d, tx: %10d, lsn: %X/%08X, prev %X/%08X, desc: %s ",
		rec.RMgr, rec.TotalLen-images, rec.TotalLen, rec.XID,
		uint32(rec.LSN>>32), uint32(rec.LSN), uint32(rec.Prev>>32), uint32(rec.Prev), rec.Kind())
	dst = appendBody(dst, rec)
	for i := range rec.Blocks {
		dst = rec.Blocks[i].appendDump(dst)
	}
	return dst
}

func (b *BlockRef) appendDump(dst []byte) []byte {
	dst = fmt.Appendf(dst, "\tblkref #%d: rel %s fork %s blk %d", b.ID, b.Rel, b.Fork, b.Block)
	if !b.HasImage {
		return dst
	}
	purpose := ""
	if !b.ApplyImage {
		purpose = " for WAL verification"
	}
	im := &b.Image
	dst = fmt.Appendf(dst, " (FPW%s); hole: offset: %d, length: %d", purpose, im.HoleOffset, im.HoleLength)
	if im.Compression != CompressionNone {
		saved := uint32(PageSize) - uint32(im.HoleLength) - uint32(im.Length)
		dst = fmt.Appendf(dst, ", compression saved: %d, method: %s", saved, im.Compression)
	}
	return dst
}

// appendBody appends what follows the kind.
func appendBody(dst []byte, rec *Record) []byte {
	if int(rec.RMgr) >= len(bodies) || bodies[rec.RMgr] == nil {
		return dst
	}
	out, err := bodies[rec.RMgr](dst, rec)
	if err != nil {
		return append(dst, err.Error()...)
	}
	return out
}

// bodies holds for each manager the function that appends the body of its records.
var bodies = [...]func([]byte, *Record) ([]byte, error){
	RMgrXLOG:        appendXLOGBody,
	RMgrTransaction: appendXactBody,
	RMgrStorage:     appendStorageBody,
	RMgrCLOG:        appendCLOGBody,
	RMgrDatabase:    appendDatabaseBody,
	RMgrTablespace:  appendTablespaceBody,
	RMgrMultiXact:   appendMultiXactBody,
	RMgrRelMap:      appendRelMapBody,
	RMgrStandby:     appendStandbyBody,
	RMgrHeap2:       appendHeap2Body,
	RMgrHeap:        appendHeapBody,
	RMgrSequence:    appendSequenceBody,
	RMgrCommitTs:    appendCommitTsBody,
	RMgrReplOrigin:  appendReplOriginBody,
	RMgrLogicalMsg:  appendLogicalMessageBody,
}

func appendXLOGBody(dst []byte, rec *Record) ([]byte, error) {
	switch rec.Op() {
	case OpXLOGCheckpointShutdown, OpXLOGCheckpointOnline:
		c, err := ParseCheckPoint(rec)
		return c.appendDump(dst, rec.Op()), err
	case OpXLOGNextOID:
		oid, err := ParseNextOID(rec)
		return strconv.AppendUint(dst, uint64(oid), 10), err
	case OpXLOGRestorePoint:
		p, err := ParseRestorePoint(rec)
		return append(dst, p.Name...), err
	case OpXLOGBackupEnd:
		start, err := ParseBackupEnd(rec)
		return append(dst, start.String()...), err
	case OpXLOGParameterChange:
		p, err := ParseParameterChange(rec)
		return fmt.Appendf(dst, "max_connections=%d max_worker_processes=%d max_wal_senders=%d max_prepared_xacts=%d max_locks_per_xact=%d wal_level=%s wal_log_hints=%s track_commit_timestamp=%s",
			p.MaxConnections, p.MaxWorkerProcesses, p.MaxWALSenders, p.MaxPreparedXacts, p.MaxLocksPerXact,
			p.WALLevel, onOff(p.WALLogHints), onOff(p.TrackCommitTimestamp)), err
	case OpXLOGFPWChange:
		on, err := ParseFPWChange(rec)
		return strconv.AppendBool(dst, on), err
	case OpXLOGEndOfRecovery:
		e, err := ParseEndOfRecovery(rec)
		return e.Time.appendTo(fmt.Appendf(dst, "tli %d; prev tli %d; time ", e.TimeLine, e.PrevTimeLine)), err
	case OpXLOGOverwriteContrecord:
		o, err := ParseOverwriteContrecord(rec)
		return o.Time.appendTo(fmt.Appendf(dst, "lsn %s; time ", o.LSN)), err
	}
	return dst, nil
}

func onOff(on bool) string {
	if on {
		return "on"
	}
	return "off"
}

func (c *CheckPoint) appendDump(dst []byte, op uint8) []byte {
	kind := "online"
	if op == OpXLOGCheckpointShutdown {
		kind = "shutdown"
	}
	return fmt.Appendf(dst, "redo %s; tli %d; prev tli %d; fpw %t; xid %d:%d; oid %d; multi %d; offset %d; "+
		"oldest xid %d in DB %d; oldest multi %d in DB %d; oldest/newest commit timestamp xid: %d/%d; oldest running xid %d; %s",
		c.Redo, c.TimeLine, c.PrevTimeLine, c.FullPageWrites, uint32(c.NextXID>>32), uint32(c.NextXID), c.NextOID, c.NextMulti, c.NextMultiOffset,
		c.OldestXID, c.OldestXIDDB, c.OldestMulti, c.OldestMultiDB, c.OldestCommitTsXID, c.NewestCommitTsXID, c.OldestActiveXID, kind)
}

func appendStorageBody(dst []byte, rec *Record) ([]byte, error) {
	switch rec.Op() {
	case OpSmgrCreate:
		c, err := ParseSmgrCreate(rec)
		return c.Rel.AppendPath(dst, c.Fork), err
	case OpSmgrTruncate:
		t, err := ParseSmgrTruncate(rec)
		return fmt.Appendf(t.Rel.AppendPath(dst, MainFork), " to %d blocks flags %d", t.Blocks, t.Flags), err
	}
	return dst, nil
}

func appendCLOGBody(dst []byte, rec *Record) ([]byte, error) {
	switch rec.Op() {
	case OpCLOGZeroPage:
		page, err := ParseCLOGZeroPage(rec)
		return fmt.Appendf(dst, "page %d", int32(page)), err
	case OpCLOGTruncate:
		t, err := ParseCLOGTruncate(rec)
		return fmt.Appendf(dst, "page %d; oldestXact %d", int32(t.Page), t.OldestXID), err
	}
	return dst, nil
}

func appendCommitTsBody(dst []byte, rec *Record) ([]byte, error) {
	switch rec.Op() {
	case OpCommitTsZeroPage:
		page, err := ParseCommitTsZeroPage(rec)
		return fmt.Appendf(dst, "%d", int32(page)), err
	case OpCommitTsTruncate:
		t, err := ParseCommitTsTruncate(rec)
		return fmt.Appendf(dst, "pageno %d, oldestXid %d", int32(t.Page), t.OldestXID), err
	}
	return dst, nil
}

func appendDatabaseBody(dst []byte, rec *Record) ([]byte, error) {
	switch rec.Op() {
	case OpDatabaseCreateFileCopy:
		d, err := ParseDatabaseCopy(rec)
		return fmt.Appendf(dst, "copy dir %d/%d to %d/%d", d.SourceTablespace, d.SourceDB, d.Tablespace, d.DB), err
	case OpDatabaseCreateWALLog:
		d, err := ParseDatabaseCreate(rec)
		return fmt.Appendf(dst, "create dir %d/%d", d.Tablespace, d.DB), err
	case OpDatabaseDrop:
		d, err := ParseDatabaseDrop(rec)
		dst = append(dst, "dir"...)
		for _, tablespace := range d.Tablespaces {
			dst = fmt.Appendf(dst, " %d/%d", tablespace, d.DB)
		}
		return dst, err
	}
	return dst, nil
}

func appendTablespaceBody(dst []byte, rec *Record) ([]byte, error) {
	switch rec.Op() {
	case OpTablespaceCreate:
		t, err := ParseTablespaceCreate(rec)
		return fmt.Appendf(dst, "%d \"%s\"", t.ID, t.Path), err
	case OpTablespaceDrop:
		id, err := ParseTablespaceDrop(rec)
		return strconv.AppendUint(dst, uint64(id), 10), err
	}
	return dst, nil
}

func appendMultiXactBody(dst []byte, rec *Record) ([]byte, error) {
	switch rec.Op() {
	case OpMultiXactZeroOffsets, OpMultiXactZeroMembers:
		page, err := ParseMultiXactZeroPage(rec)
		return fmt.Appendf(dst, "%d", int32(page)), err
	case OpMultiXactCreate:
		var m MultiXactCreate
		err := ParseMultiXactCreate(rec, &m)
		dst = fmt.Appendf(dst, "%d offset %d nmembers %d: ", m.ID, m.Offset, len(m.Members))
		for _, member := range m.Members {
			dst = fmt.Appendf(dst, "%d (%s) ", member.XID, member.Status)
		}
		return dst, err
	case OpMultiXactTruncate:
		t, err := ParseMultiXactTruncate(rec)
		return fmt.Appendf(dst, "offsets [%d, %d), members [%d, %d)", t.StartMulti, t.EndMulti, t.StartMembers, t.EndMembers), err
	}
	return dst, nil
}

func appendRelMapBody(dst []byte, rec *Record) ([]byte, error) {
	if rec.Op() != OpRelMapUpdate {
		return dst, nil
	}
	u, err := ParseRelMapUpdate(rec)
	return fmt.Appendf(dst, "database %d tablespace %d size %d", u.DB, u.Tablespace, len(u.Map)), err
}

func appendSequenceBody(dst []byte, rec *Record) ([]byte, error) {
	if rec.Op() != OpSequenceLog {
		return dst, nil
	}
	s, err := ParseSequenceLog(rec)
	return fmt.Appendf(dst, "rel %s", s.Rel), err
}

func appendReplOriginBody(dst []byte, rec *Record) ([]byte, error) {
	switch rec.Op() {
	case OpReplOriginSet:
		s, err := ParseReplOriginSet(rec)
		force := 0
		if s.Force {
			force = 1
		}
		return fmt.Appendf(dst, "set %d; lsn %s; force: %d", s.Node, s.RemoteLSN, force), err
	case OpReplOriginDrop:
		node, err := ParseReplOriginDrop(rec)
		return fmt.Appendf(dst, "drop %d", node), err
	}
	return dst, nil
}

func appendLogicalMessageBody(dst []byte, rec *Record) ([]byte, error) {
	if rec.Op() != OpLogicalMessage {
		return dst, nil
	}
	m, err := ParseLogicalMessage(rec)
	how := "non-transactional"
	if m.Transactional {
		how = "transactional"
	}
	return fmt.Appendf(dst, "%s, prefix \"%s\"; payload (%d bytes): % X", how, m.Prefix, len(m.Message), m.Message), err
}
