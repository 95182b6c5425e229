package redo_test

import (
	"encoding/binary"
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/lsm"
	"github.com/varvedb/varve/pageserver/pgkey"
	"github.com/varvedb/varve/pageserver/redo"
	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/pgwal"
)

// chainOf is the chain of a page: an image, then the records, each on the page alone.
func chainOf(base []byte, records []pgwal.Record) *lsm.Chain {
	chain := &lsm.Chain{HasBase: true, Base: base}
	for i := range records {
		lsn := wal.LSN(0x1000000 + 128*(i+1))
		chain.Deltas = append(chain.Deltas, lsm.Version{Key: benchKey, LSN: lsn, Kind: lsm.Delta, Value: redo.AppendRecord(nil, &records[i], &records[i].Blocks[0])})
	}
	return chain
}

var benchKey = pgkey.Block(rel, pgwal.MainFork, 7)

func record(rmgr pgwal.RMgr, info uint8, main, data []byte) pgwal.Record {
	return pgwal.Record{RMgr: rmgr, Info: info, XID: 777, MainData: main, Blocks: []pgwal.BlockRef{{Block: 7, Data: data}}}
}

func le16(values ...uint16) (b []byte) {
	for _, v := range values {
		b = binary.LittleEndian.AppendUint16(b, v)
	}
	return b
}

// rowHeader is what a record says of a tuple's header: four columns, 24 bytes of it.
var rowHeader = []byte{4, 0, 2, 8, 24}

// inserts are those of pgbench_history: 50 bytes of values.
func inserts(n int) (all []pgwal.Record) {
	for i := range n {
		main := append(le16(uint16(i+1)), 0)
		all = append(all, record(pgwal.RMgrHeap, pgwal.OpHeapInsert, main, append(append([]byte{}, rowHeader...), make([]byte, 51)...)))
	}
	return all
}

// hotUpdates are those of one row of pgbench_branches: all but four bytes are the old
// tuple's.
func hotUpdates(n int) []pgwal.Record {
	all := inserts(1)
	for i := 1; i <= n; i++ {
		main := binary.LittleEndian.AppendUint32(nil, 777)
		main = append(append(main, le16(uint16(i))...), 0, pgwal.HeapUpdatePrefixFromOld|pgwal.HeapUpdateSuffixFromOld)
		main = append(binary.LittleEndian.AppendUint32(main, 0), le16(uint16(i+1))...)
		data := append(append(le16(8, 38), rowHeader...), 0, 1, 2, 3, 4)
		all = append(all, record(pgwal.RMgrHeap, pgwal.OpHeapHotUpdate, main, data))
	}
	return all
}

// locks lock one row again and again.
func locks(n int) []pgwal.Record {
	all := inserts(1)
	for range n {
		main := append(binary.LittleEndian.AppendUint32(nil, 778), le16(1)...)
		all = append(all, record(pgwal.RMgrHeap, pgwal.OpHeapLock, append(main, pgwal.HeapXmaxLockOnly|pgwal.HeapXmaxExclLock, 0), nil))
	}
	return all
}

// leaves are insertions into a B-tree leaf, in the middle.
func leaves(n int) (all []pgwal.Record) {
	for i := range n {
		all = append(all, record(pgwal.RMgrBtree, pgwal.OpBtreeInsertLeaf, le16(uint16(i/2+1)), append(le16(0, 1, 1, 16), make([]byte, 8)...)))
	}
	return all
}

// BenchmarkRecords applies chains of the kinds that TPC-B is made of, and says how many
// records a second of CPU redoes, the copying of the base included.
func BenchmarkRecords(b *testing.B) {
	for _, c := range []struct {
		name    string
		special int
		records []pgwal.Record
	}{
		{"heap insert", 0, inserts(90)},
		{"heap hot update", 0, hotUpdates(80)},
		{"heap lock", 0, locks(90)},
		{"btree insert leaf", 16, leaves(250)},
	} {
		b.Run(c.name, func(b *testing.B) {
			applyAll(b, chainOf(emptyPage(c.special), c.records))
		})
	}
}

func BenchmarkPageWith61Updates(b *testing.B) {
	applyAll(b, chainOf(emptyPage(0), hotUpdates(61)[:62]))
}

func applyAll(b *testing.B, chain *lsm.Chain) {
	b.ReportAllocs()
	page := make([]byte, 0, pgwal.PageSize)
	before := cpu(b)
	for b.Loop() {
		var err error
		if page, err = redo.Apply(page[:0], benchKey, chain); err != nil {
			b.Fatal(err)
		}
	}
	spent := cpu(b) - before
	b.ReportMetric(float64(spent.Nanoseconds())/float64(b.N)/1e3, "cpu-us/page")
	b.ReportMetric(float64(len(chain.Deltas)*b.N)/spent.Seconds()/1e6, "Mrecords/cpu-s")
}

// cpu is the time that this process has had: other processes do not disturb it as they
// do the time on the clock.
func cpu(t testing.TB) time.Duration {
	var usage syscall.Rusage
	require.NoError(t, syscall.Getrusage(syscall.RUSAGE_SELF, &usage))
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// Whatever comes next, a chain gives the same page.
func TestTheNextChainIsOnlyLookedAt(t *testing.T) {
	for name, chain := range map[string]*lsm.Chain{
		"updates": chainOf(emptyPage(0), hotUpdates(61)), "an insert": chainOf(emptyPage(0), inserts(1)), "no delta": chainOf(emptyPage(0), nil),
	} {
		want, err := redo.Apply(nil, benchKey, chain)
		require.NoError(t, err)
		for _, base := range [][]byte{nil, {1}, emptyPage(0)} {
			got, err := redo.ApplyBefore(nil, benchKey, chain, &lsm.Chain{HasBase: true, Base: base})
			require.NoError(t, err)
			require.Equal(t, want, got, name)
		}
	}
}

// A chain allocates once, however long: no record of it does.
func TestRecordsAllocateNothing(t *testing.T) {
	page := make([]byte, 0, pgwal.PageSize)
	for name, chain := range map[string]*lsm.Chain{
		"updates": chainOf(emptyPage(0), hotUpdates(61)), "inserts": chainOf(emptyPage(0), inserts(50)),
		"leaves": chainOf(emptyPage(16), leaves(100)), "locks": chainOf(emptyPage(0), locks(30)),
	} {
		require.LessOrEqual(t, testing.AllocsPerRun(100, func() {
			if _, err := redo.Apply(page, benchKey, chain); err != nil {
				panic(fmt.Sprint(name, ": ", err))
			}
		}), 1.0, name)
	}
}
