package quorum

import (
	"cmp"
	"slices"
	"sort"

	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/assert"
)

// Room returns how many bytes may be proposed now: 0 when the buffer is full of bytes
// that are not committed. A record larger than the buffer is let through alone, as
// nothing of it can be committed before its end.
func (p *Proposer) Room() int {
	if p.phase != PhaseLeading {
		return 0
	}
	if p.commit >= p.recordEnd {
		return AppendBytesMax
	}
	return min(AppendBytesMax, max(0, BufferBytesMax-p.buffered))
}

// Propose appends bytes to the log. They begin where the log ends; recordEnd is the end of
// the last record that ends in them, 0 if none does. Only a leader may, at most Room()
// bytes. The bytes must not be changed afterwards.
func (p *Proposer) Propose(begin wal.LSN, bytes []byte, recordEnd wal.LSN) {
	c := chunk{begin: begin, bytes: bytes, recordEnd: recordEnd}
	p.checkProposal(c)
	p.buffer = append(p.buffer, c)
	p.buffered += len(bytes)
	p.head = c.end()
	p.recordEnd = max(p.recordEnd, recordEnd)
	for _, n := range p.peers {
		p.pump(n)
	}
}

// checkProposal asserts what Propose asks of its caller.
func (p *Proposer) checkProposal(c chunk) {
	assert.That(p.phase == PhaseLeading, "a proposer that proposes leads")
	assert.That(len(c.bytes) > 0, "proposal has bytes")
	if c.begin != p.head {
		assert.Failf("proposal begins at %v, where the log ends, as it does at %v", p.head, c.begin)
	}
	if len(c.bytes) > p.Room() {
		assert.Failf("proposal of %d bytes fits into the room of %d", len(c.bytes), p.Room())
	}
	if c.recordEnd != 0 && (c.recordEnd <= c.begin || c.recordEnd > c.end()) {
		assert.Failf("record end %v is within [%v, %v]", c.recordEnd, c.begin, c.end())
	}
}

// pump sends to the node what it lacks, as far as its window allows, from the buffer or by
// a fetch; and if nothing is left to send, a commit LSN that it has not been told.
func (p *Proposer) pump(n *peer) {
	if n.phase != peerStreaming {
		return
	}
	for n.next < p.head && n.fetchEnd == 0 && n.next-n.written < WindowBytes {
		if n.next < p.bufferStart() {
			p.fetch(n)
			break
		}
		c := p.bufferedFrom(n.next)
		p.sendAppend(n, c.bytes, c.recordEnd)
	}
	if p.phase == PhaseLeading && n.next == p.head && n.told < p.commit {
		p.sendAppend(n, nil, 0)
	}
}

func (p *Proposer) sendAppend(n *peer, bytes []byte, recordEnd wal.LSN) {
	m := Append{Header: p.header(n), Begin: n.next, RecordEnd: recordEnd, Commit: p.commit, Bytes: bytes}
	n.next = m.End()
	n.record = max(n.record, recordEnd)
	n.told = p.commit
	p.send(n, m)
}

// bufferStart is the first LSN that the buffer holds.
func (p *Proposer) bufferStart() wal.LSN { return p.head - wal.LSN(p.buffered) }

// bufferedFrom returns the rest of the chunk that holds the byte at lsn.
func (p *Proposer) bufferedFrom(lsn wal.LSN) chunk {
	i := sort.Search(len(p.buffer), func(i int) bool { return p.buffer[i].end() > lsn })
	c := p.buffer[i]
	if c.begin > lsn {
		assert.Failf("buffer from %v holds %v", p.bufferStart(), lsn)
	}
	return chunk{begin: lsn, bytes: c.bytes[lsn-c.begin:], recordEnd: above(c.recordEnd, lsn)}
}

// trim drops what every node has, and, when the buffer is over its bound, what is committed.
func (p *Proposer) trim() {
	everywhere := p.head
	for _, n := range p.peers {
		everywhere = min(everywhere, n.flush)
	}
	n := 0
	for ; n < len(p.buffer); n++ {
		end := p.buffer[n].end()
		full := p.buffered > BufferBytesMax/2 // half is for those that lag, half for what comes
		if end > everywhere && !(full && end <= p.commit) {
			break
		}
		p.buffered -= len(p.buffer[n].bytes)
	}
	clear(p.buffer[:n]) // frees their bytes; the array goes with the next growth
	p.buffer = p.buffer[n:]
}

// fetch asks for the bytes that the node lacks and the buffer does not hold.
func (p *Proposer) fetch(n *peer) {
	sources := p.sources(n)
	if len(sources) == 0 {
		return
	}
	source := sources[n.turn%uint(len(sources))]
	n.fetched = true
	end := min(source.flush, n.next+AppendBytesMax)
	n.fetchEnd, n.recordEnds = end, end == source.flush
	p.out.Fetches = append(p.out.Fetches, Fetch{From: source.id, For: n.id, Term: p.term, Flush: n.flush, Record: n.record, Begin: n.next, End: end})
}

// sources lists from whom the node may be given what it lacks: those that have acknowledged
// more in this term, the most first.
//
// Below the term's start it is the donor alone, unless that is away for as long as an
// election takes, or does not give it. What another acknowledges there it had before, and if
// its disk deceives, that may be sound records of an older term in place of those that were
// lost: positions do not show it. Without the donor, the others are whom an election
// without it would take.
func (p *Proposer) sources(n *peer) (sources []*peer) {
	if n.next < p.start && n.turn < DonorTries && p.away < p.config.ElectionTicks {
		donor := p.peer(p.donor)
		if donor.phase != peerStreaming {
			return nil
		}
		if donor.flush >= p.start {
			return []*peer{donor}
		}
	}
	for _, s := range p.peers {
		if s.phase == peerStreaming && s.flush > n.next {
			sources = append(sources, s)
		}
	}
	slices.SortStableFunc(sources, func(a, b *peer) int { return cmp.Compare(b.flush, a.flush) })
	return sources
}

// Fetched answers a fetch with its first bytes, at least one of them. They must have been
// read from a log that was, after the read, still in the fetch's term, or have been
// committed. RecordEnd is the end of the last record in them if the reader knows, else 0.
func (p *Proposer) Fetched(f Fetch, bytes []byte, recordEnd wal.LSN) {
	n := p.fetching(f)
	if n == nil {
		return
	}
	end := f.Begin + wal.LSN(len(bytes))
	assert.That(end > f.Begin, "fetched bytes are not empty")
	assert.That(end <= f.End, "fetched bytes end at %v, at or below %v", end, f.End)
	if end == f.End && n.recordEnds {
		recordEnd = end
	}
	n.fetchEnd = 0
	p.sendAppend(n, bytes, recordEnd)
	p.pump(n)
}

// FetchFailed answers a fetch that gave nothing. It is tried again with a later reply or
// tick, from another node if there is one.
func (p *Proposer) FetchFailed(f Fetch) {
	if n := p.fetching(f); n != nil {
		n.fetchEnd = 0
		n.turn++
	}
}

// fetching returns the node that still waits for this fetch, or nil.
func (p *Proposer) fetching(f Fetch) *peer {
	n := p.peer(f.For)
	if p.phase == PhaseLost || f.Term != p.term || n == nil || n.fetchEnd != f.End || n.next != f.Begin {
		return nil
	}
	return n
}
