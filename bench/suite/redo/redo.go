package redo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"syscall"
	"time"

	"github.com/varvedb/varve/bench"
	"github.com/varvedb/varve/bench/cluster"
	"github.com/varvedb/varve/bench/latency"
	"github.com/varvedb/varve/bench/meter"
	"github.com/varvedb/varve/bench/paired"
	"github.com/varvedb/varve/bench/pglog"
	"github.com/varvedb/varve/bench/stage"
	"github.com/varvedb/varve/lsm"
	"github.com/varvedb/varve/pageserver/pgkey"
	"github.com/varvedb/varve/pageserver/redo"
	"github.com/varvedb/varve/wal/pgwal"
)

// Config says how much is done in a round.
type Config struct {
	TPCB    stage.TPCB
	Indexed int // rows under an index of every access method
	Pages   int // with chains of Generic changes; and as many of rows that were updated
	PageOps int // reads of a page of rows
}

// Full is the measurement of record.
var Full = Config{TPCB: stage.FullTPCB, Indexed: 60_000, Pages: 2000, PageOps: 20_000}

// Quick is for smoke.
var Quick = Config{TPCB: stage.QuickTPCB, Indexed: 2000, Pages: 200, PageOps: 1000}

// Suite describes the suite.
func Suite() bench.Suite {
	return bench.Suite{
		Name: "redo", Letter: "d", Weight: 90,
		Title: "redo in this process, page by page, against PostgreSQL's",
		About: "records/tpcb makes every page that TPC-B's log changes, those of relations, of visibility maps and of pg_xact, from its chain of deltas; the log has no images. What is counted are the records that change pages, commits among them; they were taken in before, which is not measured, nor are reads of chain and base. They are applied as GetPages applies a batch. " +
			"PostgreSQL's startup process recovers the same log record by record, reading and decoding it; replay does so in Varve. " +
			"records/indexes decodes the log of a table under an index of every access method, and redoes it record by record, as PostgreSQL's startup process does; volume/indexes is its size. " +
			"records/generic applies chains of Generic records. page/61 is the whole of GetPage, in process, from layers in memory: a page of rows like TPC-B's tellers, 61 HOT updates after its image. The pipe is the way of a redo in another process.",
		Run: bench.Sized(Full, Quick, Run),
	}
}

type suite struct {
	s   *bench.Session
	cfg Config
}

// Run measures.
func Run(ctx context.Context, s *bench.Session, cfg Config) error {
	b := &suite{s: s, cfg: cfg}
	cases, err := s.Build(ctx, bench.One("records/generic", b.generic), bench.One(updatedName, b.updated), bench.One("records/tpcb", b.tpcb),
		bench.Builder{Names: []string{"records/indexes", "volume/indexes"}, Build: b.indexes})
	if err != nil {
		return err
	}
	return s.Measure(ctx, cases...)
}

const varveSettings = "in process, one goroutine, pages reused"

func (b *suite) tpcb(ctx context.Context) (c paired.Case, err error) {
	log, err := stage.Log(ctx, b.s, b.cfg.TPCB)
	if err != nil {
		return c, err
	}
	b.s.Step("its chains")
	w, err := b.prepare(ctx, log)
	if err != nil {
		return c, err
	}
	b.s.Note("records of TPC-B by kind: %s", w.kinds())
	return paired.Case{Name: "records/tpcb", Arms: []paired.Arm{{
		Name: "varve", Settings: varveSettings, Run: func(context.Context, int) (paired.Sample, error) { return w.run() },
	}, replayed("replay", log), stage.Redo(b.s, log)}}, nil
}

// generic makes pages with chains of Generic changes.
func (b *suite) generic(ctx context.Context) (c paired.Case, err error) {
	const deltas = 20
	chains, keys, err := b.chains(ctx, "g", b.cfg.Pages, deltas)
	if err != nil {
		return c, err
	}
	all := func(context.Context, int) (paired.Sample, error) {
		page, cpu := make([]byte, 0, pgwal.PageSize), meter.Self()
		for i := range chains {
			var err error
			if page, err = redo.Apply(page[:0], keys[i], &chains[i]); err != nil {
				return paired.Sample{}, err
			}
		}
		used := meter.Self() - cpu
		return paired.Sample{Metrics: map[string]float64{
			"records_per_cpu_s": float64(len(chains)*deltas) / used.Seconds(), "cpu_us_per_page": float64(used.Microseconds()) / float64(len(chains)),
		}}, nil
	}
	return paired.Case{Name: "records/generic", Arms: []paired.Arm{{Name: "varve", Settings: varveSettings, Run: all}}}, nil
}

// updates are those of a page, as many as the anchor's has.
const (
	updates     = 61
	updatedName = "page/61"
)

