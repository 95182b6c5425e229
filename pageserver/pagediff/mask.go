package pagediff

import (
	"bytes"
	"encoding/binary"

	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/pgwal"
)

// Mask is a reason why a byte on disk may differ from the stored one. Each is as
// narrow as PostgreSQL allows: it names the kind of page and the bytes, and where
// PostgreSQL only ever sets or only ever clears a bit without logging it, the mask
// accepts that direction alone.
type Mask uint8

// The masks.
const (
	// LSNMask: pd_lsn moved on by a record that says nothing of the page
	// (FPI_FOR_HINT without image); or 0 in an init fork, or 1 in a GiST index built
	// by sorting, which PostgreSQL writes to disk before it logs them.
	LSNMask Mask = iota
	// HoleMask: leftovers between pd_lower and pd_upper, which images leave out and
	// nobody reads.
	HoleMask
	// FreshMask: a page formatted when its fork was extended, never logged since.
	FreshMask
	// PruneMask: pd_prune_xid and PD_PAGE_FULL of heap pages, hints for pruning.
	PruneMask
	// FreeLinesMask: PD_HAS_FREE_LINES of heap pages, a hint: it is cleared on disk when a
	// search for a free line pointer finds none, and stays when an insertion into a page
	// that pruning has emptied is logged as one into a new page.
	FreeLinesMask
	// HintMask: hint bits of a heap tuple, set on disk.
	HintMask
	// CommandMask: t_cid and the flag of a combined one, of which the log says
	// nothing. Stored they are 0.
	CommandMask
	// SpeculativeMask: t_ctid of a tuple whose insertion may yet be taken back is a
	// token on disk, and leads to itself as the log has it.
	SpeculativeMask
	// PaddingMask: leftovers behind a heap tuple, up to a multiple of 8.
	PaddingMask
	// DeadMask: line pointers of an index leaf marked dead on disk, and the page
	// flag that says that there are some.
	DeadMask
	// CycleMask: a B-tree page's vacuum cycle id, and the flag of the last page that a
	// vacuum cycle saw split: not logged, but in images. One side has no cycle id.
	CycleMask
	// SequenceMask: last_value, log_cnt and is_called: the log runs ahead of the
	// page by up to 32 values.
	SequenceMask
	// LastUsedMask: the SP-GiST metapage's memory of pages with free space.
	LastUsedMask
	// EvacuateMask: the flag of a BRIN page that is being emptied, set on disk.
	EvacuateMask
	// DeletedMask: all of a GIN page that has left the pending list but the flag that says
	// so. PostgreSQL leaves its content there, and empties it when it replays the log.
	DeletedMask
	// TuplesDeletedMask: the flag of a GiST leaf that tuples were deleted, set on disk.
	// Nobody reads it, and a record does not tell: PostgreSQL 15.18 sets it when it
	// vacuums, and, when it replays, also where an insertion made room; 15.20 never does.
	TuplesDeletedMask
	// CopiedMask: visibility-map bits of a database that CREATE DATABASE copied by
	// the log. It logs these pages as if their content were a hole, so that replay
	// leaves none of it. Losing such bits is harmless: vacuum sets them again. The
	// caller knows whether the page began so.
	CopiedMask
)

// Masks is how many masks there are.
const Masks = int(CopiedMask) + 1

var maskNames = [Masks]string{
	LSNMask: "page LSN of an unlogged hint", HoleMask: "hole", FreshMask: "formatted but never logged",
	PruneMask: "heap pruning hint", FreeLinesMask: "heap free line pointers hint", HintMask: "heap tuple hint bits",
	CommandMask: "heap tuple command", SpeculativeMask: "heap speculative token", PaddingMask: "heap tuple padding", DeadMask: "dead index pointers",
	CycleMask: "btree vacuum cycle", SequenceMask: "sequence value", LastUsedMask: "spgist free-space memory",
	EvacuateMask: "brin evacuation flag", DeletedMask: "deleted page of gin's pending list", TuplesDeletedMask: "gist deletion flag", CopiedMask: "visibility map not logged by CREATE DATABASE",
}

func (m Mask) String() string { return maskNames[m] }

const (
	flagFreeLines = 0x0001 // in pd_flags
	flagPageFull  = 0x0002

	tupleCID         = 8 // offsets in a heap tuple's header
	tupleCtid        = 12
	tidBytes         = 6
	comboCID         = 0x0020 // in t_infomask
	speculativeToken = 0xFFFE // in t_ctid, as the line pointer

	tupleInfomask  = 20
	tupleHoff      = 22
	tupleHeader    = 23
	xminBits       = 0x0300 // both together: frozen, which is logged
	hintBits       = 0x0F00 // xmin and xmax, committed and invalid
	sequenceBytes  = 17
	btreeFlags     = 8188
	btreeCycle     = 8190
	btreeLeaf      = 1 << 0
	btreeSplitEnd  = 1 << 5
	btreeGarbage   = 1 << 6
	hashFlags      = 8188
	hashOverflow   = 1 << 0
	hashBucket     = 1 << 1
	hashHasDead    = 1 << 7
	gistBuildLSN   = 1
	gistFlags      = 8188
	gistLeaf       = 1 << 0
	gistTuplesDel  = 1 << 2
	gistGarbage    = 1 << 4
	ginFlags       = 8190
	ginDeleted     = 1 << 2 // and nothing else: a page of a posting tree has other flags too
	brinFlags      = 8188
	brinEvacuate   = 1 << 0
	spgistFlags    = 8184
	spgistMeta     = 1 << 0
	spgistLastUsed = headerBytes + 4
	spgistLastEnd  = spgistLastUsed + 64
)

