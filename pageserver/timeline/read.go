package timeline

import (
	"context"
	"fmt"

	"github.com/varvedb/varve/lsm"
	"github.com/varvedb/varve/pageserver/pgkey"
	"github.com/varvedb/varve/pageserver/redo"
	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/pgwal"
)

// PageRead asks for one page as of an LSN.
type PageRead struct {
	Rel   pgwal.RelFileNode
	Fork  pgwal.Fork
	Block uint32
	LSN   wal.LSN
}

func (r PageRead) String() string {
	return fmt.Sprintf("block %d of relation %v fork %v at %v", r.Block, r.Rel, r.Fork, r.LSN)
}

// RelationSize is a fork that exists, and its size.
type RelationSize struct {
	Rel    pgwal.RelFileNode
	Fork   pgwal.Fork
	Blocks uint32
}

// GetPages reads pages, each at its own LSN, and puts 8192 bytes into each dst[i],
// whose capacity it reuses. It waits for LSNs that the log has not reached. Errors
// are ErrNoRelation, ErrBeyondEnd, and lsm's ErrFutureLSN and ErrBelowHorizon; one
// bad read fails them all, and is named.
func (t *Timeline) GetPages(ctx context.Context, reads []PageRead, dst [][]byte) error {
	floors, err := t.floors(ctx, reads)
	if err != nil {
		return err
	}
	pages := make([]lsm.Read, len(reads))
	for i, r := range reads {
		pages[i] = lsm.Read{Key: pgkey.Block(r.Rel, r.Fork, r.Block), LSN: r.LSN, Floor: floors[i]}
	}
	chains := make([]lsm.Chain, len(pages))
	if err := t.store.Get(ctx, pages, chains); err != nil {
		return fmt.Errorf("read %d pages from %v: %w", len(pages), reads[0], err)
	}
	for i := range chains {
		if dst[i], err = redo.Apply(dst[i][:0], pages[i].Key, &chains[i]); err != nil {
			return fmt.Errorf("read timeline %v: %w", t.id, err)
		}
	}
	return nil
}

// floors checks that the pages exist and returns, for each, the LSN at or below
// which versions of it belong to an earlier life of the fork.
func (t *Timeline) floors(ctx context.Context, reads []PageRead) ([]wal.LSN, error) {
	var sizeReads []lsm.Read
	index := make([]int, len(reads))
	var highest wal.LSN
	for i, r := range reads {
		highest = max(highest, r.LSN)
		key := pgkey.Size(r.Rel, r.Fork)
		if n := len(sizeReads); n == 0 || sizeReads[n-1].Key != key || sizeReads[n-1].LSN != r.LSN {
			sizeReads = append(sizeReads, lsm.Read{Key: key, LSN: r.LSN})
		}
		index[i] = len(sizeReads) - 1
	}
	if err := t.await(ctx, highest); err != nil {
		return nil, err
	}
	sizes, exist, err := t.readSizes(ctx, sizeReads)
	if err != nil {
		return nil, err
	}
	floors := make([]wal.LSN, len(reads))
	for i, r := range reads {
		size := sizes[index[i]]
		if !exist[index[i]] {
			return nil, fmt.Errorf("read %v: %w", r, ErrNoRelation)
		}
		if r.Block >= size.Blocks {
			return nil, fmt.Errorf("read %v, which has %d blocks: %w", r, size.Blocks, ErrBeyondEnd)
		}
		floors[i] = size.Since
	}
	return floors, nil
}

func (t *Timeline) readSizes(ctx context.Context, reads []lsm.Read) (sizes []pgkey.SizeValue, exist []bool, err error) {
	chains := make([]lsm.Chain, len(reads))
	if err := t.store.Get(ctx, reads, chains); err != nil {
		return nil, nil, fmt.Errorf("read %d sizes: %w", len(reads), err)
	}
	sizes, exist = make([]pgkey.SizeValue, len(reads)), make([]bool, len(reads))
	for i := range chains {
		if chains[i].Empty() {
			continue
		}
		exist[i] = true
		if sizes[i], err = pgkey.DecodeSize(chains[i].Base); err != nil {
			return nil, nil, fmt.Errorf("read %s: %w", pgkey.Describe(reads[i].Key), err)
		}
	}
	return sizes, exist, nil
}

