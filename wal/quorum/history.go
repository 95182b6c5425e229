package quorum

import (
	"fmt"
	"slices"
	"strings"

	"github.com/varvedb/varve/wal"
)

// HistoryEntriesMax bounds a term history: 2^18 entries of 16 bytes are 4 MiB, and
// one start of an endpoint every five minutes fills them in two and a half years.
const HistoryEntriesMax = 1 << 18

// TermStart says that the log from LSN on was written in Term.
type TermStart struct {
	Term wal.Term
	LSN  wal.LSN
}

// TermHistory says in which term each byte of a log was written: entry i covers the
// log from its LSN to the LSN of entry i+1, the last one to the end of the log.
// Terms strictly increase, LSNs never decrease: an entry as long as zero bytes is a
// term that was won and wrote nothing. The first entry is the start of the timeline's log.
//
// A history is never changed in place, so copies may share it.
type TermHistory []TermStart

// Last returns the newest entry, of a history that has one.
func (h TermHistory) Last() TermStart { return h[len(h)-1] }

// LastTerm returns the last log term of a log that ends at flush: the term of the
// newest entry that starts at or below it.
//
// The entry, not the term that a node is in: a node may have accepted a history
// whose newest terms it has no bytes of.
func (h TermHistory) LastTerm(flush wal.LSN) wal.Term { return h.UpTo(flush).Last().Term }

// UpTo returns the entries that start at or below end.
func (h TermHistory) UpTo(end wal.LSN) TermHistory {
	n := len(h)
	for n > 0 && h[n-1].LSN > end {
		n--
	}
	return h[:n:n]
}

// With returns the history followed by one more entry.
func (h TermHistory) With(e TermStart) TermHistory {
	return append(slices.Clip(h), e)
}

// CommonPoint returns the end of what a log that ends at flush, with history h, has in
// common with the log of the leader: below it both have the same bytes. The leader's
// log has no end: its newest term is still growing. False means that the histories
// share no entry, so that the logs are of different timelines.
func (h TermHistory) CommonPoint(flush wal.LSN, leader TermHistory) (wal.LSN, bool) {
	n := 0
	for n < len(h) && n < len(leader) && h[n] == leader[n] {
		n++
	}
	if n == 0 {
		return wal.InvalidLSN, false
	}
	common := flush
	if n < len(h) {
		common = min(common, h[n].LSN)
	}
	if n < len(leader) {
		common = min(common, leader[n].LSN)
	}
	return common, true
}

// Check says what is wrong with the history, nil if nothing is. An empty one is sound.
func (h TermHistory) Check() error {
	if len(h) > HistoryEntriesMax {
		return fmt.Errorf("term history has %d entries, limit %d", len(h), HistoryEntriesMax)
	}
	for i, e := range h {
		if !e.LSN.IsValid() {
			return fmt.Errorf("term history entry %d starts at no LSN", i)
		}
		if i > 0 && e.Term <= h[i-1].Term {
			return fmt.Errorf("term history entry %d has term %d after term %d", i, e.Term, h[i-1].Term)
		}
		if i > 0 && e.LSN < h[i-1].LSN {
			return fmt.Errorf("term history entry %d starts at %v, before %v", i, e.LSN, h[i-1].LSN)
		}
	}
	return nil
}

// String renders the history as 0@0/10 2@0/48.
func (h TermHistory) String() string {
	parts := make([]string, len(h))
	for i, e := range h {
		parts[i] = fmt.Sprintf("%d@%v", e.Term, e.LSN)
	}
	return strings.Join(parts, " ")
}
