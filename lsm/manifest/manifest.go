// Package manifest is the format of a timeline's index object: the one object
// that says what the timeline is and which layers it has.
//
// It is replaced as a whole by a conditional PUT, and that PUT is the commit
// point of everything that the store does. Writer and Sequence tell one PUT from
// every other, so that one whose outcome is unknown is settled by reading the
// object back.
//
// # Format, version 1
//
// Integers are little-endian, keys and ids raw bytes.
//
//	 0  8  magic "varveIDX"
//	 8  2  format version, 1
//	10  1  state: 0 live, 1 being deleted
//	11  1  zero
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
//	112    meta, then the layers in order, 104 bytes each
//	end 4  CRC32C of all before it
//
//	layer
//	 0  1  kind: 1 delta, 2 image
//	 1 18  first key
//	19 18  last key
//	37  3  zero
//	40  8  LSNLo
//	48  8  LSNHi
//	56  4  generation
//	60  4  CRC32C of the file
//	64  8  size of the file
//	72  8  offset of its index block
//	80  4  size of its index block
//	84  4  zero
//	88  8  number of versions
//	96  8  zero
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
	formatV1   = 1
	headerSize = 112
	layerSize  = 104
	crcSize    = 4

	// MetaBytesMax bounds the caller's bytes: they are written with every flush.
	MetaBytesMax = 64 << 10
)

// State says whether the timeline is in use.
type State uint8

// The states of a timeline.
const (
	Live     State = 0
	Deleting State = 1 // refuses branches and attachments
)

// WriterID names one attachment, or one creation: 16 random bytes.
type WriterID [16]byte

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
	case x.State != Live && x.State != Deleting:
		return fmt.Errorf("unknown state %d", x.State)
	case len(x.Meta) > MetaBytesMax:
		return fmt.Errorf("meta of %d bytes is larger than %d", len(x.Meta), MetaBytesMax)
	}
	for i := range x.Layers {
		d := &x.Layers[i]
		switch err := d.Validate(); {
		case err != nil:
			return err
		case d.Timeline != x.Timeline:
			return fmt.Errorf("layer %s is of timeline %v", d.Name(), d.Timeline)
		case d.LSNHi > x.Durable:
			return fmt.Errorf("layer %s lies above durable LSN %v", d.Name(), x.Durable)
		case d.Size <= 0 || d.IndexOffset <= 0 || d.IndexSize <= 0 || d.IndexOffset > d.Size-int64(d.IndexSize):
			return fmt.Errorf("layer %s of %d bytes has its index at %d+%d", d.Name(), d.Size, d.IndexOffset, d.IndexSize)
		case i > 0 && Compare(x.Layers[i-1], *d) >= 0:
			return fmt.Errorf("layer %s is out of order", d.Name())
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
	dst = slices.Grow(dst, headerSize+len(x.Meta)+layerSize*len(x.Layers)+crcSize)
	dst = append(dst, magic...)
	dst = le.AppendUint16(dst, formatV1)
	dst = append(dst, byte(x.State), 0)
	dst = le.AppendUint32(dst, uint32(x.Generation))
	dst = append(dst, x.Timeline[:]...)
	dst = append(dst, x.Parent[:]...)
	for _, lsn := range []wal.LSN{x.BranchLSN, x.Start, x.Durable, x.Cutoff} {
		dst = le.AppendUint64(dst, uint64(lsn))
	}
	dst = append(dst, x.Writer[:]...)
	dst = le.AppendUint64(dst, x.Sequence)
	dst = le.AppendUint32(dst, uint32(len(x.Meta)))
	dst = le.AppendUint32(dst, uint32(len(x.Layers)))
	dst = append(dst, x.Meta...)
	for i := range x.Layers {
		dst = appendLayer(dst, &x.Layers[i])
	}
	return le.AppendUint32(dst, layer.Checksum(dst[begin:]))
}

func appendLayer(dst []byte, d *layer.Desc) []byte {
	dst = append(dst, byte(d.Kind))
	dst = append(dst, d.KeyLo[:]...)
	dst = append(dst, d.KeyHi[:]...)
	dst = append(dst, 0, 0, 0)
	dst = le.AppendUint64(dst, uint64(d.LSNLo))
	dst = le.AppendUint64(dst, uint64(d.LSNHi))
	dst = le.AppendUint32(dst, uint32(d.Generation))
	dst = le.AppendUint32(dst, d.CRC)
	dst = le.AppendUint64(dst, uint64(d.Size))
	dst = le.AppendUint64(dst, uint64(d.IndexOffset))
	dst = le.AppendUint32(dst, uint32(d.IndexSize))
	dst = le.AppendUint32(dst, 0)
	dst = le.AppendUint64(dst, uint64(d.Versions))
	return le.AppendUint64(dst, 0)
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
	if version := le.Uint16(data[8:]); version != formatV1 {
		return nil, fmt.Errorf("index %s has format version %d; this program knows version %d", name, version, formatV1)
	}
	metaSize, layers := int64(le.Uint32(data[104:])), int64(le.Uint32(data[108:]))
	if headerSize+metaSize+layers*layerSize != int64(end) {
		return nil, wal.Corruptf(name, 104, "sizes of meta and layers", fmt.Sprintf("%d bytes in all", end-headerSize), fmt.Sprintf("%d and %d layers", metaSize, layers))
	}
	x := decodeHeader(data)
	x.Meta = slices.Clone(data[headerSize : headerSize+metaSize])
	x.Layers = make([]layer.Desc, layers)
	for i, at := 0, headerSize+int(metaSize); at < end; i, at = i+1, at+layerSize {
		x.Layers[i] = decodeLayer(data[at:], x.Timeline)
	}
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

func decodeLayer(data []byte, timeline wal.TimelineID) layer.Desc {
	return layer.Desc{
		ID: layer.ID{
			Timeline:   timeline,
			Kind:       layer.Kind(data[0]),
			KeyLo:      kv.Key(data[1:19]),
			KeyHi:      kv.Key(data[19:37]),
			LSNLo:      wal.LSN(le.Uint64(data[40:])),
			LSNHi:      wal.LSN(le.Uint64(data[48:])),
			Generation: wal.Generation(le.Uint32(data[56:])),
		},
		CRC:         le.Uint32(data[60:]),
		Size:        int64(le.Uint64(data[64:])),
		IndexOffset: int64(le.Uint64(data[72:])),
		IndexSize:   int32(le.Uint32(data[80:])),
		Versions:    int64(le.Uint64(data[88:])),
	}
}
