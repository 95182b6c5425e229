package oracle_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io/fs"
	"math/rand"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/pageserver/basebackup"
	"github.com/varvedb/varve/pageserver/datadir"
	"github.com/varvedb/varve/pageserver/oracle"
	"github.com/varvedb/varve/pageserver/pagediff"
	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/pgwal"
	"github.com/varvedb/varve/wal/pgwal/pgtest"
	"github.com/varvedb/varve/wal/segment"
)

// native are the settings of a log without a single image that nothing but checks or
// repairs would need. Tablespaces lie in the data directory, so that the log names no
// path that server and standby would share.
var native = map[string]string{"wal_consistency_checking": "", "wal_compression": "off", "allow_in_place_tablespaces": "on"}

// standby is a stock standby of a server, without a connection to it: it has the log
// that the test wrote into its directory, replays all of that and waits for more. So
// one standby stops at target after target and replays the log once.
type standby struct {
	*pgtest.Server
	at   wal.LSN // its log ends here
	redo wal.LSN // of the last restartpoint
}

// newStandby copies a server's directory, which was stopped cleanly at an LSN.
func newStandby(t testing.TB, s *server) *standby {
	t.Helper()
	b := &standby{Server: s.Copy(t), at: s.at, redo: s.at}
	b.Configure(t, map[string]string{
		"wal_retrieve_retry_interval": "100ms", "max_standby_archive_delay": "-1",
		"restart_after_crash": "off", "bgwriter_lru_maxpages": "0", "checkpoint_timeout": "1h",
	})
	require.NoError(t, os.WriteFile(filepath.Join(b.DataDir, "standby.signal"), nil, 0o644))
	return b
}

// follow starts the standby, with empty segments for a log of so many bytes.
func (b *standby) follow(t testing.TB, bytes int) {
	t.Helper()
	for n := b.at.Segment(); n <= (b.at + wal.LSN(bytes)).Segment(); n++ {
		file, err := os.OpenFile(filepath.Join(b.WALDir(), segment.Name(n)), os.O_CREATE|os.O_WRONLY, 0o600)
		require.NoError(t, err)
		require.NoError(t, file.Truncate(wal.SegmentSize))
		require.NoError(t, file.Close())
	}
	out, err := exec.Command("chown", "-R", "--reference="+b.DataDir, b.WALDir()).CombinedOutput()
	require.NoError(t, err, string(out))
	b.Up(t)
}

// reach has the standby replay log, from where its own ends, and write all pages to
// disk. It does the latter in a restartpoint alone, for which log must have a checkpoint.
func (b *standby) reach(t testing.TB, log []byte) {
	for len(log) > 0 {
		path := filepath.Join(b.WALDir(), segment.Name(b.at.Segment()))
		file, err := os.OpenFile(path, os.O_WRONLY, 0)
		require.NoError(t, err)
		n := min(len(log), wal.SegmentSize-b.at.SegmentOffset())
		_, err = file.WriteAt(log[:n], int64(b.at.SegmentOffset()))
		require.NoError(t, err)
		require.NoError(t, file.Close())
		b.at, log = b.at+wal.LSN(n), log[n:]
	}
	for at := ""; at != b.at.String(); {
		at = b.SQL(t, fmt.Sprintf("select pg_sleep(0.05) from pg_last_wal_replay_lsn() l where l < '%v'; select pg_last_wal_replay_lsn()", b.at))
		at = at[strings.LastIndexByte(at, '\n')+1:]
		lsn, err := wal.ParseLSN(at)
		require.NoError(t, err)
		require.LessOrEqual(t, lsn, b.at)
	}
	redo, err := wal.ParseLSN(b.SQL(t, "checkpoint; select redo_lsn from pg_control_checkpoint()"))
	require.NoError(t, err)
	require.Greater(t, redo, b.redo, "no restartpoint was made")
	b.redo = redo
}

