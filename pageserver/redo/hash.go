package redo

import (
	"encoding/binary"
	"math"
	"math/bits"

	"github.com/varvedb/varve/wal/pgwal"
)

// The special space of a hash page:
//
//	| previous page (4) | next page (4) | bucket (4) | flags (2) | 0xFF80 (2) |
//
// The first page of a bucket holds in place of its previous page the number of the
// last bucket when it was split last. The metapage's content:
//
//	| magic (4) | version (4) | tuples (8, float) | fill factor (2) | bytes of a page (2)
//	| bytes of a bitmap (2) | its bits as a power of 2 (2) | last bucket (4) | high mask (4)
//	| low mask (4) | split point (4) | first free bit (4) | bitmaps (4) | function (4)
//	| spare pages before each split point (4 x 98) | bitmap pages (4 x 1024) |
const (
	hashSpecial = 16
	hashLeft    = 0
	hashRight   = 4
	hashBucket  = 8
	hashFlags   = 12
	hashPageID  = 14

	hashIsOverflow   = 1 << 0
	hashIsBitmap     = 1 << 2
	hashIsMeta       = 1 << 3
	hashNeedsCleanup = 1 << 6
	hashHasDead      = 1 << 7

	hashTuples       = 8
	hashMaxBucket    = 24
	hashHighMask     = 28
	hashLowMask      = 32
	hashSplitpoint   = 36
	hashFirstFree    = 40
	hashBitmaps      = 44
	hashSpares       = 52
	hashSparesMax    = 98
	hashBitmapBlocks = hashSpares + 4*hashSparesMax
	hashBitmapsMax   = 1024
	hashMetaBytes    = hashBitmapBlocks + 4*hashBitmapsMax + 4

	hashNoBlock  = 0xFFFFFFFF
	hashNoBucket = 0xFFFFFFFF
)

// hash applies a Hash record to the page that is ref.
func hash(page []byte, rec *pgwal.Record, ref *pgwal.BlockRef) error {
	switch rec.Op() {
	case pgwal.OpHashInitMetaPage:
		return hashInitMeta(page, rec)
	case pgwal.OpHashInitBitmapPage:
		return hashInitBitmap(page, rec, ref)
	case pgwal.OpHashInsert:
		return hashInsert(page, rec, ref)
	case pgwal.OpHashAddOverflowPage:
		return hashAddOverflow(page, rec, ref)
	case pgwal.OpHashSplitAllocatePage:
		return hashSplitAllocate(page, rec, ref)
	case pgwal.OpHashSplitComplete:
		s, err := pgwal.ParseHashSplitComplete(rec)
		if err != nil {
			return err
		}
		return hashChange(page, func(o []byte) { put16(o, hashFlags, [...]uint16{s.OldFlag, s.NewFlag}[min(ref.ID, 1)]) })
	case pgwal.OpHashMovePageContents:
		return hashMove(page, rec, ref)
	case pgwal.OpHashSqueezePage:
		return hashSqueeze(page, rec, ref)
	case pgwal.OpHashDelete:
		return hashDelete(page, rec, ref)
	case pgwal.OpHashSplitCleanup:
		return hashClear(page, hashNeedsCleanup)
	case pgwal.OpHashUpdateMetaPage:
		tuples, err := pgwal.ParseHashUpdateMeta(rec)
		if err != nil {
			return err
		}
		return hashMeta(page, func(meta []byte) { putFloat(meta, hashTuples, tuples) })
	case pgwal.OpHashVacuumOnePage:
		return hashVacuumOne(page, rec, ref)
	}
	return unknownKind(rec)
}

func getFloat(b []byte, at int) float64 {
	return math.Float64frombits(binary.LittleEndian.Uint64(b[at:]))
}

func putFloat(b []byte, at int, v float64) {
	binary.LittleEndian.PutUint64(b[at:], math.Float64bits(v))
}

// hashFrame checks a hash page; the special space comes with it.
func hashFrame(page []byte) (frame, []byte, error) {
	f, err := frameOf(page)
	if err != nil {
		return f, nil, err
	}
	if f.special != pgwal.PageSize-hashSpecial {
		return f, nil, corrupt("pd_special of a hash page", pgwal.PageSize-hashSpecial, f.special)
	}
	return f, page[f.special:], nil
}

// hashChange changes the special space.
func hashChange(page []byte, change func(o []byte)) error {
	_, o, err := hashFrame(page)
	if err != nil {
		return err
	}
	change(o)
	return nil
}

// hashClear clears flags.
func hashClear(page []byte, unset uint16) error {
	return hashChange(page, func(o []byte) { put16(o, hashFlags, get16(o, hashFlags)&^unset) })
}

