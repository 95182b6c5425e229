package pgwal_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"iter"
	"maps"
	"math/rand/v2"
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

// kind names what records do: their manager and operation.
type kind struct {
	rmgr pgwal.RMgr
	name string
}

// tally counts records by kind.
type tally map[kind]int

func (n tally) add(other tally) {
	for k, count := range other {
		n[k] += count
	}
}

func (n tally) records() (sum int) {
	for _, count := range n {
		sum += count
	}
	return sum
}

// String is a table: a line for each manager, with its kinds and their counts.
func (n tally) String() string {
	kinds := slices.SortedFunc(maps.Keys(n), func(a, b kind) int {
		if a.rmgr != b.rmgr {
			return int(a.rmgr) - int(b.rmgr)
		}
		return strings.Compare(a.name, b.name)
	})
	var out strings.Builder
	for i, k := range kinds {
		if i == 0 || kinds[i-1].rmgr != k.rmgr {
			total, different := 0, 0
			for other, count := range n {
				if other.rmgr == k.rmgr {
					total += count
					different++
				}
			}
			fmt.Fprintf(&out, "\n%-17s %8d records, %2d kinds:", k.rmgr, total, different)
		}
		fmt.Fprintf(&out, " %s %d", k.name, n[k])
	}
	return out.String()
}

// summary is the line that says what was compared.
func (n tally) summary() string {
	managers := map[pgwal.RMgr]bool{}
	for k := range n {
		managers[k.rmgr] = true
	}
	return fmt.Sprintf("waldump: %d records of %d kinds and %d resource managers are byte-equal to pg_waldump's", n.records(), len(n), len(managers))
}

// dumpReader splits the output of pg_waldump --bkp-details into records.
type dumpReader struct {
	lines *bufio.Reader
	ahead string // a line already read that begins the next record
}

func newDumpReader(output io.Reader) *dumpReader {
	return &dumpReader{lines: bufio.NewReaderSize(output, 1<<16)}
}

// next returns the normalised text of the next record, or io.EOF. A record begins
// with "rmgr: "; its further lines are block references or, where text in the record
// has newlines, more of it.
func (d *dumpReader) next() (string, error) {
	text := d.ahead
	for {
		line, err := d.lines.ReadString('\n')
		if strings.HasPrefix(line, "rmgr: ") && text != "" {
			d.ahead = line
			return normalize(text), nil
		}
		text += line
		if err == io.EOF && text != "" {
			d.ahead = ""
			return normalize(text), nil
		}
		if err != nil {
			return "", err
		}
	}
}

// normalize brings what pg_waldump --bkp-details printed for one record into the form
// of AppendDump: block references are joined to the record's line by tabs, and the
// body after the kind is dropped where AppendDump has none.
func normalize(text string) string {
	text = strings.TrimSuffix(text, "\n")
	head, blocks, hasBlocks := strings.Cut(text, "\n\tblkref #")
	const before = ", desc: "
	name, _, _ := strings.Cut(strings.TrimPrefix(head, "rmgr: "), " ")
	switch name {
	case "Btree", "Hash", "Gin", "Gist", "SPGist", "BRIN":
		at := strings.Index(head, before) + len(before)
		kind, _, _ := strings.Cut(head[at:], " ")
		head = head[:at] + kind + " "
	}
	if !hasBlocks {
		return head
	}
	return head + "\tblkref #" + strings.ReplaceAll(blocks, "\n\tblkref #", "\tblkref #")
}

// compare decodes a log and says where its dump first differs from the one of
// pg_waldump, if it does, and counts the records that agree.
func compare(start, end wal.LSN, log iter.Seq[[]byte], output io.Reader) (tally, error) {
	d := pgwal.NewDecoder("log", start)
	expected := newDumpReader(output)
	seen := tally{}
	var rec pgwal.Record
	var line []byte
	for piece := range log {
		d.Feed(piece)
		for {
			ok, err := d.Next(&rec)
			if err != nil {
				return seen, err
			}
			if !ok {
				break
			}
			want, err := expected.next()
			if err != nil {
				return seen, fmt.Errorf("record at %s: read what pg_waldump says of it: %w", rec.LSN, err)
			}
			line = pgwal.AppendDump(line[:0], &rec)
			if string(line) != want {
				return seen, fmt.Errorf("record at %s:\nvarve      %s\npg_waldump %s", rec.LSN, line, want)
			}
			if err := examine(&rec); err != nil {
				return seen, err
			}
			seen[kind{rec.RMgr, rec.Kind()}]++
		}
	}
	if d.Position() != end {
		return seen, fmt.Errorf("the log ends at %s, not at %s", d.Position(), end)
	}
	if extra, err := expected.next(); err != io.EOF {
		return seen, fmt.Errorf("pg_waldump goes on: %s%v", extra, err)
	}
	return seen, nil
}

