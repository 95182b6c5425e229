// Package manifest is the format of a timeline's index object: the one object
// that says what the timeline is and which layers it has.
//
// It is replaced as a whole by a conditional PUT, and that PUT is the commit
// point of everything that the store does. Writer and Sequence tell one PUT from
// every other, so that one whose outcome is unknown is settled by reading the
// object back.
//
// # Format, version 5
//
// Integers are little-endian, keys and ids raw bytes.
//
//	 0  8  magic "varveIDX"
//	 8  2  format version, 5
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
//	128    meta, layers, dead layers, leases, marks, pins
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
package manifest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/varvedb/varve/lsm/kv"
	"github.com/varvedb/varve/lsm/layer"
	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/assert"
)

const (
	magic      = "varveIDX"
	formatV5   = 5
	headerSize = 128
	layerSize  = 112
	deadSize   = 64
	leaseSize  = 32
	markSize   = 16
	pinSize    = 8
	crcSize    = 4

	// MetaBytesMax bounds the caller's bytes: they are written with every flush.
	MetaBytesMax = 64 << 10
	// MarksMax bounds the marks: hours of a week, and some.
	MarksMax = 256
	// LeasesMax bounds the leases: they too are written with every flush.
	LeasesMax = 4096
)

// State says whether the timeline is in use.
type State uint8

// The states of a timeline.
const (
	Live     State = 0
	Deleting State = 1 // refuses branches; live again if it turns out to have some, or is attached
	Doomed   State = 2 // has none, and none will come: its layers go, for good
)

// WriterID names one attachment, or one creation: 16 random bytes.
type WriterID [16]byte

// LeaseID names a lease: 16 random bytes.
type LeaseID [16]byte

// Lease keeps one LSN readable until its end.
type Lease struct {
	ID  LeaseID
	LSN wal.LSN
	End int64 // seconds since 1970
}

// Mark says that at a time everything up to an LSN, and no more, was durable.
type Mark struct {
	Time int64 // seconds since 1970
	LSN  wal.LSN
}

// Index is the content of an index object.
type Index struct {
	Timeline   wal.TimelineID
	Parent     wal.TimelineID // zero for a root
	BranchLSN  wal.LSN        // where the timeline leaves its parent; zero for a root
	Start      wal.LSN        // a root's first readable LSN; a branch's BranchLSN
	Durable    wal.LSN        // the layers hold everything up to it
	Cutoff     wal.LSN        // below it, history may be gone
	State      State
	Generation wal.Generation // of the last attachment; 0 before the first
	Writer     WriterID
	Sequence   uint64 // of the writer's PUTs
	Meta       []byte
	Layers     []layer.Desc // in order of [Compare]; all of this timeline
	Dead       []layer.ID   // layers that left Layers, and whose objects may exist yet
	Leases     []Lease      // in order of id
	Marks      []Mark       // rising in both
	// Pins are the last cutoff that history was collected for, and the LSNs below it that
	// all collections have kept what is read at, rising: each at which one did not lacks for
	// good, whoever reads there later.
	Pins []wal.LSN
	// PinsGone says that layers of level 2 may have what only was kept for pins that are no
	// more.
	PinsGone bool
}

// IsRoot reports whether the timeline has no parent.
func (x *Index) IsRoot() bool { return x.Parent.IsZero() }

// Bytes is the size of all layers.
func (x *Index) Bytes() (n int64) {
	for i := range x.Layers {
		n += x.Layers[i].Size
	}
	return n
}

// Compare orders layers by LSN, then key, then kind and generation.
func Compare(a, b layer.Desc) int {
	switch {
	case a.LSNHi != b.LSNHi:
		return order(a.LSNHi < b.LSNHi)
	case a.LSNLo != b.LSNLo:
		return order(a.LSNLo < b.LSNLo)
	case a.KeyLo != b.KeyLo:
		return a.KeyLo.Compare(b.KeyLo)
	case a.KeyHi != b.KeyHi:
		return a.KeyHi.Compare(b.KeyHi)
	case a.Kind != b.Kind:
		return order(a.Kind < b.Kind)
	case a.Generation != b.Generation:
		return order(a.Generation < b.Generation)
	case a.Number != b.Number:
		return order(a.Number < b.Number)
	}
	return 0
}

func order(less bool) int {
	if less {
		return -1
	}
	return 1
}

