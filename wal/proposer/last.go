package proposer

import (
	"context"
	"encoding/binary"
	"fmt"

	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/frame"
	"github.com/varvedb/varve/wal/pgwal"
	"github.com/varvedb/varve/wal/walapi"
)

// LastRecord returns the LSN of the record that ends at X, which the first record
// of this term must name as its xl_prev. It is 0 at a log's start, where there is
// none. It waits for the election, and while a safekeeper is in another term: that one
// is behind, or this proposer is about to learn that it is fenced.
func (p *Proposer) LastRecord(ctx context.Context) (wal.LSN, error) {
	term, x, err := p.Elected(ctx)
	if err != nil || x == p.cfg.Start {
		return 0, err
	}
	for {
		prev, again, err := p.lastRecordAnywhere(ctx, term, x)
		if err == nil || !again {
			return prev, err
		}
		if err := p.e.Clock.Sleep(ctx, redialInterval); err != nil {
			return 0, fmt.Errorf("find the last record before %v: %w", x, err)
		}
		if err := p.failure(); err != nil {
			return 0, fmt.Errorf("find the last record before %v: %w", x, err)
		}
	}
}

// lastRecordAnywhere asks every safekeeper; again says that one is in another term.
func (p *Proposer) lastRecordAnywhere(ctx context.Context, term wal.Term, x wal.LSN) (prev wal.LSN, again bool, err error) {
	for _, s := range p.cfg.Safekeepers {
		if prev, err = p.lastRecordAt(ctx, s, term, x); err == nil {
			return prev, false, nil
		}
		again = again || frame.CodeOf(err) == walapi.CodeWrongTerm
	}
	return 0, again, fmt.Errorf("find the last record before %v: %w", x, err)
}

func (p *Proposer) lastRecordAt(ctx context.Context, s Safekeeper, term wal.Term, x wal.LSN) (wal.LSN, error) {
	ctx, cancel := p.e.Tasks.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	client, err := walapi.Dial(ctx, p.e, s.Addr)
	if err != nil {
		return 0, err
	}
	defer client.Close()
	return lastRecord(p.cfg.Start, x, func(begin, end wal.LSN) ([]byte, error) {
		size := min(int(end-begin), walapi.ReadBytesMax)
		chunk, err := client.Read(ctx, walapi.ReadRequest{Timeline: p.cfg.Timeline, Term: term, Begin: begin, BytesMax: size})
		if err == nil && len(chunk.Bytes) == 0 {
			err = fmt.Errorf("safekeeper %d has the log only up to %v, not %v", s.ID, chunk.Limit, end)
		}
		return chunk.Bytes, err
	})
}

// reader reads bytes of the log from begin on: at least one, at most up to end.
type reader func(begin, end wal.LSN) ([]byte, error)

// exactly reads all of [begin, end).
func (read reader) exactly(begin, end wal.LSN) (bytes []byte, err error) {
	for at := begin; at < end; at = begin + wal.LSN(len(bytes)) {
		more, err := read(at, end)
		if err != nil {
			return nil, err
		}
		bytes = append(bytes, more...)
	}
	return bytes, nil
}

// lastRecord finds the record that ends at x in a log that begins at start, below
// x. Records have no way back from their end, but page headers tell where the first
// record on their page begins: it looks for the last page where one begins below x,
// and reads on from there.
func lastRecord(start, x wal.LSN, read reader) (wal.LSN, error) {
	for page := pgwal.PageStart(x - 1); page > start; page -= pgwal.WALPageSize {
		first, err := firstOnPage(page, x, read)
		if err != nil {
			return 0, err
		}
		if first != 0 {
			return lastFrom(first, x, read)
		}
	}
	return lastFrom(start, x, read)
}

// firstOnPage returns where the first record on a page begins, 0 if none does below
// x. Behind a switch to the next segment everything is zero, page headers too.
func firstOnPage(page, x wal.LSN, read reader) (wal.LSN, error) {
	const (
		shortHeader = 24 // what every header begins with
		continued   = 1  // the page begins with the rest of a record
		lengthSize  = 4  // of the length that a record begins with, never 0
	)
	first := page + wal.LSN(pgwal.PageHeaderSize(page))
	header, err := read.exactly(page, min(page+shortHeader, x))
	if err != nil || len(header) < shortHeader || binary.LittleEndian.Uint16(header) == 0 {
		return 0, err
	}
	if binary.LittleEndian.Uint16(header[2:])&continued != 0 {
		first = pgwal.RecordStart(first + wal.LSN(binary.LittleEndian.Uint32(header[16:])))
	}
	if first >= min(page+pgwal.WALPageSize, x) {
		return 0, nil
	}
	length, err := read.exactly(first, first+lengthSize)
	if err != nil || binary.LittleEndian.Uint32(length) == 0 {
		return 0, err
	}
	return first, nil
}

// lastFrom reads records from one that begins at from up to the one that ends at x.
func lastFrom(from, x wal.LSN, read reader) (wal.LSN, error) {
	decoder := pgwal.NewDecoder("log", from)
	var rec pgwal.Record
	last := wal.InvalidLSN
	for at := from; at < x; {
		bytes, err := read(at, x)
		if err != nil {
			return 0, err
		}
		decoder.Feed(bytes)
		at += wal.LSN(len(bytes))
		for more := true; more; {
			if more, err = decoder.Next(&rec); err != nil {
				return 0, err
			}
			if more {
				last = rec.LSN
			}
		}
	}
	if decoder.Position() != x {
		return 0, wal.Corruptf("log", int64(from), "end of the last record", x, decoder.Position())
	}
	return last, nil
}
