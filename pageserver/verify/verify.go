package verify

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"

	"github.com/varvedb/varve/lsm"
	"github.com/varvedb/varve/pageserver/basebackup"
	"github.com/varvedb/varve/pageserver/datadir"
	"github.com/varvedb/varve/pageserver/pagediff"
	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/pgwal"
)

// Storage is what a timeline holds as of one LSN.
type Storage interface {
	// Forks calls fn for every fork of every relation, in any order.
	Forks(ctx context.Context, fn func(rel pgwal.RelFileNode, fork pgwal.Fork, blocks uint32) error) error
	// Read fills dst, a whole number of pages and at most BatchPages of them, from
	// block first of a fork on; all are within the fork's size.
	Read(ctx context.Context, rel pgwal.RelFileNode, fork pgwal.Fork, first uint32, dst []byte) error
	// ReadBefore fills dst with one page as of an earlier LSN, and returns false if
	// the fork, or the block, was not there then.
	ReadBefore(ctx context.Context, rel pgwal.RelFileNode, fork pgwal.Fork, block uint32, at wal.LSN, dst []byte) (bool, error)
	// Files returns what a Postgres that starts there is given besides relations.
	Files(ctx context.Context) ([]basebackup.File, error)
}

// BatchPages is how many pages one read asks for: 1 MiB keeps the memory small and the
// cost of a round trip below that of its pages.
const BatchPages = 128

// Verify compares the data directory with the storage, both as of at, the end of the
// directory's log (see [basebackup.Inspect]). Differences are in the report; the error
// is for what could not be read at all.
func Verify(ctx context.Context, fsys fs.FS, storage Storage, at wal.LSN) (*Report, error) {
	v := &verifier{ctx: ctx, fsys: fsys, storage: storage, report: &Report{LSN: at}, compare: pagediff.Comparer{At: at}}
	if err := v.relations(); err != nil {
		return nil, fmt.Errorf("verify relations: %w", err)
	}
	if err := v.files(); err != nil {
		return nil, fmt.Errorf("verify files: %w", err)
	}
	for m, bytes := range v.compare.Masked {
		if bytes > 0 {
			add(&v.report.Masked, pagediff.Mask(m).String(), bytes)
		}
	}
	for _, counts := range []*[]Count{&v.report.Kinds, &v.report.Skipped} {
		slices.SortFunc(*counts, func(a, b Count) int { return cmp.Compare(a.Name, b.Name) })
	}
	return v.report, nil
}

type verifier struct {
	ctx     context.Context
	fsys    fs.FS
	storage Storage
	report  *Report
	compare pagediff.Comparer
	kinds   [pagediff.Kinds]int64
	batch   [BatchPages * pgwal.PageSize]byte
}

// pair is one fork as both sides have it.
type pair struct {
	rel    pgwal.RelFileNode
	fork   pgwal.Fork
	disk   *datadir.Fork // nil if there is none on disk
	stored bool
	blocks uint32 // stored
}

func (p *pair) path() string { return datadir.ForkPath(p.rel, p.fork) }

func (v *verifier) relations() error {
	tree, err := datadir.Scan(v.fsys)
	if err != nil {
		return err
	}
	for _, other := range tree.Others {
		if other.Reason != datadir.Known {
			v.skip(other.Reason)
		}
	}
	pairs, err := v.pairs(tree)
	if err != nil {
		return err
	}
	for i := range pairs {
		if err := v.fork(&pairs[i]); err != nil {
			return err
		}
	}
	for k, pages := range v.kinds {
		if pages > 0 {
			add(&v.report.Kinds, pagediff.Kind(k).String(), pages)
		}
	}
	return nil
}

func (v *verifier) skip(reason string) { add(&v.report.Skipped, reason, 1) }

// pairs matches the forks of both sides, and leaves out those not to be compared.
func (v *verifier) pairs(tree *datadir.Tree) ([]pair, error) {
	unlogged := tree.Unlogged()
	var pairs []pair
	for i := range tree.Forks {
		f := &tree.Forks[i]
		switch {
		case f.Fork == pgwal.FSMFork:
			v.skip("free-space map")
		case unlogged[f.Rel] && f.Fork != pgwal.InitFork:
			v.skip("unlogged relation")
		default:
			pairs = append(pairs, pair{rel: f.Rel, fork: f.Fork, disk: f})
		}
	}
	onDisk := len(pairs)
	err := v.storage.Forks(v.ctx, func(rel pgwal.RelFileNode, fork pgwal.Fork, blocks uint32) error {
		i, found := slices.BinarySearchFunc(pairs[:onDisk], pair{rel: rel, fork: fork}, comparePairs)
		if found {
			pairs[i].stored, pairs[i].blocks = true, blocks
		} else {
			pairs = append(pairs, pair{rel: rel, fork: fork, stored: true, blocks: blocks})
		}
		return nil
	})
	return pairs, err
}

func comparePairs(a, b pair) int {
	return cmp.Or(datadir.CompareRelations(a.rel, b.rel), cmp.Compare(a.fork, b.fork))
}

