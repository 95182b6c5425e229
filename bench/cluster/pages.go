package cluster

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/varvedb/varve/bench/meter"
	"github.com/varvedb/varve/lsm"
	"github.com/varvedb/varve/pageserver/pgcontrol"
	"github.com/varvedb/varve/pageserver/pgkey"
	"github.com/varvedb/varve/pageserver/redo"
	"github.com/varvedb/varve/pageserver/timeline"
	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/pgwal"
)

// Where the log of synthetic pages begins, after an import that never was.
const (
	importPrev  = wal.LSN(0x3000028)
	importEnd   = wal.LSN(0x30000A0)
	importStamp = int64(753_000_000_000_000) // microseconds since 2000
)

// ingestBytes is how much log is handed to a timeline at a time, as a receiver does.
const ingestBytes = 1 << 20

// Rel is the relation that synthetic pages belong to.
var Rel = pgwal.RelFileNode{Spc: pgwal.DefaultTablespace, DB: 5, Rel: 16384}

// Tenant and Main are whose pages they are.
var (
	Tenant = wal.TenantID{1}
	Main   = wal.TimelineID{2}
)

// Pages is a timeline with one relation of synthetic pages, and a hand that writes its
// log. Updates are Generic records; rows.go makes a relation of rows, whose updates are
// the Heap records of PostgreSQL's.
type Pages struct {
	World    *meter.World
	Store    *lsm.Store
	Under    *lsm.Timeline
	Timeline *timeline.Timeline
	Blocks   int

	rng *rand.Rand
	log *pgwal.Encoder
	end wal.LSN
	xid uint32
	tpl []byte // what updates write

	rows []rowPage // of a relation of rows
}

// PagesConfig says which pages.
type PagesConfig struct {
	Dir          string
	Blocks       int
	Compressible bool // three quarters of each page are zeros
	Seed         uint64
	Store        lsm.Options // Tenant and Redo are overridden
}

// NewPages makes the timeline, its pages imported as images.
func NewPages(ctx context.Context, cfg PagesConfig) (*Pages, error) {
	w, err := NewWorld(cfg.Dir)
	if err != nil {
		return nil, err
	}
	cfg.Store.Tenant, cfg.Store.Redo = Tenant, timeline.Redo{}
	p := &Pages{
		World: w, Blocks: cfg.Blocks, rng: rand.New(rand.NewPCG(cfg.Seed, 5)),
		log: pgwal.NewEncoder(importEnd, importPrev, SystemID), end: importEnd, xid: 735, tpl: make([]byte, 1<<16),
	}
	fill(p.tpl, p.rng)
	if p.Store, err = lsm.Open(ctx, w.Env, cfg.Store); err != nil {
		return nil, err
	}
	if err := p.Store.Create(ctx, Main, importEnd, nil); err != nil {
		return nil, err
	}
	if p.Under, err = p.Store.Attach(ctx, Main); err != nil {
		return nil, err
	}
	if err := p.Under.ImportImages(ctx, importEnd, p.images(cfg)); err != nil {
		return nil, err
	}
	p.Timeline, err = timeline.Open(ctx, w.Env, Main, p.Under)
	return p, err
}

// Close closes the store.
func (p *Pages) Close(ctx context.Context) error { return p.Store.Close(ctx) }

// End is the end of the last record written.
func (p *Pages) End() wal.LSN { return p.end }

// Start is where the log begins.
func (p *Pages) Start() wal.LSN { return importEnd }

// images yields what a cluster cannot be without, and the relation, by keys.
func (p *Pages) images(cfg PagesConfig) func() (lsm.Key, []byte, bool, error) {
	few := base()
	few[pgkey.Size(Rel, pgwal.MainFork)] = pgkey.SizeValue{Blocks: uint32(cfg.Blocks)}.AppendTo(nil)
	keys := make([]lsm.Key, 0, len(few))
	for key := range few {
		keys = append(keys, key)
	}
	slices.SortFunc(keys, func(a, b lsm.Key) int { return bytes.Compare(a[:], b[:]) })
	page, block := make([]byte, pgwal.PageSize), 0
	return func() (lsm.Key, []byte, bool, error) {
		if block < cfg.Blocks { // Keys of pages are below all others.
			p.fillPage(page, cfg.Compressible)
			block++
			return pgkey.Block(Rel, pgwal.MainFork, uint32(block-1)), page, true, nil
		}
		if len(keys) == 0 {
			return lsm.Key{}, nil, false, nil
		}
		key := keys[0]
		keys = keys[1:]
		return key, few[key], true, nil
	}
}

// fillPage makes an initialised page without room: a Generic record clears what lies
// between the two bounds of its page's room, so here it clears nothing.
func (p *Pages) fillPage(page []byte, compressible bool) {
	clear(page)
	for i, v := range []uint16{8192, 8192, 8192, 8192 | 4} {
		binary.LittleEndian.PutUint16(page[12+2*i:], v)
	}
	redo.SetPageLSN(page, importEnd)
	end := len(page)
	if compressible {
		end /= 4
	}
	fill(page[24:end], p.rng)
}

func fill(dst []byte, rng *rand.Rand) {
	for at := 0; at+8 <= len(dst); at += 8 {
		binary.LittleEndian.PutUint64(dst[at:], rng.Uint64())
	}
}

