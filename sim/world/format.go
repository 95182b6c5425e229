package world

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"

	"github.com/varvedb/varve/wal"
)

// A tape as bytes (integers are unsigned varints unless said otherwise):
//
//	magic      8 bytes "varvtape"
//	version    1
//	seed       8 bytes, little-endian
//	count      of streams, then for each, in order of names:
//	  length, name
//	  count, values
//	crc        4 bytes, little-endian, CRC32C of all before
const (
	tapeMagic   = "varvtape"
	tapeVersion = 1
	tapeCRCSize = 4
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// AppendTo appends the tape's bytes.
func (t *Tape) AppendTo(dst []byte) []byte {
	begin := len(dst)
	dst = append(dst, tapeMagic...)
	dst = binary.AppendUvarint(dst, tapeVersion)
	dst = binary.LittleEndian.AppendUint64(dst, t.Seed)
	dst = binary.AppendUvarint(dst, uint64(len(t.Streams)))
	for _, s := range t.Streams {
		dst = binary.AppendUvarint(dst, uint64(len(s.Name)))
		dst = append(dst, s.Name...)
		dst = binary.AppendUvarint(dst, uint64(len(s.Values)))
		for _, v := range s.Values {
			dst = binary.AppendUvarint(dst, uint64(v))
		}
	}
	return binary.LittleEndian.AppendUint32(dst, crc32.Checksum(dst[begin:], castagnoli))
}

// DecodeTape reads what AppendTo wrote. Its errors match wal.ErrCorruption; file
// is named in them.
func DecodeTape(file string, p []byte) (*Tape, error) {
	if len(p) < len(tapeMagic)+tapeCRCSize || string(p[:len(tapeMagic)]) != tapeMagic {
		return nil, wal.Corruptf(file, 0, "magic", tapeMagic, fmt.Sprintf("%.8q", p))
	}
	body := p[:len(p)-tapeCRCSize]
	want, got := binary.LittleEndian.Uint32(p[len(body):]), crc32.Checksum(body, castagnoli)
	if want != got {
		return nil, wal.Corruptf(file, int64(len(body)), "checksum", want, got)
	}
	r := tapeReader{file: file, size: len(body), rest: body[len(tapeMagic):]}
	if version := r.number(); r.err == nil && version != tapeVersion {
		return nil, wal.Corruptf(file, int64(len(tapeMagic)), "version", tapeVersion, version)
	}
	t := &Tape{Seed: r.fixed()}
	for range r.count(2) {
		s := TapeStream{Name: string(r.bytes(r.count(1)))}
		s.Values = make([]uint32, r.count(1))
		for i := range s.Values {
			s.Values[i] = r.choice()
		}
		t.Streams = append(t.Streams, s)
	}
	if r.err == nil && len(r.rest) > 0 {
		r.fail("bytes after the last stream", 0, len(r.rest))
	}
	if r.err != nil {
		return nil, r.err
	}
	return t, nil
}

// tapeReader reads a tape's fields; after its first error all reads give zeros.
type tapeReader struct {
	file string
	size int
	rest []byte
	err  error
}

func (r *tapeReader) fail(what string, want, got any) {
	if r.err == nil {
		r.err = wal.Corruptf(r.file, int64(r.size-len(r.rest)), what, want, got)
	}
	r.rest = nil
}

func (r *tapeReader) number() uint64 {
	v, n := binary.Uvarint(r.rest)
	if n <= 0 || r.err != nil {
		r.fail("number", "a varint", fmt.Sprintf("%d bytes", len(r.rest)))
		return 0
	}
	r.rest = r.rest[n:]
	return v
}

func (r *tapeReader) choice() uint32 {
	v := r.number()
	if v > math.MaxUint32 {
		r.fail("choice", "at most 32 bits", v)
		return 0
	}
	return uint32(v)
}

// count reads the number of things that take at least size bytes each.
func (r *tapeReader) count(size int) int {
	v := r.number()
	if v > uint64(len(r.rest)/size) {
		r.fail("count", fmt.Sprintf("at most %d", len(r.rest)/size), v)
		return 0
	}
	return int(v)
}

func (r *tapeReader) bytes(n int) []byte {
	p := r.rest[:min(n, len(r.rest))]
	r.rest = r.rest[len(p):]
	return p
}

func (r *tapeReader) fixed() uint64 {
	p := r.bytes(8)
	if len(p) < 8 {
		r.fail("seed", "8 bytes", fmt.Sprintf("%d bytes", len(p)))
		return 0
	}
	return binary.LittleEndian.Uint64(p)
}
