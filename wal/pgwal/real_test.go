package pgwal_test

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/pgwal"
	"github.com/varvedb/varve/wal/pgwal/pgtest"
)

// realLog is the log of a real PostgreSQL that was stopped cleanly.
type realLog struct {
	server *pgtest.Server
	start  wal.LSN
	end    wal.LSN // end of the shutdown checkpoint
	bytes  []byte  // from start to end
}

const firstSegment = 1 // where initdb begins a log

// makeRealLog runs a load on a fresh server and reads the log it left.
func makeRealLog(t testing.TB, conf map[string]string, load func(*pgtest.Server)) realLog {
	t.Helper()
	settings := map[string]string{"wal_keep_size": "20GB"}
	for name, value := range conf {
		settings[name] = value
	}
	s := pgtest.Start(t, pgtest.Options{Conf: settings})
	load(s)
	s.Stop(t, pgtest.Fast)

	control := s.Exec(t, "pg_controldata", s.DataDir)
	match := regexp.MustCompile(`Latest checkpoint location: +(\S+)`).FindStringSubmatch(control)
	require.NotNil(t, match, control)
	checkpoint, err := wal.ParseLSN(match[1])
	require.NoError(t, err)
	log := realLog{server: s, start: wal.SegmentStart(firstSegment), end: checkpoint + 120}
	for n := uint64(firstSegment); wal.SegmentStart(n) < log.end; n++ {
		segment, err := os.ReadFile(filepath.Join(s.WALDir(), segmentName(n)))
		require.NoError(t, err)
		log.bytes = append(log.bytes, segment...)
	}
	log.bytes = log.bytes[:log.end-log.start]
	return log
}

func segmentName(n uint64) string { return fmt.Sprintf("%08X%08X%08X", 1, n>>8, n&0xFF) }

// smallLoad touches pages of all kinds, switches segments, and logs records that
// cross pages and are larger than several.
func smallLoad(t testing.TB) func(*pgtest.Server) {
	return func(s *pgtest.Server) {
		s.SQL(t, `create table a (id int primary key, b text);
insert into a select i, repeat('x', i % 700) from generate_series(1, 3000) i;
update a set b = b || 'y' where id % 3 = 0;
select pg_switch_wal();
create index on a using gist (point(id, id));
delete from a where id % 5 = 0;
vacuum a;
select length(pg_logical_emit_message(false, 'p', repeat(md5('m'), 20000))::text) > 0;
checkpoint;
update a set b = 'z' where id % 7 = 0;`)
	}
}

// dumped is what pg_waldump says of one record.
type dumped struct {
	LSN, Prev wal.LSN
	RMgr      string
	Length    uint32
	XID       uint32
	Image     int // bytes of images, holes left out
}

var dumpLine = regexp.MustCompile(`^rmgr: (\S+) +len \(rec/tot\): +(\d+)/ *(\d+), tx: +(\d+), lsn: (\S+), prev (\S+), desc:`)

// waldump reads the records of start to end by pg_waldump.
func waldump(t testing.TB, s *pgtest.Server, dir string, start, end wal.LSN) []dumped {
	t.Helper()
	text := s.Exec(t, "pg_waldump", "-p", dir, "-s", start.String(), "-e", end.String())
	var all []dumped
	lines := bufio.NewScanner(strings.NewReader(text))
	lines.Buffer(nil, 1<<26)
	for lines.Scan() {
		match := dumpLine.FindStringSubmatch(lines.Text())
		require.NotNil(t, match, lines.Text())
		var d dumped
		var without uint32
		d.RMgr = match[1]
		_, err := fmt.Sscan(strings.Join(match[2:5], " "), &without, &d.Length, &d.XID)
		require.NoError(t, err)
		d.Image = int(d.Length - without)
		d.LSN, err = wal.ParseLSN(match[5])
		require.NoError(t, err)
		d.Prev, err = wal.ParseLSN(strings.TrimSuffix(match[6], ","))
		require.NoError(t, err)
		all = append(all, d)
	}
	require.NoError(t, lines.Err())
	return all
}

// asDumped says of a record what pg_waldump would.
func asDumped(r *pgwal.Record) dumped {
	d := dumped{LSN: r.LSN, Prev: r.Prev, RMgr: r.RMgr.String(), Length: r.TotalLen, XID: r.XID}
	for i := range r.Blocks {
		d.Image += len(r.Blocks[i].Image.Bytes)
	}
	return d
}

// decodeAll feeds log in pieces of at most size bytes and calls visit for each record.
func decodeAll(t testing.TB, start wal.LSN, log []byte, size int, visit func(*pgwal.Record)) *pgwal.Decoder {
	t.Helper()
	d := pgwal.NewDecoder("log", start)
	var r pgwal.Record
	for piece := range slices.Chunk(log, size) {
		d.Feed(piece)
		for {
			ok, err := d.Next(&r)
			require.NoError(t, err)
			if !ok {
				break
			}
			visit(&r)
		}
	}
	return d
}

func TestDecoderAgreesWithPgWaldump(t *testing.T) {
	log := makeRealLog(t, nil, smallLoad(t))
	want := waldump(t, log.server, log.server.WALDir(), log.start, log.end)
	require.Greater(t, len(want), 10_000)
	for _, size := range []int{1, 7, 4096, 100_000, len(log.bytes)} {
		var got []dumped
		d := decodeAll(t, log.start, log.bytes, size, func(r *pgwal.Record) { got = append(got, asDumped(r)) })
		require.Equal(t, len(want), len(got), "pieces of %d", size)
		for i := range want {
			require.Equal(t, want[i], got[i], "pieces of %d", size)
		}
		require.Equal(t, log.end, d.Position())
	}
}
