package layer

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/varvedb/varve/lsm/kv"
	"github.com/varvedb/varve/wal"
)

// Kind is the kind of a layer. The numbers are part of the format.
type Kind uint8

// The kinds of layers.
const (
	Delta Kind = 1
	Image Kind = 2
)

func (k Kind) String() string {
	switch k {
	case Delta:
		return "delta"
	case Image:
		return "image"
	}
	return fmt.Sprintf("kind %d", uint8(k))
}

// ID is a layer's identity: all that its name and its header say.
type ID struct {
	Timeline   wal.TimelineID
	Kind       Kind
	KeyLo      kv.Key // least key, included
	KeyHi      kv.Key // greatest key, included
	LSNLo      wal.LSN
	LSNHi      wal.LSN
	Generation wal.Generation
	Number     uint32 // tells apart layers of one generation
}

// Name is the layer's file name, without its timeline:
// KEYLO-KEYHI__LSNLO-LSNHI-GENERATION-NUMBER.KIND, in hexadecimal.
func (id ID) Name() string {
	return fmt.Sprintf("%s-%s__%016X-%016X-%08x-%08x.%s", id.KeyLo, id.KeyHi, uint64(id.LSNLo), uint64(id.LSNHi), uint32(id.Generation), id.Number, id.Kind)
}

// ParseName reads what [ID.Name] writes; the timeline is left zero.
func ParseName(name string) (id ID, err error) {
	refuse := func() (ID, error) {
		return ID{}, fmt.Errorf("parse layer name %q: want KEYLO-KEYHI__LSNLO-LSNHI-GENERATION-NUMBER.KIND in hexadecimal", name)
	}
	keys, rest, _ := strings.Cut(name, "__")
	keyLo, keyHi, _ := strings.Cut(keys, "-")
	numbers, kind, _ := strings.Cut(rest, ".")
	parts := strings.Split(numbers, "-")
	if len(parts) != 4 {
		return refuse()
	}
	lsnLo, errLo := strconv.ParseUint(parts[0], 16, 64)
	lsnHi, errHi := strconv.ParseUint(parts[1], 16, 64)
	generation, errGen := strconv.ParseUint(parts[2], 16, 32)
	number, errNum := strconv.ParseUint(parts[3], 16, 32)
	if errLo != nil || errHi != nil || errGen != nil || errNum != nil {
		return refuse()
	}
	id = ID{LSNLo: wal.LSN(lsnLo), LSNHi: wal.LSN(lsnHi), Generation: wal.Generation(generation), Number: uint32(number), Kind: Delta}
	if kind == Image.String() {
		id.Kind = Image
	}
	if id.KeyLo, err = kv.ParseKey(keyLo); err != nil {
		return refuse()
	}
	if id.KeyHi, err = kv.ParseKey(keyHi); err != nil {
		return refuse()
	}
	if id.Name() != name {
		return refuse()
	}
	return id, id.Validate()
}

// Validate says what is impossible in the identity, or nil.
func (id ID) Validate() error {
	switch {
	case id.Kind != Delta && id.Kind != Image:
		return fmt.Errorf("layer has unknown %v", id.Kind)
	case id.KeyHi.Less(id.KeyLo):
		return fmt.Errorf("layer's last key %v lies before its first %v", id.KeyHi, id.KeyLo)
	case id.Kind == Delta && id.LSNLo >= id.LSNHi:
		return fmt.Errorf("delta layer's LSN range (%v, %v] is empty", id.LSNLo, id.LSNHi)
	case id.Kind == Image && id.LSNLo != id.LSNHi:
		return fmt.Errorf("image layer has two LSNs, %v and %v", id.LSNLo, id.LSNHi)
	}
	return nil
}

// Covers reports whether key lies in the layer's key range.
func (id *ID) Covers(key kv.Key) bool {
	return !key.Less(id.KeyLo) && !id.KeyHi.Less(key)
}

// Start is the least LSN at which the layer has anything to say.
func (id *ID) Start() wal.LSN {
	if id.Kind == Image {
		return id.LSNLo
	}
	return id.LSNLo + 1
}

// Desc describes a finished layer file: what the index of layers keeps of it.
type Desc struct {
	ID
	Level       uint8  // 0 as it was flushed, 1 merged, 2 collected; not in the file
	Size        int64  // of the file, bytes
	CRC         uint32 // CRC32C of the file
	IndexOffset int64
	IndexSize   int32
	FilterSize  int32 // of the block before the index block
	Versions    int64
	Keys        int64
}
