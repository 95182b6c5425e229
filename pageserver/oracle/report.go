package oracle

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/varvedb/varve/pageserver/pagediff"
	"github.com/varvedb/varve/pageserver/redo"
	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/pgwal"
)

// DivergencesMax bounds the divergences that a report lists; all are counted.
const DivergencesMax = 100

// Kind is what a record does: its resource manager, and the name that pg_waldump has
// for the rest.
type Kind struct {
	RMgr pgwal.RMgr
	Name string
}

func (k Kind) String() string { return k.RMgr.String() + "/" + k.Name }

// Hits counts what records of a kind did.
type Hits struct {
	Records  int64
	Compared int64 // pages that were redone and compared with an image
	Images   int64 // pages that were replaced by an image
	Diverged int64
}

// Divergence is a page that redo made otherwise than PostgreSQL.
type Divergence struct {
	LSN    wal.LSN // start of the record
	Kind   Kind
	Ref    uint8 // number of the page in the record
	Rel    pgwal.RelFileNode
	Fork   pgwal.Fork
	Block  uint32
	Offset int    // of the first differing byte, -1 if redo failed
	Field  string // what lies there
	Got    string // what redo made, or its error
	Want   string
}

func (d Divergence) of(rec *pgwal.Record, ref *pgwal.BlockRef) Divergence {
	d.LSN, d.Kind = rec.LSN, Kind{rec.RMgr, rec.Kind()}
	d.Ref, d.Rel, d.Fork, d.Block = ref.ID, ref.Rel, ref.Fork, ref.Block
	return d
}

// String renders the divergence in one line.
func (d Divergence) String() string {
	where := fmt.Sprintf("%v at %v, page %d: block %d of %v %v", d.Kind, d.LSN, d.Ref, d.Block, d.Rel, d.Fork)
	if d.Offset < 0 {
		return where + ": " + d.Got
	}
	return fmt.Sprintf("%s: byte %d (%s): redo made %s, PostgreSQL %s", where, d.Offset, d.Field, d.Got, d.Want)
}

// Report is what an oracle found.
type Report struct {
	Records     int64
	Kinds       map[Kind]*Hits
	Masked      [pagediff.Masks]int64 // bytes or flags that differ for a reason of PostgreSQL's
	Diverged    int64
	Divergences []Divergence // the first DivergencesMax of them
}

func (r *Report) hits(rec *pgwal.Record) *Hits {
	kind := Kind{rec.RMgr, rec.Kind()}
	h := r.Kinds[kind]
	if h == nil {
		h = new(Hits)
		r.Kinds[kind] = h
	}
	h.Records++
	return h
}

func (r *Report) diverge(h *Hits, d Divergence) {
	r.Diverged++
	h.Diverged++
	if len(r.Divergences) < DivergencesMax {
		r.Divergences = append(r.Divergences, d)
	}
}

// Add adds what another oracle found, over another log.
func (r *Report) Add(other *Report) {
	if r.Kinds == nil {
		r.Kinds = map[Kind]*Hits{}
	}
	r.Records, r.Diverged = r.Records+other.Records, r.Diverged+other.Diverged
	r.Divergences = append(r.Divergences, other.Divergences...)
	r.Divergences = r.Divergences[:min(len(r.Divergences), DivergencesMax)]
	for i, n := range other.Masked {
		r.Masked[i] += n
	}
	//varve:unordered sums do not depend on the order
	for kind, h := range other.Kinds {
		mine := r.Kinds[kind]
		if mine == nil {
			mine = new(Hits)
			r.Kinds[kind] = mine
		}
		mine.Records, mine.Compared = mine.Records+h.Records, mine.Compared+h.Compared
		mine.Images, mine.Diverged = mine.Images+h.Images, mine.Diverged+h.Diverged
	}
}

