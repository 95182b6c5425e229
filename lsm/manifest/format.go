package manifest

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/varvedb/varve/lsm/kv"
	"github.com/varvedb/varve/lsm/layer"
	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/assert"
)

// An index object, version 6. Integers are little-endian, keys and ids raw bytes.
//
//	 0  8  magic "varveIDX"
//	 8  2  format version, 6
//	10  1  state: 0 live, 1 to be deleted unless it has children, 2 being deleted
//	11  1  1 if pins have gone, else 0
//	12  4  generation
//	16 16  timeline
//	32 16  parent, zero for a root
//	48  8  branch LSN
//	56  8  start LSN
//	64  8  durable LSN
//	72  8  cutoff
//	80 16  writer
//	96  8  sequence
//	104 4  size of meta
//	108 4  number of layers
//	112 4  number of dead layers
//	116 4  number of leases
//	120 4  number of marks
//	124 4  number of pins
//	128 4  CRC32C of the head: all before it
//	132    meta, layers, dead layers, leases, marks, pins
//	end 4  CRC32C of all before it
//
//	layer, 112 bytes                      dead layer, 64 bytes
//	 0  1  kind: 1 delta, 2 image          0  1  kind
//	 1 18  first key                       1 18  first key
//	19 18  last key                       19 18  last key
//	37  1  level: 0 flushed, 1 merged,    37  3  zero
//	       2 collected
//	38  2  zero                           40  8  LSNLo
//	40  8  LSNLo                          48  8  LSNHi
//	48  8  LSNHi                          56  4  generation
//	56  4  generation                     60  4  number
//	60  4  number
//	64  4  CRC32C of the file             lease, 32 bytes
//	68  4  size of its index block         0 16  id
//	72  8  size of the file               16  8  LSN
//	80  8  offset of its index block      24  8  end, seconds since 1970
//	88  8  number of versions
//	96  8  number of keys                 mark, 16 bytes
//	104 4  size of its filter block        0  8  seconds since 1970
//	108 4  zero                            8  8  LSN
//
//	pin, 8 bytes: an LSN
const (
	magic      = "varveIDX"
	formatV6   = 6
	layerSize  = 112
	deadSize   = 64
	leaseSize  = 32
	markSize   = 16
	pinSize    = 8
	crcSize    = 4
	versionEnd = 10
	countsAt   = 104 // offset of the sizes of meta and lists
	headCRC    = 128 // offset of the head's checksum

	// HeadSize is the size of the head, checksum included.
	HeadSize = headCRC + crcSize
)

var le = binary.LittleEndian

// AppendTo appends the object's bytes. The index must be valid.
func (x *Index) AppendTo(dst []byte) []byte {
	invalid := x.Validate()
	assert.That(invalid == nil, "an index that is written is valid: %v", invalid)
	begin := len(dst)
	dst = slices.Grow(dst, int(HeadSize+x.bodySize()+crcSize))
	dst = x.appendHead(dst)
	dst = append(dst, x.Meta...)
	for i := range x.Layers {
		dst = appendLayer(dst, &x.Layers[i])
	}
	for i := range x.Dead {
		dst = appendDead(dst, &x.Dead[i])
	}
	for _, l := range x.Leases {
		dst = append(dst, l.ID[:]...)
		dst = le.AppendUint64(dst, uint64(l.LSN))
		dst = le.AppendUint64(dst, uint64(l.End))
	}
	for _, m := range x.Marks {
		dst = le.AppendUint64(dst, uint64(m.Time))
		dst = le.AppendUint64(dst, uint64(m.LSN))
	}
	for _, lsn := range x.Pins {
		dst = le.AppendUint64(dst, uint64(lsn))
	}
	return le.AppendUint32(dst, layer.Checksum(dst[begin:]))
}