// Validate says what is impossible in the index, or nil.
func (x *Index) Validate() error {
	switch {
	case x.Timeline.IsZero():
		return errors.New("timeline id is zero")
	case x.Timeline == x.Parent:
		return fmt.Errorf("timeline %v is its own parent", x.Timeline)
	case x.IsRoot() && x.BranchLSN != 0, !x.IsRoot() && x.BranchLSN != x.Start:
		return fmt.Errorf("branch LSN %v with start %v and parent %v", x.BranchLSN, x.Start, x.Parent)
	case x.Start > x.Durable:
		return fmt.Errorf("durable LSN %v lies below start %v", x.Durable, x.Start)
	case x.State > Doomed:
		return fmt.Errorf("unknown state %d", x.State)
	case len(x.Meta) > MetaBytesMax:
		return fmt.Errorf("meta of %d bytes is larger than %d", len(x.Meta), MetaBytesMax)
	}
	if err := x.validateRest(); err != nil {
		return err
	}
	for i := range x.Layers {
		d := &x.Layers[i]
		switch err := d.Validate(); {
		case err != nil:
			return err
		case d.Level > 2:
			return fmt.Errorf("layer %s has level %d", d.Name(), d.Level)
		case d.Timeline != x.Timeline:
			return fmt.Errorf("layer %s is of timeline %v", d.Name(), d.Timeline)
		case d.LSNHi > x.Durable:
			return fmt.Errorf("layer %s lies above durable LSN %v", d.Name(), x.Durable)
		case d.Size <= 0 || d.IndexOffset <= 0 || d.IndexSize <= 0 || d.IndexOffset > d.Size-int64(d.IndexSize),
			d.FilterSize <= 0 || int64(d.FilterSize) >= d.IndexOffset:
			return fmt.Errorf("layer %s of %d bytes has its index at %d+%d", d.Name(), d.Size, d.IndexOffset, d.IndexSize)
		case i > 0 && Compare(x.Layers[i-1], *d) >= 0:
			return fmt.Errorf("layer %s is out of order", d.Name())
		}
	}
	return nil
}

// validateRest checks the lists beside the layers.
func (x *Index) validateRest() error {
	if len(x.Leases) > LeasesMax || len(x.Marks) > MarksMax {
		return fmt.Errorf("%d leases and %d marks are more than %d and %d", len(x.Leases), len(x.Marks), LeasesMax, MarksMax)
	}
	for i, id := range x.Dead {
		if err := id.Validate(); err != nil {
			return err
		}
		if id.Timeline != x.Timeline {
			return fmt.Errorf("dead layer %s is of timeline %v", id.Name(), id.Timeline)
		}
		if _, lives := slices.BinarySearchFunc(x.Layers, layer.Desc{ID: id}, Compare); lives {
			return fmt.Errorf("dead layer %d, %s, lives", i, id.Name())
		}
	}
	for i := 1; i < len(x.Leases); i++ {
		if slices.Compare(x.Leases[i-1].ID[:], x.Leases[i].ID[:]) >= 0 {
			return fmt.Errorf("lease %x is out of order", x.Leases[i].ID)
		}
	}
	for i := 1; i < len(x.Marks); i++ {
		if x.Marks[i-1].Time >= x.Marks[i].Time || x.Marks[i-1].LSN >= x.Marks[i].LSN {
			return fmt.Errorf("mark %d, %v at %d, is out of order", i, x.Marks[i].LSN, x.Marks[i].Time)
		}
	}
	for i := 1; i < len(x.Pins); i++ {
		if x.Pins[i-1] >= x.Pins[i] {
			return fmt.Errorf("pin %v is out of order", x.Pins[i])
		}
	}
	return nil
}

var le = binary.LittleEndian

// AppendTo appends the object's bytes. The index must be valid.
func (x *Index) AppendTo(dst []byte) []byte {
	invalid := x.Validate()
	assert.That(invalid == nil, "an index that is written is valid: %v", invalid)
	begin := len(dst)
	dst = slices.Grow(dst, int(headerSize+x.bodySize()+crcSize))
	dst = append(dst, magic...)
	dst = le.AppendUint16(dst, formatV5)
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

// counts are the numbers of things after the header, in their order.
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
	if len(data) < headerSize+crcSize {
		return nil, wal.Corruptf(name, 0, "index size", fmt.Sprintf("at least %d", headerSize+crcSize), len(data))
	}
	end := len(data) - crcSize
	if want, got := layer.Checksum(data[:end]), le.Uint32(data[end:]); want != got {
		return nil, wal.Corruptf(name, int64(end), "index checksum", fmt.Sprintf("%#08x", want), fmt.Sprintf("%#08x", got))
	}
	if got := string(data[:8]); got != magic {
		return nil, wal.Corruptf(name, 0, "index magic", fmt.Sprintf("%q", magic), fmt.Sprintf("%q", got))
	}
	if version := le.Uint16(data[8:]); version != formatV5 {
		return nil, fmt.Errorf("index %s has format version %d; this program knows version %d", name, version, formatV5)
	}
	var counts [6]int64
	body := int64(0)
	for i := range counts {
		counts[i] = int64(le.Uint32(data[104+4*i:]))
		body += counts[i] * sizes[i]
	}
	if headerSize+body != int64(end) {
		return nil, wal.Corruptf(name, 104, "sizes of meta and lists", fmt.Sprintf("%d bytes in all", end-headerSize), fmt.Sprintf("%d", counts))
	}
	x := decodeHeader(data)
	x.decodeBody(data[headerSize:end], counts)
	if err := x.Validate(); err != nil {
		return nil, wal.Corruptf(name, 0, "index", "a possible one", err)
	}
	if got := x.AppendTo(nil); !slices.Equal(got, data) {
		return nil, wal.Corruptf(name, 0, "index padding", "zeros", "other bytes")
	}
	return x, nil
}

func decodeHeader(data []byte) *Index {
	lsn := func(off int) wal.LSN { return wal.LSN(le.Uint64(data[off:])) }
	return &Index{
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
}

// decodeBody reads what follows the header; the counts fit its size.
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
