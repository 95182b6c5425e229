// Package manifest is the format of a timeline's index object: the one object
// that says what the timeline is and which layers it has.
//
// It is replaced as a whole by a conditional PUT, and that PUT is the commit
// point of everything that the store does. Writer and Sequence tell one PUT from
// every other, so that one whose outcome is unknown is settled by reading the
// object back.
//
// Its head, at the beginning, has a size and a checksum of its own. It is all that says
// what may be done with the timeline, leases apart, so who only asks that reads no more.
package manifest

import (
	"errors"
	"fmt"
	"slices"

	"github.com/varvedb/varve/lsm/layer"
	"github.com/varvedb/varve/wal"
)

const (
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

// Head is what an index object begins with.
type Head struct {
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
	// PinsGone says that layers of level 2 may have what only was kept for pins that are no
	// more.
	PinsGone bool
}

// Index is the content of an index object.
//
// Its layers are a sorted slice, not a google/btree: each change ends in the object's bytes,
// for which all of them are gone through in order. Of 27,000 layers (BenchmarkOneLayerMore)
// a slice with one more takes as long to make as a tree with one more to go through, 4 ms,
// and encoding takes 3 ms after either.
type Index struct {
	Head
	Meta   []byte
	Layers []layer.Desc // in order of [Compare]; all of this timeline
	Dead   []layer.ID   // layers that left Layers, and whose objects may exist yet
	Leases []Lease      // in order of id
	Marks  []Mark       // rising in both
	// Pins are the last cutoff that history was collected for, and the LSNs below it that
	// all collections have kept what is read at, rising: each at which one did not lacks for
	// good, whoever reads there later.
	Pins []wal.LSN
}

// IsRoot reports whether the timeline has no parent.
func (h *Head) IsRoot() bool { return h.Parent.IsZero() }

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

// Validate says what is impossible in the head, or nil.
func (h *Head) Validate() error {
	switch {
	case h.Timeline.IsZero():
		return errors.New("timeline id is zero")
	case h.Timeline == h.Parent:
		return fmt.Errorf("timeline %v is its own parent", h.Timeline)
	case h.IsRoot() && h.BranchLSN != 0, !h.IsRoot() && h.BranchLSN != h.Start:
		return fmt.Errorf("branch LSN %v with start %v and parent %v", h.BranchLSN, h.Start, h.Parent)
	case h.Start > h.Durable:
		return fmt.Errorf("durable LSN %v lies below start %v", h.Durable, h.Start)
	case h.State > Doomed:
		return fmt.Errorf("unknown state %d", h.State)
	}
	return nil
}

// Validate says what is impossible in the index, or nil.
func (x *Index) Validate() error {
	if err := x.Head.Validate(); err != nil {
		return err
	}
	if len(x.Meta) > MetaBytesMax {
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