// log returns what the server, stopped, has logged since its base, and the end of each
// record with the number of checkpoints up to there.
func (s *server) log(t testing.TB) (log []byte, records []target) {
	info, err := basebackup.Inspect(os.DirFS(s.DataDir))
	require.NoError(t, err)
	for at := s.at; at < info.LSN; at = wal.SegmentStart(at.Segment() + 1) {
		body, err := os.ReadFile(filepath.Join(s.WALDir(), segment.Name(at.Segment())))
		require.NoError(t, err)
		end := min(info.LSN, wal.SegmentStart(at.Segment()+1))
		log = append(log, body[at.SegmentOffset():at.SegmentOffset()+int(end-at)]...)
	}
	decoder, checkpoints := pgwal.NewDecoder("log", s.at), 0
	decoder.Feed(log)
	var rec pgwal.Record
	for {
		ok, err := decoder.Next(&rec)
		require.NoError(t, err)
		if !ok {
			return log, records
		}
		if rec.RMgr == pgwal.RMgrXLOG && (rec.Op() == pgwal.OpXLOGCheckpointOnline || rec.Op() == pgwal.OpXLOGCheckpointShutdown) {
			checkpoints++
		}
		records = append(records, target{rec.End, checkpoints})
	}
}

// target is the end of a record, and how many checkpoints the log has up to there.
type target struct {
	lsn         wal.LSN
	checkpoints int
}

// draw returns the ends of n of the records, in order, and of the last one, with a
// checkpoint before each and between any two.
func draw(t testing.TB, random *rand.Rand, records []target, n int) []wal.LSN {
	last := len(records) - 1
	taken, chosen := map[int]bool{0: true, records[last].checkpoints: true}, map[int]bool{last: true}
	for _, i := range random.Perm(len(records)) {
		if len(chosen) <= n && !taken[records[i].checkpoints] {
			taken[records[i].checkpoints], chosen[i] = true, true
		}
	}
	require.Len(t, chosen, n+1, "the load makes too few checkpoints")
	var lsns []wal.LSN
	for i, r := range records {
		if chosen[i] {
			lsns = append(lsns, r.lsn)
		}
	}
	return lsns
}

// flipped is a directory with a flipped bit in a page.
type flipped struct {
	fs.FS
	path   string
	offset int64
}

func (f flipped) Open(name string) (fs.File, error) {
	file, err := f.FS.Open(name)
	if name != f.path || err != nil {
		return file, err
	}
	body, err := fs.ReadFile(f.FS, name)
	if err != nil {
		return nil, err
	}
	body[f.offset] ^= 4
	return &memory{file, bytes.NewReader(body)}, nil
}

type memory struct {
	fs.File
	body *bytes.Reader
}

func (m *memory) Read(p []byte) (int, error) { return m.body.Read(p) }

// requireFlipsFound flips a bit in a page of every kind: each is found.
func requireFlipsFound(t testing.TB, o *oracle.Oracle, dir fs.FS, known *oracle.Pages) {
	tree, err := datadir.Scan(dir)
	require.NoError(t, err)
	tried := map[pagediff.Kind]bool{pagediff.ZeroPage: true}
	for i := range tree.Forks {
		f := &tree.Forks[i]
		if f.Fork == pgwal.FSMFork || f.Rel.Rel < 16384 {
			continue // The pages of initdb are of three kinds only.
		}
		reader := datadir.NewReader(dir, f)
		for block, page, err := reader.Next(); err == nil; block, page, err = reader.Next() {
			kind := pagediff.KindOf(page, f.Fork, block)
			if tried[kind] || known.Kinds[kind] == 0 {
				continue
			}
			tried[kind] = true
			at := content(page)
			var found oracle.Pages
			require.NoError(t, o.ComparePages(flipped{dir, f.Path(), int64(block)*pgwal.PageSize + int64(at)}, &found))
			require.EqualValues(t, 1, found.Mismatched, "a flipped bit in byte %d of block %d of %s, a page of kind %v", at, block, f.Path(), kind)
			require.Equal(t, f.Path(), found.Mismatches[0].Path)
			require.Equal(t, block, found.Mismatches[0].Block)
		}
		reader.Close()
	}
	t.Logf("flipped bits found: %d, one in each kind of page", len(tried)-1)
}

