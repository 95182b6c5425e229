package timeline

import (
	"context"
	"fmt"
	"slices"
	"sync"

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
	room := readRooms.Get().(*readRoom)
	defer room.release()
	if err := t.locate(ctx, reads, room); err != nil {
		return err
	}
	if err := t.store.Get(ctx, room.pages, room.chains); err != nil {
		return fmt.Errorf("read %d pages from %v: %w", len(reads), reads[0], err)
	}
	for i := range room.chains {
		var next *lsm.Chain
		if i+1 < len(room.chains) {
			next = &room.chains[i+1]
		}
		var err error
		if dst[i], err = redo.ApplyBefore(dst[i][:0], room.pages[i].Key, &room.chains[i], next); err != nil {
			return fmt.Errorf("read timeline %v: %w", t.id, err)
		}
	}
	return nil
}

// readRoom is what a GetPages needs and does not give away.
type readRoom struct {
	pages  []lsm.Read
	chains []lsm.Chain // keep the capacity of their deltas
}

var readRooms = sync.Pool{New: func() any { return new(readRoom) }}

// deltasKept bounds the room for one page's deltas that is kept, 64 bytes each. Merges
// see to it that few chains are as long.
const deltasKept = 256

// release gives the room back. It goes on pointing to what was read, until it is used
// again or the garbage collector empties the pool.
func (r *readRoom) release() {
	for i := range r.chains {
		if cap(r.chains[i].Deltas) > deltasKept {
			r.chains[i].Deltas = nil
		}
	}
	readRooms.Put(r)
}

// locate checks that the pages exist, and fills room.pages with where they are in the
// store: versions at or below the floor belong to an earlier life of the fork.
func (t *Timeline) locate(ctx context.Context, reads []PageRead, room *readRoom) error {
	var highest wal.LSN
	for i := range reads {
		highest = max(highest, reads[i].LSN)
	}
	if err := t.await(ctx, highest); err != nil {
		return err
	}
	room.pages = room.pages[:0]
	for i := range reads {
		r := &reads[i]
		size, exists, err := t.sizeAt(ctx, forkID{r.Rel, r.Fork}, r.LSN)
		switch {
		case err != nil:
			return err
		case !exists:
			return fmt.Errorf("read %v: %w", *r, ErrNoRelation)
		case r.Block >= size.Blocks:
			// The size may have been known. A page that is read is checked by the store.
			if err := t.store.Kept(r.LSN); err != nil {
				return fmt.Errorf("read %v: %w", *r, err)
			}
			return fmt.Errorf("read %v, which has %d blocks: %w", *r, size.Blocks, ErrBeyondEnd)
		}
		room.pages = append(room.pages, lsm.Read{Key: pgkey.Block(r.Rel, r.Fork, r.Block), LSN: r.LSN, Floor: size.Since})
	}
	room.chains = slices.Grow(room.chains[:0], len(reads))[:len(reads)]
	return nil
}

// sizeAt returns a fork's size as of lsn, which the timeline has reached. If it is known,
// it is returned below the horizon too.
func (t *Timeline) sizeAt(ctx context.Context, id forkID, lsn wal.LSN) (size pgkey.SizeValue, exists bool, err error) {
	if size, ok := t.known.at(&id, lsn); ok {
		return size, true, nil
	}
	var chains [1]lsm.Chain
	key := pgkey.Size(id.rel, id.fork)
	if err := t.store.Get(ctx, []lsm.Read{{Key: key, LSN: lsn}}, chains[:]); err != nil {
		return size, false, fmt.Errorf("read the size of relation %v fork %v: %w", id.rel, id.fork, err)
	}
	if chains[0].Empty() {
		return size, false, nil
	}
	if size, err = pgkey.DecodeSize(chains[0].Base); err != nil {
		return size, false, fmt.Errorf("read %s: %w", pgkey.Describe(key), err)
	}
	t.known.note(&id, chains[0].BaseLSN, lsn, size)
	return size, true, nil
}

// RelSize returns the size of a fork in blocks.
func (t *Timeline) RelSize(ctx context.Context, rel pgwal.RelFileNode, fork pgwal.Fork, lsn wal.LSN) (uint32, error) {
	if err := t.await(ctx, lsn); err != nil {
		return 0, err
	}
	if err := t.store.Kept(lsn); err != nil {
		return 0, fmt.Errorf("size of relation %v fork %v at %v: %w", rel, fork, lsn, err)
	}
	size, exists, err := t.sizeAt(ctx, forkID{rel, fork}, lsn)
	if err != nil {
		return 0, err
	}
	if !exists {
		return 0, fmt.Errorf("size of relation %v fork %v at %v: %w", rel, fork, lsn, ErrNoRelation)
	}
	return size.Blocks, nil
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
