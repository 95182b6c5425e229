package pagediff

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/wal/pgwal"
)

// newPage is a formatted page with special bytes of special space and one line
// pointer to a tuple of 40 bytes, at LSN 0/100.
func newPage(special int) page {
	p := make(page, pgwal.PageSize)
	le := binary.LittleEndian
	end := pgwal.PageSize - special
	le.PutUint32(p[4:], 0x100)
	le.PutUint16(p[lowerOffset:], headerBytes+pointerBytes)
	le.PutUint16(p[upperOffset:], uint16(end-40))
	le.PutUint16(p[specialOffset:], uint16(end))
	le.PutUint16(p[versionOffset:], pageVersion)
	le.PutUint32(p[headerBytes:], uint32(end-40)|pointerNormal<<15|40<<17)
	p[end-40+tupleHoff] = 23
	return p
}

func put16(p page, at int, v int)    { binary.LittleEndian.PutUint16(p[at:], uint16(v)) }
func put32(p page, at int, v uint32) { binary.LittleEndian.PutUint32(p[at:], v) }

// pageOf makes a page that KindOf takes for k.
func pageOf(k Kind) page {
	var p page
	switch k {
	case ZeroPage:
		return make(page, pgwal.PageSize)
	case HeapPage:
		return newPage(0)
	case SequencePage:
		p = newPage(8)
		put32(p, 8184, sequenceMagic)
	case BtreePage, HashPage, GistPage:
		p = newPage(16)
		put16(p, 8190, map[Kind]int{BtreePage: 9, HashPage: hashPageID, GistPage: gistPageID}[k])
		put16(p, 8188, map[Kind]int{BtreePage: btreeLeaf, HashPage: hashBucket, GistPage: gistLeaf}[k])
	case GinPage:
		p = newPage(8)
		put16(p, 8190, 2)
	case SPGistPage, BRINPage, RevmapPage, BloomPage:
		p = newPage(8)
		put16(p, 8190, map[Kind]int{SPGistPage: spgistPageID, BRINPage: brinRegularID, RevmapPage: brinRevmapID, BloomPage: bloomPageID}[k])
	case VMPage:
		p = newPage(0)
		put16(p, lowerOffset, headerBytes)
		put16(p, upperOffset, pgwal.PageSize)
		clear(p[headerBytes:])
	case OtherPage:
		p = newPage(32)
	}
	return p
}

// dead marks the page's line pointer dead.
func dead(p page) { put32(p, headerBytes, p.u32(headerBytes)|pointerDead<<15) }

func forkOf(k Kind) pgwal.Fork {
	if k == VMPage {
		return pgwal.VMFork
	}
	return pgwal.MainFork
}

func TestKinds(t *testing.T) {
	for k := range Kinds {
		require.Equal(t, Kind(k), KindOf(pageOf(Kind(k)), forkOf(Kind(k)), 0), Kind(k).String())
	}
	meta := pageOf(GinPage)
	put16(meta, 8190, 1<<3)
	put32(meta, 8184, sequenceMagic)
	require.Equal(t, GinPage, KindOf(meta, pgwal.MainFork, 0), "a GIN metapage whose right link is a sequence's magic")
	require.Equal(t, GinPage, KindOf(pageOf(SequencePage), pgwal.MainFork, 1), "only a fork's first page is a sequence's")
	insane := pageOf(HeapPage)
	put16(insane, lowerOffset, 9000)
	require.Equal(t, OtherPage, KindOf(insane, pgwal.MainFork, 0))
}

