package redo

import (
	"encoding/binary"

	"github.com/varvedb/varve/wal/pgwal"
)

// The visibility map holds two bits for each heap block, four blocks a byte, after
// an ordinary page header.
const (
	vmBlocksPerByte = 4
	vmMapBytes      = pgwal.PageSize - pageHeaderBytes
	vmBlocksPerPage = vmMapBytes * vmBlocksPerByte
)

// VMPlace is where the visibility map keeps the bits of a heap block: the page of
// the map, and whether these are the first bits of that page.
func VMPlace(heapBlock uint32) (page uint32, first bool) {
	return heapBlock / vmBlocksPerPage, heapBlock%vmBlocksPerPage == 0
}

// vmClear clears bits without touching pd_lsn, as PostgreSQL does. A map page that
// is not there yet is made: PostgreSQL, too, extends the map before it clears.
func vmClear(page []byte, block uint32, body []byte) error {
	if len(body) != 5 {
		return corrupt("length of vm clear", 5, len(body))
	}
	heapBlock := binary.LittleEndian.Uint32(body)
	if place, _ := VMPlace(heapBlock); place != block {
		return corrupt("map page of a heap block", block, place)
	}
	if IsNew(page) {
		initPage(page)
	}
	at := heapBlock % vmBlocksPerPage
	shift := at % vmBlocksPerByte * 2
	page[pageHeaderBytes+at/vmBlocksPerByte] &^= body[4] << shift
	return nil
}

// vmSet sets bits of a heap block. A map page that is not there yet is made.
func vmSet(page []byte, block, heapBlock uint32, bits uint8) error {
	if place, _ := VMPlace(heapBlock); place != block {
		return corrupt("map page of a heap block", block, place)
	}
	if IsNew(page) {
		initPage(page)
	}
	at := heapBlock % vmBlocksPerPage
	page[pageHeaderBytes+at/vmBlocksPerByte] |= bits & (pgwal.VMAllVisible | pgwal.VMAllFrozen) << (at % vmBlocksPerByte * 2)
	return nil
}

// vmTruncate clears the bits of heap blocks that a truncation cut off.
func vmTruncate(page []byte, block uint32, body []byte) error {
	if len(body) != 4 {
		return corrupt("length of vm truncate", 4, len(body))
	}
	heapBlocks := binary.LittleEndian.Uint32(body)
	if place, _ := VMPlace(heapBlocks); place != block {
		return corrupt("map page of a heap block", block, place)
	}
	if IsNew(page) {
		return nil // A page of zeros has no bits to clear.
	}
	at := heapBlocks % vmBlocksPerPage
	last := page[pageHeaderBytes+at/vmBlocksPerByte:]
	last[0] &= 1<<(at%vmBlocksPerByte*2) - 1
	clear(last[1:])
	return nil
}
