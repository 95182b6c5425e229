package pglog

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"

	"github.com/varvedb/varve/bench/postgres"
	"github.com/varvedb/varve/compute/pgdata"
	"github.com/varvedb/varve/pageserver/basebackup"
	"github.com/varvedb/varve/pageserver/redo"
	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/pgwal"
	"github.com/varvedb/varve/wal/segment"
)

// Way is a way of logging.
type Way string

// The ways.
const (
	FPIOff Way = "fpi-off"
	FPIOn  Way = "fpi-on"
	Varve  Way = "varve"
)

func (w Way) conf() map[string]string {
	conf := map[string]string{
		"fsync": "off", "wal_level": "replica", "wal_log_hints": "on", "wal_keep_size": "40GB", "autovacuum": "off",
		"checkpoint_timeout": "1d", "shared_buffers": "128MB", "synchronous_commit": "off",
		"full_page_writes": "off",
	}
	switch w {
	case FPIOn:
		conf["full_page_writes"] = "on"
	case Varve:
		for _, setting := range (pgdata.Settings{}).Imposed() {
			if slices.Contains(shaping, setting.Name) {
				conf[setting.Name] = setting.Value
			}
		}
	}
	return conf
}

// HowTaken says how Varve takes TPC-B in, for titles.
func HowTaken() string {
	if redo.Native(pgwal.RMgrHeap) && redo.Native(pgwal.RMgrBtree) {
		return "by native redo"
	}
	return "by an image of the page with every change, for redo of heap and btree is not native yet"
}

// shaping are the settings that Varve imposes and that change what is logged.
var shaping = []string{"full_page_writes", "wal_log_hints", "wal_consistency_checking", "wal_compression"}

// Load is what is logged.
type Load struct {
	Scale        int // of pgbench; 0: none of its tables
	Transactions int // of each of four clients; 0: none
	Copy         int // rows copied into a table of their own
	Index        bool
}

// Log is a cluster before its load, and the log of the load.
type Log struct {
	Way      Way
	Load     Load
	Before   string // the data directory as it was stopped before the load
	Crashed  string // the data directory as it was killed after the load
	WALDir   string // with the load's segments
	Start    wal.LSN
	End      wal.LSN
	Bytes    []byte // from Start to End
	Records  int
	SystemID uint64
	Server   *postgres.Server // stopped; its directory is Crashed
}

// Record makes a cluster below dir, runs the load and kills it.
func Record(ctx context.Context, dir string, way Way, load Load) (*Log, error) {
	programs, err := postgres.Find(ctx)
	if err != nil {
		return nil, err
	}
	s, err := programs.Init(dir, way.conf())
	if err != nil {
		return nil, err
	}
	if err := s.Start(ctx); err != nil {
		return nil, err
	}
	if load.Scale > 0 {
		if _, err := s.Exec("pgbench", "-i", "-q", "-I", "dtGvp", "-s", strconv.Itoa(load.Scale)); err != nil {
			return nil, err
		}
	}
	if _, err := s.SQL("CREATE TABLE copied (id int, a text, b text)"); err != nil {
		return nil, err
	}
	if err := s.Close(); err != nil {
		return nil, err
	}
	before, err := s.Clone(dir + ".before")
	if err != nil {
		return nil, err
	}
	info, err := basebackup.Inspect(os.DirFS(before.DataDir))
	if err != nil {
		return nil, err
	}
	if err := s.Start(ctx); err != nil {
		return nil, err
	}
	l := &Log{Way: way, Load: load, Before: before.DataDir, Crashed: s.DataDir, WALDir: s.WALDir(), Start: info.LSN, SystemID: info.SystemID, Server: s}
	if err := l.run(); err != nil {
		return nil, err
	}
	// A commit that waits for its flush makes all before it flushed.
	end, err := s.SQL("SET synchronous_commit = on; CREATE TABLE the_end (); SELECT pg_current_wal_flush_lsn()")
	if err != nil {
		return nil, err
	}
	if l.End, err = wal.ParseLSN(end); err != nil {
		return nil, err
	}
	if err := s.Stop(syscall.SIGQUIT); err != nil {
		return nil, err
	}
	return l, l.read()
}

func (l *Log) run() error {
	if l.Load.Transactions > 0 {
		if _, err := l.Server.Exec("pgbench", "-n", "-c", "4", "-t", strconv.Itoa(l.Load.Transactions), "-M", "prepared"); err != nil {
			return err
		}
	}
	if l.Load.Copy > 0 {
		sql := fmt.Sprintf("INSERT INTO copied SELECT i, md5(i::text), md5((i * 7)::text) FROM generate_series(1, %d) i", l.Load.Copy)
		if _, err := l.Server.SQL(sql); err != nil {
			return err
		}
	}
	if l.Load.Index {
		if _, err := l.Server.SQL("CREATE INDEX ON copied (a); CREATE INDEX ON pgbench_accounts (abalance)"); err != nil {
			return err
		}
	}
	return nil
}

// read reads the log's bytes, and counts its records. It ends with the last whole one.
func (l *Log) read() error {
	first := l.Start.Segment()
	for n := first; wal.SegmentStart(n) < l.End; n++ {
		body, err := os.ReadFile(filepath.Join(l.WALDir, segment.Name(n)))
		if err != nil {
			return fmt.Errorf("read recorded log: %w", err)
		}
		l.Bytes = append(l.Bytes, body...)
	}
	l.Bytes = l.Bytes[l.Start-wal.SegmentStart(first) : l.End-wal.SegmentStart(first)]
	records, end, err := Count(l.Start, l.Bytes)
	l.Records = records
	l.Bytes, l.End = l.Bytes[:end-l.Start], end
	return err
}

// Count decodes a log and returns the number of its records, and the end of the last.
func Count(start wal.LSN, bytes []byte) (n int, end wal.LSN, err error) {
	d := pgwal.NewDecoder("log", start)
	var record pgwal.Record
	const piece = 128 << 10 // what a walsender sends at a time
	for len(bytes) > 0 {
		size := min(piece, len(bytes))
		d.Feed(bytes[:size])
		bytes = bytes[size:]
		for {
			ok, err := d.Next(&record)
			if err != nil {
				return n, end, err
			}
			if !ok {
				break
			}
			n++
			end = record.End
		}
	}
	return n, end, nil
}
