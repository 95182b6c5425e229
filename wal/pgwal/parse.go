package pgwal

import (
	"encoding/binary"

	"github.com/varvedb/varve/wal"
)

// fields reads the fixed-width fields of a record's payload one after another.
// The first read past the end fails it: every later read gives zeros, and done
// says where it went wrong. So a parser reads straight through and checks once.
type fields struct {
	rec    *Record // whose payload it is, for the error; nil: bytes outside a record
	src    []byte
	at     int
	failed bool
}

// mainData reads the record's main data.
func mainData(rec *Record) fields { return fields{rec: rec, src: rec.MainData} }

// fixedData is the record's main data, which must be n bytes. The parsers of the kinds that
// logs mostly consist of begin with it, for reading field by field takes longer.
func fixedData(rec *Record, n int) ([]byte, error) {
	if len(rec.MainData) != n {
		return nil, wrongLength(rec, n)
	}
	return rec.MainData, nil
}

// wrongLength is the error of main data that are longer or shorter than n bytes.
func wrongLength(rec *Record, n int) error {
	f := mainData(rec)
	f.take(n)
	return f.done()
}

// take returns the next n bytes, or nil when there are fewer.
func (f *fields) take(n int) []byte {
	if f.failed || n < 0 || n > len(f.src)-f.at {
		f.failed = true
		return nil
	}
	f.at += n
	return f.src[f.at-n : f.at]
}

// rest returns all bytes that are left.
func (f *fields) rest() []byte { return f.take(len(f.src) - f.at) }

func (f *fields) u8() uint8 {
	if b := f.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (f *fields) u16() uint16 {
	if b := f.take(2); b != nil {
		return binary.LittleEndian.Uint16(b)
	}
	return 0
}

func (f *fields) u32() uint32 {
	if b := f.take(4); b != nil {
		return binary.LittleEndian.Uint32(b)
	}
	return 0
}

func (f *fields) u64() uint64 {
	if b := f.take(8); b != nil {
		return binary.LittleEndian.Uint64(b)
	}
	return 0
}

func (f *fields) lsn() wal.LSN    { return wal.LSN(f.u64()) }
func (f *fields) time() Timestamp { return Timestamp(f.u64()) }

// boolean reads a C bool, which is 0 or 1.
func (f *fields) boolean() bool {
	b := f.u8()
	f.failed = f.failed || b > 1
	return b == 1
}

func (f *fields) rel() RelFileNode {
	return RelFileNode{Spc: f.u32(), DB: f.u32(), Rel: f.u32()}
}

// cstring reads up to and including a zero byte, which it leaves out.
func (f *fields) cstring() string {
	for i := f.at; i < len(f.src); i++ {
		if f.src[i] == 0 {
			s := f.take(i - f.at)
			f.at++
			return string(s)
		}
	}
	f.failed = true
	return ""
}

// count reads how many elements of so many bytes follow, not more than there is
// room for: what is allocated for them is bounded by the record's size.
func (f *fields) count(size int) int {
	return f.fits(f.u32(), size)
}

// fits checks a count that was read before the elements it counts.
func (f *fields) fits(n uint32, size int) int {
	if f.failed || int64(n)*int64(size) > int64(len(f.src)-f.at) {
		f.failed = true
		return 0
	}
	return int(n)
}

// xids appends the next n transaction ids to dst.
func (f *fields) xids(dst []XID, n int) []XID {
	for range n {
		dst = append(dst, f.u32())
	}
	return dst
}

// rels appends the next n relations to dst.
func (f *fields) rels(dst []RelFileNode, n int) []RelFileNode {
	for range n {
		dst = append(dst, f.rel())
	}
	return dst
}

// align skips to a multiple of 8 of the payload (MAXALIGN).
func (f *fields) align() { f.take(-f.at & 7) }

// done reports whether the payload had all that was read from it, and no more.
func (f *fields) done() error {
	if f.failed {
		return f.corrupt("payload", "more or other bytes", len(f.src))
	}
	if f.at != len(f.src) {
		return f.corrupt("payload length", f.at, len(f.src))
	}
	return nil
}

// corrupt makes the error for the byte that was to be read next.
func (f *fields) corrupt(what string, want, got any) error {
	name := "bytes"
	if f.rec != nil {
		name = recordName(f.rec)
	}
	return wal.Corruptf(name, int64(f.at), what, want, got)
}

// recordName names a record in an error: its manager, kind and LSN.
func recordName(rec *Record) string {
	return "record " + rec.RMgr.String() + "/" + rec.Kind() + " at " + rec.LSN.String()
}
