package pglog

import (
	"context"
	_ "embed"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"

	"github.com/varvedb/varve/bench/postgres"
	"github.com/varvedb/varve/compute/pgdata"
	"github.com/varvedb/varve/pageserver/basebackup"
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
	Plain  Way = "plain"
)

func (w Way) conf() map[string]string {
	conf := map[string]string{
		"fsync": "off", "wal_level": "replica", "wal_keep_size": "40GB", "autovacuum": "off",
		"checkpoint_timeout": "1d", "shared_buffers": "128MB", "synchronous_commit": "off",
	}
	if w == Plain {
		conf["full_page_writes"] = "off"
	}
	if w == FPIOff {
		for _, setting := range (pgdata.Settings{}).Imposed() {
			if slices.Contains(shaping, setting.Name) {
				conf[setting.Name] = setting.Value
			}
		}
	}
	return conf
}

// shaping are the settings that Varve imposes and that change what is logged.
var shaping = []string{"full_page_writes", "wal_log_hints", "wal_consistency_checking", "wal_compression"}

// Load is what is logged.
type Load struct {
	Scale        int // of pgbench; 0: none of its tables
	Transactions int // of each of four clients; 0: none
	Copy         int // rows copied into a table of their own
	Index        bool
	Methods      int // rows of a table under an index of every access method; 0: none
}

// methods is the load of indexes, with a place for its rows.
//
//go:embed indexes.sql
var methods string

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
	Images   int // block references that bring one
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
		if err := s.Fill("postgres", load.Scale); err != nil {
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
	if l.Load.Methods > 0 {
		if _, err := l.Server.SQL(fmt.Sprintf(methods, l.Load.Methods)); err != nil {
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
	end, err := l.count(l.Bytes)
	l.Bytes, l.End = l.Bytes[:end-l.Start], end
	return err
}

// count decodes the log, counts its records, and returns the end of the last.
func (l *Log) count(bytes []byte) (end wal.LSN, err error) {
	d := pgwal.NewDecoder("log", l.Start)
	var record pgwal.Record
	const piece = 128 << 10 // what a walsender sends at a time
	for len(bytes) > 0 {
		size := min(piece, len(bytes))
		d.Feed(bytes[:size])
		bytes = bytes[size:]
		for {
			ok, err := d.Next(&record)
			if err != nil {
				return end, err
			}
			if !ok {
				break
			}
			l.Records++
			for i := range record.Blocks {
				if record.Blocks[i].HasImage {
					l.Images++
				}
			}
			end = record.End
		}
	}
	return end, nil
}