// updated reads pages with 61 updates, as the anchor has it. Image and updates lie in
// layers of their own.
func (b *suite) updated(ctx context.Context) (c paired.Case, err error) {
	p, err := stage.Pages(ctx, b.s, "updated", cluster.PagesConfig{Store: lsm.Options{BlockCacheBytes: 256 << 20, MemtableBytes: 256 << 20}})
	if err != nil {
		return c, err
	}
	for _, write := range []func() error{
		func() error { return p.InsertRows(ctx, b.cfg.Pages) }, func() error { return p.Timeline.Flush(ctx) },
		func() error { return p.UpdateRows(ctx, updates) }, func() error { return p.Timeline.Flush(ctx) },
	} {
		if err := write(); err != nil {
			return c, err
		}
	}
	pipe, err := newPipe()
	if err != nil {
		return c, err
	}
	b.s.Cleanup(pipe.close)
	return paired.Case{Name: updatedName, Arms: []paired.Arm{{
		Name: "varve", Settings: "GetPages of one page at the log's end, block cache 256 MiB", Run: func(ctx context.Context, round int) (paired.Sample, error) {
			load := cluster.ReadLoad{Ops: b.cfg.PageOps, Blocks: p.Blocks, LSN: cluster.At(p.End()), Seed: b.s.Seed + uint64(round)}
			return cluster.MeasureReads(ctx, p.Timeline, p.Under, p.World, load, 1)
		},
	}, {
		Name: "pipe", Settings: "8 KiB to cat and back: what a redo process costs if its redo is free", Run: func(ctx context.Context, _ int) (paired.Sample, error) {
			return pipe.echo(ctx, b.cfg.PageOps/4)
		},
	}}}, nil
}

// chains are what determines each of a number of pages that were updated so often.
func (b *suite) chains(ctx context.Context, name string, pages, deltas int) ([]lsm.Chain, []lsm.Key, error) {
	p, err := stage.Pages(ctx, b.s, name, cluster.PagesConfig{Blocks: pages})
	if err != nil {
		return nil, nil, err
	}
	if _, err := p.Update(ctx, pages*deltas, 100, func(i int) int { return i % pages }); err != nil {
		return nil, nil, err
	}
	reads, keys := make([]lsm.Read, pages), make([]lsm.Key, pages)
	for i := range reads {
		keys[i] = pgkey.Block(cluster.Rel, pgwal.MainFork, uint32(i))
		reads[i] = lsm.Read{Key: keys[i], LSN: p.End()}
	}
	chains := make([]lsm.Chain, pages)
	return chains, keys, p.Under.Get(ctx, reads, chains)
}

// pipe is a process that gives back what it is given.
type pipe struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out io.Reader
}

func newPipe() (*pipe, error) {
	p := &pipe{cmd: exec.Command("cat")}
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true} // Ctrl-C is not for it.
	var err error
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		return nil, fmt.Errorf("start cat: %w", err)
	}
	if p.out, err = p.cmd.StdoutPipe(); err != nil {
		return nil, fmt.Errorf("start cat: %w", err)
	}
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start cat: %w", err)
	}
	return p, nil
}

func (p *pipe) close() error { return errors.Join(p.in.Close(), p.cmd.Wait()) }

func (p *pipe) echo(ctx context.Context, ops int) (paired.Sample, error) {
	h, page := latency.New(), make([]byte, pgwal.PageSize)
	for range ops {
		begin := time.Now()
		if _, err := p.in.Write(page); err != nil {
			return paired.Sample{}, fmt.Errorf("write to cat: %w", err)
		}
		if _, err := io.ReadFull(p.out, page); err != nil {
			return paired.Sample{}, fmt.Errorf("read from cat: %w", err)
		}
		h.Since(begin)
	}
	return paired.Sample{Latency: h, Metrics: map[string]float64{}}, ctx.Err()
}

// imageRef is a block reference whose page comes from its image.
type imageRef struct {
	record *pgwal.Record
	ref    int
}

// work is all that redo has to do for a log.
type work struct {
	images   []imageRef
	chains   []lsm.Chain
	keys     []lsm.Key
	records  int            // that change pages
	fellBack int            // of them by the image of a resource manager without native redo
	byKind   map[string]int // of records

	seen   map[lsm.Key]bool // keys
	clears []pgwal.VMClear
	commit pgwal.XactCompletion
}

