package redo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/varvedb/varve/bench/meter"
	"github.com/varvedb/varve/bench/paired"
	"github.com/varvedb/varve/bench/pglog"
	"github.com/varvedb/varve/pageserver/datadir"
	"github.com/varvedb/varve/pageserver/pgkey"
	"github.com/varvedb/varve/pageserver/redo"
	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/pgwal"
)

// place is where a page belongs.
type place struct {
	rel   pgwal.RelFileNode
	fork  pgwal.Fork
	block uint32
}

// replay redoes a log record by record, as PostgreSQL's recovery does. The log drops and
// shortens no relation whose pages come again.
type replay struct {
	pages  map[place][]byte
	clears []pgwal.VMClear
	delta  []byte
}

// replayed is Varve's redo of a log, done as PostgreSQL does it.
func replayed(name string, log *pglog.Log) paired.Arm {
	return paired.Arm{
		Name: name, Settings: "record by record, decoding included, one goroutine, pages in memory and changed in place",
		Run: func(context.Context, int) (paired.Sample, error) {
			r, err := newReplay(log)
			if err != nil {
				return paired.Sample{}, err
			}
			return r.run(log)
		},
	}
}

// newReplay reads all pages of the cluster as it was before the log.
func newReplay(log *pglog.Log) (*replay, error) {
	r, base := &replay{pages: map[place][]byte{}}, os.DirFS(log.Before)
	tree, err := datadir.Scan(base)
	if err != nil {
		return nil, err
	}
	for i := range tree.Forks {
		if err := r.load(base, &tree.Forks[i]); err != nil {
			return nil, err
		}
	}
	return r, nil
}

func (r *replay) load(base fs.FS, f *datadir.Fork) error {
	if _, err := f.Blocks(); err != nil || f.Fork == pgwal.FSMFork {
		return err
	}
	reader := datadir.NewReader(base, f)
	defer reader.Close()
	for {
		block, page, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		r.pages[place{f.Rel, f.Fork, block}] = append([]byte(nil), page...)
	}
}

func (r *replay) page(at place) []byte {
	page := r.pages[at]
	if page == nil {
		page = make([]byte, pgwal.PageSize)
		r.pages[at] = page
	}
	return page
}

// run redoes the whole log once.
func (r *replay) run(log *pglog.Log) (paired.Sample, error) {
	cpu, records := meter.Self(), 0
	d := pgwal.NewDecoder("log", log.Start)
	var rec pgwal.Record
	const piece = 128 << 10 // what a walsender sends at a time
	for bytes := log.Bytes; len(bytes) > 0; {
		n := min(piece, len(bytes))
		d.Feed(bytes[:n])
		bytes = bytes[n:]
		for {
			ok, err := d.Next(&rec)
			if err != nil {
				return paired.Sample{}, err
			}
			if !ok {
				break
			}
			if err := r.redo(&rec); err != nil {
				return paired.Sample{}, fmt.Errorf("replay %v %s at %v: %w", rec.RMgr, rec.Kind(), rec.LSN, err)
			}
			records++
		}
	}
	used := meter.Self() - cpu
	if records != log.Records {
		return paired.Sample{}, fmt.Errorf("replayed %d of %d records", records, log.Records)
	}
	return paired.Sample{Metrics: map[string]float64{
		"records_per_cpu_s": float64(records) / used.Seconds(), "mb_per_cpu_s": float64(len(log.Bytes)) / 1e6 / used.Seconds(),
	}}, nil
}

// redo changes all pages of a record.
func (r *replay) redo(rec *pgwal.Record) (err error) {
	locked := pgwal.HashLockedBucket(rec)
	for i := range rec.Blocks {
		ref := &rec.Blocks[i]
		if ref.Fork == pgwal.FSMFork || locked != nil && locked.ID == ref.ID {
			continue
		}
		switch page := r.page(place{ref.Rel, ref.Fork, ref.Block}); {
		case ref.HasImage:
			err = redo.Image(rec, ref, page)
		case redo.Native(rec.RMgr):
			err = redo.Record(page, rec, ref)
		}
		if err != nil {
			return err
		}
	}
	if r.clears, err = pgwal.AppendVMClears(r.clears[:0], rec); err != nil {
		return err
	}
	for _, c := range r.clears {
		if err := r.clear(c, rec.End); err != nil {
			return err
		}
	}
	return nil
}

// clear clears bits of a visibility map.
func (r *replay) clear(c pgwal.VMClear, lsn wal.LSN) error {
	block, _ := redo.VMPlace(c.Block)
	r.delta = redo.AppendVMClear(r.delta[:0], c.Block, c.Bits)
	key := pgkey.Parsed{Class: pgkey.ClassBlock, Spc: c.Rel.Spc, DB: c.Rel.DB, Rel: c.Rel.Rel, Fork: pgwal.VMFork, Block: block}
	_, err := redo.Change(r.page(place{c.Rel, pgwal.VMFork, block}), key, lsn, r.delta)
	return err
}
