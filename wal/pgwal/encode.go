package pgwal

import (
	"bytes"
	"encoding/binary"
	"math"
	"slices"

	"github.com/pierrec/lz4/v4"

	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/assert"
)

// RecordSpec is a record to be written. Zero fields are left out of it.
type RecordSpec struct {
	RMgr     RMgr
	Info     uint8
	XID      XID
	TopXID   XID
	Origin   uint16
	Blocks   []BlockSpec // in ascending order of ID
	MainData []byte
}

// BlockSpec is a block reference to be written.
type BlockSpec struct {
	ID       uint8 // 0 to 32
	Rel      RelFileNode
	Fork     Fork
	Block    BlockNumber
	WillInit bool        // redo starts from an empty page
	Image    []byte      // nil, or a page of PageSize bytes; zeros in its middle are left out
	Apply    bool        // redo replaces the page by Image
	Compress Compression // none or lz4; an image that does not shrink stays as it is
	Data     []byte      // at most 65535 bytes
}

// Encoder writes records into the framing of the log from an exact position on. A
// caller that breaks the bounds of [RecordSpec] has a bug, and the encoder panics.
type Encoder struct {
	pos      wal.LSN // LSN after the last byte of out
	prev     wal.LSN
	systemID uint64
	out      []byte
	record   []byte // scratch: the record being written
	payload  []byte // scratch: its payloads
	image    []byte // scratch: a page without its hole
}

// NewEncoder returns an encoder whose first byte is the one at at: the end of a record,
// in mid-page or at a page's start. prev is the LSN of the record before, 0 at a
// log's start.
func NewEncoder(at, prev wal.LSN, systemID uint64) *Encoder {
	assert.That(IsRecordPosition(at), "%v is a position where a record may begin", at)
	assert.That(prev < at, "the record before %v is at %v", at, prev)
	return &Encoder{pos: at, prev: prev, systemID: systemID}
}

// Bytes returns the bytes of the log since creation or the last Take. They are valid
// until the next Append.
func (e *Encoder) Bytes() []byte { return e.out }

// Take returns what Bytes does, for the caller to keep, and forgets it.
func (e *Encoder) Take() []byte {
	taken := e.out
	e.out = nil
	return taken
}

// Append writes a record and returns its LSN and its end, as [Record] defines them. A
// page header comes first where the record begins a page, and where it crosses into
// one; the record is padded, and XLOG_SWITCH followed by zeros, up to its end.
func (e *Encoder) Append(spec RecordSpec) (start, end wal.LSN) {
	raw := e.encode(&spec)
	e.out = slices.Grow(e.out, len(raw)+len(raw)/WALPageSize*shortHeaderSize+2*longHeaderSize)
	if e.pos%WALPageSize == 0 {
		e.appendHeader(0)
	}
	start = e.pos
	for rest := raw; ; {
		n := min(len(rest), WALPageSize-int(e.pos%WALPageSize))
		e.appendBytes(rest[:n])
		if rest = rest[n:]; len(rest) == 0 {
			break
		}
		e.appendHeader(uint32(len(rest)))
	}
	e.appendBytes(zeroPage[:align(e.pos)-e.pos])
	if isSwitch(raw) {
		for left := int(-e.pos % wal.SegmentSize); left > 0; left = int(-e.pos % wal.SegmentSize) {
			e.appendBytes(zeroPage[:min(left, len(zeroPage))])
		}
	}
	e.prev = start
	return start, e.pos
}

func (e *Encoder) appendBytes(b []byte) {
	e.out = append(e.out, b...)
	e.pos += wal.LSN(len(b))
}

func (e *Encoder) appendHeader(rest uint32) {
	before := len(e.out)
	e.out = AppendPageHeader(e.out, e.pos, e.systemID, rest)
	e.pos += wal.LSN(len(e.out) - before)
}

// encode lays the record out without page headers; the result is valid until the next
// call.
func (e *Encoder) encode(spec *RecordSpec) []byte {
	le := binary.LittleEndian
	var header [recordHeaderSize]byte
	out := append(e.record[:0], header[:]...)
	e.payload = e.payload[:0]
	for i := range spec.Blocks {
		out = e.appendBlock(out, spec.Blocks, i)
	}
	if spec.Origin != 0 {
		out = le.AppendUint16(append(out, fragmentOrigin), spec.Origin)
	}
	if spec.TopXID != 0 {
		out = le.AppendUint32(append(out, fragmentTopXID), spec.TopXID)
	}
	if n := len(spec.MainData); n > math.MaxUint8 {
		out = le.AppendUint32(append(out, fragmentDataLong), uint32(n))
	} else if n > 0 {
		out = append(out, fragmentData, uint8(n))
	}
	out = append(append(out, e.payload...), spec.MainData...)
	assert.That(len(out) <= recordSizeMax, "a record of %d bytes has at most %d", len(out), recordSizeMax)
	e.record = out

	le.PutUint32(out, uint32(len(out)))
	le.PutUint32(out[4:], spec.XID)
	le.PutUint64(out[8:], uint64(e.prev))
	out[16], out[17] = spec.Info, uint8(spec.RMgr)
	le.PutUint32(out[20:], recordCRC(out))
	return out
}

