package verify

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

// pageOf makes a page that kindOf takes for k.
func pageOf(k kind) page {
	var p page
	switch k {
	case kindZero:
		return make(page, pgwal.PageSize)
	case kindHeap:
		return newPage(0)
	case kindSequence:
		p = newPage(8)
		put32(p, 8184, sequenceMagic)
	case kindBtree, kindHash, kindGist:
		p = newPage(16)
		put16(p, 8190, map[kind]int{kindBtree: 9, kindHash: hashPageID, kindGist: gistPageID}[k])
		put16(p, 8188, map[kind]int{kindBtree: btreeLeaf, kindHash: hashBucket, kindGist: gistLeaf}[k])
	case kindGin:
		p = newPage(8)
		put16(p, 8190, 2)
	case kindSPGist, kindBRIN, kindRevmap, kindBloom:
		p = newPage(8)
		put16(p, 8190, map[kind]int{kindSPGist: spgistPageID, kindBRIN: brinRegularID, kindRevmap: brinRevmapID, kindBloom: bloomPageID}[k])
	case kindVM:
		p = newPage(0)
		put16(p, lowerOffset, headerBytes)
		put16(p, upperOffset, pgwal.PageSize)
		clear(p[headerBytes:])
	case kindOther:
		p = newPage(32)
	}
	return p
}

// dead marks the page's line pointer dead.
func dead(p page) { put32(p, headerBytes, p.u32(headerBytes)|pointerDead<<15) }

func forkOf(k kind) pgwal.Fork {
	if k == kindVM {
		return pgwal.VMFork
	}
	return pgwal.MainFork
}

func TestKinds(t *testing.T) {
	for k := range kindOther + 1 {
		require.Equal(t, k, kindOf(pageOf(k), forkOf(k), 0), k.String())
	}
	meta := pageOf(kindGin)
	put16(meta, 8190, 1<<3)
	put32(meta, 8184, sequenceMagic)
	require.Equal(t, kindGin, kindOf(meta, pgwal.MainFork, 0), "a GIN metapage whose right link is a sequence's magic")
	require.Equal(t, kindGin, kindOf(pageOf(kindSequence), pgwal.MainFork, 1), "only a fork's first page is a sequence's")
	insane := pageOf(kindHeap)
	put16(insane, lowerOffset, 9000)
	require.Equal(t, kindOther, kindOf(insane, pgwal.MainFork, 0))
}

