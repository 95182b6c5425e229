package world

import "time"

// BareHeap is the peer that the speed of a world is told beside: the heap that its
// events wait in, with so many entries, and nothing else. What it returns pops and
// pushes n times.
func BareHeap(size int) func(n int) {
	var q queue
	random := splitmix(1)
	serial := uint64(0)
	push := func(at time.Duration) {
		serial++
		q.push(entry{at: at + time.Duration(random.Uint64()%uint64(time.Second)), serial: serial, who: nobody{}})
	}
	for range size {
		push(0)
	}
	return func(n int) {
		for range n {
			e := q.pop()
			e.who.fire(0)
			push(e.at)
		}
	}
}

// nobody is fired and does nothing.
type nobody struct{}

func (nobody) fire(uint64) {}
