package pgwal

// The operations of Btree records (nbtxlog.h).
const (
	OpBtreeInsertLeaf       = 0x00
	OpBtreeInsertUpper      = 0x10
	OpBtreeInsertMeta       = 0x20
	OpBtreeSplitL           = 0x30
	OpBtreeSplitR           = 0x40
	OpBtreeInsertPost       = 0x50
	OpBtreeDedup            = 0x60
	OpBtreeDelete           = 0x70
	OpBtreeUnlinkPage       = 0x80
	OpBtreeUnlinkPageMeta   = 0x90
	OpBtreeNewRoot          = 0xA0
	OpBtreeMarkPageHalfDead = 0xB0
	OpBtreeVacuum           = 0xC0
	OpBtreeReusePage        = 0xD0 // a conflict for standbys; touches no page
	OpBtreeMetaCleanup      = 0xE0
)

var btreeKinds = [16]string{
	"INSERT_LEAF", "INSERT_UPPER", "INSERT_META", "SPLIT_L", "SPLIT_R", "INSERT_POST", "DEDUP", "DELETE",
	"UNLINK_PAGE", "UNLINK_PAGE_META", "NEWROOT", "MARK_PAGE_HALFDEAD", "VACUUM", "REUSE_PAGE", "META_CLEANUP", "",
}

// The operations of Hash records (hash_xlog.h).
const (
	OpHashInitMetaPage      = 0x00
	OpHashInitBitmapPage    = 0x10
	OpHashInsert            = 0x20
	OpHashAddOverflowPage   = 0x30
	OpHashSplitAllocatePage = 0x40
	OpHashSplitPage         = 0x50
	OpHashSplitComplete     = 0x60
	OpHashMovePageContents  = 0x70
	OpHashSqueezePage       = 0x80
	OpHashDelete            = 0x90
	OpHashSplitCleanup      = 0xA0
	OpHashUpdateMetaPage    = 0xB0
	OpHashVacuumOnePage     = 0xC0
)

// HashLockedBucket returns the first page of a bucket that the record does not change,
// or nil. The record lists it, as block 0, so that replay locks it before it changes
// other pages of the bucket. PostgreSQL may hold no lock on it, so that an image which
// wal_consistency_checking attaches may be older than the records before this one.
func HashLockedBucket(rec *Record) *BlockRef {
	if rec.RMgr != RMgrHash {
		return nil
	}
	switch rec.Op() {
	case OpHashMovePageContents, OpHashSqueezePage, OpHashDelete:
		return rec.Block(0)
	}
	return nil
}

var hashKinds = [16]string{
	"INIT_META_PAGE", "INIT_BITMAP_PAGE", "INSERT", "ADD_OVFL_PAGE", "SPLIT_ALLOCATE_PAGE", "SPLIT_PAGE", "SPLIT_COMPLETE",
	"MOVE_PAGE_CONTENTS", "SQUEEZE_PAGE", "DELETE", "SPLIT_CLEANUP", "UPDATE_META_PAGE", "VACUUM_ONE_PAGE", "", "", "",
}

// The operations of Gin records (ginxlog.h).
const (
	OpGinCreatePtree        = 0x10
	OpGinInsert             = 0x20
	OpGinSplit              = 0x30
	OpGinVacuumPage         = 0x40
	OpGinDeletePage         = 0x50
	OpGinUpdateMetaPage     = 0x60
	OpGinInsertListPage     = 0x70
	OpGinDeleteListPage     = 0x80
	OpGinVacuumDataLeafPage = 0x90
)

var ginKinds = [16]string{
	"", "CREATE_PTREE", "INSERT", "SPLIT", "VACUUM_PAGE", "DELETE_PAGE", "UPDATE_META_PAGE", "INSERT_LISTPAGE",
	"DELETE_LISTPAGE", "VACUUM_DATA_LEAF_PAGE", "", "", "", "", "", "",
}

// The operations of SPGist records (spgxlog.h).
const (
	OpSPGistAddLeaf        = 0x10
	OpSPGistMoveLeafs      = 0x20
	OpSPGistAddNode        = 0x30
	OpSPGistSplitTuple     = 0x40
	OpSPGistPickSplit      = 0x50
	OpSPGistVacuumLeaf     = 0x60
	OpSPGistVacuumRoot     = 0x70
	OpSPGistVacuumRedirect = 0x80
)

var spgistKinds = [16]string{
	"", "ADD_LEAF", "MOVE_LEAFS", "ADD_NODE", "SPLIT_TUPLE", "PICKSPLIT", "VACUUM_LEAF", "VACUUM_ROOT",
	"VACUUM_REDIRECT", "", "", "", "", "", "", "",
}

// The operations of BRIN records (brin_xlog.h). [InfoInitPage] may ride along.
const (
	OpBRINCreateIndex    = 0x00
	OpBRINInsert         = 0x10
	OpBRINUpdate         = 0x20
	OpBRINSamePageUpdate = 0x30
	OpBRINRevmapExtend   = 0x40
	OpBRINDesummarize    = 0x50
)

var brinKinds = [16]string{
	"CREATE_INDEX", "INSERT", "UPDATE", "SAMEPAGE_UPDATE", "REVMAP_EXTEND", "DESUMMARIZE", "", "",
	"", "INSERT+INIT", "UPDATE+INIT", "", "", "", "", "",
}