// TestMasks: each change on disk that PostgreSQL makes without logging it is masked,
// under its name; the same change the other way round, or on another kind of page, or
// with one more bit, is not.
func TestMasks(t *testing.T) {
	const tuple = 8192 - 40
	for _, c := range []struct {
		name   string
		mask   Mask
		kind   Kind
		stored func(p page)
		disk   func(p page)
		but    func(p page) // what makes it a mismatch, on disk
		twoWay bool         // the mask holds in both directions
	}{
		{"lsn", LSNMask, GinPage, nil, func(p page) { put32(p, 4, 0x200) }, func(p page) { put32(p, 4, 0x2000) }, false},
		{"lsn of a sorted build", LSNMask, GistPage, nil, func(p page) { put32(p, 4, 1) }, func(p page) { put32(p, 4, 2) }, true},
		{"hole", HoleMask, BtreePage, nil, func(p page) { p[4000] = 1 }, func(p page) { put16(p, upperOffset, 4000) }, true},
		{"free lines", FreeLinesMask, HeapPage, func(p page) { put16(p, flagsOffset, flagFreeLines) }, func(p page) { put16(p, flagsOffset, 0) },
			func(p page) { put16(p, flagsOffset, 4) }, true},
		{"command", CommandMask, HeapPage, nil, func(p page) { put32(p, tuple+tupleCID, 7) }, func(p page) { put32(p, tuple, 7) }, false},
		{"combined command", CommandMask, HeapPage, nil, func(p page) { put16(p, tuple+tupleInfomask, comboCID) },
			func(p page) { put16(p, tuple+tupleInfomask, comboCID|0x40) }, false},
		{"speculative token", SpeculativeMask, HeapPage, func(p page) { put16(p, tuple+tupleCtid+4, 1) },
			func(p page) { put32(p, tuple+tupleCtid, 99); put16(p, tuple+tupleCtid+4, speculativeToken) }, func(p page) { put16(p, tuple+tupleCtid+4, 2) }, false},
		{"padding", PaddingMask, HeapPage, func(p page) { put32(p, headerBytes, uint32(tuple)|pointerNormal<<15|37<<17) },
			func(p page) { p[tuple+39] = 1 }, func(p page) { p[tuple+36] = 1 }, true},
		{"end of a cycle's splits", CycleMask, BtreePage, nil, func(p page) { put16(p, btreeFlags, btreeLeaf|btreeSplitEnd) },
			func(p page) { put16(p, btreeFlags, btreeSplitEnd) }, true},
		{"pruning xid", PruneMask, HeapPage, nil, func(p page) { put32(p, pruneOffset, 7) }, func(p page) { p[tuple] = 1 }, true},
		{"page full", PruneMask, HeapPage, nil, func(p page) { put16(p, flagsOffset, flagPageFull) }, func(p page) { put16(p, flagsOffset, flagPageFull|4) }, true},
		{"hint bits", HintMask, HeapPage, nil, func(p page) { put16(p, tuple+tupleInfomask, 0x0900) }, func(p page) { put16(p, tuple+tupleInfomask, 0x1900) }, false},
		{"freezing is logged", HintMask, HeapPage, func(p page) { put16(p, tuple+tupleInfomask, 0x0100) },
			func(p page) { put16(p, tuple+tupleInfomask, 0x0900) }, func(p page) { put16(p, tuple+tupleInfomask, 0x0300) }, false},
		{"dead btree pointer", DeadMask, BtreePage, nil, func(p page) { dead(p); put16(p, btreeFlags, btreeLeaf|btreeGarbage) },
			func(p page) { p[headerBytes+3] ^= 1 }, false},
		{"dead hash pointer", DeadMask, HashPage, nil, func(p page) { dead(p); put16(p, hashFlags, hashBucket|hashHasDead) },
			func(p page) { put16(p, hashFlags, hashBucket|1<<6) }, false},
		{"dead gist pointer", DeadMask, GistPage, nil, func(p page) { dead(p); put16(p, gistFlags, gistLeaf|gistGarbage) },
			func(p page) { put16(p, gistFlags, gistLeaf|1<<3) }, false},
		{"tuples deleted", TuplesDeletedMask, GistPage, nil, func(p page) { put16(p, gistFlags, gistLeaf|gistTuplesDel) },
			func(p page) { put16(p, gistFlags, gistTuplesDel) }, false},
		{"cycle id", CycleMask, BtreePage, nil, func(p page) { put16(p, btreeCycle, 0) }, func(p page) { put16(p, btreeCycle, 8) }, true},
		{"sequence value", SequenceMask, SequencePage, nil, func(p page) { p[8184-17] = 9 }, func(p page) { p[8184-18] = 9 }, true},
		{"free-space memory", LastUsedMask, SPGistPage, func(p page) { put16(p, spgistFlags, spgistMeta) },
			func(p page) { p[spgistLastUsed] = 7 }, func(p page) { p[spgistLastUsed-1] ^= 7 }, true},
		{"evacuation", EvacuateMask, BRINPage, nil, func(p page) { put16(p, brinFlags, brinEvacuate) }, func(p page) { put16(p, brinFlags, 2) }, false},
		{"copied map", CopiedMask, VMPage, func(p page) { p[24] = 0x0C }, func(p page) { p[24] = 0x0F }, func(p page) { put32(p, 4, 0xFF) }, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			stored, disk := pageOf(c.kind), pageOf(c.kind)
			if c.stored != nil {
				c.stored(stored)
				c.stored(disk)
			}
			c.disk(disk)
			cmp := Comparer{At: 0x1000, Copied: c.mask == CopiedMask}
			offset, k := cmp.Compare(forkOf(c.kind), 0, stored, disk)
			require.Equal(t, -1, offset)
			require.Equal(t, c.kind, k)
			require.Positive(t, cmp.Masked[c.mask])
			for m, n := range cmp.Masked {
				require.True(t, Mask(m) == c.mask || n == 0, "masked as %v", Mask(m))
			}
			if !c.twoWay {
				offset, _ = (&Comparer{At: 0x1000}).Compare(forkOf(c.kind), 0, disk, stored)
				require.NotEqual(t, -1, offset, "the other way round")
			}
			c.but(disk)
			offset, _ = cmp.Compare(forkOf(c.kind), 0, stored, disk)
			require.NotEqual(t, -1, offset, "with one more change")
		})
	}
}

