package main

import (
	"fmt"
	"io/fs"
	"os"

	"github.com/varvedb/varve/compute/control"
	"github.com/varvedb/varve/pageserver/basebackup"
	"github.com/varvedb/varve/pageserver/oracle"
	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/segment"
)

// oracle replays the log of a stopped directory from an earlier state of it and
// compares what redo makes of pages with PostgreSQL's images of them.
func (a *app) oracle(base, dir string) error {
	from, start, err := inspectDir(base)
	if err != nil {
		return err
	}
	log, end, err := inspectDir(dir)
	if err != nil {
		return err
	}
	o, err := oracle.New("log of "+dir, start, from)
	if err != nil {
		return fmt.Errorf("read %s: %w", base, err)
	}
	for at := start; at < end; {
		name := "pg_wal/" + segment.Name(at.Segment())
		body, err := fs.ReadFile(log, name)
		if err != nil {
			return control.Errorf(control.CodeConflict, "%s has no log since %s: %v", dir, start, err)
		}
		next := min(end, wal.SegmentStart(at.Segment()+1))
		if len(body) < at.SegmentOffset()+int(next-at) {
			return wal.Corruptf(name, int64(len(body)), "length of a log segment", "16 MiB", len(body))
		}
		if err := o.Feed(body[at.SegmentOffset():][:next-at]); err != nil {
			return fmt.Errorf("replay %s: %w", name, err)
		}
		at = next
	}
	report := o.Report()
	if a.output == "json" {
		err = a.print(newOracleView(base, dir, report), nil, nil)
	} else {
		_, err = report.WriteTo(os.Stdout)
	}
	if err == nil && !report.OK() {
		err = control.Errorf(control.CodeFailed, "%s between redo and PostgreSQL in the log of %s", plural(report.Diverged, "difference"), dir)
	}
	return err
}

// inspectDir opens a cleanly stopped data directory and tells where its log ends.
func inspectDir(dir string) (fs.FS, wal.LSN, error) {
	fsys, err := control.OpenDir(dir)
	if err != nil {
		return nil, 0, err
	}
	info, err := basebackup.Inspect(fsys)
	if err != nil {
		return nil, 0, refused("verify", dir, err)
	}
	return fsys, info.LSN, nil
}

// oracleView is an oracle's report in JSON.
type oracleView struct {
	Base       string   `json:"base"`
	Against    string   `json:"against"`
	Records    int64    `json:"records"`
	Compared   int64    `json:"pages_compared"`
	Mismatched int64    `json:"mismatched"`
	Mismatches []string `json:"mismatches"` // not all, if they are very many
}

func newOracleView(base, dir string, r *oracle.Report) oracleView {
	view := oracleView{Base: base, Against: dir, Records: r.Records, Mismatched: r.Diverged, Mismatches: []string{}}
	for _, h := range r.Kinds {
		view.Compared += h.Compared
	}
	for _, d := range r.Divergences {
		view.Mismatches = append(view.Mismatches, d.String())
	}
	return view
}
