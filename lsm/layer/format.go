package layer

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"slices"

	"github.com/pierrec/lz4/v4"

	"github.com/varvedb/varve/lsm/kv"
	"github.com/varvedb/varve/wal"
)

const (
	magic        = "varveLYR"
	footerMagic  = "RYLevrav"
	formatV4     = 4
	headerSize   = 92
	identitySize = 88
	blockHeader  = 16
	footerSize   = 52

	// rawBytesMax bounds a decoded data block: the largest value with room to spare. Those of
	// filter and index grow with the layer.
	rawBytesMax = kv.ValueBytesMax + 1<<20
	// lz4RatioMax: an lz4 block decodes to at most 255 times its size.
	lz4RatioMax = 255
)

// poorShare: a block that lz4 makes smaller by less than a sixteenth is stored as it is. With
// an eighth small changes of pages took 6 % more bytes and as much time, since what is written
// is hashed; less than a sixteenth is not worth decoding.
const poorShare = 16

// BlockBytesMax bounds the size at which a data block is closed. LSN and place of a version
// count 8 bytes then and take up to 13, and without values there is little else: it must not
// outgrow rawBytesMax.
const BlockBytesMax = kv.ValueBytesMax / 2

const (
	typeData   = 1
	typeIndex  = 2
	typeFilter = 3

	codecNone = 0
	codecLZ4  = 1
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Checksum is the CRC32C of data.
func Checksum(data []byte) uint32 { return crc32.Checksum(data, castagnoli) }

var le = binary.LittleEndian

// appendIdentity appends the first identitySize bytes of the header.
func (id *ID) appendIdentity(dst []byte) []byte {
	dst = append(dst, magic...)
	dst = le.AppendUint16(dst, formatV4)
	dst = append(dst, byte(id.Kind), 0)
	dst = le.AppendUint32(dst, uint32(id.Generation))
	dst = append(dst, id.Timeline[:]...)
	dst = append(dst, id.KeyLo[:]...)
	dst = append(dst, id.KeyHi[:]...)
	dst = le.AppendUint64(dst, uint64(id.LSNLo))
	dst = le.AppendUint64(dst, uint64(id.LSNHi))
	return le.AppendUint32(dst, id.Number)
}

// AppendTo appends the file header.
func (id *ID) AppendTo(dst []byte) []byte {
	begin := len(dst)
	dst = id.appendIdentity(dst)
	return le.AppendUint32(dst, Checksum(dst[begin:]))
}

// seed is the checksum of the identity, from which those of blocks go on.
func (id *ID) seed() uint32 {
	return Checksum(id.appendIdentity(make([]byte, 0, identitySize)))
}

// DecodeHeader reads the identity at the beginning of a layer file.
func DecodeHeader(name string, data []byte) (id ID, err error) {
	if len(data) < headerSize {
		return id, wal.Corruptf(name, 0, "layer header", fmt.Sprintf("%d bytes", headerSize), fmt.Sprintf("%d bytes", len(data)))
	}
	if got := string(data[:8]); got != magic {
		return id, wal.Corruptf(name, 0, "layer magic", fmt.Sprintf("%q", magic), fmt.Sprintf("%q", got))
	}
	if want, got := Checksum(data[:identitySize]), le.Uint32(data[identitySize:]); want != got {
		return id, wal.Corruptf(name, 0, "layer header checksum", hex32(want), hex32(got))
	}
	if version := le.Uint16(data[8:]); version != formatV4 {
		return id, fmt.Errorf("layer %s has format version %d; this program knows version %d", name, version, formatV4)
	}
	id.Kind = Kind(data[10])
	id.Generation = wal.Generation(le.Uint32(data[12:]))
	copy(id.Timeline[:], data[16:])
	copy(id.KeyLo[:], data[32:])
	copy(id.KeyHi[:], data[50:])
	id.LSNLo = wal.LSN(le.Uint64(data[68:]))
	id.LSNHi = wal.LSN(le.Uint64(data[76:]))
	id.Number = le.Uint32(data[84:])
	if err := id.Validate(); err != nil || data[11] != 0 {
		return ID{}, wal.Corruptf(name, 0, "layer header", "a possible identity", err)
	}
	return id, nil
}

func hex32(sum uint32) string { return fmt.Sprintf("%#08x", sum) }

// sumAt is the checksum of data that belongs at offset off of the layer.
func sumAt(seed uint32, off int64, data []byte) uint32 {
	// Byte by byte, since bytes given to package crc32 would be an object of the heap.
	sum, place := ^seed, uint64(off)
	for range 8 {
		sum, place = castagnoli[byte(sum)^byte(place)]^sum>>8, place>>8
	}
	return crc32.Update(^sum, castagnoli, data)
}

// appendBlock appends a block whose checksum is left zero, for [sealBlock]. Unless it may be
// compressed it is stored as it is.
func appendBlock(dst []byte, blockType byte, raw []byte, compress bool) []byte {
	begin := len(dst)
	dst = append(dst, make([]byte, blockHeader)...)
	header := func() []byte { return dst[begin : begin+blockHeader] }
	header()[12] = blockType
	worthwhile := 0
	if compress {
		worthwhile = len(raw) - len(raw)/poorShare
	}
	if cap(dst)-len(dst) < worthwhile {
		dst = slices.Grow(dst, max(worthwhile, len(dst))) // twofold: a file is copied about once as it grows
	}
	dst = dst[:len(dst)+worthwhile]
	n, err := 0, error(nil)
	if worthwhile > 0 {
		n, err = lz4.CompressBlock(raw, dst[begin+blockHeader:], nil)
	}
	if err == nil && n > 0 && n < worthwhile {
		dst = dst[:begin+blockHeader+n]
		header()[13] = codecLZ4
	} else {
		dst = append(dst[:begin+blockHeader], raw...)
	}
	le.PutUint32(header()[4:], uint32(len(dst)-begin-blockHeader))
	le.PutUint32(header()[8:], uint32(len(raw)))
	return dst
}

func sealBlock(block []byte, seed uint32, off int64) {
	le.PutUint32(block, sumAt(seed, off, block[4:]))
}

// checkBlock verifies a block's checksum and header, and nothing of its payload.
func checkBlock(name string, seed uint32, off int64, block []byte, wantType byte) error {
	if len(block) < blockHeader {
		return wal.Corruptf(name, off, "block size", fmt.Sprintf("at least %d bytes", blockHeader), len(block))
	}
	if want, got := sumAt(seed, off, block[4:]), le.Uint32(block); want != got {
		return wal.Corruptf(name, off, "block checksum", hex32(want), hex32(got))
	}
	stored, raw, codec := int(le.Uint32(block[4:])), int(le.Uint32(block[8:])), block[13]
	switch {
	case stored != len(block)-blockHeader:
		return wal.Corruptf(name, off, "block payload size", len(block)-blockHeader, stored)
	case block[12] != wantType:
		return wal.Corruptf(name, off, "block type", wantType, block[12])
	case block[14] != 0 || block[15] != 0:
		return wal.Corruptf(name, off, "block padding", 0, fmt.Sprintf("%x", block[14:16]))
	case codec == codecNone && raw != stored,
		codec == codecLZ4 && raw > lz4RatioMax*stored, wantType == typeData && raw > rawBytesMax:
		return wal.Corruptf(name, off, "decoded block size", "a size that fits the payload", raw)
	case codec != codecNone && codec != codecLZ4:
		return fmt.Errorf("layer %s: block at offset %d has codec %d; this program knows 0 and 1", name, off, codec)
	}
	return nil
}

// decodedSize is the size of the payload of a block that passed checkBlock.
func decodedSize(block []byte) int { return int(le.Uint32(block[8:])) }

// decodePayload returns the payload of a block that passed checkBlock. It shares
// no memory with the block.
func decodePayload(name string, off int64, block []byte) ([]byte, error) {
	raw := make([]byte, decodedSize(block))
	return raw, decodeInto(raw, name, off, block)
}

// decodeInto is decodePayload into memory of the payload's size.
func decodeInto(raw []byte, name string, off int64, block []byte) error {
	if block[13] == codecNone {
		copy(raw, block[blockHeader:])
		return nil
	}
	n, err := lz4.UncompressBlock(block[blockHeader:], raw)
	if err != nil || n != len(raw) {
		return wal.Corruptf(name, off, "lz4 block", fmt.Sprintf("%d bytes", len(raw)), fmt.Sprintf("%d bytes, error %v", n, err))
	}
	return nil
}

type footer struct {
	indexOffset int64
	indexSize   int32
	filterSize  int32
	blocks      int
	versions    int64
	keys        int64
}

// footerSum is where the footer's checksum lies.
const footerSum = 40

func (f *footer) appendTo(dst []byte, seed uint32, off int64) []byte {
	begin := len(dst)
	dst = le.AppendUint64(dst, uint64(f.indexOffset))
	dst = le.AppendUint32(dst, uint32(f.indexSize))
	dst = le.AppendUint32(dst, uint32(f.filterSize))
	dst = le.AppendUint32(dst, uint32(f.blocks))
	dst = le.AppendUint32(dst, 0)
	dst = le.AppendUint64(dst, uint64(f.versions))
	dst = le.AppendUint64(dst, uint64(f.keys))
	dst = le.AppendUint32(dst, sumAt(seed, off, dst[begin:]))
	return append(dst, footerMagic...)
}

func decodeFooter(name string, seed uint32, off int64, data []byte) (f footer, err error) {
	if got := string(data[footerSum+4 : footerSize]); got != footerMagic {
		return f, wal.Corruptf(name, off+footerSum+4, "layer footer magic", fmt.Sprintf("%q", footerMagic), fmt.Sprintf("%q", got))
	}
	if want, got := sumAt(seed, off, data[:footerSum]), le.Uint32(data[footerSum:]); want != got {
		return f, wal.Corruptf(name, off, "layer footer checksum", hex32(want), hex32(got))
	}
	f = footer{
		indexOffset: int64(le.Uint64(data)),
		indexSize:   int32(le.Uint32(data[8:])),
		filterSize:  int32(le.Uint32(data[12:])),
		blocks:      int(le.Uint32(data[16:])),
		versions:    int64(le.Uint64(data[24:])),
		keys:        int64(le.Uint64(data[32:])),
	}
	if le.Uint32(data[20:]) != 0 {
		return f, wal.Corruptf(name, off+20, "layer footer padding", 0, le.Uint32(data[20:]))
	}
	if f.filterSize < blockHeader || f.indexOffset < headerSize+int64(f.filterSize) || f.indexSize < blockHeader || f.indexOffset+int64(f.indexSize) != off {
		return f, wal.Corruptf(name, off, "place of filter and index block", fmt.Sprintf("blocks that end at %d", off), fmt.Sprintf("%d, %d+%d", f.filterSize, f.indexOffset, f.indexSize))
	}
	return f, nil
}
