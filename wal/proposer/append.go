package proposer

import (
	"bytes"
	"context"
	"fmt"

	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/pgwal"
)

// repeatBytesMax is how many bytes after X are kept to be compared when the source
// repeats them: the start record, which is at most a page, with room to spare.
const repeatBytesMax = 64 << 10

// intake is what is known of the bytes that were appended.
type intake struct {
	scanner *pgwal.Scanner
	start   wal.LSN // X
	head    wal.LSN // end of what was appended
	first   []byte  // the log from X on, at most repeatBytesMax
	broken  error   // the source sent what cannot be log
}

// begin starts the log at X.
func (in *intake) begin(x wal.LSN, systemID uint64) {
	in.scanner = pgwal.NewScanner("source", x)
	in.scanner.ExpectSystemID(systemID)
	in.start, in.head = x, x
}

// fresh compares the part of p that was appended before, and returns the rest.
func (in *intake) fresh(begin wal.LSN, p []byte) (wal.LSN, []byte, error) {
	if begin > in.head {
		return 0, nil, fmt.Errorf("want bytes from %v on, got bytes from %v: a gap", in.head, begin)
	}
	if begin < in.start {
		return 0, nil, fmt.Errorf("got bytes from %v, below the term's start %v", begin, in.start)
	}
	repeated := min(int(in.head-begin), len(p))
	known := in.first[min(len(in.first), int(begin-in.start)):]
	if repeated > len(known) {
		return 0, nil, fmt.Errorf("got %d bytes from %v again, too far behind to compare", repeated, begin)
	}
	if !bytes.Equal(p[:repeated], known[:repeated]) {
		return 0, nil, fmt.Errorf("the %d bytes from %v differ from those appended before: %w", repeated, begin,
			wal.Corruptf("source", int64(begin), "repeated bytes", fmt.Sprintf("%x", head(known[:repeated])), fmt.Sprintf("%x", head(p[:repeated]))))
	}
	return begin + wal.LSN(repeated), p[repeated:], nil
}

// head is enough of p for an error's text.
func head(p []byte) []byte { return p[:min(len(p), 32)] }

// accept scans bytes that follow the head, and returns the end of the last record
// in them, 0 if none ends there.
func (in *intake) accept(p []byte) (recordEnd wal.LSN, err error) {
	before := in.scanner.Position()
	in.scanner.Feed(p)
	for more := true; more; {
		if more, err = in.scanner.Next(); err != nil {
			return 0, err
		}
	}
	in.head += wal.LSN(len(p))
	in.first = append(in.first, p[:min(len(p), repeatBytesMax-len(in.first))]...)
	if end := in.scanner.Position(); end > before {
		return end, nil
	}
	return 0, nil
}

// Append appends bytes of the log, cut anywhere. They begin at X or where the last
// ones ended, or before: what was appended already is compared. It waits for the
// election and while too much is in flight, and returns when the bytes are on their
// way; b may then be reused. Bytes that are not sound records, or differ from what
// was appended before, match wal.ErrCorruption, and after them nothing is accepted.
// One task appends.
func (p *Proposer) Append(ctx context.Context, begin wal.LSN, b []byte) error {
	if _, _, err := p.Elected(ctx); err != nil {
		return err
	}
	at, rest, err := p.skipRepeated(begin, b)
	for err == nil && len(rest) > 0 {
		var n int
		n, err = p.appendSome(ctx, at, rest)
		at, rest = at+wal.LSN(n), rest[n:]
	}
	if err != nil {
		return fmt.Errorf("append log at %v: %w", at, err)
	}
	return nil
}

func (p *Proposer) skipRepeated(begin wal.LSN, b []byte) (wal.LSN, []byte, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	at, rest, err := p.intake.fresh(begin, b)
	if err != nil {
		p.intake.broken = err
	}
	return at, rest, err
}

// appendSome appends as much of b as there is room for, at least one byte.
func (p *Proposer) appendSome(ctx context.Context, begin wal.LSN, b []byte) (n int, err error) {
	p.mu.Lock()
	n, err = p.propose(ctx, begin, b)
	hangups := p.drain()
	p.mu.Unlock()
	closeAll(hangups)
	return n, err
}

// propose gives the core as much of b as it takes. The mutex is held.
func (p *Proposer) propose(ctx context.Context, begin wal.LSN, b []byte) (n int, err error) {
	if err := p.await(ctx, p.changed, func() bool { return p.core.Room() > 0 || p.ended != nil }); err != nil {
		return 0, err
	}
	if p.ended != nil {
		return 0, p.ended
	}
	if p.intake.broken != nil {
		return 0, p.intake.broken
	}
	piece := bytes.Clone(b[:min(len(b), p.core.Room())])
	recordEnd, err := p.intake.accept(piece)
	if err != nil {
		p.intake.broken = err
		return 0, err
	}
	p.core.Propose(begin, piece, recordEnd)
	return len(piece), nil
}
