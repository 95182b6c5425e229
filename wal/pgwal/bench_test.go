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

// benchLogs are TPC-B's logs: lean, as an endpoint writes it whose storage makes the
// images, and with the images that a stock server writes after each checkpoint. What
// pgbench -i wrote before is left out: its large records would make the figures flatter.
var benchLogs = map[string]map[string]string{
	"lean":   {"full_page_writes": "off", "wal_log_hints": "on"},
	"images": {"full_page_writes": "on", "checkpoint_timeout": "30s"},
}

func benchLog(b *testing.B, name string) realLog {
	var start wal.LSN
	log := makeRealLog(b, benchLogs[name], func(s *pgtest.Server) {
		s.Exec(b, "pgbench", "-i", "-q", "-s", "5")
		s.SQL(b, "checkpoint")
		at, err := wal.ParseLSN(s.SQL(b, "select pg_switch_wal() + 0"))
		require.NoError(b, err)
		start = wal.SegmentStart(at.Segment() + 1)
		s.Exec(b, "pgbench", "-n", "-c", "4", "-t", "30000", "-M", "prepared")
	})
	log.bytes, log.start = log.bytes[start-log.start:], start
	return log
}

// cpuOf returns the seconds of user and system time that this process (RUSAGE_SELF) or its
// ended children (RUSAGE_CHILDREN) spend while run runs.
func cpuOf(b *testing.B, who int, run func()) float64 {
	spent := func() time.Duration {
		var u syscall.Rusage
		require.NoError(b, syscall.Getrusage(who, &u))
		return time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	before := spent()
	run()
	return (spent() - before).Seconds()
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

// BenchmarkDecode decodes a real log beside pg_waldump --stats, in pairs: each round runs
// one, the other twice, and the first again, so that a machine that grows busy or quiet
// meets both alike, and a ratio never leaves its round. Records per CPU second come from
// files in the page cache, as pg_waldump reads them, and from memory, as the decoder runs
// in a server. What starting pg_waldump costs is taken off its account.
func BenchmarkDecode(b *testing.B) {
	for _, name := range []string{"lean", "images"} {
		b.Run(name, func(b *testing.B) { benchmarkDecode(b, benchLog(b, name)) })
	}
}

func benchmarkDecode(b *testing.B, log realLog) {
	records := countRecords(b, log.start, slices.Chunk(log.bytes, feedSize))
	starting := cpuOf(b, syscall.RUSAGE_CHILDREN, func() { log.server.Exec(b, "pg_waldump", "--version") })
	peer := func() float64 {
		return cpuOf(b, syscall.RUSAGE_CHILDREN, func() {
			log.server.Exec(b, "pg_waldump", "--stats", "-p", log.server.WALDir(), "-s", log.start.String(), "-e", log.end.String())
		}) - starting
	}
	measure := func(name string, pieces func() iter.Seq[[]byte]) {
		ours := func() float64 {
			return cpuOf(b, syscall.RUSAGE_SELF, func() { require.Equal(b, records, countRecords(b, log.start, pieces())) })
		}
		b.Run(name, func(b *testing.B) {
			b.SetBytes(4 * int64(len(log.bytes)))
			var total float64
			var ratios []float64
			for b.Loop() {
				a1, b1, b2, a2 := peer(), ours(), ours(), peer()
				ratios = append(ratios, (a1+a2)/(b1+b2))
				total += b1 + b2
			}
			slices.Sort(ratios)
			b.ReportMetric(float64(2*b.N*records)/total, "records/cpu-s")
			b.ReportMetric(float64(len(log.bytes))/float64(records), "B/record")
			b.ReportMetric(ratios[len(ratios)/4], "of-pg_waldump-q1")
			b.ReportMetric(ratios[len(ratios)/2], "of-pg_waldump-median")
		})
	}
	measure("files", func() iter.Seq[[]byte] { return fromFiles(b, log) })
	measure("memory", func() iter.Seq[[]byte] { return slices.Chunk(log.bytes, feedSize) })
}