// examine checks what a dump does not show: every parser accepts the record, its
// images unpack, and a checkpoint is written as it was read.
func examine(rec *pgwal.Record) error {
	if err := parseAs(rec); err != nil {
		return err
	}
	var page [pgwal.PageSize]byte
	for i := range rec.Blocks {
		if b := &rec.Blocks[i]; b.HasImage {
			if err := rec.Restore(b, page[:]); err != nil {
				return err
			}
		}
	}
	if rec.RMgr != pgwal.RMgrXLOG || rec.Op() != pgwal.OpXLOGCheckpointShutdown && rec.Op() != pgwal.OpXLOGCheckpointOnline {
		return nil
	}
	c, err := pgwal.ParseCheckPoint(rec)
	if err != nil {
		return err
	}
	// The padding of the checkpoint that initdb writes is not zeroed.
	was := bytes.Clone(rec.MainData)
	for _, padding := range [][]byte{was[17:24], was[60:64], was[84:88]} {
		clear(padding)
	}
	if is := c.AppendTo(nil); !bytes.Equal(is, was) {
		return fmt.Errorf("record at %s: the checkpoint is written as %x, was %x", rec.LSN, is, was)
	}
	return nil
}

// stopped is the log of a server that was stopped cleanly.
type stopped struct {
	server     *pgtest.Server
	start, end wal.LSN
}

var checkpointLocation = regexp.MustCompile(`Latest checkpoint location: +(\S+)`)

// checkpointRecordSize is how far a checkpoint record reaches: 24 bytes of header, 2
// before the main data, the main data, and padding.
const checkpointRecordSize = 24 + 2 + pgwal.CheckPointSize + 6

// runLoad runs a load on a fresh server and stops it.
func runLoad(t testing.TB, conf map[string]string, load func(*pgtest.Server)) stopped {
	t.Helper()
	settings := map[string]string{"wal_keep_size": "50GB", "autovacuum": "off", "lock_timeout": "10s", "statement_timeout": "5min"}
	maps.Copy(settings, conf)
	s := pgtest.Start(t, pgtest.Options{Conf: settings})
	load(s)
	s.Stop(t, pgtest.Fast)
	control := s.Exec(t, "pg_controldata", s.DataDir)
	match := checkpointLocation.FindStringSubmatch(control)
	require.NotNil(t, match, control)
	checkpoint, err := wal.ParseLSN(match[1])
	require.NoError(t, err)
	end := checkpoint + checkpointRecordSize
	if page := pgwal.PageStart(end - 1); page > checkpoint {
		end += wal.LSN(pgwal.PageHeaderSize(page)) // the record goes on behind a page header
	}
	return stopped{server: s, start: wal.SegmentStart(firstSegment), end: end}
}

// log yields the bytes of the log in pieces that end anywhere.
func (l stopped) log(t testing.TB) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		const pieceSize = 100_003
		for n := l.start.Segment(); wal.SegmentStart(n) < l.end; n++ {
			segment, err := os.ReadFile(filepath.Join(l.server.WALDir(), segmentName(n)))
			require.NoError(t, err)
			segment = segment[:min(len(segment), int(l.end-wal.SegmentStart(n)))]
			for piece := range slices.Chunk(segment, pieceSize) {
				if !yield(piece) {
					return
				}
			}
		}
	}
}

// compare runs pg_waldump over the log and compares.
func (l stopped) compare(t testing.TB) (tally, error) {
	t.Helper()
	cmd := l.server.Command("pg_waldump", "--bkp-details", "-p", l.server.WALDir(), "-s", l.start.String(), "-e", l.end.String())
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	output, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	seen, err := compare(l.start, l.end, l.log(t), output)
	if err != nil {
		cmd.Process.Kill()
		cmd.Wait()
		return seen, fmt.Errorf("%w\n%s", err, stderr.String())
	}
	require.NoError(t, cmd.Wait(), stderr.String())
	return seen, nil
}

// size is how much the loads do.
type size struct{ rows, indexRows, xids, benchScale, benchTransactions int }

var (
	small = size{rows: 2000, indexRows: 1000, xids: 1000, benchScale: 1, benchTransactions: 200}
	// full burns ids past a segment of pg_xact, which holds 2^20.
	full = size{rows: 100_000, indexRows: 12_000, xids: 1_100_000, benchScale: 10, benchTransactions: 10_000}
)