// excused are the kinds of native resource managers that need not be seen, and why.
var excused = map[Kind]string{
	{pgwal.RMgrHeap, "TRUNCATE"}:        "changes no page",
	{pgwal.RMgrHeap, "HOT_UPDATE+INIT"}: "a HOT update stays on its page, which is not new",
	{pgwal.RMgrHeap2, "REWRITE"}:        "changes no page",
	{pgwal.RMgrHeap2, "NEW_CID"}:        "changes no page",
	{pgwal.RMgrBtree, "REUSE_PAGE"}:     "changes no page",
	{pgwal.RMgrGin, "VACUUM_PAGE"}:      "is an image of the page",
	{pgwal.RMgrHash, "SPLIT_PAGE"}:      "is an image of the page",
	{pgwal.RMgrGist, "PAGE_REUSE"}:      "changes no page",
	{pgwal.RMgrGist, "ASSIGN_LSN"}:      "changes no page",
}

// All lists every kind of record of native resource managers that changes pages.
func All() []Kind {
	var all []Kind
	for m := pgwal.RMgrXLOG; m <= pgwal.RMgrLogicalMsg; m++ {
		for info := 0; redo.Native(m) && info < 0x100; info += 0x10 {
			kind := Kind{m, pgwal.KindName(m, uint8(info))}
			if !strings.HasPrefix(kind.Name, "UNKNOWN") && excused[kind] == "" {
				all = append(all, kind)
			}
		}
	}
	return all
}

// Missing lists the kinds of which no page was compared.
func (r *Report) Missing() []Kind {
	return slices.DeleteFunc(All(), func(k Kind) bool { return r.Kinds[k] != nil && r.Kinds[k].Compared > 0 })
}

// OK reports whether nothing diverged.
func (r *Report) OK() bool { return r.Diverged == 0 }

// WriteTo prints the report as a table: a line for each kind that changed pages, each
// native resource manager, each mask and each divergence; the verdict last.
func (r *Report) WriteTo(w io.Writer) (int64, error) {
	var b strings.Builder
	kinds := slices.SortedFunc(maps.Keys(r.Kinds), func(a, b Kind) int {
		return cmp.Or(cmp.Compare(a.RMgr, b.RMgr), strings.Compare(a.Name, b.Name))
	})
	fmt.Fprintf(&b, "%-30s %10s %10s %10s %10s\n", "kind", "records", "compared", "images", "mismatches")
	for _, k := range kinds {
		if h := r.Kinds[k]; h.Compared+h.Images > 0 {
			fmt.Fprintf(&b, "%-30v %10d %10d %10d %10d\n", k, h.Records, h.Compared, h.Images, h.Diverged)
		}
	}
	for m, n := range r.Masked {
		if n > 0 {
			fmt.Fprintf(&b, "masked: %d: %v\n", n, pagediff.Mask(m))
		}
	}
	for _, d := range r.Divergences {
		fmt.Fprintf(&b, "mismatch: %v\n", d)
	}
	for _, k := range r.Missing() {
		fmt.Fprintf(&b, "not seen: %v\n", k)
	}
	r.writeManagers(&b, kinds)
	n, err := io.WriteString(w, b.String())
	return int64(n), err
}

// writeManagers prints the sums.
func (r *Report) writeManagers(b *strings.Builder, kinds []Kind) {
	all, missing, compared := All(), r.Missing(), int64(0)
	fmt.Fprintf(b, "%-30s %10s %10s %10s %10s\n", "native resource manager", "records", "compared", "mismatches", "kinds")
	for m := pgwal.RMgrXLOG; m <= pgwal.RMgrLogicalMsg; m++ {
		if !redo.Native(m) {
			continue
		}
		var sum Hits
		for _, k := range kinds {
			if k.RMgr == m {
				sum.Records, sum.Compared, sum.Diverged = sum.Records+r.Kinds[k].Records, sum.Compared+r.Kinds[k].Compared, sum.Diverged+r.Kinds[k].Diverged
			}
		}
		of := count(all, m)
		fmt.Fprintf(b, "%-30v %10d %10d %10d %10s\n", m, sum.Records, sum.Compared, sum.Diverged, fmt.Sprintf("%d of %d", of-count(missing, m), of))
		compared += sum.Compared
	}
	fmt.Fprintf(b, "oracle: %d records, %d pages compared, mismatches: %d, kinds: %d of %d\n",
		r.Records, compared, r.Diverged, len(all)-len(missing), len(all))
}

func count(kinds []Kind, m pgwal.RMgr) (n int) {
	for _, k := range kinds {
		if k.RMgr == m {
			n++
		}
	}
	return n
}
