package world

import (
	"encoding/binary"
	"hash/crc32"
	"time"
)

// nobody is fired and does nothing.
type nobody struct{}

func (nobody) fire(uint64) {}

// BareHeap makes a heap of so many entries, and returns what pops and pushes n times.
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

// SealTape puts the checksum that is right behind bytes, so that a fuzzer comes past it.
func SealTape(p []byte) []byte {
	return binary.LittleEndian.AppendUint32(p[:len(p):len(p)], crc32.Checksum(p, castagnoli))
}
