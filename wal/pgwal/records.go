package pgwal

import (
	"encoding/binary"
	"math"

	"github.com/varvedb/varve/wal/assert"
)

// infoSpecialRelUpdate in the Info of a record says that it changes relation files in
// a way that its block references do not show. It is PostgreSQL's XLR_SPECIAL_REL_UPDATE.
const infoSpecialRelUpdate = 0x01

// ShutdownCheckpoint is the record that a clean shutdown ends in and a start without
// replay begins from. checkpoint is a [CheckPoint] in bytes.
func ShutdownCheckpoint(checkpoint []byte) RecordSpec {
	return RecordSpec{RMgr: RMgrXLOG, Info: OpXLOGCheckpointShutdown, MainData: checkpoint}
}

// Commit is the record that makes a transaction and its subtransactions count.
// dropped are the relations whose files go away.
func Commit(xid XID, time Timestamp, subXIDs []XID, dropped []RelFileNode) RecordSpec {
	return xactEnd(OpXactCommit, xid, time, subXIDs, dropped)
}

// Abort is the record that says that a transaction and its subtransactions never will
// count. Its arguments are those of [Commit].
func Abort(xid XID, time Timestamp, subXIDs []XID, dropped []RelFileNode) RecordSpec {
	return xactEnd(OpXactAbort, xid, time, subXIDs, dropped)
}

func xactEnd(info uint8, xid XID, time Timestamp, subXIDs []XID, dropped []RelFileNode) RecordSpec {
	le := binary.LittleEndian
	has := uint32(0)
	if len(subXIDs) > 0 {
		has |= XactHasSubXIDs
	}
	if len(dropped) > 0 {
		has |= XactHasRels
		info |= infoSpecialRelUpdate
	}
	body := le.AppendUint64(nil, uint64(time))
	if has != 0 {
		info |= InfoXactHasInfo
		body = le.AppendUint32(body, has)
	}
	if len(subXIDs) > 0 {
		body = le.AppendUint32(body, uint32(len(subXIDs)))
		for _, sub := range subXIDs {
			body = le.AppendUint32(body, sub)
		}
	}
	if len(dropped) > 0 {
		body = le.AppendUint32(body, uint32(len(dropped)))
		for _, rel := range dropped {
			body = le.AppendUint32(le.AppendUint32(le.AppendUint32(body, rel.Spc), rel.DB), rel.Rel)
		}
	}
	return RecordSpec{RMgr: RMgrTransaction, Info: info, XID: xid, MainData: body}
}

// FullPageImage is the record that replaces a page by image, which has [PageSize] bytes.
func FullPageImage(rel RelFileNode, fork Fork, block BlockNumber, image []byte, compress Compression) RecordSpec {
	b := BlockSpec{Rel: rel, Fork: fork, Block: block, Image: image, Apply: true, Compress: compress}
	return RecordSpec{RMgr: RMgrXLOG, Info: OpXLOGFPI, Blocks: []BlockSpec{b}}
}

// PageChange says that the bytes of a page from Offset on become Data.
type PageChange struct {
	Offset uint16
	Data   []byte
}

// BlockChange is what a generic record does to one page.
type BlockChange struct {
	Rel     RelFileNode
	Fork    Fork
	Block   BlockNumber
	Changes []PageChange // each inside the page, in ascending order, not overlapping
}

// Generic is the record that changes ranges of bytes in at most four pages.
func Generic(xid XID, changes ...BlockChange) RecordSpec {
	const blocksMax = 4 // MAX_GENERIC_XLOG_PAGES
	assert.That(len(changes) <= blocksMax, "a generic record changes %d pages of at most %d", len(changes), blocksMax)
	spec := RecordSpec{RMgr: RMgrGeneric, XID: xid}
	for i, c := range changes {
		b := BlockSpec{ID: uint8(i), Rel: c.Rel, Fork: c.Fork, Block: c.Block, Data: appendChanges(nil, c.Changes)}
		spec.Blocks = append(spec.Blocks, b)
	}
	return spec
}

// appendChanges appends offset, length and bytes of each change.
func appendChanges(dst []byte, changes []PageChange) []byte {
	le := binary.LittleEndian
	at := 0
	for _, c := range changes {
		assert.That(int(c.Offset) >= at, "a change at %d lies behind the one before, which ends at %d", c.Offset, at)
		at = int(c.Offset) + len(c.Data)
		assert.That(at <= PageSize, "a change that ends at %d is inside its page", at)
		dst = le.AppendUint16(le.AppendUint16(dst, c.Offset), uint16(len(c.Data)))
		dst = append(dst, c.Data...)
	}
	assert.That(len(dst) <= math.MaxUint16, "the changes of a page, %d bytes, fit in 16 bits", len(dst))
	return dst
}
