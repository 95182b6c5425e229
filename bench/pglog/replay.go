package pglog

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"syscall"
	"time"

	"github.com/varvedb/varve/bench/cluster"
	"github.com/varvedb/varve/bench/meter"
	"github.com/varvedb/varve/bench/postgres"
	"github.com/varvedb/varve/lsm"
	"github.com/varvedb/varve/pageserver/basebackup"
	"github.com/varvedb/varve/pageserver/timeline"
	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/pgwal"
	"github.com/varvedb/varve/wal/segment"
)

// DecodeFiles decodes the log from its files, as pg_waldump reads it, and returns the
// number of records.
func (l *Log) DecodeFiles() (n int, err error) {
	const piece = 128 << 10
	buffer, d := make([]byte, piece), pgwal.NewDecoder("log", l.Start)
	var record pgwal.Record
	for number, at := l.Start.Segment(), l.Start; at < l.End; number++ {
		f, err := os.Open(filepath.Join(l.WALDir, segment.Name(number)))
		if err != nil {
			return n, fmt.Errorf("read recorded log: %w", err)
		}
		begin := wal.SegmentStart(number)
		r := io.NewSectionReader(f, int64(at-begin), int64(min(l.End, begin+wal.SegmentSize)-at))
		for {
			size, err := r.Read(buffer)
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return n, fmt.Errorf("read recorded log: %w", err)
			}
			at += wal.LSN(size)
			for d.Feed(buffer[:size]); ; n++ {
				ok, err := d.Next(&record)
				if err != nil {
					return n, err
				}
				if !ok {
					break
				}
			}
		}
		if err := f.Close(); err != nil {
			return n, fmt.Errorf("read recorded log: %w", err)
		}
	}
	return n, nil
}

// Dump runs pg_waldump --stats over the log and returns the CPU time that it took.
func (l *Log) Dump() (time.Duration, error) {
	before := meter.Children()
	_, err := l.Server.Exec("pg_waldump", "--stats", "-p", l.WALDir, "-s", l.Start.String(), "-e", l.End.String())
	return meter.Children() - before, err
}

// Import makes a timeline of the cluster as it was before the load, in a new world below
// dir. Whoever asked closes the store.
func (l *Log) Import(ctx context.Context, dir string, opts lsm.Options) (*Imported, error) {
	w, err := cluster.NewWorld(dir)
	if err != nil {
		return nil, err
	}
	return l.ImportInto(ctx, w, opts)
}

// ImportInto is Import into a world that is there.
func (l *Log) ImportInto(ctx context.Context, w *meter.World, opts lsm.Options) (i *Imported, err error) {
	opts.Tenant, opts.Redo = cluster.Tenant, timeline.Redo{}
	i = &Imported{World: w}
	if i.Store, err = lsm.Open(ctx, w.Env, opts); err != nil {
		return nil, err
	}
	if err := i.Store.Create(ctx, cluster.Main, l.Start, nil); err != nil {
		return nil, err
	}
	if i.Under, err = i.Store.Attach(ctx, cluster.Main); err != nil {
		return nil, err
	}
	if _, err := basebackup.Import(ctx, os.DirFS(l.Before), i.Under); err != nil {
		return nil, err
	}
	i.Timeline, err = timeline.Open(ctx, w.Env, cluster.Main, i.Under)
	return i, err
}

// Imported is a timeline made of a recorded cluster.
type Imported struct {
	World    *meter.World
	Store    *lsm.Store
	Under    *lsm.Timeline
	Timeline *timeline.Timeline
}

// Take takes the whole log in, a megabyte at a time, and makes it durable. It returns how
// long the longest call took.
func (i *Imported) Take(ctx context.Context, l *Log) (longest time.Duration, err error) {
	const piece = 1 << 20
	for begin, log := l.Start, l.Bytes; len(log) > 0; {
		n := min(piece, len(log))
		at := time.Now()
		if err := i.Timeline.Ingest(ctx, begin, log[:n]); err != nil {
			return 0, err
		}
		longest = max(longest, time.Since(at))
		begin, log = begin+wal.LSN(n), log[n:]
	}
	return longest, i.Timeline.Flush(ctx)
}

// redoDone is what PostgreSQL logs when recovery has come to its end.
var redoDone = regexp.MustCompile(`redo done at \S+ system usage: CPU: user: ([0-9.]+) s, system: ([0-9.]+) s, elapsed: ([0-9.]+) s`)

// Redo is what PostgreSQL's recovery of a log took.
type Redo struct {
	CPU     time.Duration // of the startup process alone
	Elapsed time.Duration // of the redo
	Total   time.Duration // from the start to the first query, restoring the base included
}

// Recover has PostgreSQL replay the log onto a copy of the cluster as it was before, so
// that every record is applied; the copy is made in dir, which goes away again. With a
// target it stops there, as recovery to a point in time does.
func (l *Log) Recover(ctx context.Context, dir string, target wal.LSN) (r Redo, err error) {
	programs, err := postgres.Find(ctx)
	if err != nil {
		return r, err
	}
	begin := time.Now()
	s, err := programs.Open(filepath.Dir(l.Before)).Clone(dir)
	if err != nil {
		return r, err
	}
	conf := map[string]string{"restore_command": fmt.Sprintf("cp %s/%%f %%p", l.WALDir), "wal_consistency_checking": ""}
	if target != 0 {
		conf["recovery_target_lsn"], conf["recovery_target_action"] = target.String(), "promote"
	}
	if err := s.Configure(conf); err != nil {
		return r, err
	}
	if err := programs.Shell("touch", filepath.Join(s.DataDir, "recovery.signal")); err != nil {
		return r, err
	}
	if err := s.Start(ctx); err != nil {
		return r, err
	}
	// A hot standby answers before redo is done.
	for redoDone.FindStringSubmatch(s.Log()) == nil {
		if err := ctx.Err(); err != nil {
			return r, errors.Join(err, s.Stop(syscall.SIGQUIT))
		}
		time.Sleep(time.Millisecond)
	}
	r.Total = time.Since(begin)
	r.fill(redoDone.FindStringSubmatch(s.Log()))
	return r, errors.Join(s.Stop(syscall.SIGQUIT), os.RemoveAll(dir))
}

func (r *Redo) fill(match []string) {
	seconds := func(text string) time.Duration {
		s, _ := strconv.ParseFloat(text, 64) // The expression admits digits and points.
		return time.Duration(s * float64(time.Second))
	}
	r.CPU, r.Elapsed = seconds(match[1])+seconds(match[2]), seconds(match[3])
}