// prepare takes the log in, and gathers what there is to redo.
func (b *suite) prepare(ctx context.Context, log *pglog.Log) (*work, error) {
	dir, err := b.s.Dir("tpcb")
	if err != nil {
		return nil, err
	}
	imported, err := log.Import(ctx, dir, lsm.Options{})
	if err != nil {
		return nil, err
	}
	b.s.Cleanup(func() error { return imported.Store.Close(ctx) })
	if _, err := imported.Take(ctx, log); err != nil {
		return nil, err
	}
	w := &work{byKind: map[string]int{}, seen: map[lsm.Key]bool{}}
	if err := w.gather(log); err != nil {
		return nil, err
	}
	reads := make([]lsm.Read, len(w.keys))
	for i, key := range w.keys {
		reads[i] = lsm.Read{Key: key, LSN: imported.Timeline.LastLSN()}
	}
	w.chains = make([]lsm.Chain, len(w.keys))
	return w, imported.Under.Get(ctx, reads, w.chains)
}

// gather walks over the log's records.
func (w *work) gather(log *pglog.Log) error {
	d := pgwal.NewDecoder("log", log.Start)
	d.Feed(log.Bytes)
	for {
		record := new(pgwal.Record)
		ok, err := d.Next(record)
		if err != nil || !ok {
			return err
		}
		w.byKind[record.RMgr.String()+" "+record.Kind()]++
		if err := w.gatherUnlisted(record); err != nil {
			return err
		}
		if len(record.Blocks) == 0 {
			continue
		}
		w.records++
		native := redo.Native(record.RMgr)
		if !native && record.RMgr != pgwal.RMgrXLOG {
			w.fellBack++
		}
		for i := range record.Blocks {
			ref := &record.Blocks[i]
			if ref.Fork == pgwal.FSMFork {
				continue
			}
			w.add(pgkey.Block(ref.Rel, ref.Fork, uint32(ref.Block)))
			if ref.HasImage && (!native || ref.ApplyImage) {
				// The record points into memory of the decoder that the next one reuses.
				kept := new(pgwal.Record)
				if err := pgwal.DecodeRecord("log", record.LSN, record.End, append([]byte(nil), record.Raw...), kept); err != nil {
					return err
				}
				w.images = append(w.images, imageRef{kept, i})
			}
		}
	}
}

// add notes a page that is changed.
func (w *work) add(key lsm.Key) {
	if !w.seen[key] {
		w.seen[key] = true
		w.keys = append(w.keys, key)
	}
}

// gatherUnlisted notes the pages that a record changes and does not list: a commit's of
// pg_xact, and those of visibility maps.
func (w *work) gatherUnlisted(record *pgwal.Record) (err error) {
	if w.clears, err = pgwal.AppendVMClears(w.clears[:0], record); err != nil {
		return err
	}
	for _, c := range w.clears {
		block, _ := redo.VMPlace(c.Block)
		w.add(pgkey.Block(c.Rel, pgwal.VMFork, block))
	}
	if record.RMgr != pgwal.RMgrTransaction || record.Op() != pgwal.OpXactCommit {
		return nil
	}
	if err := pgwal.ParseCommit(record, &w.commit); err != nil {
		return err
	}
	w.add(pgkey.SLRUPage(pgkey.Xact, pgkey.XactPage(w.commit.XID)))
	for _, xid := range w.commit.SubXIDs {
		w.add(pgkey.SLRUPage(pgkey.Xact, pgkey.XactPage(xid)))
	}
	w.records++
	return nil
}

// run does all of it once.
func (w *work) run() (paired.Sample, error) {
	page, cpu := make([]byte, pgwal.PageSize), meter.Self()
	for _, i := range w.images {
		if err := redo.Image(i.record, &i.record.Blocks[i.ref], page); err != nil {
			return paired.Sample{}, err
		}
	}
	deltas := 0
	for i := range w.chains {
		var next *lsm.Chain
		if i+1 < len(w.chains) {
			next = &w.chains[i+1]
		}
		var err error
		if page, err = redo.ApplyBefore(page[:0], w.keys[i], &w.chains[i], next); err != nil {
			return paired.Sample{}, err
		}
		deltas += len(w.chains[i].Deltas)
	}
	used := meter.Self() - cpu
	return paired.Sample{Metrics: map[string]float64{
		"records_per_cpu_s": float64(w.records) / used.Seconds(),
		"fallback_share":    float64(w.fellBack) / float64(w.records),
		"images":            float64(len(w.images)), "deltas": float64(deltas), "pages": float64(len(w.chains)),
	}}, nil
}

// kinds lists the kinds of records, and their numbers, that are more than 1 % of all.
func (w *work) kinds() (text string) {
	total := 0
	for _, n := range w.byKind {
		total += n
	}
	for _, kind := range cluster.SortedKeys(w.byKind) {
		if share := 100 * float64(w.byKind[kind]) / float64(total); share > 1 {
			text += fmt.Sprintf("%s %.1f %%, ", kind, share)
		}
	}
	return text + fmt.Sprintf("of %d", total)
}
