package pagediff

import (
	"encoding/binary"

	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/pgwal"
)

// The page header, in bytes from the page's start:
//
//	0 pd_lsn (8) | 8 pd_checksum (2) | 10 pd_flags (2) | 12 pd_lower (2) | 14 pd_upper (2)
//	16 pd_special (2) | 18 pd_pagesize_version (2) | 20 pd_prune_xid (4) | 24 line pointers
const (
	lsnOffset      = 0
	checksumOffset = 8
	flagsOffset    = 10
	lowerOffset    = 12
	upperOffset    = 14
	specialOffset  = 16
	versionOffset  = 18
	pruneOffset    = 20
	headerBytes    = 24
	pointerBytes   = 4

	pageVersion = pgwal.PageSize | 4 // size and layout version share a field
)

// Kind is what a page of a main or init fork is.
type Kind uint8

// The kinds of pages.
const (
	ZeroPage     Kind = iota // nothing but zeros: never written
	HeapPage                 // tables, TOAST and materialised views: no special space
	SequencePage             // the one page of a sequence
	BtreePage
	HashPage
	GinPage
	GistPage
	SPGistPage
	BRINPage
	RevmapPage // of a BRIN index; fills the space where other pages have a hole
	BloomPage
	VMPage
	OtherPage // an access method that we do not know: compared byte for byte
)

var kindNames = [...]string{"zero", "heap", "sequence", "btree", "hash", "gin", "gist", "spgist", "brin", "brin revmap", "bloom", "visibility map", "other"}

// Kinds is how many kinds there are.
const Kinds = int(OtherPage) + 1

func (k Kind) String() string { return kindNames[k] }

// Index pages end in a number that says whose they are, but for GIN's.
const (
	btreeCycleIDMax = 0xFF7F
	hashPageID      = 0xFF80
	gistPageID      = 0xFF81
	spgistPageID    = 0xFF82
	bloomPageID     = 0xFF83
	brinMetaID      = 0xF091
	brinRevmapID    = 0xF092
	brinRegularID   = 0xF093
	sequenceMagic   = 0x1717
)

// page is 8192 bytes.
type page []byte

func (p page) u16(at int) int { return int(binary.LittleEndian.Uint16(p[at:])) }
func (p page) u32(at int) uint32 {
	return binary.LittleEndian.Uint32(p[at:])
}
func (p page) lsn() wal.LSN {
	// Two halves, the upper one first, each little-endian.
	return wal.LSN(p.u32(lsnOffset))<<32 | wal.LSN(p.u32(lsnOffset+4))
}

func (p page) lower() int   { return p.u16(lowerOffset) }
func (p page) upper() int   { return p.u16(upperOffset) }
func (p page) special() int { return p.u16(specialOffset) }

// isZero reports whether all of b is zero.
func isZero(b []byte) bool {
	for len(b) >= 8 {
		if binary.LittleEndian.Uint64(b) != 0 {
			return false
		}
		b = b[8:]
	}
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}

// sane reports whether the header's three offsets are in order.
func (p page) sane() bool {
	return headerBytes <= p.lower() && p.lower() <= p.upper() && p.upper() <= p.special() && p.special() <= pgwal.PageSize
}

// KindOf tells what a page is from fork, block number and special space.
func KindOf(p page, fork pgwal.Fork, block uint32) Kind {
	switch {
	case isZero(p):
		return ZeroPage
	case fork == pgwal.VMFork:
		return VMPage
	case !p.sane() || p.u16(versionOffset) != pageVersion:
		return OtherPage
	}
	switch pgwal.PageSize - p.special() {
	case 0:
		return HeapPage
	case 8:
		return kindOfSmallSpecial(p, block)
	case 16:
		return kindOfLargeSpecial(p)
	}
	return OtherPage
}

func kindOfSmallSpecial(p page, block uint32) Kind {
	switch p.u16(pgwal.PageSize - 2) {
	case spgistPageID:
		return SPGistPage
	case bloomPageID:
		return BloomPage
	case brinMetaID, brinRegularID:
		return BRINPage
	case brinRevmapID:
		return RevmapPage
	}
	// A GIN page's special space is right link, item count, flags; the first page
	// of a GIN index has a flag, so only a sequence looks like one there.
	if block == 0 && p.u32(p.special()) == sequenceMagic && p.u32(p.special()+4) == 0 {
		return SequencePage
	}
	return GinPage
}

func kindOfLargeSpecial(p page) Kind {
	switch id := p.u16(pgwal.PageSize - 2); {
	case id <= btreeCycleIDMax:
		return BtreePage
	case id == hashPageID:
		return HashPage
	case id == gistPageID:
		return GistPage
	}
	return OtherPage
}

// Line pointer states.
const (
	pointerNormal = 1
	pointerDead   = 3
)

// pointers returns the number of line pointers.
func (p page) pointers() int { return (p.lower() - headerBytes) / pointerBytes }

// pointerAt is the offset in the page of line pointer i, counted from 0.
func pointerAt(i int) int { return headerBytes + i*pointerBytes }

// pointer unpacks line pointer i: offset (15 bits), state (2), length (15).
func (p page) pointer(i int) (offset, state, length int) {
	v := p.u32(pointerAt(i))
	return int(v & 0x7FFF), int(v >> 15 & 3), int(v >> 17)
}