// TestMasks: each change on disk that PostgreSQL makes without logging it is masked,
// under its name; the same change the other way round, or on another kind of page, or
// with one more bit, is not.
func TestMasks(t *testing.T) {
	const tuple = 8192 - 40
	for _, c := range []struct {
		name   string
		mask   mask
		kind   kind
		stored func(p page)
		disk   func(p page)
		but    func(p page) // what makes it a mismatch, on disk
		twoWay bool         // the mask holds in both directions
	}{
		{"lsn", maskLSN, kindGin, nil, func(p page) { put32(p, 4, 0x200) }, func(p page) { put32(p, 4, 0x2000) }, false},
		{"lsn of a sorted build", maskLSN, kindGist, nil, func(p page) { put32(p, 4, 1) }, func(p page) { put32(p, 4, 2) }, true},
		{"hole", maskHole, kindBtree, nil, func(p page) { p[4000] = 1 }, func(p page) { put16(p, upperOffset, 4000) }, false},
		{"pruning xid", maskPrune, kindHeap, nil, func(p page) { put32(p, pruneOffset, 7) }, func(p page) { p[tuple] = 1 }, true},
		{"page full", maskPrune, kindHeap, nil, func(p page) { put16(p, flagsOffset, flagPageFull) }, func(p page) { put16(p, flagsOffset, flagPageFull|4) }, true},
		{"hint bits", maskHint, kindHeap, nil, func(p page) { put16(p, tuple+tupleInfomask, 0x0900) }, func(p page) { put16(p, tuple+tupleInfomask, 0x1900) }, false},
		{"freezing is logged", maskHint, kindHeap, func(p page) { put16(p, tuple+tupleInfomask, 0x0100) },
			func(p page) { put16(p, tuple+tupleInfomask, 0x0900) }, func(p page) { put16(p, tuple+tupleInfomask, 0x0300) }, false},
		{"dead btree pointer", maskDead, kindBtree, nil, func(p page) { dead(p); put16(p, btreeFlags, btreeLeaf|btreeGarbage) },
			func(p page) { p[headerBytes+3] ^= 1 }, false},
		{"dead hash pointer", maskDead, kindHash, nil, func(p page) { dead(p); put16(p, hashFlags, hashBucket|hashHasDead) },
			func(p page) { put16(p, hashFlags, hashBucket|1<<6) }, false},
		{"dead gist pointer", maskDead, kindGist, nil, func(p page) { dead(p); put16(p, gistFlags, gistLeaf|gistGarbage) },
			func(p page) { put16(p, gistFlags, gistLeaf|1<<3) }, false},
		{"cycle id", maskCycle, kindBtree, nil, func(p page) { put16(p, btreeCycle, 0) }, func(p page) { put16(p, btreeCycle, 8) }, false},
		{"sequence value", maskSequence, kindSequence, nil, func(p page) { p[8184-17] = 9 }, func(p page) { p[8184-18] = 9 }, true},
		{"free-space memory", maskLastUsed, kindSPGist, func(p page) { put16(p, spgistFlags, spgistMeta) },
			func(p page) { p[spgistLastUsed] = 7 }, func(p page) { p[spgistLastUsed-1] ^= 7 }, true},
		{"evacuation", maskEvacuate, kindBRIN, nil, func(p page) { put16(p, brinFlags, brinEvacuate) }, func(p page) { put16(p, brinFlags, 2) }, false},
		{"copied map", maskCopied, kindVM, nil, func(p page) { p[24] = 3 }, func(p page) { put32(p, 4, 0xFF) }, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			stored, disk := pageOf(c.kind), pageOf(c.kind)
			if c.stored != nil {
				c.stored(stored)
				c.stored(disk)
			}
			c.disk(disk)
			cmp := comparer{at: 0x1000, copied: c.mask == maskCopied}
			offset, k := cmp.compare(forkOf(c.kind), 0, stored, disk)
			require.Equal(t, -1, offset)
			require.Equal(t, c.kind, k)
			require.Positive(t, cmp.masked[c.mask])
			for m, n := range cmp.masked {
				require.True(t, mask(m) == c.mask || n == 0, "masked as %v", mask(m))
			}
			if !c.twoWay {
				offset, _ = (&comparer{at: 0x1000}).compare(forkOf(c.kind), 0, disk, stored)
				require.NotEqual(t, -1, offset, "the other way round")
			}
			c.but(disk)
			offset, _ = cmp.compare(forkOf(c.kind), 0, stored, disk)
			require.NotEqual(t, -1, offset, "with one more change")
		})
	}
}

// TestFreshPages: a page that was formatted and never logged is one of zeros.
func TestFreshPages(t *testing.T) {
	zero, fresh := pageOf(kindZero), pageOf(kindVM)
	put32(fresh, 4, 0)
	for _, fork := range []pgwal.Fork{pgwal.MainFork, pgwal.VMFork} {
		offset, _ := (&comparer{at: 0x1000}).compare(fork, 3, zero, fresh)
		require.Equal(t, -1, offset)
	}
	offset, _ := (&comparer{}).compare(pgwal.InitFork, 0, zero, fresh)
	require.Equal(t, lowerOffset, offset)
	fresh[5000] = 1
	offset, _ = (&comparer{}).compare(pgwal.MainFork, 3, zero, fresh)
	require.Equal(t, lowerOffset, offset)
}

// TestRandomDamage: whatever byte of a page of whatever kind changes, it is either
// masked and counted, or reported at its place; comparing never panics, and equal
// pages are equal.
func TestRandomDamage(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 20000 {
		k := kind(random.IntN(int(kindOther) + 1))
		stored := pageOf(k)
		for range random.IntN(4) {
			stored[[]int{random.IntN(40), 8150 + random.IntN(42), random.IntN(8192)}[random.IntN(3)]] = byte(random.Uint32())
		}
		disk := append(page(nil), stored...)
		c := comparer{at: 0x1000}
		offset, _ := c.compare(forkOf(k), 0, stored, disk)
		require.Equal(t, -1, offset)
		at := random.IntN(8192)
		disk[at] ^= 1 << random.IntN(8)
		offset, _ = c.compare(forkOf(k), 0, stored, disk)
		total := int64(0)
		for _, n := range c.masked {
			total += n
		}
		if offset != at {
			require.Equal(t, -1, offset)
			require.Equal(t, int64(1), total)
		}
	}
}
