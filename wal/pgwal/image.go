package pgwal

import (
	"fmt"

	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"

	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/assert"
)

// zstdDecoder unpacks whole frames of at most a page. It decodes on the caller's own
// stack and keeps nothing between calls.
var zstdDecoder = newZSTDDecoder()

func newZSTDDecoder() *zstd.Decoder {
	d, err := zstd.NewReader(nil, zstd.WithDecoderMaxMemory(PageSize), zstd.WithDecodeAllCapLimit(true))
	assert.That(err == nil, "the options of the zstd decoder are right, not %v", err)
	return d
}

// Restore unpacks the image of b, a block of r, into dst, which is [PageSize] bytes long, and
// refills its hole with zeros. The page's LSN stays as the image has it: older than
// the record. The error matches [wal.ErrCorruption]; dst is then undefined.
func (r *Record) Restore(b *BlockRef, dst []byte) error {
	if !b.HasImage || len(dst) != PageSize {
		assert.Failf("an image is restored into a page: block %d at %v has one: %v, into %d bytes", b.ID, r.LSN, b.HasImage, len(dst))
	}
	im := &b.Image
	want := PageSize - int(im.HoleLength)
	got, ok := im.unpack(dst[:want:want])
	if !ok || got != want {
		what := fmt.Sprintf("%v image of block %d of the record at %v", im.Compression, b.ID, r.LSN)
		return wal.Corruptf("log record", int64(r.LSN), what, fmt.Sprintf("%d bytes", want), fmt.Sprintf("damage after %d", got))
	}
	if im.HoleLength > 0 {
		hole := dst[im.HoleOffset:]
		copy(hole[im.HoleLength:], dst[im.HoleOffset:want])
		clear(hole[:im.HoleLength])
	}
	return nil
}

// unpack decompresses the image, without its hole, into dst, and returns its length.
func (im *Image) unpack(dst []byte) (n int, ok bool) {
	switch im.Compression {
	case CompressionNone:
		return copy(dst, im.Bytes), len(im.Bytes) == len(dst)
	case CompressionPGLZ:
		return pglzDecompress(dst, im.Bytes)
	case CompressionLZ4:
		n, err := lz4.UncompressBlock(im.Bytes, dst)
		return n, err == nil
	case CompressionZSTD:
		out, err := zstdDecoder.DecodeAll(im.Bytes, dst[:0])
		return len(out), err == nil
	}
	return 0, false
}
