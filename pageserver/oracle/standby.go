package oracle

import (
	"cmp"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"slices"
	"strings"

	"github.com/varvedb/varve/pageserver/datadir"
	"github.com/varvedb/varve/pageserver/pagediff"
	"github.com/varvedb/varve/pageserver/redo"
	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/pgwal"
)

// PageMismatch is a page on disk that redo made otherwise.
type PageMismatch struct {
	At     wal.LSN // up to which both sides replayed the log
	Path   string  // of the fork's first segment
	Block  uint32
	Kind   pagediff.Kind // what redo's page is
	Offset int           // of the first differing byte
	Field  string        // what lies there
	Got    string        // what redo made
	Want   string        // what is on disk
}

// String renders the mismatch in one line.
func (m PageMismatch) String() string {
	return fmt.Sprintf("at %v: %s block %d (%v page): byte %d (%s): redo made %s, PostgreSQL %s",
		m.At, m.Path, m.Block, m.Kind, m.Offset, m.Field, m.Got, m.Want)
}

// Pages is what comparisons with directories found. The zero value is empty.
type Pages struct {
	LSNs         []wal.LSN // of the comparisons
	Files        int64     // forks compared
	Kinds        [pagediff.Kinds]int64
	Masked       [pagediff.Masks]int64 // bytes or flags that differ for a reason of PostgreSQL's
	SkippedFiles map[string]int64      // by reason
	Mismatched   int64
	Mismatches   []PageMismatch // the first DivergencesMax of them
}

// ComparePages compares the pages of a data directory with those that redo made, and
// counts in sum. The directory must be as of Position, all on disk, and nobody may
// write to it. Pages that redo made and the directory has not are mismatches too.
func (o *Oracle) ComparePages(dir fs.FS, sum *Pages) error {
	tree, err := datadir.Scan(dir)
	if err != nil {
		return err
	}
	c := comparison{Pages: sum, oracle: o, compare: pagediff.Comparer{At: o.Position()}, blocks: map[fork]uint32{}}
	if sum.SkippedFiles == nil {
		sum.SkippedFiles = map[string]int64{}
	}
	sum.LSNs = append(sum.LSNs, o.Position())
	unlogged := tree.Unlogged()
	for i := range tree.Forks {
		f := &tree.Forks[i]
		switch {
		case f.Fork == pgwal.FSMFork:
			sum.SkippedFiles["free-space map"]++
		case unlogged[f.Rel] && f.Fork != pgwal.InitFork:
			sum.SkippedFiles["unlogged"]++
		default:
			if err := c.file(dir, f); err != nil {
				return fmt.Errorf("compare with the directory: %w", err)
			}
		}
	}
	c.absent()
	for m, n := range c.compare.Masked {
		sum.Masked[m] += n
	}
	return nil
}

// comparison is one of a directory.
type comparison struct {
	*Pages
	oracle  *Oracle
	compare pagediff.Comparer
	blocks  map[fork]uint32 // sizes on disk
}

func (c *comparison) file(dir fs.FS, f *datadir.Fork) error {
	blocks, err := f.Blocks()
	if err != nil {
		return err
	}
	c.Files++
	c.blocks[fork{f.Rel, f.Fork}] = blocks
	made := c.oracle.forks[fork{f.Rel, f.Fork}]
	reader := datadir.NewReader(dir, f)
	defer reader.Close()
	for {
		block, bytes, err := reader.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		p := made[block]
		if p == nil {
			p = new(page)
		}
		c.page(fork{f.Rel, f.Fork}, block, p, bytes)
	}
}

func (c *comparison) page(f fork, block uint32, made *page, disk []byte) {
	c.compare.Copied = made.copied
	offset, kind := c.compare.Compare(f.fork, block, made.bytes[:], disk)
	c.Kinds[kind]++
	if offset < 0 {
		return
	}
	c.mismatch(f, block, PageMismatch{
		Kind: kind, Offset: offset, Field: pagediff.Field(disk, kind, offset),
		Got: fmt.Sprintf("0x%02x", made.bytes[offset]), Want: fmt.Sprintf("0x%02x", disk[offset]),
	})
}

func (c *comparison) mismatch(f fork, block uint32, m PageMismatch) {
	m.At, m.Path, m.Block = c.compare.At, datadir.ForkPath(f.rel, f.fork), block
	c.Mismatched++
	if len(c.Mismatches) < DivergencesMax {
		c.Mismatches = append(c.Mismatches, m)
	}
}

// absent finds the pages that redo made and that are not on disk.
func (c *comparison) absent() {
	forks := slices.SortedFunc(maps.Keys(c.oracle.forks), func(a, b fork) int {
		return cmp.Or(datadir.CompareRelations(a.rel, b.rel), cmp.Compare(a.fork, b.fork))
	})
	for _, f := range forks {
		for _, block := range slices.Sorted(maps.Keys(c.oracle.forks[f])) {
			made := c.oracle.forks[f][block]
			if block < c.blocks[f] || redo.IsZero(made.bytes[:]) {
				continue
			}
			c.mismatch(f, block, PageMismatch{Kind: pagediff.KindOf(made.bytes[:], f.fork, block), Field: "page", Got: "one", Want: "none"})
		}
	}
}

// OK reports whether nothing differs.
func (p *Pages) OK() bool { return p.Mismatched == 0 }

// Compared is the number of pages compared.
func (p *Pages) Compared() (n int64) {
	for _, of := range p.Kinds {
		n += of
	}
	return n
}

// WriteTo prints one line a number or mismatch, the verdict last.
func (p *Pages) WriteTo(w io.Writer) (int64, error) {
	var b strings.Builder
	fmt.Fprintf(&b, "compared at %v\n", p.LSNs)
	for k, n := range p.Kinds {
		if n > 0 {
			fmt.Fprintf(&b, "compared: %d pages: %v\n", n, pagediff.Kind(k))
		}
	}
	for m, n := range p.Masked {
		if n > 0 {
			fmt.Fprintf(&b, "masked: %d: %v\n", n, pagediff.Mask(m))
		}
	}
	for _, reason := range slices.Sorted(maps.Keys(p.SkippedFiles)) {
		fmt.Fprintf(&b, "skipped: %d files: %s\n", p.SkippedFiles[reason], reason)
	}
	for _, m := range p.Mismatches {
		fmt.Fprintf(&b, "mismatch: %v\n", m)
	}
	fmt.Fprintf(&b, "standby: %d LSNs, %d files, %d pages compared, mismatches: %d\n", len(p.LSNs), p.Files, p.Compared(), p.Mismatched)
	n, err := io.WriteString(w, b.String())
	return int64(n), err
}
