package endpoint

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/pageserver/basebackup"
	"github.com/varvedb/varve/pageserver/verify"
	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/pgwal"
	"github.com/varvedb/varve/wal/pgwal/pgtest"
)

// full is for what takes too long for every run: make endtoend-full.
var full = os.Getenv("VARVE_FULL") != ""

// kill ends the life's PostgreSQL as a crash would, and waits for the end of the life.
func (r *run) kill(t *testing.T) {
	t.Helper()
	require.NoError(t, syscall.Kill(r.PID, syscall.SIGKILL))
	var exit *ExitError
	require.ErrorAs(t, r.wait(), &exit)
	require.Equal(t, syscall.SIGKILL, exit.Signal)
}

// end stops the life in order.
func (r *run) end(t *testing.T) {
	t.Helper()
	r.stop()
	require.NoError(t, r.wait())
}

// compare compares a data directory that an orderly stop has left with the storage.
func (b *branch) compare(t *testing.T, dir string) {
	t.Helper()
	fsys := os.DirFS(dir)
	info, err := basebackup.Inspect(fsys)
	require.NoError(t, err)
	tl := b.w.client.Timeline(b.id.Timeline)
	require.NoError(t, tl.WaitLSN(t.Context(), info.LSN))
	report, err := verify.Verify(t.Context(), fsys, verify.OfTimeline(tl, info.LSN), info.LSN)
	require.NoError(t, err)
	var text strings.Builder
	_, err = report.WriteTo(&text)
	require.NoError(t, err)
	require.True(t, report.OK(), "branch %v: %s", b.id.Timeline, text.String())
}

// dataDir is that of an endpoint by its directory's name.
func (w *world) dataDir(name string) string { return filepath.Join(w.dir, name, "data") }

// elsewhere is s with a socket directory of its own, for a second endpoint at a time.
func elsewhere(t *testing.T, s *pgtest.Server, name string) *pgtest.Server {
	t.Helper()
	other := *s
	other.Dir = s.MkdirAll(t, name)
	return &other
}

func lsnOf(t *testing.T, conn *pgx.Conn, query string, args ...any) wal.LSN {
	t.Helper()
	var text string
	require.NoError(t, conn.QueryRow(t.Context(), "SELECT ("+query+")::text", args...).Scan(&text))
	lsn, err := wal.ParseLSN(text)
	require.NoError(t, err)
	return lsn
}

// quiet keeps a server from writing records that no client asked for.
func quiet(t *testing.T, conn *pgx.Conn) {
	t.Helper()
	for _, kind := range []string{"background writer", "autovacuum launcher"} {
		pid := started(t, conn, kind)
		for !stopIdle(t, conn, pid) {
			require.NoError(t, syscall.Kill(pid, syscall.SIGCONT))
		}
	}
}

// started waits for a process of a server, and returns its PID: clients may connect
// before all that PostgreSQL starts has said what it is.
func started(t *testing.T, conn *pgx.Conn, kind string) (pid int) {
	t.Helper()
	for {
		err := conn.QueryRow(t.Context(), "SELECT pid FROM pg_stat_activity WHERE backend_type = $1", kind).Scan(&pid)
		if !errors.Is(err, pgx.ErrNoRows) {
			require.NoError(t, err)
			return pid
		}
	}
}

// stopIdle stops a process of a server, and reports whether that was idle then: one that
// was at work may hold a lock that others would wait for without end.
func stopIdle(t *testing.T, conn *pgx.Conn, pid int) (idle bool) {
	t.Helper()
	require.NoError(t, syscall.Kill(pid, syscall.SIGSTOP))
	for state := ""; state != "T"; {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		require.NoError(t, err)
		state = strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))[0]
	}
	err := conn.QueryRow(t.Context(), "SELECT coalesce(wait_event_type, '') = 'Activity' FROM pg_stat_activity WHERE pid = $1", pid).Scan(&idle)
	require.NoError(t, err)
	return idle
}

// Sizes of records in the log, padded.
const (
	commitBytes     = 40  // of a transaction that only wrote rows
	checkpointBytes = 120 // of a shutdown checkpoint
	messageBytes    = 24 + 5 + 24 + 1
)

// usable is the number of bytes of records in the log below lsn, without page headers.
func usable(lsn wal.LSN) uint64 {
	const pages = wal.SegmentSize / pgwal.WALPageSize
	const segment = wal.SegmentSize - 40 - 24*(pages-1)
	n := lsn.Segment() * segment
	offset := uint64(lsn.SegmentOffset())
	page, rest := offset/pgwal.WALPageSize, offset%pgwal.WALPageSize
	if page > 0 {
		n += page*(pgwal.WALPageSize-24) - 16
	}
	header := uint64(24)
	if page == 0 {
		header = 40
	}
	return n + max(rest, header) - header
}

// commitAt inserts n into marks in a transaction whose commit record ends at an LSN.
func commitAt(t *testing.T, conn *pgx.Conn, n int, end wal.LSN) {
	t.Helper()
	tx, err := conn.Begin(t.Context())
	require.NoError(t, err)
	_, err = tx.Exec(t.Context(), "INSERT INTO marks VALUES ($1)", n)
	require.NoError(t, err)
	for {
		at := lsnOf(t, conn, "pg_current_wal_insert_lsn()")
		gap := int(usable(end) - commitBytes - usable(at))
		require.GreaterOrEqual(t, gap, 0, "at %v, which is too far for %v", at, end)
		if gap == 0 {
			break
		}
		size := min(gap, 1<<20)
		if gap > size && gap-size < 1000 {
			size -= 1000
		}
		require.Greater(t, size, messageBytes+255, "at %v, which is too near to %v", at, end)
		lsnOf(t, conn, "pg_logical_emit_message(false, '', repeat('x', $1))", size-messageBytes)
	}
	require.NoError(t, tx.Commit(t.Context()))
	require.Equal(t, end, lsnOf(t, conn, "pg_current_wal_flush_lsn()"))
}

