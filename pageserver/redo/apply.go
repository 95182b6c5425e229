package redo

import (
	"encoding/binary"
	"fmt"
	"sync"

	"github.com/varvedb/varve/lsm"
	"github.com/varvedb/varve/pageserver/pgkey"
	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/pgwal"
)

// Apply appends to dst the value that a chain determines. Where the chain is empty
// and key is a page, that is a page of zeros. Errors match wal.ErrCorruption.
func Apply(dst []byte, key lsm.Key, chain *lsm.Chain) ([]byte, error) {
	return ApplyBefore(dst, key, chain, nil)
}

// ApplyBefore is [Apply] for whoever applies the chain next right after this one: while
// this one's deltas are applied, next's base is loaded into the processor's cache. next may
// be nil.
func ApplyBefore(dst []byte, key lsm.Key, chain, next *lsm.Chain) ([]byte, error) {
	parsed, err := pgkey.ParseKey(key)
	if err != nil {
		return dst, err
	}
	isPage := parsed.Class == pgkey.ClassBlock || parsed.Class == pgkey.ClassSLRU
	start := len(dst)
	dst = append(dst, chain.Base...)
	if isPage && !chain.HasBase {
		dst = append(dst, zeroPage[:]...)
	}
	value := dst[start:]
	if isPage && len(value) != pgwal.PageSize {
		return dst[:start], fmt.Errorf("redo %v: %w", parsed, wal.Corruptf("image", 0, "page size", pgwal.PageSize, len(value)))
	}
	if len(chain.Deltas) == 0 {
		return dst, nil
	}
	room := rooms.Get().(*pgwal.Record)
	defer rooms.Put(room)
	coming := comingAfter(len(chain.Deltas), next)
	for i := range chain.Deltas {
		delta := &chain.Deltas[i]
		coming.loadPart()
		if value, err = changeBy(room, value, &parsed, delta.LSN, delta.Value); err != nil {
			return dst[:start], fmt.Errorf("redo %v at %v: %w", parsed, delta.LSN, err)
		}
	}
	if len(value) > 0 && len(value) == len(dst)-start && &value[0] == &dst[start] {
		return dst, nil // It was changed in place, as pages are.
	}
	return append(dst[:start], value...), nil
}

var zeroPage [pgwal.PageSize]byte

// Change applies the operations of one delta to a value, in place where it can,
// and returns it. lsn is the end of the record that the delta came from.
func Change(value []byte, key pgkey.Parsed, lsn wal.LSN, delta []byte) ([]byte, error) {
	room := rooms.Get().(*pgwal.Record)
	defer rooms.Put(room)
	return changeBy(room, value, &key, lsn, delta)
}

// rooms are where record operations are unpacked, so that none allocates. A room is
// filled anew for each operation.
var rooms = sync.Pool{New: func() any { return new(pgwal.Record) }}

// changeBy is Change with a room.
func changeBy(room *pgwal.Record, value []byte, key *pgkey.Parsed, lsn wal.LSN, delta []byte) ([]byte, error) {
	for len(delta) > 0 {
		code, body, rest, err := nextOp(delta)
		switch {
		case err != nil:
		case code == opAppend:
			value = append(value, body...)
		case len(value) != pgwal.PageSize:
			err = corrupt("size of the page to change", pgwal.PageSize, len(value))
		case code == opRecord || code == opGeneric:
			err = applyRecord(room, value, key, lsn, code, body)
		default:
			err = changePage(value, key, code, body)
		}
		if err != nil {
			return value, err
		}
		delta = rest
	}
	return value, nil
}

// applyRecord applies a record operation.
func applyRecord(rec *pgwal.Record, page []byte, key *pgkey.Parsed, lsn wal.LSN, code op, body []byte) error {
	if code == opGeneric {
		rec.RMgr, rec.Info = pgwal.RMgrGeneric, pgwal.OpGenericDelta
		rec.Blocks = rec.Blocks[:0]
		ref := rec.AddBlock()
		ref.Block, ref.Data = key.Block, body
	} else if err := decodeRecord(rec, body); err != nil {
		return err
	}
	rec.End = lsn
	ref := &rec.Blocks[0]
	ref.Fork = key.Fork
	if key.Class != pgkey.ClassBlock || ref.Block != key.Block {
		return corrupt("page that the record is about", *key, ref.Block)
	}
	return Record(page, rec, ref)
}

func changePage(page []byte, key *pgkey.Parsed, code op, body []byte) error {
	switch code {
	case opVMClear:
		return vmClear(page, key.Block, body)
	case opVMTruncate:
		return vmTruncate(page, key.Block, body)
	case opXactStatus:
		return setXactStatus(page, key.Block, body)
	case opMultiOffset:
		return setMultiOffset(page, key.Block, body)
	case opMultiMembers:
		return setMultiMembers(page, key.Block, body)
	case opCommitTs:
		return setCommitTs(page, key.Block, body)
	}
	return corrupt("operation", "a known one", uint8(code))
}

// generic overwrites byte ranges, then zeroes the hole, of which a Generic record says
// nothing.
func generic(page []byte, _ *pgwal.Record, ref *pgwal.BlockRef) error {
	delta := ref.Data
	for len(delta) > 0 {
		if len(delta) < 4 {
			return corrupt("fragment header of a Generic record", 4, len(delta))
		}
		offset := int(binary.LittleEndian.Uint16(delta))
		length := int(binary.LittleEndian.Uint16(delta[2:]))
		delta = delta[4:]
		if length > len(delta) || offset+length > len(page) {
			return corrupt("fragment of a Generic record", "inside page and delta", fmt.Sprintf("offset %d length %d", offset, length))
		}
		copy(page[offset:], delta[:length])
		delta = delta[length:]
	}
	lower := int(binary.LittleEndian.Uint16(page[offLower:]))
	upper := int(binary.LittleEndian.Uint16(page[offUpper:]))
	if lower > upper || upper > len(page) {
		return corrupt("hole of a page that a Generic record changed", "lower <= upper <= 8192", fmt.Sprintf("lower %d upper %d", lower, upper))
	}
	clear(page[lower:upper])
	return nil
}
