package main

import (
	"bufio"
	"encoding/json"
	"errors"

	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/pgwal"
)

// printer takes records one by one. Its end comes after the last, even if it is damage
// that ended them, so that what is printed is whole.
type printer struct {
	record func(*pgwal.Record) error
	end    func() error
}

// recordPrinter prints records as pg_waldump does, a line each, or as a JSON array.
func (a *app) recordPrinter(out *bufio.Writer) printer {
	var line []byte
	if a.output != "json" {
		return printer{func(r *pgwal.Record) error {
			line = append(pgwal.AppendDump(line[:0], r), '\n')
			_, err := out.Write(line)
			return err
		}, out.Flush}
	}
	const first = "[\n  "
	separator := first
	return printer{func(r *pgwal.Record) error {
		line = pgwal.AppendDump(line[:0], r)
		body, err := json.Marshal(newRecordView(r, string(line)))
		if err != nil {
			return err
		}
		_, err = out.WriteString(separator + string(body))
		separator = ",\n  "
		return err
	}, func() error {
		closing := "\n]\n"
		if separator == first {
			closing = "[]\n"
		}
		_, err := out.WriteString(closing)
		return errors.Join(err, out.Flush())
	}}
}

// recordView is a record in JSON.
type recordView struct {
	LSN    wal.LSN     `json:"lsn"`
	End    wal.LSN     `json:"end_lsn"`
	Prev   wal.LSN     `json:"prev_lsn"`
	XID    pgwal.XID   `json:"xid"`
	RMgr   string      `json:"rmgr"`
	Kind   string      `json:"kind"`
	Bytes  uint32      `json:"bytes"`
	Blocks []blockView `json:"blocks"`
	Text   string      `json:"text"` // as pg_waldump prints it
}

// blockView is one page that a record changes.
type blockView struct {
	Relation   string            `json:"relation"` // tablespace/database/relation
	Fork       string            `json:"fork"`
	Block      pgwal.BlockNumber `json:"block"`
	ImageBytes *uint16           `json:"image_bytes,omitempty"` // of the page's image, if there is one
	ApplyImage bool              `json:"apply_image,omitempty"` // it is the page, not only for checks
}

func newRecordView(r *pgwal.Record, text string) recordView {
	view := recordView{
		LSN: r.LSN, End: r.End, Prev: r.Prev, XID: r.XID, RMgr: r.RMgr.String(), Kind: r.Kind(),
		Bytes: r.TotalLen, Blocks: make([]blockView, len(r.Blocks)), Text: text,
	}
	for i := range r.Blocks {
		b := &r.Blocks[i]
		view.Blocks[i] = blockView{Relation: b.Rel.String(), Fork: b.Fork.String(), Block: b.Block, ApplyImage: b.ApplyImage}
		if b.HasImage {
			view.Blocks[i].ImageBytes = &b.Image.Length
		}
	}
	return view
}

func eachRecord(path string, first wal.LSN, body []byte, out printer) (err error) {
	decoder := pgwal.NewDecoder(path, first)
	decoder.Feed(body)
	var record pgwal.Record
	for {
		var more bool
		if more, err = decoder.Next(&record); err != nil || !more {
			break
		}
		if err = out.record(&record); err != nil {
			break
		}
	}
	// The zeros of a segment's unwritten rest end the log like the end of the file.
	if errors.Is(err, wal.ErrCorruption) && isZero(body[decoder.Position()-first:]) {
		err = nil
	}
	return errors.Join(err, out.end())
}

func isZero(p []byte) bool {
	for _, b := range p {
		if b != 0 {
			return false
		}
	}
	return true
}