// script runs one of the scripts in testdata.
func script(t testing.TB, s *pgtest.Server, n size, name string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", "waldump", name+".sql"))
	require.NoError(t, err)
	vars := fmt.Sprintf("\\set rows %d\n\\set xids %d\n\\set space %s\n", n.rows, n.xids, s.MkdirAll(t, "space"))
	if name == "indexes" {
		vars = fmt.Sprintf("\\set rows %d\n", n.indexRows)
	}
	s.SQL(t, vars+string(text))
}

func bench(t testing.TB, s *pgtest.Server, n size) {
	t.Helper()
	s.Exec(t, "pgbench", "-i", "-q", "-s", fmt.Sprint(n.benchScale))
	s.Exec(t, "pgbench", "-n", "-c", "4", "-j", "1", "-t", fmt.Sprint(n.benchTransactions))
}

// loads are the streams that are compared: all that PostgreSQL can be made to log,
// under settings that change what is logged.
var loads = []struct {
	name string
	conf map[string]string
	run  func(testing.TB, *pgtest.Server, size)
}{
	{"everything", map[string]string{"max_prepared_transactions": "20", "track_commit_timestamp": "on"},
		func(t testing.TB, s *pgtest.Server, n size) {
			bench(t, s, n)
			for _, name := range []string{"tables", "indexes", "transactions", "ddl", "age"} {
				script(t, s, n, name)
			}
		}},
	{"logical, lz4 images of everything for checks", map[string]string{
		"wal_level": "logical", "wal_log_hints": "on", "wal_compression": "lz4", "wal_consistency_checking": "all", "max_prepared_transactions": "20"},
		func(t testing.TB, s *pgtest.Server, n size) {
			for _, name := range []string{"logical", "transactions", "tables"} {
				script(t, s, small, name)
			}
		}},
	{"zstd images", map[string]string{"wal_compression": "zstd", "wal_log_hints": "on"},
		func(t testing.TB, s *pgtest.Server, n size) { bench(t, s, n) }},
	{"pglz images, crashes, changing settings", map[string]string{"wal_compression": "pglz", "wal_level": "minimal", "max_wal_senders": "0"}, crashes},
	{"without images", map[string]string{"full_page_writes": "off"},
		func(t testing.TB, s *pgtest.Server, n size) {
			script(t, s, n, "tables")
			bench(t, s, n)
			switchImagesOn(t, s)
		}},
}

// switchImagesOn changes full_page_writes, which the checkpointer logs before its next
// checkpoint. A server that starts with another value than its last may log it or
// not: its processes race. Each statement has a session of its own, so the server
// has passed the reload on when the checkpoint is asked for.
func switchImagesOn(t testing.TB, s *pgtest.Server) {
	t.Helper()
	s.SQL(t, "alter system set full_page_writes = on")
	s.SQL(t, "select pg_reload_conf()")
	s.SQL(t, "checkpoint")
}

// crashes loads a server that is killed, restarted with other settings, and killed
// such that its log ends within a record.
func crashes(t testing.TB, s *pgtest.Server, n size) {
	script(t, s, small, "tables")
	s.Stop(t, pgtest.Kill)
	s.Configure(t, map[string]string{"max_connections": "33", "wal_level": "replica", "wal_log_hints": "on"})
	s.Up(t)
	s.SQL(t, "insert into plain select i, 1, 'after' from generate_series(500000, 500500) i")
	torn, err := wal.ParseLSN(s.SQL(t, "select pg_logical_emit_message(false, 'torn', repeat('t', 100000)) - 50000; create table flushes ();"))
	require.NoError(t, err)
	s.Stop(t, pgtest.Immediate)
	cutLog(t, s, torn)
	s.Up(t)
	s.SQL(t, "insert into plain select i, 1, 'after' from generate_series(600000, 600500) i")
}

// cutLog makes the log end at the page that holds lsn, as if what follows had not
// reached the disk.
func cutLog(t testing.TB, s *pgtest.Server, lsn wal.LSN) {
	t.Helper()
	lsn -= lsn % pgwal.WALPageSize
	path := filepath.Join(s.WALDir(), segmentName(lsn.Segment()))
	segment, err := os.ReadFile(path)
	require.NoError(t, err)
	clear(segment[lsn.SegmentOffset():])
	require.NoError(t, os.WriteFile(path, segment, 0o600))
}

// TestDumpEqualsPgWaldump is the proof of the decoder and the parsers: what they make
// of real logs is, byte for byte, what pg_waldump prints. With VARVE_FULL=1 it compares
// a million records.
func TestDumpEqualsPgWaldump(t *testing.T) {
	n, least := small, 100_000
	if os.Getenv("VARVE_FULL") == "1" {
		n, least = full, 1_000_000
	}
	all := tally{}
	for _, load := range loads {
		t.Run(load.name, func(t *testing.T) {
			log := runLoad(t, load.conf, func(s *pgtest.Server) { load.run(t, s, n) })
			seen, err := log.compare(t)
			require.NoError(t, err)
			t.Logf("%d records, %d MiB", seen.records(), (log.end-log.start)>>20)
			all.add(seen)
		})
	}
	t.Log(all)
	t.Log(all.summary())
	require.GreaterOrEqual(t, all.records(), least)
	requireKinds(t, all, n)
}