// fork compares one fork's pages. A visibility map that only one side has is an empty
// one: PostgreSQL creates it without a word in the log.
func (v *verifier) fork(p *pair) error {
	mismatch := Mismatch{File: p.path(), Block: -1, Offset: -1, What: "fork", Stored: "there", Disk: "there"}
	switch {
	case p.disk == nil && p.fork != pgwal.VMFork:
		mismatch.Disk = "missing"
	case !p.stored && p.fork != pgwal.VMFork:
		mismatch.Stored = "missing"
	default:
		return v.pages(p)
	}
	v.report.mismatch(mismatch)
	return nil
}

func (v *verifier) pages(p *pair) error {
	v.report.Files++
	var onDisk uint32
	if p.disk == nil {
		p.disk = &datadir.Fork{Rel: p.rel, Fork: p.fork}
	} else if blocks, err := p.disk.Blocks(); err != nil {
		v.report.mismatch(Mismatch{File: p.path(), Block: -1, Offset: -1, What: "size", Stored: fmt.Sprint(p.blocks, " blocks"), Disk: err.Error()})
		return nil
	} else {
		onDisk = blocks
	}
	reader := datadir.NewReader(v.fsys, p.disk)
	defer reader.Close()
	for first := uint32(0); first < max(onDisk, p.blocks); first += BatchPages {
		count := min(max(onDisk, p.blocks)-first, BatchPages)
		stored, err := v.read(p, first, count)
		if err != nil {
			return err
		}
		for i := range count {
			disk, err := nextPage(reader, first+i, onDisk)
			if err != nil {
				return err
			}
			if err := v.page(p, first+i, stored[i*pgwal.PageSize:][:pgwal.PageSize], disk); err != nil {
				return err
			}
		}
	}
	return nil
}

// read reads stored pages; those beyond the stored end are zeros.
func (v *verifier) read(p *pair, first, count uint32) ([]byte, error) {
	stored := v.batch[:count*pgwal.PageSize]
	clear(stored)
	if first >= p.blocks {
		return stored, nil
	}
	within := min(count, p.blocks-first)
	if err := v.storage.Read(v.ctx, p.rel, p.fork, first, stored[:within*pgwal.PageSize]); err != nil {
		return nil, fmt.Errorf("read %d blocks from %d of %s: %w", within, first, p.path(), err)
	}
	return stored, nil
}

var zeroPage [pgwal.PageSize]byte

// nextPage reads a page on disk; those beyond the end are zeros.
func nextPage(r *datadir.Reader, block, blocks uint32) ([]byte, error) {
	if block >= blocks {
		return zeroPage[:], nil
	}
	_, page, err := r.Next()
	if err == io.EOF {
		err = fmt.Errorf("the file became shorter than %d blocks", blocks)
	}
	return page, err
}

func (v *verifier) page(p *pair, block uint32, stored, disk []byte) (err error) {
	v.report.Pages++
	v.compare.Copied = false
	if p.fork == pgwal.VMFork && !bytes.Equal(stored, disk) && pagediff.LostMap(stored, disk) {
		if v.compare.Copied, err = v.cameEmpty(p, block, pagediff.PageLSN(stored)); err != nil {
			return err
		}
	}
	offset, k := v.compare.Compare(p.fork, block, stored, disk)
	v.kinds[k]++
	if offset < 0 {
		return nil
	}
	v.report.mismatch(Mismatch{
		File:  datadir.SegmentPath(p.rel, p.fork, block/datadir.SegmentBlocks),
		Block: int64(block), Offset: int64(offset),
		What:   fmt.Sprintf("%v page, %s", k, pagediff.Field(stored, k, offset)),
		Stored: fmt.Sprintf("0x%02x", stored[offset]),
		Disk:   fmt.Sprintf("0x%02x", disk[offset]),
	})
	return nil
}

// mapRecordsMax bounds the records that cameEmpty follows back: more than set the bits
// of one page when vacuum does so for the first time.
const mapRecordsMax = 1 << 16

// cameEmpty reports whether a visibility-map page with content began without any: a
// record that made it so, or a copy of such a page, of which the records say nothing.
// It follows the page back from the record that set its last bits, at lsn.
func (v *verifier) cameEmpty(p *pair, block uint32, lsn wal.LSN) (bool, error) {
	var at, before [pgwal.PageSize]byte
	for range mapRecordsMax {
		there, err := v.readBefore(p, block, lsn, at[:])
		if err != nil || !there || pagediff.HasNoBits(at[:]) {
			return err == nil, err
		}
		if there, err = v.readBefore(p, block, lsn-1, before[:]); err != nil || !there {
			return false, err
		}
		earlier := pagediff.PageLSN(before[:])
		if earlier == 0 || earlier >= lsn {
			return false, nil
		}
		lsn = earlier
	}
	return false, nil
}

// readBefore reads a page as of an earlier LSN. What lies below the horizon is taken
// for a page that is not known to have begun empty.
func (v *verifier) readBefore(p *pair, block uint32, lsn wal.LSN, dst []byte) (bool, error) {
	there, err := v.storage.ReadBefore(v.ctx, p.rel, p.fork, block, lsn, dst)
	if errors.Is(err, lsm.ErrBelowHorizon) {
		clear(dst)
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("read block %d of %s as of %v: %w", block, p.path(), lsn, err)
	}
	return there, nil
}