// appendHead appends the head of the index.
func (x *Index) appendHead(dst []byte) []byte {
	begin := len(dst)
	dst = append(dst, magic...)
	dst = le.AppendUint16(dst, formatV6)
	gone := byte(0)
	if x.PinsGone {
		gone = 1
	}
	dst = append(dst, byte(x.State), gone)
	dst = le.AppendUint32(dst, uint32(x.Generation))
	dst = append(dst, x.Timeline[:]...)
	dst = append(dst, x.Parent[:]...)
	for _, lsn := range []wal.LSN{x.BranchLSN, x.Start, x.Durable, x.Cutoff} {
		dst = le.AppendUint64(dst, uint64(lsn))
	}
	dst = append(dst, x.Writer[:]...)
	dst = le.AppendUint64(dst, x.Sequence)
	for _, n := range x.counts() {
		dst = le.AppendUint32(dst, uint32(n))
	}
	return le.AppendUint32(dst, layer.Checksum(dst[begin:]))
}

// counts are the numbers of things after the head, in their order.
func (x *Index) counts() [6]int {
	return [6]int{len(x.Meta), len(x.Layers), len(x.Dead), len(x.Leases), len(x.Marks), len(x.Pins)}
}

// sizes are the bytes of each of those things.
var sizes = [6]int64{1, layerSize, deadSize, leaseSize, markSize, pinSize}

func (x *Index) bodySize() (n int64) {
	for i, count := range x.counts() {
		n += int64(count) * sizes[i]
	}
	return n
}

func appendLayer(dst []byte, d *layer.Desc) []byte {
	begin := len(dst)
	dst = appendDead(dst, &d.ID)
	dst[begin+37] = d.Level
	dst = le.AppendUint32(dst, d.CRC)
	dst = le.AppendUint32(dst, uint32(d.IndexSize))
	dst = le.AppendUint64(dst, uint64(d.Size))
	dst = le.AppendUint64(dst, uint64(d.IndexOffset))
	dst = le.AppendUint64(dst, uint64(d.Versions))
	dst = le.AppendUint64(dst, uint64(d.Keys))
	dst = le.AppendUint32(dst, uint32(d.FilterSize))
	return le.AppendUint32(dst, 0)
}

func appendDead(dst []byte, id *layer.ID) []byte {
	dst = append(dst, byte(id.Kind))
	dst = append(dst, id.KeyLo[:]...)
	dst = append(dst, id.KeyHi[:]...)
	dst = append(dst, 0, 0, 0)
	dst = le.AppendUint64(dst, uint64(id.LSNLo))
	dst = le.AppendUint64(dst, uint64(id.LSNHi))
	dst = le.AppendUint32(dst, uint32(id.Generation))
	return le.AppendUint32(dst, id.Number)
}

// Decode reads an index object; name names it in errors.
func Decode(name string, data []byte) (*Index, error) {
	if len(data) < versionEnd+crcSize {
		return nil, wal.Corruptf(name, 0, "index size", fmt.Sprintf("at least %d", versionEnd+crcSize), len(data))
	}
	end := len(data) - crcSize
	if err := checkSum(name, "index checksum", data[:end], data[end:]); err != nil {
		return nil, err
	}
	// Other versions have the same beginning and end, and another head.
	if err := checkVersion(name, data); err != nil {
		return nil, err
	}
	if end < HeadSize {
		return nil, wal.Corruptf(name, 0, "index size", fmt.Sprintf("at least %d", HeadSize+crcSize), len(data))
	}
	head, err := DecodeHead(name, data[:HeadSize])
	if err != nil {
		return nil, err
	}
	var counts [6]int64
	body := int64(0)
	for i := range counts {
		counts[i] = int64(le.Uint32(data[countsAt+4*i:]))
		body += counts[i] * sizes[i]
	}
	if HeadSize+body != int64(end) {
		return nil, wal.Corruptf(name, countsAt, "sizes of meta and lists", fmt.Sprintf("%d bytes in all", end-HeadSize), fmt.Sprintf("%d", counts))
	}
	x := &Index{Head: *head}
	x.decodeBody(data[HeadSize:end], counts)
	if err := x.Validate(); err != nil {
		return nil, wal.Corruptf(name, 0, "index", "a possible one", err)
	}
	if got := x.AppendTo(nil); !slices.Equal(got, data) {
		return nil, wal.Corruptf(name, 0, "index padding", "zeros", "other bytes")
	}
	return x, nil
}

