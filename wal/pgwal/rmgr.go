package pgwal

import "fmt"

// InfoInitPage in the Info of a Heap, Heap2 or BRIN record says that its page is
// rebuilt from nothing.
const InfoInitPage = 0x80

// InfoXactHasInfo in the Info of a Transaction record says that the word of
// flags is there.
const InfoXactHasInfo = 0x80

// Op returns the operation in Info, without the flags that ride along: the value
// to compare with the Op constants of the record's resource manager.
func (r *Record) Op() uint8 { return r.Info & opMask(r.RMgr) }

// opMask says which bits of Info are the operation. The low four bits are
// PostgreSQL's own for all managers; some managers use the top bit as a flag.
func opMask(m RMgr) uint8 {
	switch m {
	case RMgrTransaction, RMgrHeap, RMgrHeap2, RMgrBRIN:
		return 0x70
	}
	return 0xF0
}

// Kind names what the record does, as pg_waldump prints it, such as INSERT+INIT.
func (r *Record) Kind() string { return KindName(r.RMgr, r.Info) }

// KindName names what a record of manager m with this xl_info does, as pg_waldump
// prints it. An unknown operation is "UNKNOWN (f0)", with the info in hexadecimal.
func KindName(m RMgr, info uint8) string {
	index := info >> 4
	if m == RMgrTransaction {
		index &= opMask(m) >> 4
	}
	if int(m) < len(kindNames) && kindNames[m][index] != "" {
		return kindNames[m][index]
	}
	return fmt.Sprintf("UNKNOWN (%x)", info&0xF0)
}

// kindNames holds for every manager the names of its operations, by the upper
// four bits of xl_info.
var kindNames = [...][16]string{
	RMgrXLOG: {
		OpXLOGCheckpointShutdown >> 4:  "CHECKPOINT_SHUTDOWN",
		OpXLOGCheckpointOnline >> 4:    "CHECKPOINT_ONLINE",
		OpXLOGNoop >> 4:                "NOOP",
		OpXLOGNextOID >> 4:             "NEXTOID",
		OpXLOGSwitch >> 4:              "SWITCH",
		OpXLOGBackupEnd >> 4:           "BACKUP_END",
		OpXLOGParameterChange >> 4:     "PARAMETER_CHANGE",
		OpXLOGRestorePoint >> 4:        "RESTORE_POINT",
		OpXLOGFPWChange >> 4:           "FPW_CHANGE",
		OpXLOGEndOfRecovery >> 4:       "END_OF_RECOVERY",
		OpXLOGFPIForHint >> 4:          "FPI_FOR_HINT",
		OpXLOGFPI >> 4:                 "FPI",
		OpXLOGOverwriteContrecord >> 4: "OVERWRITE_CONTRECORD",
	},
	RMgrTransaction: {
		OpXactCommit >> 4:         "COMMIT",
		OpXactPrepare >> 4:        "PREPARE",
		OpXactAbort >> 4:          "ABORT",
		OpXactCommitPrepared >> 4: "COMMIT_PREPARED",
		OpXactAbortPrepared >> 4:  "ABORT_PREPARED",
		OpXactAssignment >> 4:     "ASSIGNMENT",
		OpXactInvalidations >> 4:  "INVALIDATION",
	},
	RMgrStorage: {
		OpSmgrCreate >> 4:   "CREATE",
		OpSmgrTruncate >> 4: "TRUNCATE",
	},
	RMgrCLOG: {
		OpCLOGZeroPage >> 4: "ZEROPAGE",
		OpCLOGTruncate >> 4: "TRUNCATE",
	},
	RMgrDatabase: {
		OpDatabaseCreateFileCopy >> 4: "CREATE_FILE_COPY",
		OpDatabaseCreateWALLog >> 4:   "CREATE_WAL_LOG",
		OpDatabaseDrop >> 4:           "DROP",
	},
	RMgrTablespace: {
		OpTablespaceCreate >> 4: "CREATE",
		OpTablespaceDrop >> 4:   "DROP",
	},
	RMgrMultiXact: {
		OpMultiXactZeroOffsets >> 4: "ZERO_OFF_PAGE",
		OpMultiXactZeroMembers >> 4: "ZERO_MEM_PAGE",
		OpMultiXactCreate >> 4:      "CREATE_ID",
		OpMultiXactTruncate >> 4:    "TRUNCATE_ID",
	},
	RMgrRelMap: {
		OpRelMapUpdate >> 4: "UPDATE",
	},
	RMgrStandby: {
		OpStandbyLock >> 4:          "LOCK",
		OpStandbyRunningXacts >> 4:  "RUNNING_XACTS",
		OpStandbyInvalidations >> 4: "INVALIDATIONS",
	},
	RMgrHeap2: {
		OpHeap2Rewrite >> 4:                      "REWRITE",
		OpHeap2Prune >> 4:                        "PRUNE",
		OpHeap2Vacuum >> 4:                       "VACUUM",
		OpHeap2FreezePage >> 4:                   "FREEZE_PAGE",
		OpHeap2Visible >> 4:                      "VISIBLE",
		OpHeap2MultiInsert >> 4:                  "MULTI_INSERT",
		(OpHeap2MultiInsert | InfoInitPage) >> 4: "MULTI_INSERT+INIT",
		OpHeap2LockUpdated >> 4:                  "LOCK_UPDATED",
		OpHeap2NewCID >> 4:                       "NEW_CID",
	},
	RMgrHeap: {
		OpHeapInsert >> 4:                     "INSERT",
		(OpHeapInsert | InfoInitPage) >> 4:    "INSERT+INIT",
		OpHeapDelete >> 4:                     "DELETE",
		OpHeapUpdate >> 4:                     "UPDATE",
		(OpHeapUpdate | InfoInitPage) >> 4:    "UPDATE+INIT",
		OpHeapTruncate >> 4:                   "TRUNCATE",
		OpHeapHotUpdate >> 4:                  "HOT_UPDATE",
		(OpHeapHotUpdate | InfoInitPage) >> 4: "HOT_UPDATE+INIT",
		OpHeapConfirm >> 4:                    "HEAP_CONFIRM",
		OpHeapLock >> 4:                       "LOCK",
		OpHeapInplace >> 4:                    "INPLACE",
	},
	RMgrBtree:  btreeKinds,
	RMgrHash:   hashKinds,
	RMgrGin:    ginKinds,
	RMgrGist:   gistKinds,
	RMgrSPGist: spgistKinds,
	RMgrBRIN:   brinKinds,
	RMgrSequence: {
		OpSequenceLog >> 4: "LOG",
	},
	RMgrCommitTs: {
		OpCommitTsZeroPage >> 4: "ZEROPAGE",
		OpCommitTsTruncate >> 4: "TRUNCATE",
	},
	RMgrReplOrigin: {
		OpReplOriginSet >> 4:  "SET",
		OpReplOriginDrop >> 4: "DROP",
	},
	RMgrGeneric: {
		OpGenericDelta >> 4: "Generic",
	},
	RMgrLogicalMsg: {
		OpLogicalMessage >> 4: "MESSAGE",
	},
}