// unseen are the kinds that no load makes, and why.
var unseen = map[kind]string{
	{pgwal.RMgrXLOG, "NOOP"}:            "nothing writes it",
	{pgwal.RMgrXLOG, "END_OF_RECOVERY"}: "a promotion does, which begins another timeline",
	{pgwal.RMgrHeap, "HOT_UPDATE+INIT"}: "a HOT update stays on its page, which is not new",
	{pgwal.RMgrGist, "ASSIGN_LSN"}:      "only wal_level = minimal needs it, and then only by luck",
}

// unseenInSmall are the kinds that take as many ids as only the full load burns.
var unseenInSmall = map[kind]string{
	{pgwal.RMgrCLOG, "TRUNCATE"}:     "a segment holds 2^20 transactions",
	{pgwal.RMgrCommitTs, "TRUNCATE"}: "a segment holds 26208 transactions",
}

// requireKinds fails when a load does not make a kind of record any more.
func requireKinds(t testing.TB, seen tally, n size) {
	t.Helper()
	for m := pgwal.RMgrXLOG; m <= pgwal.RMgrLogicalMsg; m++ {
		for info := 0; info < 0x100; info += 0x10 {
			k := kind{m, pgwal.KindName(m, uint8(info))}
			if strings.HasPrefix(k.name, "UNKNOWN") || unseen[k] != "" || n == small && unseenInSmall[k] != "" {
				continue
			}
			require.NotZero(t, seen[k], "no load makes %s/%s", m, k.name)
		}
	}
}

// TestFlippedByteIsNoticed flips one byte of a log after pg_waldump has read it: the
// comparison fails, and names the bytes as corrupt.
func TestFlippedByteIsNoticed(t *testing.T) {
	log := runLoad(t, nil, smallLoad(t))
	output := log.server.Exec(t, "pg_waldump", "--bkp-details", "-p", log.server.WALDir(), "-s", log.start.String(), "-e", log.end.String())
	whole := slices.Concat(slices.Collect(log.log(t))...)
	pieces := func() iter.Seq[[]byte] { return slices.Chunk(whole, 1<<20) }
	_, err := compare(log.start, log.end, pieces(), strings.NewReader(output))
	require.NoError(t, err)
	random := rand.New(rand.NewPCG(1, 2))
	for range 12 {
		at, bit := random.IntN(len(whole)), byte(1)<<random.IntN(8)
		whole[at] ^= bit
		_, err := compare(log.start, log.end, pieces(), strings.NewReader(output))
		require.ErrorIs(t, err, wal.ErrCorruption, "bit %02x of byte %d", bit, at)
		whole[at] ^= bit
	}
	_, err = compare(log.start, log.end, pieces(), strings.NewReader(strings.Replace(output, "off 7 flags", "off 8 flags", 1)))
	require.ErrorContains(t, err, "off 7 flags", "a difference in the dump is noticed too")
}

// TestNormalize shows what is compared: all but the bodies of index records.
func TestNormalize(t *testing.T) {
	const head = "rmgr: %s      len (rec/tot):     54/    54, tx:        700, lsn: 0/01000028, prev 0/01000000, desc: "
	heap, btree := fmt.Sprintf(head, "Heap"), fmt.Sprintf(head, "Btree")
	for _, c := range [][2]string{
		{heap + "INSERT off 1 flags 0x00\n", heap + "INSERT off 1 flags 0x00"},
		{heap + "INSERT off 1 flags 0x00\n\tblkref #0: rel 1/2/3 fork main blk 4\n\tblkref #1: rel 1/2/3 fork main blk 5\n",
			heap + "INSERT off 1 flags 0x00\tblkref #0: rel 1/2/3 fork main blk 4\tblkref #1: rel 1/2/3 fork main blk 5"},
		{btree + "INSERT_LEAF off 1\n\tblkref #0: rel 1/2/3 fork main blk 4\n", btree + "INSERT_LEAF \tblkref #0: rel 1/2/3 fork main blk 4"},
		{btree + "REUSE_PAGE rel 1/2/3\n", btree + "REUSE_PAGE "},
	} {
		got, err := newDumpReader(strings.NewReader(c[0])).next()
		require.NoError(t, err)
		require.Equal(t, c[1], got)
	}
}