// Comparer compares pages. It keeps the counts of what was masked.
type Comparer struct {
	At     wal.LSN      // as of which the stored pages are
	Copied bool         // the page at hand is known to have come without its content
	Masked [Masks]int64 // bytes or flags masked so far

	stored page
	disk   page // a copy that masks make equal to stored where they may
	block  uint32
}

// Compare returns the offset of the first byte of disk that differs from stored for
// no reason of PostgreSQL's, or -1, and what the stored page is. The slices, of 8192
// bytes, are not changed.
func (c *Comparer) Compare(fork pgwal.Fork, block uint32, stored, disk []byte) (offset int, k Kind) {
	k = KindOf(stored, fork, block)
	if bytes.Equal(stored, disk) {
		return -1, k
	}
	c.stored, c.disk, c.block = stored, append(c.disk[:0], disk...), block
	if k == ZeroPage {
		c.maskFresh(fork)
	} else if KindOf(disk, fork, block) == k {
		c.maskLSN(fork, k)
		c.maskKind(k, block)
	}
	return firstDifference(c.stored, c.disk), k
}

func firstDifference(a, b []byte) int {
	for i := range a {
		if a[i] != b[i] {
			return i
		}
	}
	return -1
}

// excuse makes bytes [from, to) equal and counts those that were not.
func (c *Comparer) excuse(m Mask, from, to int) {
	for i := from; i < to; i++ {
		if c.disk[i] != c.stored[i] {
			c.Masked[m]++
			c.disk[i] = c.stored[i]
		}
	}
}

// excuseSet takes those of bits out of the 16-bit word on disk that are not in the
// stored one.
func (c *Comparer) excuseSet(m Mask, at int, bits int) {
	if set := c.disk.u16(at) &^ c.stored.u16(at) & bits; set != 0 {
		c.Masked[m]++
		binary.LittleEndian.PutUint16(c.disk[at:], uint16(c.disk.u16(at)&^set))
	}
}

// excuseCleared puts those of bits into the 16-bit word on disk that are in the stored
// one.
func (c *Comparer) excuseCleared(m Mask, at int, bits int) {
	if cleared := c.stored.u16(at) &^ c.disk.u16(at) & bits; cleared != 0 {
		c.Masked[m]++
		binary.LittleEndian.PutUint16(c.disk[at:], uint16(c.disk.u16(at)|cleared))
	}
}

func (c *Comparer) maskLSN(fork pgwal.Fork, k Kind) {
	stored, disk := c.stored.lsn(), c.disk.lsn()
	moved := stored < disk && disk <= c.At
	early := fork == pgwal.InitFork && disk == 0 || k == GistPage && disk == gistBuildLSN
	if moved || early {
		c.excuse(LSNMask, lsnOffset, lsnOffset+8)
	}
}

// FreshMask accepts the page that formatting alone makes: a header and zeros.
func (c *Comparer) maskFresh(fork pgwal.Fork) {
	var fresh [pgwal.PageSize]byte
	le := binary.LittleEndian
	le.PutUint16(fresh[lowerOffset:], headerBytes)
	le.PutUint16(fresh[upperOffset:], pgwal.PageSize)
	le.PutUint16(fresh[specialOffset:], pgwal.PageSize)
	le.PutUint16(fresh[versionOffset:], pageVersion)
	if fork != pgwal.InitFork && bytes.Equal(c.disk, fresh[:]) {
		c.excuse(FreshMask, 0, headerBytes)
	}
}

func (c *Comparer) maskKind(k Kind, block uint32) {
	switch k {
	case HeapPage:
		c.maskHeap()
	case SequencePage:
		c.maskSequence()
	case BtreePage:
		if c.stored.u16(btreeFlags)&btreeLeaf != 0 {
			c.maskDead(btreeFlags, btreeGarbage)
		}
		c.maskCycle()
	case HashPage:
		// Other hash pages have no line pointers where these have them.
		if c.stored.u16(hashFlags)&(hashOverflow|hashBucket) != 0 {
			c.maskDead(hashFlags, hashHasDead)
		}
	case GistPage:
		if c.stored.u16(gistFlags)&gistLeaf != 0 {
			c.maskDead(gistFlags, gistGarbage)
			c.excuseSet(TuplesDeletedMask, gistFlags, gistTuplesDel)
		}
	case GinPage:
		if c.stored.u16(ginFlags) == ginDeleted && c.disk.u16(ginFlags) == ginDeleted {
			c.excuse(DeletedMask, lowerOffset, upperOffset+2)
			c.excuse(DeletedMask, headerBytes, ginFlags)
		}
	case SPGistPage:
		if block == 0 && c.stored.u16(spgistFlags)&spgistMeta != 0 {
			c.excuse(LastUsedMask, spgistLastUsed, spgistLastEnd)
		}
	case BRINPage:
		c.excuseSet(EvacuateMask, brinFlags, brinEvacuate)
	case VMPage:
		c.maskCopied()
	}
	if k != RevmapPage && k != VMPage && k != OtherPage {
		c.maskHole()
	}
}

