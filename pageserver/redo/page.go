package redo

import (
	"bytes"
	"encoding/binary"

	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/pgwal"
)

// The header of a PostgreSQL page, 24 bytes:
//
//	| pd_lsn (4 high, 4 low) | pd_checksum (2) | pd_flags (2) | pd_lower (2)
//	| pd_upper (2) | pd_special (2) | pd_pagesize_version (2) | pd_prune_xid (4) |
const (
	offLower       = 12
	offUpper       = 14
	offSpecial     = 16
	offPageVersion = 18
	offPrune       = 20

	pageHeaderBytes = 24
	pageVersion     = pgwal.PageSize | 4 // size and layout version in one
)

// IsNew reports whether a page was never initialised.
func IsNew(page []byte) bool { return binary.LittleEndian.Uint16(page[offUpper:]) == 0 }

// IsZero reports whether a page holds nothing but zeros.
func IsZero(page []byte) bool { return bytes.Equal(page, zeroPage[:]) }

// PageLSN is the page's pd_lsn.
func PageLSN(page []byte) wal.LSN {
	high, low := binary.LittleEndian.Uint32(page), binary.LittleEndian.Uint32(page[4:])
	return wal.LSN(high)<<32 | wal.LSN(low)
}

// SetPageLSN sets the page's pd_lsn.
func SetPageLSN(page []byte, lsn wal.LSN) {
	binary.LittleEndian.PutUint32(page, uint32(lsn>>32))
	binary.LittleEndian.PutUint32(page[4:], uint32(lsn))
}

// initPage makes an empty page without special space.
func initPage(page []byte) { initPageSpecial(page, 0) }

// initPageSpecial makes an empty page with so many bytes of special space.
func initPageSpecial(page []byte, special int) {
	clear(page)
	binary.LittleEndian.PutUint16(page[offLower:], pageHeaderBytes)
	binary.LittleEndian.PutUint16(page[offUpper:], uint16(pgwal.PageSize-special))
	binary.LittleEndian.PutUint16(page[offSpecial:], uint16(pgwal.PageSize-special))
	binary.LittleEndian.PutUint16(page[offPageVersion:], pageVersion)
}