// hashMeta changes the metapage's content.
func hashMeta(page []byte, change func(meta []byte)) error {
	if _, _, err := hashFrame(page); err != nil {
		return err
	}
	change(page[pageHeaderBytes:][:hashMetaBytes])
	return nil
}

// hashInit starts a page from nothing.
func hashInit(page []byte, left, bucket uint32, pageFlags uint16) frame {
	initPageSpecial(page, hashSpecial)
	special := pgwal.PageSize - hashSpecial
	o := page[special:]
	put32(o, hashLeft, left)
	put32(o, hashRight, hashNoBlock)
	put32(o, hashBucket, bucket)
	put16(o, hashFlags, pageFlags)
	put16(o, hashPageID, gistPageID-1)
	return frame{lower: pageHeaderBytes, upper: special, special: special}
}

// Split points: the buckets come in groups of powers of 2; from the eleventh group on
// each comes in four parts, a split point each.
const (
	hashWholeGroups = 10
	hashPartBits    = 2
	hashParts       = 1 << hashPartBits
)

// hashSplitpointOf is the split point that the last of so many buckets belongs to.
func hashSplitpointOf(buckets uint32) uint32 {
	group := uint32(bits.Len32(buckets - 1))
	if group < hashWholeGroups {
		return group
	}
	part := (buckets - 1) >> (group - hashPartBits - 1) & (hashParts - 1)
	return hashWholeGroups + (group-hashWholeGroups)<<hashPartBits + part
}

// hashBucketsOf is how many buckets there are with all of a split point.
func hashBucketsOf(splitpoint uint32) uint32 {
	if splitpoint < hashWholeGroups {
		return 1 << splitpoint
	}
	half := uint32(1) << (hashWholeGroups + (splitpoint-hashWholeGroups)>>hashPartBits - 1)
	return half + half>>hashPartBits*((splitpoint-hashWholeGroups)&(hashParts-1)+1)
}

func hashInitMeta(page []byte, rec *pgwal.Record) error {
	const (
		bucketsMax = 1 << 30
		bitmapBits = 12 // the largest power of 2 bytes that fits on a page
	)
	h, err := pgwal.ParseHashInitMeta(rec)
	if err != nil {
		return err
	}
	if h.FillFactor == 0 {
		return corrupt("tuples a bucket", "at least 1", 0)
	}
	wanted, buckets := h.Tuples/float64(h.FillFactor), uint32(2)
	switch {
	case wanted >= bucketsMax:
		buckets = bucketsMax
	case wanted > 2:
		buckets = hashBucketsOf(hashSplitpointOf(uint32(wanted)))
	}
	splitpoint := hashSplitpointOf(buckets)
	f := hashInit(page, hashNoBlock, hashNoBucket, hashIsMeta)
	meta := page[f.lower:]
	put32(meta, 0, 0x6440640)
	put32(meta, 4, 4)
	put16(meta, 16, h.FillFactor)
	put16(meta, 18, uint16(f.special-f.lower))
	put16(meta, 20, 1<<bitmapBits)
	put16(meta, 22, bitmapBits+3)
	put32(meta, hashMaxBucket, buckets-1)
	high := uint32(1)<<bits.Len32(buckets) - 1
	put32(meta, hashHighMask, high)
	put32(meta, hashLowMask, high>>1)
	put32(meta, hashSplitpoint, splitpoint)
	put32(meta, 48, h.Function)
	put32(meta, hashSpares+4*int(splitpoint), 1)
	f.lower += hashMetaBytes
	f.store(page)
	return nil
}

// hashInitBitmap makes the first bitmap page, block 0, and adds it to the metapage.
func hashInitBitmap(page []byte, rec *pgwal.Record, ref *pgwal.BlockRef) error {
	size, err := pgwal.ParseHashInitBitmap(rec)
	if err != nil {
		return err
	}
	if ref.ID == 0 {
		return hashBitmap(page, int(size))
	}
	return hashMetaChecked(page, func(meta []byte) error {
		return hashAddBitmap(meta, get32(meta, hashMaxBucket)+2)
	})
}

// hashMetaChecked is hashMeta for changes that may find the page damaged.
func hashMetaChecked(page []byte, change func(meta []byte) error) (err error) {
	if fault := hashMeta(page, func(meta []byte) { err = change(meta) }); fault != nil {
		return fault
	}
	return err
}

// hashBitmap makes a bitmap of ones: no page is free.
func hashBitmap(page []byte, size int) error {
	f := hashInit(page, hashNoBlock, hashNoBucket, hashIsBitmap)
	if size > f.upper-f.lower {
		return corrupt("bytes of a bitmap", f.upper-f.lower, size)
	}
	for i := range size {
		page[f.lower+i] = 0xFF
	}
	f.lower += size
	f.store(page)
	return nil
}