// maskHole runs last: pd_lower and pd_upper are then known to agree.
func (c *Comparer) maskHole() {
	lower, upper := c.stored.lower(), c.stored.upper()
	if c.disk.lower() == lower && c.disk.upper() == upper {
		c.excuse(HoleMask, lower, upper)
	}
}

func (c *Comparer) maskHeap() {
	c.excuse(PruneMask, pruneOffset, pruneOffset+4)
	c.excuseSet(PruneMask, flagsOffset, flagPageFull)
	c.excuseCleared(PruneMask, flagsOffset, flagPageFull)
	c.excuseSet(FreeLinesMask, flagsOffset, flagFreeLines)
	c.excuseCleared(FreeLinesMask, flagsOffset, flagFreeLines)
	for i := range c.stored.pointers() {
		if c.stored.u32(pointerAt(i)) != c.disk.u32(pointerAt(i)) {
			continue
		}
		offset, state, length := c.stored.pointer(i)
		if state == pointerNormal && length >= tupleHeader && offset+length <= pgwal.PageSize {
			c.maskTuple(i+1, offset)
			c.excuse(PaddingMask, offset+length, min(offset+(length+7)&^7, pgwal.PageSize))
		}
	}
}

// maskTuple masks what may differ in tuple n, which is at offset.
func (c *Comparer) maskTuple(n, offset int) {
	infomask := offset + tupleInfomask
	stored, disk := c.stored.u16(infomask), c.disk.u16(infomask)
	froze := disk&xminBits == xminBits && stored&xminBits != xminBits
	if !froze {
		c.excuseSet(HintMask, infomask, hintBits)
	}
	c.excuseSet(CommandMask, infomask, comboCID)
	if c.stored.u32(offset+tupleCID) == 0 {
		c.excuse(CommandMask, offset+tupleCID, offset+tupleCID+4)
	}
	ctid := offset + tupleCtid
	itself := c.stored.u16(ctid) == int(c.block>>16) && c.stored.u16(ctid+2) == int(c.block&0xFFFF) && c.stored.u16(ctid+4) == n
	if itself && c.disk.u16(ctid+4) == speculativeToken {
		c.excuse(SpeculativeMask, ctid, ctid+tidBytes)
	}
}

func (c *Comparer) maskSequence() {
	if c.stored.pointers() != 1 || c.stored.u32(headerBytes) != c.disk.u32(headerBytes) {
		return
	}
	offset, state, length := c.stored.pointer(0)
	if state != pointerNormal || length < tupleHeader || offset+length > pgwal.PageSize {
		return
	}
	hoff := int(c.stored[offset+tupleHoff])
	if hoff+sequenceBytes == length {
		c.excuse(SequenceMask, offset+hoff, offset+length)
	}
}

// DeadMask accepts line pointers that were normal and are dead on disk, with the
// same offset and length, and the flag on the page for it.
func (c *Comparer) maskDead(flags int, garbage int) {
	c.excuseSet(DeadMask, flags, garbage)
	for i := range min(c.stored.pointers(), c.disk.pointers()) {
		offset, state, length := c.stored.pointer(i)
		onDisk, dead, asLong := c.disk.pointer(i)
		if state == pointerNormal && dead == pointerDead && offset == onDisk && length == asLong {
			c.excuse(DeadMask, pointerAt(i), pointerAt(i)+pointerBytes)
		}
	}
}

func (c *Comparer) maskCopied() {
	if c.Copied && LostMap(c.stored, c.disk) {
		c.excuse(CopiedMask, headerBytes, pgwal.PageSize)
	}
}

// LostMap reports whether a visibility-map page may be one that was logged without
// its content: the storage has no bit that the disk has not, and the same record made
// both sides.
func LostMap(stored, disk []byte) bool {
	for i := headerBytes; i < pgwal.PageSize; i++ {
		if stored[i]&^disk[i] != 0 {
			return false
		}
	}
	return PageLSN(stored) != 0 && PageLSN(stored) == PageLSN(disk)
}

// HasNoBits reports whether a visibility-map page is initialised and empty.
func HasNoBits(p []byte) bool { return PageLSN(p) != 0 && isZero(p[headerBytes:]) }

// PageLSN is a page's pd_lsn.
func PageLSN(p []byte) wal.LSN { return page(p).lsn() }

func (c *Comparer) maskCycle() {
	if c.disk.u16(btreeCycle) == 0 || c.stored.u16(btreeCycle) == 0 {
		c.excuse(CycleMask, btreeCycle, btreeCycle+2)
	}
	c.excuseSet(CycleMask, btreeFlags, btreeSplitEnd)
	c.excuseCleared(CycleMask, btreeFlags, btreeSplitEnd)
}
