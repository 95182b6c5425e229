package pgwal_test

import (
	"io"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/pgwal"
	"github.com/varvedb/varve/wal/pgwal/pgtest"
)

// benchLog is TPC-B's log as Varve's endpoints write it, without full-page images. What
// pgbench -i wrote before is left out: its large records would make the figure flatter.
func benchLog(b *testing.B) realLog {
	conf := map[string]string{"full_page_writes": "off", "wal_log_hints": "on"}
	var start wal.LSN
	log := makeRealLog(b, conf, func(s *pgtest.Server) {
		s.Exec(b, "pgbench", "-i", "-q", "-s", "5")
		at, err := wal.ParseLSN(s.SQL(b, "select pg_switch_wal() + 0"))
		require.NoError(b, err)
		start = wal.SegmentStart(at.Segment() + 1)
		s.Exec(b, "pgbench", "-n", "-c", "4", "-t", "15000", "-M", "prepared")
	})
	log.bytes, log.start = log.bytes[start-log.start:], start
	return log
}

// cpuSeconds returns the user and system time that this process or its ended children
// have used.
func cpuSeconds(b *testing.B, who int) float64 {
	var u syscall.Rusage
	require.NoError(b, syscall.Getrusage(who, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()).Seconds()
}

// feedSize is what a walsender sends at a time.
const feedSize = 128 << 10

// countRecords decodes a log in pieces and returns the number of its records.
func countRecords(b *testing.B, start wal.LSN, pieces iter.Seq[[]byte]) (n int) {
	d := pgwal.NewDecoder("log", start)
	var record pgwal.Record
	for piece := range pieces {
		for d.Feed(piece); ; n++ {
			ok, err := d.Next(&record)
			if err != nil {
				b.Fatal(err)
			}
			if !ok {
				break
			}
		}
	}
	return n
}

// fromFiles reads the segments of a log up to its end into one buffer, again and again.
func fromFiles(b *testing.B, log realLog) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		buffer := make([]byte, feedSize)
		for n := log.start.Segment(); wal.SegmentStart(n) < log.end; n++ {
			f, err := os.Open(filepath.Join(log.server.WALDir(), segmentName(n)))
			require.NoError(b, err)
			r := io.LimitReader(f, min(int64(log.end-wal.SegmentStart(n)), wal.SegmentSize))
			for {
				size, err := r.Read(buffer)
				if err == io.EOF {
					break
				}
				require.NoError(b, err)
				yield(buffer[:size])
			}
			require.NoError(b, f.Close())
		}
	}
}

// BenchmarkDecode decodes a real log and reports records per CPU second, beside what
// pg_waldump --stats makes of the same log: both from files in the page cache, and the
// decoder from memory too, as it runs in a server.
func BenchmarkDecode(b *testing.B) {
	log := benchLog(b)
	records := countRecords(b, log.start, slices.Chunk(log.bytes, feedSize))
	perSecond := map[string]float64{}
	measure := func(name string, who int, run func(b *testing.B)) {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(log.bytes)))
			before := cpuSeconds(b, who)
			for b.Loop() {
				run(b)
			}
			perSecond[name] = float64(b.N*records) / (cpuSeconds(b, who) - before)
			b.ReportMetric(perSecond[name], "records/cpu-s")
			b.ReportMetric(float64(len(log.bytes))/float64(records), "B/record")
			if base := perSecond["pg_waldump"]; base > 0 {
				b.ReportMetric(perSecond[name]/base, "of-pg_waldump")
			}
		})
	}
	measure("pg_waldump", syscall.RUSAGE_CHILDREN, func(b *testing.B) {
		log.server.Exec(b, "pg_waldump", "--stats", "-p", log.server.WALDir(), "-s", log.start.String(), "-e", log.end.String())
	})
	measure("files", syscall.RUSAGE_SELF, func(b *testing.B) {
		require.Equal(b, records, countRecords(b, log.start, fromFiles(b, log)))
	})
	measure("memory", syscall.RUSAGE_SELF, func(b *testing.B) {
		require.Equal(b, records, countRecords(b, log.start, slices.Chunk(log.bytes, feedSize)))
	})
}
