package pgkey_test

import (
	"bytes"
	"math/rand"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/lsm"
	"github.com/varvedb/varve/pageserver/pgkey"
	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/pgwal"
)

var rel = pgwal.RelFileNode{Spc: 1663, DB: 5, Rel: 16384}

// The bytes of keys are in every layer file: they never change.
func TestKeysHaveTheirGoldenBytes(t *testing.T) {
	golden := map[string]lsm.Key{
		"100000067f0000000500004000020000002a": pgkey.Block(rel, pgwal.VMFork, 42),
		"200000067f00000005000040000000000000": pgkey.Size(rel, pgwal.MainFork),
		"300100000007000000000000000000000000": pgkey.SLRUPage(pgkey.Xact, 7),
		"400000068000000000000000000000000000": pgkey.RelMap(1664, 0),
		"410000067f00000005000000000000000000": pgkey.Database(1663, 5),
		"420000400100000000000000000000000000": pgkey.Tablespace(16385),
		"50000002df00000000000000000000000000": pgkey.TwoPhase(735),
		"510003000000000000000000000000000000": pgkey.ReplOrigin(3),
		"600100000000000000000000000000000000": pgkey.Control(),
		"600200000000000000000000000000000000": pgkey.NextXID(),
		"600300000000000000000000000000000000": pgkey.NextMulti(),
		"600400000000000000000000000000000000": pgkey.NextOID(),
		"600500000000000000000000000000000000": pgkey.OldestXID(),
		"600600000000000000000000000000000000": pgkey.OldestMulti(),
		"600700000000000000000000000000000000": pgkey.CommitTsRange(),
		"600800000000000000000000000000000000": pgkey.LastRecord(),
		"610000000000000016000000000000000000": pgkey.CommitTime(0x16B3748),
	}
	for text, key := range golden {
		require.Equal(t, text, key.String(), pgkey.Describe(key))
		parsed, err := pgkey.ParseKey(key)
		require.NoError(t, err)
		require.NotEqual(t, "no key", parsed.String())
	}
}

func TestParseKeyUndoesBlock(t *testing.T) {
	parsed, err := pgkey.ParseKey(pgkey.Block(rel, pgwal.InitFork, 9))
	require.NoError(t, err)
	require.Equal(t, pgkey.Parsed{Class: pgkey.ClassBlock, Spc: 1663, DB: 5, Rel: 16384, Fork: pgwal.InitFork, Block: 9}, parsed)
	require.Equal(t, rel, parsed.RelFileNode())
}

func TestParseKeyRefusesWhatNobodyMakes(t *testing.T) {
	for _, key := range []lsm.Key{{}, {0x11}, {0x30, 1, 0, 0, 0, 0, 1}, {0xff}} {
		_, err := pgkey.ParseKey(key)
		require.Error(t, err, "%s", key)
	}
	require.Contains(t, pgkey.Describe(lsm.Key{}), "unknown key")
}

func TestOrderIsThatOfTheNumbers(t *testing.T) {
	type place struct {
		rel   pgwal.RelFileNode
		fork  pgwal.Fork
		block uint32
	}
	random := rand.New(rand.NewSource(1))
	var places []place
	for range 500 {
		places = append(places, place{
			pgwal.RelFileNode{Spc: random.Uint32() >> (random.Intn(4) * 8), DB: random.Uint32() >> (random.Intn(4) * 8), Rel: random.Uint32()},
			pgwal.Fork(random.Intn(4)), random.Uint32() >> (random.Intn(4) * 8)})
	}
	slices.SortFunc(places, func(a, b place) int {
		return pgkey.Block(a.rel, a.fork, a.block).Compare(pgkey.Block(b.rel, b.fork, b.block))
	})
	require.True(t, slices.IsSortedFunc(places, func(a, b place) int {
		return slices.Compare(
			[]uint32{a.rel.Spc, a.rel.DB, a.rel.Rel, uint32(a.fork), a.block},
			[]uint32{b.rel.Spc, b.rel.DB, b.rel.Rel, uint32(b.fork), b.block})
	}))
}

func TestRangesHoldTheirOwnAndNothingElse(t *testing.T) {
	within := func(lo, hi lsm.Key) func(lsm.Key) bool {
		return func(k lsm.Key) bool { return !k.Less(lo) && k.Less(hi) }
	}
	const last = ^uint32(0)
	nextRel := pgwal.RelFileNode{Spc: 1663, DB: 5, Rel: 16385}
	nextDB := pgwal.RelFileNode{Spc: 1663, DB: 6}

	fork := within(pgkey.BlockRange(rel, pgwal.MainFork))
	require.True(t, fork(pgkey.Block(rel, pgwal.MainFork, 0)))
	require.True(t, fork(pgkey.Block(rel, pgwal.MainFork, last)))
	require.False(t, fork(pgkey.Block(rel, pgwal.VMFork, 0)))

	relation := within(pgkey.RelRange(rel))
	require.True(t, relation(pgkey.Block(rel, pgwal.InitFork, last)))
	require.False(t, relation(pgkey.Block(nextRel, pgwal.MainFork, 0)))

	database := within(pgkey.DatabaseRange(1663, 5))
	require.True(t, database(pgkey.Block(nextRel, pgwal.MainFork, 0)))
	require.False(t, database(pgkey.Block(nextDB, pgwal.MainFork, 0)))

	sizes := within(pgkey.SizeRange(1663, 5))
	require.True(t, sizes(pgkey.Size(nextRel, pgwal.MainFork)))
	require.False(t, sizes(pgkey.Size(nextDB, pgwal.MainFork)))
	require.False(t, sizes(pgkey.Block(rel, pgwal.MainFork, 0)))

	all := within(pgkey.AllSizes())
	require.True(t, all(pgkey.Size(pgwal.RelFileNode{Spc: last, DB: last, Rel: last}, pgwal.InitFork)))
	require.False(t, all(pgkey.SLRUPage(pgkey.Xact, 0)))

	slru := within(pgkey.SLRURange(pgkey.Xact))
	require.True(t, slru(pgkey.SLRUPage(pgkey.Xact, last)))
	require.False(t, slru(pgkey.SLRUPage(pgkey.MultiXactOffsets, 0)))
}

