package world

import (
	"slices"
	"time"
)

// entry is one moment of the future.
type entry struct {
	at     time.Duration
	serial uint64 // entries of one moment fire in the order in which they were made
	who    firer
	token  uint64
}

func (e *entry) before(o *entry) bool {
	return e.at < o.at || e.at == o.at && e.serial < o.serial
}

// queue is a 4-ary heap of entries: half as deep as a binary one, and the children
// of an entry lie in neighbouring cache lines.
type queue []entry

func (q *queue) push(e entry) {
	h := append(*q, e)
	i := len(h) - 1
	for i > 0 {
		up := (i - 1) / 4
		if !e.before(&h[up]) {
			break
		}
		h[i] = h[up]
		i = up
	}
	h[i] = e
	*q = h
}

func (q *queue) pop() entry {
	h := *q
	top, last := h[0], h[len(h)-1]
	h[len(h)-1] = entry{}
	h = h[:len(h)-1]
	*q = h
	if len(h) > 0 {
		h.sink(0, last)
	}
	return top
}

// sink puts an entry at i, where there is none, or below it.
func (q queue) sink(i int, e entry) {
	for {
		first := 4*i + 1
		if first >= len(q) {
			break
		}
		least := first
		for c := first + 1; c < min(first+4, len(q)); c++ {
			if q[c].before(&q[least]) {
				least = c
			}
		}
		if !q[least].before(&e) {
			break
		}
		q[i] = q[least]
		i = least
	}
	q[i] = e
}

// forget takes out the entries for which drop says so. The order of the others stays.
func (q *queue) forget(drop func(entry) bool) {
	*q = slices.DeleteFunc(*q, drop)
	for i := (len(*q) - 2) / 4; i >= 0 && len(*q) > 1; i-- {
		q.sink(i, (*q)[i])
	}
}

// fifo is a queue that keeps its memory.
type fifo[T any] struct {
	all  []T
	head int
}

func (f *fifo[T]) len() int { return len(f.all) - f.head }

// rest is what is queued, in order.
func (f *fifo[T]) rest() []T { return f.all[f.head:] }

// first is the eldest, to be changed in place.
func (f *fifo[T]) first() *T { return &f.all[f.head] }

func (f *fifo[T]) push(x T) {
	// A queue that never runs empty would grow for ever.
	if f.head > len(f.all)/2 && len(f.all) == cap(f.all) {
		f.all, f.head = f.all[:copy(f.all, f.all[f.head:])], 0
	}
	f.all = append(f.all, x)
}

func (f *fifo[T]) pop() (x T) {
	x, f.all[f.head] = f.all[f.head], x
	if f.head++; f.head == len(f.all) {
		f.clear()
	}
	return x
}

func (f *fifo[T]) clear() { f.all, f.head = f.all[:0], 0 }

// forget takes out those for which drop says so, and keeps the order.
func (f *fifo[T]) forget(drop func(T) bool) {
	f.all = slices.DeleteFunc(f.all[f.head:], drop)
	f.head = 0
}

// readyList is the tasks that could run now, in the order in which they became so.
type readyList struct {
	tasks []*task
	head  int
}

func (r *readyList) empty() bool { return r.head == len(r.tasks) }

func (r *readyList) push(t *task) { r.tasks = append(r.tasks, t) }

// take removes the task that the choice falls on; choice 0 is the eldest.
func (r *readyList) take(c *Choices) *task {
	at := r.head
	if n := len(r.tasks) - r.head; n > 1 {
		at += int(c.Below(uint32(n)))
	}
	t := r.tasks[at]
	copy(r.tasks[r.head+1:at+1], r.tasks[r.head:at])
	r.tasks[r.head] = nil
	r.head++
	if r.empty() {
		r.tasks, r.head = r.tasks[:0], 0
	}
	return t
}
