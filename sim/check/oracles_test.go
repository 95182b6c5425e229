package check

import (
	"bytes"
	"fmt"
	"math/rand"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/wal"
)

// registerRun is a random history of one page. Stray is how far the places of writes
// in the log, and the versions that reads find, are from what a register would do.
func registerRun(rng *rand.Rand, ops, clients, stray int) *Run {
	r := &Run{Log: Log{Branches: []Branch{{ID: mainLine, Start: 10, End: wal.LSN(10 + 100*(ops+stray+1))}}}}
	r.Log.Versions = []Version{{Branch: mainLine, Page: pageA, LSN: 10, Value: 1}}
	var versions []Version // in order of effect
	versions = append(versions, r.Log.Versions[0])
	type open struct {
		op   int
		done bool
	}
	var running []*open
	event := Event(0)
	next := ClientID(0)
	for len(r.Ops) < ops || len(running) > 0 {
		switch n := rng.Intn(3); {
		case n == 0 && len(running) < clients && len(r.Ops) < ops:
			event++
			next++
			op := Op{Kind: LatestRead, Client: next, Call: event, Return: Never, Branch: mainLine, Confirmed: true}
			if rng.Intn(2) == 0 {
				op = Op{Kind: Write, Client: next, Call: event, Return: Never, Branch: mainLine, Tx: TxID(next)}
			}
			r.Ops = append(r.Ops, op)
			running = append(running, &open{op: len(r.Ops) - 1})
		case n == 1 && len(running) > 0:
			o := running[rng.Intn(len(running))]
			if o.done {
				continue
			}
			o.done = true
			op := &r.Ops[o.op]
			if op.Kind == Write {
				at := len(versions)
				if stray > 0 && rng.Intn(4) == 0 {
					at = max(1, at-1-rng.Intn(stray))
				}
				v := Version{Branch: mainLine, Page: pageA, Value: Value(100 + op.Tx), Tx: op.Tx}
				versions = append(versions[:at], append([]Version{v}, versions[at:]...)...)
				op.Pages = []PageValue{{Page: pageA, Value: v.Value}}
				continue
			}
			at := len(versions) - 1
			if stray > 0 && rng.Intn(4) == 0 {
				at = max(0, at-rng.Intn(stray+1))
			}
			op.Pages = []PageValue{{Page: pageA, Value: versions[at].Value}}
		case n == 2 && len(running) > 0:
			i := rng.Intn(len(running))
			if o := running[i]; o.done {
				running = append(running[:i], running[i+1:]...)
				if op := &r.Ops[o.op]; op.Kind == LatestRead || rng.Intn(12) > 0 {
					event++
					op.Outcome, op.Return = OK, event
				}
			}
		}
	}
	finish(r, versions)
	return r
}

// finish gives the versions their LSNs, in order, and each operation its own.
func finish(r *Run, versions []Version) {
	at := map[Value]wal.LSN{1: 10}
	for i := 1; i < len(versions); i++ {
		v := versions[i]
		v.LSN = wal.LSN(10 + 100*i)
		at[v.Value] = v.LSN
		r.Log.Versions = append(r.Log.Versions, v)
		r.Log.Commits = append(r.Log.Commits, Commit{mainLine, v.LSN, v.Tx})
	}
	for i := range r.Ops {
		if op := &r.Ops[i]; op.Outcome == OK {
			op.LSN = at[op.Pages[0].Value]
		}
	}
}

// TestRealTimeAndPorcupineAgree: on one page, where a read's LSN is that of the version
// it found, the order of versions and the search must say the same of every history.
func TestRealTimeAndPorcupineAgree(t *testing.T) {
	rng := rand.New(rand.NewSource(7))
	said := map[bool]int{}
	for i := range 20_000 {
		r := registerRun(rng, 2+rng.Intn(14), 1+rng.Intn(5), rng.Intn(4))
		order, search := RealTime(r), Porcupine(r)
		if order.OK != search.OK {
			require.Fail(t, "the oracles disagree", "history %d\n%v\n%v\n%v", i, &order, &search, r.Ops)
		}
		said[order.OK]++
	}
	t.Logf("both accept %d, both reject %d, disagreements 0", said[true], said[false])
	require.Greater(t, said[true], 4000)
	require.Greater(t, said[false], 4000)
}

