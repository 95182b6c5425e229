package pgwal

import (
	"fmt"

	"github.com/varvedb/varve/wal"
)

// PageSize is PostgreSQL's BLCKSZ: the size in bytes of a page of a relation.
const PageSize = 8192

// WALPageSize is PostgreSQL's XLOG_BLCKSZ: the size in bytes of a page of the log.
const WALPageSize = 8192

// BlockNumber counts the pages of one fork of a relation from 0.
type BlockNumber = uint32

// XID is a transaction id as records carry it: 32 bits, without the epoch.
type XID = uint32

// FullXID is a transaction id with its epoch in the upper 32 bits.
type FullXID uint64

// RelFileNode names the files of a relation: tablespace, database (0 for a shared
// relation) and file node.
type RelFileNode struct{ Spc, DB, Rel uint32 }

// String renders the node as pg_waldump does: tablespace/database/relation.
func (r RelFileNode) String() string { return fmt.Sprintf("%d/%d/%d", r.Spc, r.DB, r.Rel) }

// Fork is one of the files that make up a relation.
type Fork uint8

// The forks of a relation. The numbers are in the log.
const (
	MainFork Fork = 0 // the data
	FSMFork  Fork = 1 // the free-space map
	VMFork   Fork = 2 // the visibility map
	InitFork Fork = 3 // the empty state of an unlogged relation
)

var forkNames = [...]string{MainFork: "main", FSMFork: "fsm", VMFork: "vm", InitFork: "init"}

// String names the fork as PostgreSQL does: main, fsm, vm or init.
func (f Fork) String() string {
	if int(f) < len(forkNames) {
		return forkNames[f]
	}
	return fmt.Sprintf("fork%d", uint8(f))
}

// RMgr is a resource manager: the part of PostgreSQL that wrote a record and knows
// how to redo it.
type RMgr uint8

// The resource managers of PostgreSQL 15. The numbers are in the log.
const (
	RMgrXLOG        RMgr = 0
	RMgrTransaction RMgr = 1
	RMgrStorage     RMgr = 2
	RMgrCLOG        RMgr = 3
	RMgrDatabase    RMgr = 4
	RMgrTablespace  RMgr = 5
	RMgrMultiXact   RMgr = 6
	RMgrRelMap      RMgr = 7
	RMgrStandby     RMgr = 8
	RMgrHeap2       RMgr = 9
	RMgrHeap        RMgr = 10
	RMgrBtree       RMgr = 11
	RMgrHash        RMgr = 12
	RMgrGin         RMgr = 13
	RMgrGist        RMgr = 14
	RMgrSequence    RMgr = 15
	RMgrSPGist      RMgr = 16
	RMgrBRIN        RMgr = 17
	RMgrCommitTs    RMgr = 18
	RMgrReplOrigin  RMgr = 19
	RMgrGeneric     RMgr = 20
	RMgrLogicalMsg  RMgr = 21
)

// rmgrCustomMin is the first number of a resource manager that an extension may claim.
const rmgrCustomMin RMgr = 128

var rmgrNames = [...]string{
	RMgrXLOG: "XLOG", RMgrTransaction: "Transaction", RMgrStorage: "Storage", RMgrCLOG: "CLOG",
	RMgrDatabase: "Database", RMgrTablespace: "Tablespace", RMgrMultiXact: "MultiXact",
	RMgrRelMap: "RelMap", RMgrStandby: "Standby", RMgrHeap2: "Heap2", RMgrHeap: "Heap",
	RMgrBtree: "Btree", RMgrHash: "Hash", RMgrGin: "Gin", RMgrGist: "Gist",
	RMgrSequence: "Sequence", RMgrSPGist: "SPGist", RMgrBRIN: "BRIN", RMgrCommitTs: "CommitTs",
	RMgrReplOrigin: "ReplicationOrigin", RMgrGeneric: "Generic", RMgrLogicalMsg: "LogicalMessage",
}

// String names the resource manager as pg_waldump does.
func (m RMgr) String() string {
	if int(m) < len(rmgrNames) {
		return rmgrNames[m]
	}
	if m >= rmgrCustomMin {
		return fmt.Sprintf("custom%03d", uint8(m))
	}
	return fmt.Sprintf("unknown%03d", uint8(m))
}

// valid reports whether PostgreSQL could have written a record of this manager.
func (m RMgr) valid() bool { return int(m) < len(rmgrNames) || m >= rmgrCustomMin }

// Record is one record of the log, decoded. Its slices point into the bytes it was
// decoded from: a record from [Decoder.Next] is valid until the next call of Next.
type Record struct {
	LSN  wal.LSN // first byte of the record's header
	End  wal.LSN // as PostgreSQL's EndRecPtr; see the package comment
	Prev wal.LSN // xl_prev: LSN of the record before, 0 at the start of a log

	XID      XID    // the writing transaction, 0 if none
	TopXID   XID    // the top-level transaction of XID when the record names it, 0 otherwise
	Origin   uint16 // replication origin, 0 if none
	RMgr     RMgr
	Info     uint8 // xl_info: the manager's kind and flags above, XLR_* flags in the low four bits
	TotalLen uint32

	Blocks   []BlockRef // in ascending order of ID, which may have gaps
	MainData []byte
	Raw      []byte // the whole record, header included, page headers taken out
}

// Block returns the block reference numbered id, or nil if the record has none.
func (r *Record) Block(id uint8) *BlockRef {
	for i := range r.Blocks {
		if r.Blocks[i].ID == id {
			return &r.Blocks[i]
		}
	}
	return nil
}

// BlockRef is one page that a record changes, with what the record says of it.
type BlockRef struct {
	ID    uint8 // number of the reference in its record, 0 to 32
	Fork  Fork
	Rel   RelFileNode
	Block BlockNumber

	WillInit   bool // redo starts from an empty page
	HasImage   bool // Image is set
	ApplyImage bool // redo replaces the page by Image; otherwise Image is for consistency checks
	Image      Image
	Data       []byte // the manager's data about this page, nil if none

	dataLength uint16 // of Data, before the payloads are dealt out
}

// Image is a full-page image as the record holds it. [Record.Restore] unpacks it.
type Image struct {
	Compression Compression
	Length      uint16 // length of Bytes
	HoleOffset  uint16 // where the bytes left out begin in the page, 0 if there is no hole
	HoleLength  uint16 // how many bytes are left out; they are zeros
	Bytes       []byte
}

// Compression is how the bytes of an image are packed.
type Compression uint8

// The compression methods of PostgreSQL 15.
const (
	CompressionNone Compression = iota
	CompressionPGLZ
	CompressionLZ4
	CompressionZSTD
)

var compressionNames = [...]string{
	CompressionNone: "none", CompressionPGLZ: "pglz", CompressionLZ4: "lz4", CompressionZSTD: "zstd",
}

// String names the method as PostgreSQL's wal_compression does.
func (c Compression) String() string {
	if int(c) < len(compressionNames) {
		return compressionNames[c]
	}
	return fmt.Sprintf("compression%d", uint8(c))
}