// appendBlock appends the header of block i to out and its payload to e.payload.
func (e *Encoder) appendBlock(out []byte, blocks []BlockSpec, i int) []byte {
	b := &blocks[i]
	assert.That(b.ID <= blockIDMax, "block id %d is at most %d", b.ID, blockIDMax)
	assert.That(i == 0 || b.ID > blocks[i-1].ID, "block id %d is greater than the one before", b.ID)
	assert.That(b.Fork <= InitFork, "%v is a fork", b.Fork)
	assert.That(len(b.Data) <= math.MaxUint16, "block data of %d bytes fits in 16 bits", len(b.Data))
	flags := uint8(b.Fork)
	if b.WillInit {
		flags |= blockWillInit
	}
	if b.Image != nil {
		flags |= blockHasImage
	}
	if len(b.Data) > 0 {
		flags |= blockHasData
	}
	same := i > 0 && b.Rel == blocks[i-1].Rel
	if same {
		flags |= blockSameRel
	}
	le := binary.LittleEndian
	out = le.AppendUint16(append(out, b.ID, flags), uint16(len(b.Data)))
	if b.Image != nil {
		out = e.appendImage(out, b)
	}
	if !same {
		out = le.AppendUint32(out, b.Rel.Spc)
		out = le.AppendUint32(out, b.Rel.DB)
		out = le.AppendUint32(out, b.Rel.Rel)
	}
	e.payload = append(e.payload, b.Data...)
	return le.AppendUint32(out, b.Block)
}

// appendImage appends the image header of b to out and the image to e.payload.
func (e *Encoder) appendImage(out []byte, b *BlockSpec) []byte {
	assert.That(len(b.Image) == PageSize, "an image of %d bytes is a page", len(b.Image))
	assert.That(b.Compress == CompressionNone || b.Compress == CompressionLZ4, "%v is a method that the encoder has", b.Compress)
	offset, length := pageHole(b.Image)
	flags := uint8(0)
	if length > 0 {
		flags |= imageHasHole
	}
	if b.Apply {
		flags |= imageApply
	}
	e.image = append(append(e.image[:0], b.Image[:offset]...), b.Image[offset+length:]...)
	before := len(e.payload)
	packed := b.Compress == CompressionLZ4 && e.appendLZ4(length)
	if packed {
		flags |= imageLZ4
	} else {
		e.payload = append(e.payload, e.image...)
	}
	le := binary.LittleEndian
	out = le.AppendUint16(out, uint16(len(e.payload)-before))
	out = append(le.AppendUint16(out, uint16(offset)), flags)
	if packed && length > 0 {
		out = le.AppendUint16(out, uint16(length))
	}
	return out
}

// appendLZ4 appends e.image, compressed, to e.payload, if that is shorter. A hole then
// costs two bytes more in the header.
func (e *Encoder) appendLZ4(hole int) bool {
	const holeSize = 2
	limit := len(e.image) - 1
	if hole > 0 {
		limit -= holeSize
	}
	before := len(e.payload)
	e.payload = append(e.payload, zeroPage[:max(limit, 0)]...)
	n, err := lz4.CompressBlock(e.image, e.payload[before:], nil)
	if err != nil || n == 0 {
		e.payload = e.payload[:before]
		return false
	}
	e.payload = e.payload[:before+n]
	return true
}

// pageHole finds the hole of a page of PostgreSQL's usual layout: what lies between
// its lower and upper bound. A page of another layout, or with anything but zeros
// there, has none, so that leaving the hole out loses nothing.
func pageHole(page []byte) (offset, length int) {
	const pageHeaderSize, lowerOffset, upperOffset = 24, 12, 14
	lower := int(binary.LittleEndian.Uint16(page[lowerOffset:]))
	upper := int(binary.LittleEndian.Uint16(page[upperOffset:]))
	if lower < pageHeaderSize || upper <= lower || upper > PageSize {
		return 0, 0
	}
	if !bytes.Equal(page[lower:upper], zeroPage[:upper-lower]) {
		return 0, 0
	}
	return lower, upper - lower
}