// RelSize returns the size of a fork in blocks.
func (t *Timeline) RelSize(ctx context.Context, rel pgwal.RelFileNode, fork pgwal.Fork, lsn wal.LSN) (uint32, error) {
	if err := t.await(ctx, lsn); err != nil {
		return 0, err
	}
	sizes, exist, err := t.readSizes(ctx, []lsm.Read{{Key: pgkey.Size(rel, fork), LSN: lsn}})
	if err != nil {
		return 0, err
	}
	if !exist[0] {
		return 0, fmt.Errorf("size of relation %v fork %v at %v: %w", rel, fork, lsn, ErrNoRelation)
	}
	return sizes[0].Blocks, nil
}

// Relations calls fn for every fork that exists at lsn, ordered by tablespace,
// database, relation, fork. It ends early with fn's error.
func (t *Timeline) Relations(ctx context.Context, lsn wal.LSN, fn func(RelationSize) error) error {
	lo, hi := pgkey.AllSizes()
	return t.relations(ctx, lo, hi, lsn, fn)
}

// DatabaseRelations is [Timeline.Relations] for one database in one tablespace.
func (t *Timeline) DatabaseRelations(ctx context.Context, spc, db uint32, lsn wal.LSN, fn func(RelationSize) error) error {
	lo, hi := pgkey.SizeRange(spc, db)
	return t.relations(ctx, lo, hi, lsn, fn)
}

func (t *Timeline) relations(ctx context.Context, lo, hi lsm.Key, lsn wal.LSN, fn func(RelationSize) error) error {
	return t.Values(ctx, lo, hi, lsn, func(key lsm.Key, value []byte) error {
		size, err := ParseRelationSize(key, value)
		if err != nil {
			return err
		}
		return fn(size)
	})
}

// ParseRelationSize reads a key and value of a fork's size.
func ParseRelationSize(key lsm.Key, value []byte) (RelationSize, error) {
	parsed, err := pgkey.ParseKey(key)
	if err != nil {
		return RelationSize{}, err
	}
	size, err := pgkey.DecodeSize(value)
	if err != nil {
		return RelationSize{}, fmt.Errorf("read %v: %w", parsed, err)
	}
	return RelationSize{Rel: parsed.RelFileNode(), Fork: parsed.Fork, Blocks: size.Blocks}, nil
}

// Value returns the value of a key that is no page of a relation, as of lsn, and
// whether it has one.
func (t *Timeline) Value(ctx context.Context, key lsm.Key, lsn wal.LSN) (value []byte, ok bool, err error) {
	if err := t.await(ctx, lsn); err != nil {
		return nil, false, err
	}
	return t.value(ctx, key, lsn)
}

func (t *Timeline) value(ctx context.Context, key lsm.Key, lsn wal.LSN) (value []byte, ok bool, err error) {
	var chains [1]lsm.Chain
	if err := t.store.Get(ctx, []lsm.Read{{Key: key, LSN: lsn}}, chains[:]); err != nil {
		return nil, false, fmt.Errorf("read %s at %v: %w", pgkey.Describe(key), lsn, err)
	}
	if chains[0].Empty() {
		return nil, false, nil
	}
	value, err = redo.Apply(nil, key, &chains[0])
	return value, err == nil, err
}

// Values calls fn with every key in [lo, hi) that has a value at lsn, in order of
// keys. The value is valid during the call. The range holds no page of a relation.
// It ends early with fn's error.
func (t *Timeline) Values(ctx context.Context, lo, hi lsm.Key, lsn wal.LSN, fn func(key lsm.Key, value []byte) error) error {
	if err := t.await(ctx, lsn); err != nil {
		return err
	}
	var value []byte
	return t.store.Scan(ctx, lo, hi, lsn, func(key lsm.Key, chain lsm.Chain) (err error) {
		if value, err = redo.Apply(value[:0], key, &chain); err != nil {
			return err
		}
		return fn(key, value)
	})
}
