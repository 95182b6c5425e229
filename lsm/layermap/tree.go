package layermap

import "github.com/varvedb/varve/wal"

const (
	// fanout is the children of a node: with 16, three levels stand over 4,096
	// intervals, and a key range is at most thirty nodes a level.
	fanoutBits = 4
	fanout     = 1 << fanoutBits
)

// tree lists layers by nodes: level 0 has one node for each interval, the next one
// for each fanout of them, up to a single root.
type tree struct {
	levels []level
}

// level is the nodes of one level: node n lists entries first[n] to first[n+1], in
// order of starts.
type level struct {
	first  []int32
	starts []wal.LSN
	items  []int32
}

// newest returns the item that lists the interval and starts last at or below ceil,
// or none.
func (t *tree) newest(interval int, ceil wal.LSN) int32 {
	found, start := int32(none), wal.LSN(0)
	for i := range t.levels {
		l := &t.levels[i]
		node := interval >> (fanoutBits * i)
		lo, hi := l.first[node], l.first[node+1]
		begin := lo
		for lo < hi {
			if middle := int32(uint32(lo+hi) >> 1); l.starts[middle] <= ceil {
				lo = middle + 1
			} else {
				hi = middle
			}
		}
		if lo > begin && (found == none || l.starts[lo-1] > start) {
			found, start = l.items[lo-1], l.starts[lo-1]
		}
	}
	return found
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
	if !b.any() {
		return t
	}
	for l, entries := range b.entries {
		level := level{first: make([]int32, b.nodes(l)+1), starts: make([]wal.LSN, len(entries)), items: make([]int32, len(entries))}
		for _, e := range entries {
			level.first[e.node+1]++
		}
		for n := range len(level.first) - 1 {
			level.first[n+1] += level.first[n]
		}
		next := append([]int32(nil), level.first...)
		for _, e := range entries {
			at := next[e.node]
			next[e.node]++
			level.starts[at], level.items[at] = e.start, e.item
		}
		t.levels = append(t.levels, level)
	}
	return t
}

func (b *treeBuilder) any() bool {
	for _, entries := range b.entries {
		if len(entries) > 0 {
			return true
		}
	}
	return false
}
