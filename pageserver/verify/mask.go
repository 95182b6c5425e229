package verify

import (
	"bytes"
	"encoding/binary"

	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/pgwal"
)

// mask is a reason why a byte on disk may differ from the stored one. Each is as
// narrow as PostgreSQL allows: it names the kind of page and the bytes, and where
// PostgreSQL only ever sets or only ever clears a bit without logging it, the mask
// accepts that direction alone.
type mask uint8

const (
	// maskLSN: pd_lsn moved on by a record that says nothing of the page
	// (FPI_FOR_HINT without image); or 0 in an init fork, or 1 in a GiST index built
	// by sorting, which PostgreSQL writes to disk before it logs them.
	maskLSN mask = iota
	// maskHole: leftovers between pd_lower and pd_upper, which images leave out.
	maskHole
	// maskFresh: a page formatted when its fork was extended, never logged since.
	maskFresh
	// maskPrune: pd_prune_xid and PD_PAGE_FULL of heap pages, hints for pruning.
	maskPrune
	// maskHint: hint bits of a heap tuple, set on disk.
	maskHint
	// maskDead: line pointers of an index leaf marked dead on disk, and the page
	// flag that says that there are some.
	maskDead
	// maskCycle: a B-tree leaf's vacuum cycle id, cleared on disk.
	maskCycle
	// maskSequence: last_value, log_cnt and is_called: the log runs ahead of the
	// page by up to 32 values.
	maskSequence
	// maskLastUsed: the SP-GiST metapage's memory of pages with free space.
	maskLastUsed
	// maskEvacuate: the flag of a BRIN page that is being emptied, set on disk.
	maskEvacuate
	// maskCopied: visibility-map bits of a database that CREATE DATABASE copied by
	// the log. It logs these pages as if their content were a hole, so that replay
	// leaves none of it. Losing such bits is harmless: vacuum sets them again. The
	// verifier asks the storage whether the page began so.
	maskCopied
	maskCount
)

var maskNames = [maskCount]string{
	maskLSN: "page LSN of an unlogged hint", maskHole: "hole", maskFresh: "formatted but never logged",
	maskPrune: "heap pruning hint", maskHint: "heap tuple hint bits", maskDead: "dead index pointers",
	maskCycle: "btree vacuum cycle", maskSequence: "sequence value", maskLastUsed: "spgist free-space memory",
	maskEvacuate: "brin evacuation flag", maskCopied: "visibility map not logged by CREATE DATABASE",
}

func (m mask) String() string { return maskNames[m] }

const (
	flagPageFull = 0x0002 // in pd_flags

	tupleInfomask  = 20 // offset of t_infomask in a heap tuple's header
	tupleHoff      = 22
	tupleHeader    = 23
	xminBits       = 0x0300 // both together: frozen, which is logged
	hintBits       = 0x0F00 // xmin and xmax, committed and invalid
	sequenceBytes  = 17
	btreeFlags     = 8188
	btreeCycle     = 8190
	btreeLeaf      = 1 << 0
	btreeGarbage   = 1 << 6
	hashFlags      = 8188
	hashOverflow   = 1 << 0
	hashBucket     = 1 << 1
	hashHasDead    = 1 << 7
	gistBuildLSN   = 1
	gistFlags      = 8188
	gistLeaf       = 1 << 0
	gistGarbage    = 1 << 4
	brinFlags      = 8188
	brinEvacuate   = 1 << 0
	spgistFlags    = 8184
	spgistMeta     = 1 << 0
	spgistLastUsed = headerBytes + 4
	spgistLastEnd  = spgistLastUsed + 64
)

// comparer compares pages. It keeps the counts of what was masked.
type comparer struct {
	at     wal.LSN // as of which the stored pages are
	copied bool    // the page at hand is known to have come without its content
	masked [maskCount]int64
	stored page
	disk   page // a copy that masks make equal to stored where they may
}