func hashAddBitmap(meta []byte, block uint32) error {
	n := get32(meta, hashBitmaps)
	if n >= hashBitmapsMax {
		return corrupt("bitmaps of a hash index", hashBitmapsMax, n)
	}
	put32(meta, hashBitmapBlocks+4*int(n), block)
	put32(meta, hashBitmaps, n+1)
	return nil
}

// hashInsert adds a tuple to block 0 and counts it in the metapage, block 1.
func hashInsert(page []byte, rec *pgwal.Record, ref *pgwal.BlockRef) error {
	n, err := pgwal.ParseHashInsert(rec)
	if err != nil {
		return err
	}
	if ref.ID == 1 {
		return hashMeta(page, func(meta []byte) { putFloat(meta, hashTuples, getFloat(meta, hashTuples)+1) })
	}
	f, _, err := hashFrame(page)
	if err != nil {
		return err
	}
	return f.addIndex(page, int(n), ref.Data)
}

// hashNumber reads the data of a block that are one number.
func hashNumber(ref *pgwal.BlockRef) (uint32, error) {
	if len(ref.Data) != 4 {
		return 0, corrupt("data of the block", 4, len(ref.Data))
	}
	return get32(ref.Data, 0), nil
}

// hashAddOverflow puts a page, block 0, at the end of a bucket's chain, behind block 1.
// Block 2 is the bitmap whose bit it takes, block 3 a new bitmap, block 4 the metapage.
func hashAddOverflow(page []byte, rec *pgwal.Record, ref *pgwal.BlockRef) error {
	h, err := pgwal.ParseHashAddOverflow(rec)
	if err != nil {
		return err
	}
	added, left, bitmap := rec.Block(0), rec.Block(1), rec.Block(3)
	if added == nil || left == nil {
		return corrupt("pages of a bucket that grows", 2, len(rec.Blocks))
	}
	switch ref.ID {
	case 1:
		return hashChange(page, func(o []byte) { put32(o, hashRight, added.Block) })
	case 3:
		return hashBitmap(page, int(h.BitmapSize))
	}
	n, err := hashNumber(ref)
	switch {
	case err != nil:
		return err
	case ref.ID == 0:
		hashInit(page, left.Block, n, hashIsOverflow)
		return nil
	case ref.ID == 2:
		return hashBit(page, n, 1)
	}
	return hashMetaChecked(page, func(meta []byte) error {
		put32(meta, hashFirstFree, n)
		if h.Reused {
			return nil
		}
		if bitmap != nil {
			if err := hashAddBitmap(meta, bitmap.Block); err != nil {
				return err
			}
		}
		return hashAddSpares(meta, bitmap != nil)
	})
}

// hashAddSpares counts a new overflow page, and a new bitmap page if there is one.
func hashAddSpares(meta []byte, bitmap bool) error {
	at, err := hashSpareAt(get32(meta, hashSplitpoint))
	if err != nil {
		return err
	}
	spares := get32(meta, at) + 1
	if bitmap {
		spares++
	}
	put32(meta, at, spares)
	return nil
}

func hashSpareAt(splitpoint uint32) (int, error) {
	if splitpoint >= hashSparesMax {
		return 0, corrupt("split point of a hash index", hashSparesMax, splitpoint)
	}
	return hashSpares + 4*int(splitpoint), nil
}

// hashBit sets a bit of a bitmap to 0 or 1.
func hashBit(page []byte, n uint32, value byte) error {
	f, _, err := hashFrame(page)
	if err != nil {
		return err
	}
	if n/8 >= uint32(f.special-pageHeaderBytes) {
		return corrupt("bit of a bitmap", f.special-pageHeaderBytes, n)
	}
	// The bitmap is an array of words, which is one of bytes, for they are little-endian.
	cell := &page[pageHeaderBytes+n/8]
	*cell = *cell&^(1<<(n%8)) | value<<(n%8)
	return nil
}

// hashSplitAllocate begins to split a bucket, block 0, into itself and block 1; block 2
// is the metapage.
func hashSplitAllocate(page []byte, rec *pgwal.Record, ref *pgwal.BlockRef) error {
	h, err := pgwal.ParseHashSplitAllocate(rec)
	if err != nil {
		return err
	}
	switch ref.ID {
	case 0:
		return hashChange(page, func(o []byte) {
			put16(o, hashFlags, h.OldFlag)
			put32(o, hashLeft, h.NewBucket)
		})
	case 1:
		hashInit(page, h.NewBucket, h.NewBucket, h.NewFlag)
		return nil
	}
	return hashMetaChecked(page, func(meta []byte) error {
		put32(meta, hashMaxBucket, h.NewBucket)
		data := ref.Data
		for _, part := range [...]struct {
			flag uint8
			take func(first, second uint32) error
		}{
			{pgwal.HashSplitUpdatesMasks, func(low, high uint32) error {
				put32(meta, hashLowMask, low)
				put32(meta, hashHighMask, high)
				return nil
			}},
			{pgwal.HashSplitUpdatesSplitpoint, func(splitpoint, spares uint32) error {
				at, err := hashSpareAt(splitpoint)
				if err != nil {
					return err
				}
				put32(meta, hashSplitpoint, splitpoint)
				put32(meta, at, spares)
				return nil
			}},
		} {
			if h.Flags&part.flag == 0 {
				continue
			}
			if len(data) < 8 {
				return corrupt("data of the metapage", 8, len(data))
			}
			if err := part.take(get32(data, 0), get32(data, 4)); err != nil {
				return err
			}
			data = data[8:]
		}
		return nil
	})
}