// content is a byte of a page that no mask covers: the first of its first tuple, if it
// has one, or of its content.
func content(page []byte) int {
	const header = 24
	first := int(binary.LittleEndian.Uint32(page[header:]) & 0x7FFF)
	if upper := int(binary.LittleEndian.Uint16(page[14:])); upper <= first && first < pgwal.PageSize {
		return first
	}
	return header
}

// masksOfReplay are those that a standby needs: it writes no hints of its own but those
// that its readers leave on pages of the catalogs.
var masksOfReplay = map[pagediff.Mask]bool{
	pagediff.HoleMask: true, pagediff.PaddingMask: true, pagediff.HintMask: true, pagediff.TuplesDeletedMask: true,
}

// checkpoints makes a checkpoint after each statement.
func checkpoints(sql string) string { return strings.ReplaceAll(sql, ";\n", ";\ncheckpoint;\n") }

// standbyLoad runs every access method. With all, it also runs other things that records
// do, concurrent sessions and crashes among them.
func standbyLoad(t testing.TB, s *server, n size, all bool) {
	scripts := []string{"tables", "indexes"}
	if all {
		scripts = append(scripts, "transactions", "more", "ddl")
	}
	for _, name := range scripts {
		s.SQL(t, checkpoints("\\set space ''\n"+s.scriptText(t, n, name)))
	}
	s.SQL(t, checkpoints(tallGin+wideSPGist))
	if all {
		sessions(t, s, n)
	}
	s.Stop(t, pgtest.Fast)
}

// TestRedoMakesStandbyPages is the proof of redo where images cannot be it: the oracle
// is blind where PostgreSQL's own image is stale, and where an image replaces a page.
// So a stock standby replays a log without images, up to random ends of records, and
// every page on its disk equals the one that redo made. With VARVE_FULL=1 it does so
// at a hundred LSNs of a longer log.
func TestRedoMakesStandbyPages(t *testing.T) {
	n, lsns, least, all := size{rows: 500, indexRows: 500}, 5, 100_000, false
	if os.Getenv("VARVE_FULL") == "1" {
		n, lsns, least, all = size{rows: 8000, indexRows: 6000, xids: 1000, sessions: 400}, 100, 2_000_000, true
	}
	s := initServer(t, native)
	b := newStandby(t, s)
	s.Up(t)
	standbyLoad(t, s, n, all)
	log, records := s.log(t)
	require.GreaterOrEqual(t, len(records), least)

	b.follow(t, len(log))
	defer func() {
		if t.Failed() {
			t.Log(b.Log())
		}
	}()
	var found oracle.Pages
	dir := os.DirFS(b.DataDir)
	for _, lsn := range draw(t, rand.New(rand.NewSource(8)), records, lsns) {
		more := log[b.at-s.at : lsn-s.at]
		require.NoError(t, s.oracle.Feed(more))
		b.reach(t, more)
		require.Equal(t, lsn, s.oracle.Position())
		require.NoError(t, s.oracle.ComparePages(dir, &found))
	}
	var text strings.Builder
	_, err := found.WriteTo(&text)
	require.NoError(t, err)
	t.Logf("%d records, %d bytes\n%s", len(records), len(log), text.String())
	require.True(t, found.OK())
	for m, n := range found.Masked {
		require.True(t, n == 0 || masksOfReplay[pagediff.Mask(m)], "%v: %d", pagediff.Mask(m), n)
	}
	requireFlipsFound(t, s.oracle, dir, &found)
}