// TestFreshPages: a page that was formatted and never logged is one of zeros.
func TestFreshPages(t *testing.T) {
	zero, fresh := pageOf(ZeroPage), pageOf(VMPage)
	put32(fresh, 4, 0)
	for _, fork := range []pgwal.Fork{pgwal.MainFork, pgwal.VMFork} {
		offset, _ := (&Comparer{At: 0x1000}).Compare(fork, 3, zero, fresh)
		require.Equal(t, -1, offset)
	}
	offset, _ := (&Comparer{}).Compare(pgwal.InitFork, 0, zero, fresh)
	require.Equal(t, lowerOffset, offset)
	fresh[5000] = 1
	offset, _ = (&Comparer{}).Compare(pgwal.MainFork, 3, zero, fresh)
	require.Equal(t, lowerOffset, offset)
}

// TestRandomDamage: whatever byte of a page of whatever kind changes, it is either
// masked and counted, or reported at its place; comparing never panics, and equal
// pages are equal.
func TestRandomDamage(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 20000 {
		k := Kind(random.IntN(int(OtherPage) + 1))
		stored := pageOf(k)
		for range random.IntN(4) {
			stored[[]int{random.IntN(40), 8150 + random.IntN(42), random.IntN(8192)}[random.IntN(3)]] = byte(random.Uint32())
		}
		disk := append(page(nil), stored...)
		c := Comparer{At: 0x1000}
		offset, _ := c.Compare(forkOf(k), 0, stored, disk)
		require.Equal(t, -1, offset)
		at := random.IntN(8192)
		disk[at] ^= 1 << random.IntN(8)
		offset, _ = c.Compare(forkOf(k), 0, stored, disk)
		total := int64(0)
		for _, n := range c.Masked {
			total += n
		}
		if offset != at {
			require.Equal(t, -1, offset)
			require.Equal(t, int64(1), total)
		}
	}
}
