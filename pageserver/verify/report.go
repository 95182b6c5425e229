package verify

import (
	"fmt"
	"io"
	"strings"

	"github.com/varvedb/varve/wal"
)

// MismatchesMax bounds the mismatches that a report lists; all are counted. More
// help nobody find the cause.
const MismatchesMax = 1000

// Mismatch is one difference that no mask explains.
type Mismatch struct {
	File   string // path in the data directory
	Block  int64  // in the fork, -1 if File is no fork of a relation
	Offset int64  // of the first differing byte: in the block, or in File; -1 if none can be named
	What   string // the kind of page, or the field that differs
	Stored string
	Disk   string
}

// String renders the mismatch in one line.
func (m Mismatch) String() string {
	var at strings.Builder
	if m.Block >= 0 {
		fmt.Fprintf(&at, " block %d", m.Block)
	}
	if m.Offset >= 0 {
		fmt.Fprintf(&at, " byte %d", m.Offset)
	}
	return fmt.Sprintf("%s%s (%s): stored %s, on disk %s", m.File, at.String(), m.What, m.Stored, m.Disk)
}

// Count is a number of things under a name.
type Count struct {
	Name  string
	Count int64
}

// Report is what a comparison found. Its lists are in a fixed order.
type Report struct {
	LSN        wal.LSN
	Files      int64   // compared
	Pages      int64   // of relations, compared
	Kinds      []Count // pages by kind
	Entries    []Count // transaction facts by directory
	Masked     []Count // bytes that differ for a reason of PostgreSQL's, by reason
	Skipped    []Count // files not compared, by reason
	Mismatched int64
	Mismatches []Mismatch // the first MismatchesMax of them
}

// OK reports whether nothing differs.
func (r *Report) OK() bool { return r.Mismatched == 0 }

// WriteTo prints the report: one line a number or mismatch, the verdict last.
func (r *Report) WriteTo(w io.Writer) (int64, error) {
	var b strings.Builder
	fmt.Fprintf(&b, "compared at %v: %d files, %d pages\n", r.LSN, r.Files, r.Pages)
	for _, list := range []struct {
		title, unit string
		counts      []Count
	}{
		{"compared", "pages", r.Kinds}, {"compared", "entries", r.Entries},
		{"masked", "bytes", r.Masked}, {"skipped", "files", r.Skipped},
	} {
		for _, c := range list.counts {
			fmt.Fprintf(&b, "%s: %d %s: %s\n", list.title, c.Count, list.unit, c.Name)
		}
	}
	for _, m := range r.Mismatches {
		fmt.Fprintf(&b, "mismatch: %v\n", m)
	}
	if more := r.Mismatched - int64(len(r.Mismatches)); more > 0 {
		fmt.Fprintf(&b, "mismatch: %d more\n", more)
	}
	fmt.Fprintf(&b, "mismatches: %d\n", r.Mismatched)
	n, err := io.WriteString(w, b.String())
	return int64(n), err
}

func (r *Report) mismatch(m Mismatch) {
	r.Mismatched++
	if len(r.Mismatches) < MismatchesMax {
		r.Mismatches = append(r.Mismatches, m)
	}
}

// add counts n things under a name.
func add(counts *[]Count, name string, n int64) {
	for i := range *counts {
		if (*counts)[i].Name == name {
			(*counts)[i].Count += n
			return
		}
	}
	*counts = append(*counts, Count{name, n})
}
