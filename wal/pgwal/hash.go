package pgwal

import "math"

// The bodies of Hash records (hash_xlog.h). What they do to each of their pages is in
// the data of the block references, where it is not said here.

// HashInitMeta is the body of an INIT_META_PAGE.
type HashInitMeta struct {
	Tuples     float64 // expected
	Function   uint32  // OID of the hash function
	FillFactor uint16  // tuples a bucket
}

// ParseHashInitMeta reads an INIT_META_PAGE record.
func ParseHashInitMeta(rec *Record) (HashInitMeta, error) {
	f := mainData(rec)
	h := HashInitMeta{Tuples: math.Float64frombits(f.u64()), Function: f.u32(), FillFactor: f.u16()}
	return h, f.done()
}

// ParseHashInitBitmap reads an INIT_BITMAP_PAGE record: the bytes of the bitmap.
func ParseHashInitBitmap(rec *Record) (size uint16, err error) { return parseOffset(rec) }

// ParseHashInsert reads an INSERT record: the number of the new tuple in block 0.
func ParseHashInsert(rec *Record) (offset uint16, err error) { return parseOffset(rec) }

// HashAddOverflow is the body of an ADD_OVFL_PAGE.
type HashAddOverflow struct {
	BitmapSize uint16
	Reused     bool // the page was free before; otherwise it is a new one
}

// ParseHashAddOverflow reads an ADD_OVFL_PAGE record.
func ParseHashAddOverflow(rec *Record) (HashAddOverflow, error) {
	f := mainData(rec)
	h := HashAddOverflow{BitmapSize: f.u16(), Reused: f.boolean()}
	return h, f.done()
}

// Flags of HashSplitAllocate: what the data of the metapage begin with.
const (
	HashSplitUpdatesMasks      = 1 << 0
	HashSplitUpdatesSplitpoint = 1 << 1
)

// HashSplitAllocate is the body of a SPLIT_ALLOCATE_PAGE.
type HashSplitAllocate struct {
	NewBucket        uint32
	OldFlag, NewFlag uint16 // flags of the two buckets' pages
	Flags            uint8  // HashSplitUpdates… flags
}

// ParseHashSplitAllocate reads a SPLIT_ALLOCATE_PAGE record.
func ParseHashSplitAllocate(rec *Record) (HashSplitAllocate, error) {
	f := mainData(rec)
	h := HashSplitAllocate{NewBucket: f.u32(), OldFlag: f.u16(), NewFlag: f.u16(), Flags: f.u8()}
	return h, f.done()
}

// HashSplitComplete is the body of a SPLIT_COMPLETE.
type HashSplitComplete struct{ OldFlag, NewFlag uint16 }

// ParseHashSplitComplete reads a SPLIT_COMPLETE record.
func ParseHashSplitComplete(rec *Record) (HashSplitComplete, error) {
	f := mainData(rec)
	h := HashSplitComplete{OldFlag: f.u16(), NewFlag: f.u16()}
	return h, f.done()
}

// ParseHashMove reads a MOVE_PAGE_CONTENTS record: how many tuples move from block 2
// to block 1.
func ParseHashMove(rec *Record) (tuples uint16, err error) {
	f := mainData(rec)
	tuples = f.u16()
	f.boolean() // whether block 1 is the bucket's first page
	return tuples, f.done()
}

// HashSqueeze is the body of a SQUEEZE_PAGE: block 2 leaves its chain, and its tuples
// move to block 1.
type HashSqueeze struct {
	Left, Right   BlockNumber // neighbours of the page in the chain
	Tuples        uint16
	WritesToFirst bool // block 1 is the bucket's first page
	WritesToLeft  bool // block 1 is the page's left neighbour
}

// ParseHashSqueeze reads a SQUEEZE_PAGE record.
func ParseHashSqueeze(rec *Record) (HashSqueeze, error) {
	f := mainData(rec)
	h := HashSqueeze{Left: f.u32(), Right: f.u32(), Tuples: f.u16(), WritesToFirst: f.boolean(), WritesToLeft: f.boolean()}
	return h, f.done()
}

// ParseHashDelete reads a DELETE record: whether no dead tuples are left on block 1.
func ParseHashDelete(rec *Record) (clearsDead bool, err error) {
	f := mainData(rec)
	clearsDead = f.boolean()
	f.boolean() // whether block 1 is the bucket's first page
	return clearsDead, f.done()
}

// ParseHashUpdateMeta reads an UPDATE_META_PAGE record: the number of tuples.
func ParseHashUpdateMeta(rec *Record) (tuples float64, err error) {
	f := mainData(rec)
	tuples = math.Float64frombits(f.u64())
	return tuples, f.done()
}

// ParseHashVacuumOne reads a VACUUM_ONE_PAGE record: the numbers of the tuples that go,
// two bytes each, pointing into the record.
func ParseHashVacuumOne(rec *Record) (numbers []byte, err error) {
	f := mainData(rec)
	f.u32() // the newest transaction whose rows go: a conflict for standbys
	n := f.u32()
	numbers = f.take(2 * f.fits(n, 2))
	return numbers, f.done()
}