// TestLivesBeginAnywhereInAPage kills PostgreSQL when its log ends at the places that
// its page headers make special, and starts it there again. Then it looks and branches
// there, and at places where no record ends.
func TestLivesBeginAnywhereInAPage(t *testing.T) {
	const page = pgwal.WALPageSize
	w := newWorld(t, 3)
	s := pgtest.Init(t, pgtest.Options{})
	b := w.importBranch(t, s)
	r := b.start(t, s, "main", 0)
	s.SQL(t, "CREATE TABLE marks (n int PRIMARY KEY)")

	// Where lives end, from a boundary of pages, or of segments.
	ends := []struct {
		name     string
		segment  bool
		distance int
	}{
		{"checkpoint fills the page", false, -checkpointBytes},
		{"checkpoint spans pages", false, -64},
		{"page has place for 8 bytes", false, -8},
		{"page boundary", false, 0},
		{"8 bytes past the page header", false, 24 + 8},
		{"one record past the page header", false, 24 + commitBytes},
		{"checkpoint fills the segment", true, -checkpointBytes},
		{"checkpoint spans segments", true, -64},
		{"segment boundary", true, 0},
		{"last record spans segments", true, 40 + 8},
		{"one record past the segment header", true, 40 + commitBytes},
	}
	var marks []wal.LSN
	for i, end := range ends {
		conn := connect(t, s.ConnString())
		quiet(t, conn)
		now := lsnOf(t, conn, "pg_current_wal_insert_lsn()")
		boundary := now - now%page + 2*page
		if end.segment {
			boundary = wal.SegmentStart((now + 2*page).Segment() + 1)
		}
		x := boundary + wal.LSN(end.distance)
		commitAt(t, conn, i, x)
		marks = append(marks, x)
		r.kill(t)
		r = b.start(t, s, "main", 0)
		require.Equal(t, x, r.Start, end.name)
		require.Equal(t, fmt.Sprint(i+1), s.SQL(t, "SELECT count(*) FROM marks"), end.name)
	}

	// A switch leaves the rest of its segment empty.
	s.SQL(t, fmt.Sprintf("INSERT INTO marks VALUES (%d)", len(marks)))
	conn := connect(t, s.ConnString())
	quiet(t, conn)
	marks = append(marks, lsnOf(t, conn, "pg_current_wal_flush_lsn()"))
	x := wal.SegmentStart(lsnOf(t, conn, "pg_switch_wal()").Segment() + 1)
	require.NoError(t, w.client.Timeline(b.id.Timeline).WaitLSN(t.Context(), x))
	r.kill(t)
	r = b.start(t, s, "main", 0)
	require.Equal(t, x, r.Start)
	require.Equal(t, fmt.Sprint(len(marks)), s.SQL(t, "SELECT count(*) FROM marks"))
	s.Exec(t, "pg_amcheck", "--install-missing", "--heapallindexed", "-d", "postgres")
	r.end(t)
	b.compare(t, w.dataDir("main"))

	// Records that end in between are below some of these and above others.
	boundary, segment := marks[3], marks[8]
	places := []wal.LSN{b.id.Start, boundary - 1, boundary + 1, segment + 39, x, r.stopped}
	if full {
		places = append(places, boundary, boundary+24, boundary+33, segment-8, segment, segment+40, x-1000)
	}
	for _, at := range places {
		seen := 0
		for _, mark := range marks {
			if mark <= at {
				seen++
			}
		}
		b.checkAt(t, s, at, seen)
	}
}

// checkAt looks at an LSN, and branches there and from the branch; each writes.
func (b *branch) checkAt(t *testing.T, s *pgtest.Server, at wal.LSN, seen int) {
	t.Helper()
	count := fmt.Sprintf("SELECT CASE WHEN to_regclass('marks') IS NULL THEN 0 ELSE %s END", "(xpath('/row/n/text()', query_to_xml('SELECT count(*) n FROM marks', true, true, '')))[1]::text::int")
	check := func(t *testing.T, b *branch, dir string, lsn wal.LSN) *run {
		t.Helper()
		r := b.start(t, s, dir, lsn)
		require.Equal(t, fmt.Sprint(seen), s.SQL(t, count), "%s at %v", dir, at)
		return r
	}
	write := func(t *testing.T, b *branch, dir string) {
		t.Helper()
		r := check(t, b, dir, 0)
		require.Equal(t, b.id.Start, r.Start)
		s.SQL(t, "CREATE TABLE IF NOT EXISTS marks (n int PRIMARY KEY); CREATE TABLE own AS SELECT generate_series(1, 1000) n; DROP TABLE own")
		r.end(t)
		b.compare(t, b.w.dataDir(dir))
	}
	check(t, b, "past", at).end(t)
	child := b.branch(t, at)
	grandchild := child.branch(t, at)
	check(t, grandchild, "past", at).end(t)
	write(t, grandchild, "grandchild")
	write(t, child, "child")
}