// TestLargeRegisters: both oracles finish on large histories, sound ones and such with
// one read that is wrong, and agree.
func TestLargeRegisters(t *testing.T) {
	for _, size := range []struct{ ops, clients int }{{2000, 10}, {9000, 10}, {2000, 50}} {
		t.Run(fmt.Sprintf("%d operations of %d clients", size.ops, size.clients), func(t *testing.T) {
			rng := rand.New(rand.NewSource(3))
			r := registerRun(rng, size.ops, size.clients, 0)
			require.True(t, RealTime(r).OK)
			search := Porcupine(r)
			require.True(t, search.OK, search.Detail)
			for i := size.ops * 3 / 4; ; i++ {
				if op := &r.Ops[i]; op.Kind == LatestRead && op.Outcome == OK {
					op.LSN, op.Pages[0].Value = 10, 1
					break
				}
			}
			require.False(t, RealTime(r).OK)
			search = Porcupine(r)
			require.False(t, search.OK)
			t.Log(search.Detail)
		})
	}
}

// TestASearchWithoutAnEndIsAFailure: "unknown" is said, and is not OK.
func TestASearchWithoutAnEndIsAFailure(t *testing.T) {
	r := goodRun()
	r.Ops, r.Log.Versions, r.Log.Commits = nil, r.Log.Versions[:2], nil
	for i := range Event(40) { // all open at once, and none can be explained
		r.Ops = append(r.Ops, Op{Kind: LatestRead, Client: ClientID(i), Call: i + 1, Return: 100 + i, Outcome: OK, Confirmed: true, Branch: mainLine, Pages: []PageValue{{Page: pageA, Value: 1}}})
	}
	r.Ops = append(r.Ops, Op{Kind: LatestRead, Client: 99, Call: 50, Return: 51, Outcome: OK, Confirmed: true, Branch: mainLine, Pages: []PageValue{{Page: pageA, Value: 7}}})
	v := Porcupine(r)
	require.False(t, v.OK)
	require.Contains(t, v.Detail, "unknown")
	require.Equal(t, Place{mainLine, pageA}, v.At)
}

// TestABusyPageIsCutWhereItIsSound: a history longer than the bound is judged up to an
// event, and says how much was left out.
func TestABusyPageIsCutWhereItIsSound(t *testing.T) {
	r := registerRun(rand.New(rand.NewSource(5)), opsPerPageMax+3000, 8, 0)
	v := Porcupine(r)
	require.True(t, v.OK, v.Detail)
	left := v.Skipped.Get("late operations of busy pages")
	require.GreaterOrEqual(t, left, 3000)
	require.LessOrEqual(t, left, 3000+8, "beside what was called later, only reads that were open then")
	require.Equal(t, opsPerPageMax+3000, left+v.Counts.Get("operations"))
	for i := opsPerPageMax / 2; ; i++ {
		if op := &r.Ops[i]; op.Kind == LatestRead && op.Outcome == OK {
			op.Pages[0].Value = 1
			break
		}
	}
	require.False(t, Porcupine(r).OK)
}

// TestPicture: the page that failed is drawn, with its operations and the faults.
func TestPicture(t *testing.T) {
	r := goodRun()
	oneBad[slices.IndexFunc(oneBad, func(b bad) bool { return b.checker == "porcupine" })].spoil(r)
	v := Porcupine(r)
	require.Equal(t, Place{mainLine, pageB}, v.At)
	var html bytes.Buffer
	require.NoError(t, Picture(&html, r, v.At))
	for _, want := range []string{"<html", "write 14 at 0/258", "read 12", "holds 14", "safekeeper 2", "partitioned", "throttled"} {
		require.True(t, bytes.Contains(html.Bytes(), []byte(want)), want)
	}
	require.ErrorContains(t, Picture(&html, r, Place{child, pageC}), "no confirmed read or write")
}

func benchmarkRun() *Run {
	w := newWorld(1)
	return w.run(60_000, 16)
}

func BenchmarkCheckers(b *testing.B) {
	r := benchmarkRun()
	for _, c := range []struct {
		name  string
		check func(*Run) Verdict
	}{{"truth", Truth}, {"history", History}, {"realtime", RealTime}, {"snapshots", Snapshots}, {"porcupine", Porcupine}} {
		b.Run(c.name, func(b *testing.B) {
			for range b.N {
				if v := c.check(r); !v.OK {
					b.Fatal(v.Detail)
				}
			}
			b.ReportMetric(float64(len(r.Ops)), "operations")
		})
	}
}