func base() map[lsm.Key][]byte {
	control := pgcontrol.File{SystemID: SystemID, State: pgcontrol.ShutDown, WALLevel: 1, CheckPoint: importPrev}
	first := pgkey.CommitTimeValue{Time: importStamp, Start: importPrev, Prev: importEnd}
	return map[lsm.Key][]byte{
		pgkey.Control():              control.AppendTo(nil),
		pgkey.NextXID():              pgkey.AppendUint64(nil, 735),
		pgkey.NextMulti():            pgkey.NextMultiValue{Multi: 1}.AppendTo(nil),
		pgkey.NextOID():              pgkey.AppendUint32(nil, 16384),
		pgkey.OldestXID():            pgkey.OldestValue{ID: 722, DB: 1}.AppendTo(nil),
		pgkey.OldestMulti():          pgkey.OldestValue{ID: 1, DB: 1}.AppendTo(nil),
		pgkey.CommitTsRange():        pgkey.CommitTsRangeValue{}.AppendTo(nil),
		pgkey.LastRecord():           pgkey.AppendUint64(nil, uint64(importPrev)),
		pgkey.CommitTime(importPrev): first.AppendTo(nil),
	}
}

// Update writes and takes in n updates of a number of bytes; pick names the block of
// each. It returns the bytes of log.
func (p *Pages) Update(ctx context.Context, n, size int, pick func(i int) int) (int64, error) {
	begin := p.end
	for i := range n {
		p.Encode(uint32(pick(i)), size)
		if len(p.log.Bytes()) >= ingestBytes {
			if err := p.Ingest(ctx); err != nil {
				return 0, err
			}
		}
	}
	return int64(p.end - begin), p.Ingest(ctx)
}

// Encode writes an update to the log, without taking it in.
func (p *Pages) Encode(block uint32, size int) {
	from := p.rng.IntN(len(p.tpl) - size)
	change := pgwal.PageChange{Offset: uint16(24 + p.rng.IntN(pgwal.PageSize-24-size)), Data: p.tpl[from : from+size]}
	spec := pgwal.Generic(pgwal.XID(p.xid), pgwal.BlockChange{Rel: Rel, Block: pgwal.BlockNumber(block), Changes: []pgwal.PageChange{change}})
	_, p.end = p.log.Append(spec)
}

// Commit writes the commit of a transaction, so many microseconds after the import.
func (p *Pages) Commit(after int64) {
	_, p.end = p.log.Append(commitRecord(p.xid, importStamp+after))
	p.xid++
}

func commitRecord(xid uint32, stamp int64) pgwal.RecordSpec {
	return pgwal.RecordSpec{
		RMgr: pgwal.RMgrTransaction, Info: pgwal.OpXactCommit, XID: pgwal.XID(xid),
		MainData: binary.LittleEndian.AppendUint64(nil, uint64(stamp)),
	}
}

// Pending is the log that was encoded and not yet taken in; it is forgotten.
func (p *Pages) Pending() []byte { return p.log.Take() }

// Ingest takes in what was encoded.
func (p *Pages) Ingest(ctx context.Context) error {
	log := p.log.Take()
	for len(log) > 0 {
		n := min(len(log), ingestBytes)
		if err := p.Timeline.Ingest(ctx, p.Timeline.NextLSN(), log[:n]); err != nil {
			return err
		}
		log = log[n:]
	}
	return nil
}

// Read is a read of a page at an LSN.
func Read(block int, lsn wal.LSN) timeline.PageRead {
	return timeline.PageRead{Rel: Rel, Block: uint32(block), LSN: lsn}
}

// ReadLoad says which pages ReadPages reads.
type ReadLoad struct {
	Ops    int
	Blocks int                      // of which random ones are read
	LSN    func(*rand.Rand) wal.LSN // of each read
	Seed   uint64
}

// Pager reads pages: a timeline in this process, or one behind a client.
type Pager interface {
	GetPages(ctx context.Context, reads []timeline.PageRead, dst [][]byte) error
}

// At always reads at one LSN.
func At(lsn wal.LSN) func(*rand.Rand) wal.LSN { return func(*rand.Rand) wal.LSN { return lsn } }

// ReadPages reads random pages in batches; took is called for each batch with its reads
// still to be done, and must do them by calling do.
func ReadPages(ctx context.Context, p Pager, load ReadLoad, batch int, took func(do func() error) error) error {
	rng := rand.New(rand.NewPCG(load.Seed, 6))
	reads, dst := make([]timeline.PageRead, batch), make([][]byte, batch)
	for i := range dst {
		dst[i] = make([]byte, 0, pgwal.PageSize)
	}
	do := func() error { return p.GetPages(ctx, reads, dst) } // made once: allocations are counted
	for range load.Ops {
		for i := range reads {
			reads[i] = Read(rng.IntN(load.Blocks), load.LSN(rng))
		}
		if err := took(do); err != nil {
			return fmt.Errorf("read %d pages: %w", batch, err)
		}
	}
	return nil
}

// Branch makes a branch of the head, with a log of its own.
func (p *Pages) Branch(ctx context.Context, id wal.TimelineID) (*Pages, error) {
	if err := p.Store.Branch(ctx, p.Timeline.ID(), id, p.end, nil); err != nil {
		return nil, err
	}
	c := *p
	start := pgwal.RecordPosition(p.end)
	c.log, c.end = pgwal.NewEncoder(start, 0, SystemID), start
	var err error
	if c.Under, err = p.Store.Attach(ctx, id); err != nil {
		return nil, err
	}
	if err := c.Under.AncestorReady(ctx, p.end); err != nil {
		return nil, err
	}
	c.Timeline, err = timeline.Open(ctx, p.World.Env, id, c.Under)
	return &c, err
}

// Began is the time of the import.
func (p *Pages) Began() time.Time {
	return time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(importStamp) * time.Microsecond)
}