// compare returns the offset of the first byte of disk that differs from stored for
// no reason of PostgreSQL's, or -1, and what the stored page is. The slices are
// not changed.
func (c *comparer) compare(fork pgwal.Fork, block uint32, stored, disk []byte) (offset int, k kind) {
	k = kindOf(stored, fork, block)
	if bytes.Equal(stored, disk) {
		return -1, k
	}
	c.stored, c.disk = stored, append(c.disk[:0], disk...)
	if k == kindZero {
		c.maskFresh(fork)
	} else if kindOf(disk, fork, block) == k {
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
func (c *comparer) excuse(m mask, from, to int) {
	for i := from; i < to; i++ {
		if c.disk[i] != c.stored[i] {
			c.masked[m]++
			c.disk[i] = c.stored[i]
		}
	}
}

// excuseBits makes the 16-bit word equal if nothing but bits differs, and those
// only by being set on disk.
func (c *comparer) excuseBits(m mask, at int, bits int) {
	stored, disk := c.stored.u16(at), c.disk.u16(at)
	if disk == stored|disk&bits {
		c.excuse(m, at, at+2)
	}
}

func (c *comparer) maskLSN(fork pgwal.Fork, k kind) {
	stored, disk := c.stored.lsn(), c.disk.lsn()
	moved := stored < disk && disk <= c.at
	early := fork == pgwal.InitFork && disk == 0 || k == kindGist && disk == gistBuildLSN
	if moved || early {
		c.excuse(maskLSN, lsnOffset, lsnOffset+8)
	}
}

// maskFresh accepts the page that formatting alone makes: a header and zeros.
func (c *comparer) maskFresh(fork pgwal.Fork) {
	var fresh [pgwal.PageSize]byte
	le := binary.LittleEndian
	le.PutUint16(fresh[lowerOffset:], headerBytes)
	le.PutUint16(fresh[upperOffset:], pgwal.PageSize)
	le.PutUint16(fresh[specialOffset:], pgwal.PageSize)
	le.PutUint16(fresh[versionOffset:], pageVersion)
	if fork != pgwal.InitFork && bytes.Equal(c.disk, fresh[:]) {
		c.excuse(maskFresh, 0, headerBytes)
	}
}

func (c *comparer) maskKind(k kind, block uint32) {
	switch k {
	case kindHeap:
		c.maskHeap()
	case kindSequence:
		c.maskSequence()
	case kindBtree:
		if c.stored.u16(btreeFlags)&btreeLeaf != 0 {
			c.maskDead(btreeFlags, btreeGarbage)
			c.maskCycle()
		}
	case kindHash:
		// Other hash pages have no line pointers where these have them.
		if c.stored.u16(hashFlags)&(hashOverflow|hashBucket) != 0 {
			c.maskDead(hashFlags, hashHasDead)
		}
	case kindGist:
		if c.stored.u16(gistFlags)&gistLeaf != 0 {
			c.maskDead(gistFlags, gistGarbage)
		}
	case kindSPGist:
		if block == 0 && c.stored.u16(spgistFlags)&spgistMeta != 0 {
			c.excuse(maskLastUsed, spgistLastUsed, spgistLastEnd)
		}
	case kindBRIN:
		c.excuseBits(maskEvacuate, brinFlags, brinEvacuate)
	case kindVM:
		c.maskCopied()
	}
	if k != kindRevmap && k != kindVM && k != kindOther {
		c.maskHole()
	}
}

// maskHole runs last: pd_lower and pd_upper are then known to agree.
func (c *comparer) maskHole() {
	lower, upper := c.stored.lower(), c.stored.upper()
	if c.disk.lower() == lower && c.disk.upper() == upper && isZero(c.stored[lower:upper]) {
		c.excuse(maskHole, lower, upper)
	}
}

func (c *comparer) maskHeap() {
	c.excuse(maskPrune, pruneOffset, pruneOffset+4)
	if (c.disk.u16(flagsOffset)^c.stored.u16(flagsOffset))&^flagPageFull == 0 {
		c.excuse(maskPrune, flagsOffset, flagsOffset+2)
	}
	for i := range c.stored.pointers() {
		if c.stored.u32(pointerAt(i)) != c.disk.u32(pointerAt(i)) {
			continue
		}
		offset, state, length := c.stored.pointer(i)
		if state == pointerNormal && length >= tupleHeader && offset+length <= pgwal.PageSize {
			c.maskTuple(offset + tupleInfomask)
		}
	}
}

func (c *comparer) maskTuple(infomask int) {
	stored, disk := c.stored.u16(infomask), c.disk.u16(infomask)
	froze := disk&xminBits == xminBits && stored&xminBits != xminBits
	if !froze {
		c.excuseBits(maskHint, infomask, hintBits)
	}
}

func (c *comparer) maskSequence() {
	if c.stored.pointers() != 1 || c.stored.u32(headerBytes) != c.disk.u32(headerBytes) {
		return
	}
	offset, state, length := c.stored.pointer(0)
	if state != pointerNormal || length < tupleHeader || offset+length > pgwal.PageSize {
		return
	}
	hoff := int(c.stored[offset+tupleHoff])
	if hoff+sequenceBytes == length {
		c.excuse(maskSequence, offset+hoff, offset+length)
	}
}

// maskDead accepts line pointers that were normal and are dead on disk, with the
// same offset and length, and the flag on the page for it.
func (c *comparer) maskDead(flags int, garbage int) {
	c.excuseBits(maskDead, flags, garbage)
	for i := range min(c.stored.pointers(), c.disk.pointers()) {
		offset, state, length := c.stored.pointer(i)
		onDisk, dead, asLong := c.disk.pointer(i)
		if state == pointerNormal && dead == pointerDead && offset == onDisk && length == asLong {
			c.excuse(maskDead, pointerAt(i), pointerAt(i)+pointerBytes)
		}
	}
}

func (c *comparer) maskCopied() {
	if c.copied && lostMap(c.stored, c.disk) {
		c.excuse(maskCopied, headerBytes, pgwal.PageSize)
	}
}

// lostMap reports whether a visibility-map page may be one that was logged without
// its content: there is none in the storage, and the same record made both sides.
func lostMap(stored, disk page) bool {
	return isZero(stored[headerBytes:]) && stored.lsn() != 0 && stored.lsn() == disk.lsn()
}

func (c *comparer) maskCycle() {
	if c.disk.u16(btreeCycle) == 0 {
		c.excuse(maskCycle, btreeCycle, btreeCycle+2)
	}
}