// hashMove moves tuples along a chain: block 1 gains what block 2 loses.
func hashMove(page []byte, rec *pgwal.Record, ref *pgwal.BlockRef) error {
	tuples, err := pgwal.ParseHashMove(rec)
	if err != nil {
		return err
	}
	f, _, err := hashFrame(page)
	switch {
	case err != nil:
		return err
	case ref.ID == 1:
		return f.addTuples(page, int(tuples), ref.Data)
	case ref.ID == 2 && len(ref.Data)%2 == 0:
		return f.deleteIndexes(page, ref.Data)
	}
	return unknownKind(rec)
}

// addTuples adds index tuples. The data are their numbers (2 each), then the tuples.
func (f *frame) addTuples(page []byte, count int, data []byte) error {
	if count == 0 && len(data) == 0 {
		return nil
	}
	if len(data) < 2*count {
		return corrupt("numbers of new tuples", 2*count, len(data))
	}
	which, data := numbers(data[:2*count]), data[2*count:]
	for i := range count {
		size, err := indexTupleSize(data)
		if err != nil {
			return err
		}
		if err := f.addIndex(page, which.at(i), data[:align(size)]); err != nil {
			return err
		}
		data = data[align(size):]
	}
	if len(data) > 0 {
		return corrupt("new tuples", count, "more")
	}
	return nil
}

// hashSqueeze takes an overflow page, block 2, out of its chain. Block 1 gains its
// tuples; 3 and 4 are its neighbours, 5 the bitmap that gets its bit back, 6 the
// metapage.
func hashSqueeze(page []byte, rec *pgwal.Record, ref *pgwal.BlockRef) error {
	s, err := pgwal.ParseHashSqueeze(rec)
	if err != nil {
		return err
	}
	switch ref.ID {
	case 1:
		f, o, err := hashFrame(page)
		if err != nil {
			return err
		}
		if s.WritesToLeft {
			put32(o, hashRight, s.Right)
		}
		return f.addTuples(page, int(s.Tuples), ref.Data)
	case 2:
		hashInit(page, hashNoBlock, hashNoBucket, 0)
		return nil
	case 3:
		return hashChange(page, func(o []byte) { put32(o, hashRight, s.Right) })
	case 4:
		return hashChange(page, func(o []byte) { put32(o, hashLeft, s.Left) })
	}
	n, err := hashNumber(ref)
	if err != nil {
		return err
	}
	if ref.ID == 5 {
		return hashBit(page, n, 0)
	}
	return hashMeta(page, func(meta []byte) { put32(meta, hashFirstFree, n) })
}

// hashDelete removes tuples from block 1.
func hashDelete(page []byte, rec *pgwal.Record, ref *pgwal.BlockRef) error {
	clearsDead, err := pgwal.ParseHashDelete(rec)
	if err != nil {
		return err
	}
	f, _, err := hashFrame(page)
	if err != nil {
		return err
	}
	if ref.ID != 1 || len(ref.Data)%2 != 0 {
		return corrupt("page to remove tuples from", 1, ref.ID)
	}
	if err := f.deleteIndexes(page, ref.Data); err != nil || !clearsDead {
		return err
	}
	return hashClear(page, hashHasDead)
}

// hashVacuumOne removes dead tuples from block 0; block 1 is the metapage.
func hashVacuumOne(page []byte, rec *pgwal.Record, ref *pgwal.BlockRef) error {
	gone, err := pgwal.ParseHashVacuumOne(rec)
	if err != nil {
		return err
	}
	if ref.ID == 1 {
		return hashMeta(page, func(meta []byte) {
			putFloat(meta, hashTuples, getFloat(meta, hashTuples)-float64(numbers(gone).len()))
		})
	}
	f, _, err := hashFrame(page)
	if err != nil {
		return err
	}
	if err := f.deleteIndexes(page, gone); err != nil {
		return err
	}
	return hashClear(page, hashHasDead)
}