// DecodeHead reads the first HeadSize bytes of an index object; name names it in errors.
func DecodeHead(name string, data []byte) (*Head, error) {
	if len(data) != HeadSize {
		return nil, wal.Corruptf(name, 0, "size of the index's head", HeadSize, len(data))
	}
	if err := checkSum(name, "checksum of the index's head", data[:headCRC], data[headCRC:]); err != nil {
		return nil, err
	}
	if err := checkVersion(name, data); err != nil {
		return nil, err
	}
	if gone := data[11]; gone > 1 {
		return nil, wal.Corruptf(name, 11, "whether pins have gone", "0 or 1", gone)
	}
	lsn := func(off int) wal.LSN { return wal.LSN(le.Uint64(data[off:])) }
	h := &Head{
		State:      State(data[10]),
		PinsGone:   data[11] == 1,
		Generation: wal.Generation(le.Uint32(data[12:])),
		Timeline:   wal.TimelineID(data[16:32]),
		Parent:     wal.TimelineID(data[32:48]),
		BranchLSN:  lsn(48),
		Start:      lsn(56),
		Durable:    lsn(64),
		Cutoff:     lsn(72),
		Writer:     WriterID(data[80:96]),
		Sequence:   le.Uint64(data[96:]),
	}
	if err := h.Validate(); err != nil {
		return nil, wal.Corruptf(name, 0, "head of the index", "a possible one", err)
	}
	return h, nil
}

func checkSum(name, what string, data, sum []byte) error {
	if want, got := layer.Checksum(data), le.Uint32(sum); want != got {
		return wal.Corruptf(name, int64(len(data)), what, fmt.Sprintf("%#08x", want), fmt.Sprintf("%#08x", got))
	}
	return nil
}

func checkVersion(name string, data []byte) error {
	if got := string(data[:len(magic)]); got != magic {
		return wal.Corruptf(name, 0, "index magic", fmt.Sprintf("%q", magic), fmt.Sprintf("%q", got))
	}
	if version := le.Uint16(data[len(magic):]); version != formatV6 {
		return fmt.Errorf("index %s has format version %d; this program knows version %d", name, version, formatV6)
	}
	return nil
}

// decodeBody reads what follows the head; the counts fit its size.
func (x *Index) decodeBody(data []byte, counts [6]int64) {
	lsn := func(off int) wal.LSN { return wal.LSN(le.Uint64(data[off:])) }
	take := func(n int) { data = data[n:] }
	x.Meta = slices.Clone(data[:counts[0]])
	take(int(counts[0]))
	x.Layers = make([]layer.Desc, counts[1])
	for i := range x.Layers {
		x.Layers[i] = decodeLayer(data, x.Timeline)
		take(layerSize)
	}
	for range counts[2] {
		x.Dead = append(x.Dead, decodeID(data, x.Timeline))
		take(deadSize)
	}
	for range counts[3] {
		x.Leases = append(x.Leases, Lease{ID: LeaseID(data[:16]), LSN: lsn(16), End: int64(le.Uint64(data[24:]))})
		take(leaseSize)
	}
	for range counts[4] {
		x.Marks = append(x.Marks, Mark{Time: int64(le.Uint64(data)), LSN: lsn(8)})
		take(markSize)
	}
	for range counts[5] {
		x.Pins = append(x.Pins, lsn(0))
		take(pinSize)
	}
}

func decodeID(data []byte, timeline wal.TimelineID) layer.ID {
	return layer.ID{
		Timeline:   timeline,
		Kind:       layer.Kind(data[0]),
		KeyLo:      kv.Key(data[1:19]),
		KeyHi:      kv.Key(data[19:37]),
		LSNLo:      wal.LSN(le.Uint64(data[40:])),
		LSNHi:      wal.LSN(le.Uint64(data[48:])),
		Generation: wal.Generation(le.Uint32(data[56:])),
		Number:     le.Uint32(data[60:]),
	}
}

func decodeLayer(data []byte, timeline wal.TimelineID) layer.Desc {
	return layer.Desc{
		ID:          decodeID(data, timeline),
		Level:       data[37],
		CRC:         le.Uint32(data[64:]),
		IndexSize:   int32(le.Uint32(data[68:])),
		Size:        int64(le.Uint64(data[72:])),
		IndexOffset: int64(le.Uint64(data[80:])),
		Versions:    int64(le.Uint64(data[88:])),
		Keys:        int64(le.Uint64(data[96:])),
		FilterSize:  int32(le.Uint32(data[104:])),
	}
}
