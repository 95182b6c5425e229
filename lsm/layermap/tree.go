package layermap

import (
	"math/bits"
	"slices"

	"github.com/varvedb/varve/wal"
)

const (
	// fanout is the children of a node: with 16, three levels stand over 4,096
	// intervals, and a key range is at most thirty nodes a level.
	fanoutBits = 4
	fanout     = 1 << fanoutBits

	// sampleEvery starts are a line of the processor's cache.
	sampleEvery = 8
)

// tree lists layers by nodes: level 0 has one node for each interval, the next one
// for each fanout of them, up to a single root. The nodes of all levels, and their
// lists, lie behind each other: node n of level l lists the entries from
// first[levels[l]+n] to the next node's, in order of starts.
type tree struct {
	levels  []int32 // number of each level's first node; levels above the last entry are left out
	first   []int32
	starts  []wal.LSN
	samples []wal.LSN // starts[0], starts[sampleEvery], ...
	items   []int32
	last    wal.LSN // of starts
}

// newest returns the item that lists the interval and starts last at or below ceil,
// and where that is, or none.
func (t *tree) newest(interval int, ceil wal.LSN) (item int32, start wal.LSN) {
	found := int32(none)
	for _, level := range t.levels {
		node := int(level) + interval
		interval >>= fanoutBits
		begin, end := t.first[node], t.first[node+1]
		if begin == end {
			continue
		}
		if ceil < t.last { // else a read of the newest, which most are
			end = t.above(begin, end, ceil)
		}
		if at := end - 1; at >= begin && (found == none || t.starts[at] > start) {
			found, start = at, t.starts[at]
		}
	}
	if found == none {
		return none, 0
	}
	return t.items[found], start
}

// above returns the first of the entries begin to end that starts above ceil, or end.
// It looks at samples, then at one line of starts. No branch depends on what it finds:
// a mispredicted one costs more than a load.
func (t *tree) above(begin, end int32, ceil wal.LSN) int32 {
	sample := (begin + sampleEvery - 1) / sampleEvery
	for n := (end+sampleEvery-1)/sampleEvery - sample; n > 0; {
		half := (n + 1) >> 1
		sample += half & -notAbove(t.samples[sample+half-1], ceil)
		n -= half
	}
	begin, end = max(begin, (sample-1)*sampleEvery), min(end, sample*sampleEvery)
	at := begin
	for _, start := range t.starts[begin:end] {
		at += notAbove(start, ceil)
	}
	return at
}

// notAbove is 1 if a is at or below b, else 0.
func notAbove(a, b wal.LSN) int32 {
	_, above := bits.Sub64(uint64(b), uint64(a), 0)
	return 1 - int32(above)
}

// treeBuilder gathers the entries of a tree.
type treeBuilder struct {
	intervals int
	entries   [][]treeEntry // by level
}

type treeEntry struct {
	node  int32
	item  int32
	start wal.LSN
}

func newTreeBuilder(intervals int) *treeBuilder {
	b := &treeBuilder{intervals: intervals, entries: make([][]treeEntry, 1)}
	for n := intervals; n > 1; n = (n + fanout - 1) >> fanoutBits {
		b.entries = append(b.entries, nil)
	}
	return b
}

// add lists an item at the nodes that are the intervals first to last. Items come in
// order of starts.
func (b *treeBuilder) add(first, last int, start wal.LSN, item int32) {
	lo, hi := first, last+1
	for l := 0; ; l++ {
		put := func(node int) { b.entries[l] = append(b.entries[l], treeEntry{int32(node), item, start}) }
		isRoot := l == len(b.entries)-1
		for ; lo < hi && (lo%fanout != 0 || isRoot); lo++ {
			put(lo)
		}
		// What ends with the last interval of all ends with a whole node.
		for ; lo < hi && hi%fanout != 0 && hi != b.nodes(l); hi-- {
			put(hi - 1)
		}
		if lo >= hi {
			return
		}
		lo, hi = lo>>fanoutBits, (hi+fanout-1)>>fanoutBits
	}
}

// nodes is the number of nodes of a level.
func (b *treeBuilder) nodes(l int) int {
	n := b.intervals
	for range l {
		n = (n + fanout - 1) >> fanoutBits
	}
	return n
}

func (b *treeBuilder) finish() (t tree) {
	total := 0
	for l, entries := range b.entries {
		if total += len(entries); len(entries) > 0 {
			t.levels = t.levels[:0]
			for below := range l + 1 {
				t.levels = append(t.levels, b.firstNode(below))
			}
		}
	}
	if total == 0 {
		return t
	}
	t.first = make([]int32, b.firstNode(len(t.levels))+1)
	t.starts, t.items = make([]wal.LSN, total), make([]int32, total)
	for l, entries := range b.entries[:len(t.levels)] {
		for _, e := range entries {
			t.first[t.levels[l]+e.node+1]++
		}
	}
	for n := range len(t.first) - 1 {
		t.first[n+1] += t.first[n]
	}
	next := slices.Clone(t.first)
	for l, entries := range b.entries[:len(t.levels)] {
		for _, e := range entries {
			at := &next[t.levels[l]+e.node]
			t.starts[*at], t.items[*at] = e.start, e.item
			t.last = max(t.last, e.start)
			*at++
		}
	}
	for at := 0; at < total; at += sampleEvery {
		t.samples = append(t.samples, t.starts[at])
	}
	return t
}

// firstNode is the number of a level's first node.
func (b *treeBuilder) firstNode(l int) (n int32) {
	for below := range l {
		n += int32(b.nodes(below))
	}
	return n
}