// A database or relation with the greatest OID has a range too.
func TestRangeOfTheGreatestCarries(t *testing.T) {
	const last = ^uint32(0)
	lo, hi := pgkey.DatabaseRange(1663, last)
	key := pgkey.Block(pgwal.RelFileNode{Spc: 1663, DB: last, Rel: last}, pgwal.InitFork, last)
	require.True(t, !key.Less(lo) && key.Less(hi))
	require.False(t, pgkey.Block(pgwal.RelFileNode{Spc: 1664}, pgwal.MainFork, 0).Less(hi))
}

func TestValuesRoundTrip(t *testing.T) {
	size, err := pgkey.DecodeSize(pgkey.SizeValue{Blocks: 3, Since: 0x1234567890}.AppendTo(nil))
	require.NoError(t, err)
	require.Equal(t, pgkey.SizeValue{Blocks: 3, Since: 0x1234567890}, size)
	multi, err := pgkey.DecodeNextMulti(pgkey.NextMultiValue{Multi: 7, Offset: 19}.AppendTo(nil))
	require.NoError(t, err)
	require.Equal(t, pgkey.NextMultiValue{Multi: 7, Offset: 19}, multi)
	oldest, err := pgkey.DecodeOldest(pgkey.OldestValue{ID: 722, DB: 1}.AppendTo(nil))
	require.NoError(t, err)
	require.Equal(t, pgkey.OldestValue{ID: 722, DB: 1}, oldest)
	span, err := pgkey.DecodeCommitTsRange(pgkey.CommitTsRangeValue{Oldest: 5, Newest: 6}.AppendTo(nil))
	require.NoError(t, err)
	require.Equal(t, pgkey.CommitTsRangeValue{Oldest: 5, Newest: 6}, span)
	origin, err := pgkey.DecodeOrigin(pgkey.OriginValue{Remote: 8, Local: 9}.AppendTo(nil))
	require.NoError(t, err)
	require.Equal(t, pgkey.OriginValue{Remote: 8, Local: 9}, origin)
	first, second := pgkey.CommitTimeValue{Time: -1, Start: 2, Prev: 3}, pgkey.CommitTimeValue{Time: 4, Start: 5, Prev: 6}
	times, err := pgkey.DecodeCommitTimes(second.AppendTo(first.AppendTo(nil)))
	require.NoError(t, err)
	require.Equal(t, []pgkey.CommitTimeValue{first, second}, times)
	wide, err := pgkey.DecodeUint64(pgkey.AppendUint64(nil, 1<<40))
	require.NoError(t, err)
	require.Equal(t, uint64(1<<40), wide)
	narrow, err := pgkey.DecodeUint32(pgkey.AppendUint32(nil, 1<<30))
	require.NoError(t, err)
	require.Equal(t, uint32(1<<30), narrow)
}

func TestValuesOfWrongLengthAreCorrupt(t *testing.T) {
	short := make([]byte, 3)
	_, err := pgkey.DecodeSize(short)
	require.ErrorIs(t, err, wal.ErrCorruption)
	_, err = pgkey.DecodeOldest(short)
	require.ErrorIs(t, err, wal.ErrCorruption)
	_, err = pgkey.DecodeOrigin(short)
	require.ErrorIs(t, err, wal.ErrCorruption)
	_, err = pgkey.DecodeCommitTimes(short)
	require.ErrorIs(t, err, wal.ErrCorruption)
	_, err = pgkey.DecodeUint64(short)
	require.ErrorIs(t, err, wal.ErrCorruption)
	_, err = pgkey.DecodeUint32(short)
	require.ErrorIs(t, err, wal.ErrCorruption)
}

// A key parses to what gives the same key back, or is refused; values likewise.
func FuzzKeysAndValues(f *testing.F) {
	f.Add(make([]byte, 24))
	block, times := pgkey.Block(rel, pgwal.VMFork, 7), pgkey.CommitTimeValue{Time: 1, Start: 2, Prev: 3}.AppendTo(nil)
	f.Add(block[:])
	f.Add(times)
	f.Fuzz(func(t *testing.T, b []byte) {
		var key lsm.Key
		copy(key[:], b)
		if parsed, err := pgkey.ParseKey(key); err == nil && parsed.String() == "no key" {
			t.Fatalf("key %s has no words", key)
		}
		if size, err := pgkey.DecodeSize(b); err == nil && !bytes.Equal(b, size.AppendTo(nil)) {
			t.Fatalf("size %x is %v", b, size)
		}
		if origin, err := pgkey.DecodeOrigin(b); err == nil && !bytes.Equal(b, origin.AppendTo(nil)) {
			t.Fatalf("origin %x is %v", b, origin)
		}
		if list, err := pgkey.DecodeCommitTimes(b); err == nil && len(list)*24 != len(b) {
			t.Fatalf("commit times %x are %v", b, list)
		}
	})
}
