package pagediff

import (
	"fmt"

	"github.com/varvedb/varve/wal/pgwal"
)

// field is a run of bytes with a name.
type field struct {
	at, size int
	name     string
}

func nameIn(fields []field, at int) string {
	for _, f := range fields {
		if at >= f.at && at < f.at+f.size {
			return f.name
		}
	}
	return ""
}

var headerFields = []field{
	{lsnOffset, 8, "pd_lsn"}, {checksumOffset, 2, "pd_checksum"}, {flagsOffset, 2, "pd_flags"}, {lowerOffset, 2, "pd_lower"},
	{upperOffset, 2, "pd_upper"}, {specialOffset, 2, "pd_special"}, {versionOffset, 2, "pd_pagesize_version"}, {pruneOffset, 4, "pd_prune_xid"},
}

var heapFields = []field{
	{0, 4, "t_xmin"}, {4, 4, "t_xmax"}, {tupleCID, 4, "t_cid"}, {tupleCtid, tidBytes, "t_ctid"},
	{18, 2, "t_infomask2"}, {tupleInfomask, 2, "t_infomask"}, {tupleHoff, 1, "t_hoff"},
}

var indexFields = []field{{0, 6, "t_tid"}, {6, 2, "t_info"}}

// specialFields are those of the special space, by kind of page.
var specialFields = map[Kind][]field{
	SequencePage: {{0, 4, "magic"}},
	BtreePage:    {{0, 4, "btpo_prev"}, {4, 4, "btpo_next"}, {8, 4, "btpo_level"}, {12, 2, "btpo_flags"}, {14, 2, "btpo_cycleid"}},
	HashPage:     {{0, 4, "hasho_prevblkno"}, {4, 4, "hasho_nextblkno"}, {8, 4, "hasho_bucket"}, {12, 2, "hasho_flag"}, {14, 2, "hasho_page_id"}},
	GinPage:      {{0, 4, "rightlink"}, {4, 2, "maxoff"}, {6, 2, "flags"}},
	GistPage:     {{0, 8, "nsn"}, {8, 4, "rightlink"}, {12, 2, "flags"}, {14, 2, "gist_page_id"}},
	SPGistPage:   {{0, 2, "flags"}, {2, 2, "nRedirection"}, {4, 2, "nPlaceholder"}, {6, 2, "spgist_page_id"}},
	BRINPage:     {{4, 2, "flags"}, {6, 2, "type"}},
}

// Field names what lies at an offset of a page of 8192 bytes, as PostgreSQL does.
func Field(p []byte, k Kind, at int) string {
	if at < headerBytes {
		return nameIn(headerFields, at)
	}
	body := page(p)
	switch {
	case k == VMPage:
		return fmt.Sprintf("bits of heap blocks from %d on of the map page", (at-headerBytes)*4)
	case !body.sane() || k == ZeroPage || k == OtherPage:
		return "content"
	case at < body.lower():
		return fmt.Sprintf("line pointer %d", (at-headerBytes)/pointerBytes+1)
	case at < body.upper():
		return "hole"
	case at >= body.special():
		if name := nameIn(specialFields[k], at-body.special()); name != "" {
			return name
		}
		return "special space"
	}
	return tupleField(body, k, at)
}

// tupleField names what lies in a tuple.
func tupleField(p page, k Kind, at int) string {
	fields := indexFields
	if k == HeapPage || k == SequencePage {
		fields = heapFields
	}
	for i := range p.pointers() {
		offset, _, length := p.pointer(i)
		if at < offset || at >= min(offset+(length+7)&^7, pgwal.PageSize) {
			continue
		}
		switch name := nameIn(fields, at-offset); {
		case at >= offset+length:
			return fmt.Sprintf("padding of tuple %d", i+1)
		case name != "":
			return fmt.Sprintf("%s of tuple %d", name, i+1)
		}
		return fmt.Sprintf("tuple %d, byte %d", i+1, at-offset)
	}
	return "no tuple's space"
}
