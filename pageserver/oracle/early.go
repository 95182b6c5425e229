package oracle

import (
	"fmt"
	"slices"

	"github.com/varvedb/varve/wal/pgwal"
)

// earlyClear is a visibility-map bit that an image lacks although no record has cleared
// it yet. PostgreSQL clears bits before it logs the change that does so, and holds no
// lock on the map's page in between, so that the image of another heap page's VISIBLE
// may see it. The record must follow; if it never does, this is a divergence.
type earlyClear struct {
	rel       pgwal.RelFileNode
	heapBlock uint32
	bits      uint8
	Divergence
}

// The map holds two bits for each heap block, behind the page's header.
const (
	mapHeader        = 24
	mapBlocksPerByte = 4
	mapBlocksPerPage = (pgwal.PageSize - mapHeader) * mapBlocksPerByte
)

// takeEarly notes the bits that redo's page has and the image has not, and puts them
// into the image.
func (o *Oracle) takeEarly(rec *pgwal.Record, ref *pgwal.BlockRef) {
	for i := mapHeader; i < pgwal.PageSize; i++ {
		gone := o.next.bytes[i] &^ o.image[i]
		if gone == 0 {
			continue
		}
		o.image[i] |= gone
		first := ref.Block*mapBlocksPerPage + uint32(i-mapHeader)*mapBlocksPerByte
		for n := range uint32(mapBlocksPerByte) {
			bits := gone >> (2 * n) & 3
			if bits == 0 {
				continue
			}
			o.early = append(o.early, earlyClear{rel: ref.Rel, heapBlock: first + n, bits: bits, Divergence: Divergence{
				Offset: i, Field: fmt.Sprintf("bits of heap block %d, which no later record clears", first+n),
				Got: fmt.Sprintf("%02b", bits), Want: "none",
			}.of(rec, ref)})
		}
	}
}

// settleEarly crosses off the bits that a record clears.
func (o *Oracle) settleEarly(c pgwal.VMClear) {
	for i := range o.early {
		if e := &o.early[i]; e.rel == c.Rel && e.heapBlock == c.Block {
			e.bits &^= c.Bits
		}
	}
	o.early = slices.DeleteFunc(o.early, func(e earlyClear) bool { return e.bits == 0 })
}
