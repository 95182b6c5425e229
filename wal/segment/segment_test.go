package segment_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/env"
	"github.com/varvedb/varve/wal/env/osenv"
	"github.com/varvedb/varve/wal/pgwal"
	"github.com/varvedb/varve/wal/segment"
)

const systemID = 7_000_000_000_000_000_001

// start is in the middle of a page in the middle of a segment.
const start = wal.LSN(3*wal.SegmentSize + 5*8192 + 1024)

type disk struct {
	env.FS
	root string
	cfg  segment.Config
}

func newDisk(t testing.TB, start wal.LSN) *disk {
	root, err := os.MkdirTemp(t.TempDir(), "")
	require.NoError(t, err)
	e, err := osenv.New(osenv.Config{Root: root})
	require.NoError(t, err)
	d := &disk{FS: e.FS, root: root, cfg: segment.Config{Dir: "a/wal", Start: start, SystemID: systemID}}
	require.NoError(t, segment.Create(t.Context(), d, d.cfg))
	return d
}

func (d *disk) open(t testing.TB, durable wal.LSN) *segment.Log {
	l, err := segment.Open(t.Context(), d, d.cfg, durable)
	require.NoError(t, err)
	return l
}

func (d *disk) path(name string) string { return filepath.Join(d.root, "a/wal", name) }

// flip changes one byte of the log on disk.
func (d *disk) flip(t testing.TB, at wal.LSN) {
	f, err := os.OpenFile(d.path(segment.Name(at.Segment())), os.O_RDWR, 0)
	require.NoError(t, err)
	defer f.Close()
	var b [1]byte
	_, err = f.ReadAt(b[:], int64(at.SegmentOffset()))
	require.NoError(t, err)
	b[0] ^= 0x40
	_, err = f.WriteAt(b[:], int64(at.SegmentOffset()))
	require.NoError(t, err)
}

// message is a record that carries n bytes.
func message(n int) pgwal.RecordSpec {
	return pgwal.RecordSpec{RMgr: pgwal.RMgrLogicalMsg, MainData: bytes.Repeat([]byte{0xA5}, n)}
}

// records encodes records of the given sizes and returns their ends.
func records(e *pgwal.Encoder, sizes ...int) (ends []wal.LSN) {
	for _, n := range sizes {
		_, end := e.Append(message(n))
		ends = append(ends, end)
	}
	return ends
}

func read(t testing.TB, l *segment.Log, from, to wal.LSN) []byte {
	p := make([]byte, to-from)
	require.NoError(t, l.ReadAt(t.Context(), p, from))
	return p
}

func TestNamesArePostgresOwn(t *testing.T) {
	for n, name := range map[uint64]string{
		1:      "000000010000000000000001",
		255:    "0000000100000000000000FF",
		256:    "000000010000000100000000",
		0x1234: "000000010000001200000034",
	} {
		require.Equal(t, name, segment.Name(n))
		got, ok := segment.ParseName(name)
		require.True(t, ok)
		require.Equal(t, n, got)
	}
	for _, bad := range []string{"", "mark", "000000020000000000000001", "000000010000000000000100", "00000001000000000000000g", "0000000100000000000000f0"} {
		_, ok := segment.ParseName(bad)
		require.False(t, ok, bad)
	}
}

func TestWhatIsSyncedIsFoundAgain(t *testing.T) {
	d := newDisk(t, start)
	l := d.open(t, start)
	require.Equal(t, start, l.End())
	e := pgwal.NewEncoder(start, 0, systemID)
	ends := records(e, 10, 20_000, 7, wal.SegmentSize, 100)
	at := start
	for rest := e.Bytes(); len(rest) > 0; {
		n := min(len(rest), 77_777)
		require.NoError(t, l.Write(t.Context(), at, rest[:n]))
		rest, at = rest[n:], at+wal.LSN(n)
	}
	require.NoError(t, l.Sync(t.Context(), ends[4]))
	l.Close()
	l = d.open(t, start)
	defer l.Close()
	require.Equal(t, ends[4], l.End())
	require.Equal(t, e.Bytes(), read(t, l, start, ends[4]))
}

func TestATornTailIsCutAndCleared(t *testing.T) {
	d := newDisk(t, start)
	l := d.open(t, start)
	e := pgwal.NewEncoder(start, 0, systemID)
	ends := records(e, 10, 5000, 9000)
	whole := e.Bytes()
	torn := whole[:len(whole)-8]
	require.NoError(t, l.Write(t.Context(), start, torn))
	l.Close()
	l = d.open(t, start)
	defer l.Close()
	require.Equal(t, ends[1], l.End())
	rest := read(t, l, ends[1], wal.SegmentStart(start.Segment()+1))
	require.Equal(t, make([]byte, len(rest)), rest)
}

func TestABadRecordAboveTheMarkEndsTheLog(t *testing.T) {
	d := newDisk(t, start)
	l := d.open(t, start)
	e := pgwal.NewEncoder(start, 0, systemID)
	ends := records(e, 10, 5000, 100)
	require.NoError(t, l.Write(t.Context(), start, e.Bytes()))
	l.Close()
	d.flip(t, ends[0]+100)
	l = d.open(t, ends[0])
	defer l.Close()
	require.Equal(t, ends[0], l.End())
}

func TestABadRecordBelowAMarkIsCorruption(t *testing.T) {
	for _, keeper := range []string{"owner", "mark"} {
		d := newDisk(t, start)
		l := d.open(t, start)
		e := pgwal.NewEncoder(start, 0, systemID)
		ends := records(e, 10, 5000, 100)
		require.NoError(t, l.Write(t.Context(), start, e.Bytes()))
		durable := start
		if keeper == "mark" {
			require.NoError(t, l.Sync(t.Context(), ends[2]))
		}
		l.Close()
		if keeper == "owner" {
			durable = ends[1]
			require.NoError(t, os.Truncate(d.path(segment.Name(3)), int64(ends[0].SegmentOffset())))
		} else {
			d.flip(t, ends[0]+100)
		}
		_, err := segment.Open(t.Context(), d, d.cfg, durable)
		require.ErrorIs(t, err, wal.ErrCorruption, keeper)
	}
}

func TestAMissingSegmentBelowTheMarkIsCorruption(t *testing.T) {
	d := newDisk(t, start)
	l := d.open(t, start)
	e := pgwal.NewEncoder(start, 0, systemID)
	ends := records(e, wal.SegmentSize, 100)
	require.NoError(t, l.Write(t.Context(), start, e.Bytes()))
	require.NoError(t, l.Sync(t.Context(), ends[1]))
	l.Close()
	require.NoError(t, os.Remove(d.path(segment.Name(4))))
	_, err := segment.Open(t.Context(), d, d.cfg, start)
	require.ErrorIs(t, err, wal.ErrCorruption)
}

func TestAMissingDirectoryIsCorruption(t *testing.T) {
	d := newDisk(t, start)
	require.NoError(t, os.RemoveAll(d.path("")))
	_, err := segment.Open(t.Context(), d, d.cfg, start)
	require.ErrorIs(t, err, wal.ErrCorruption)
}

func TestARottenMarkIsNoMark(t *testing.T) {
	d := newDisk(t, start)
	l := d.open(t, start)
	e := pgwal.NewEncoder(start, 0, systemID)
	ends := records(e, 100)
	require.NoError(t, l.Write(t.Context(), start, e.Bytes()))
	require.NoError(t, l.Sync(t.Context(), ends[0]))
	l.Close()
	require.NoError(t, os.WriteFile(d.path("mark"), []byte("nonsense, and of another length"), 0o600))
	l = d.open(t, start)
	defer l.Close()
	require.Equal(t, ends[0], l.End())
}

// A record that was cut must not come back when a shorter one takes its place.
func TestStaleBytesNeverContinueANewRecord(t *testing.T) {
	d := newDisk(t, start)
	l := d.open(t, start)
	first := pgwal.NewEncoder(start, 0, systemID)
	ends := records(first, 64, 64, 64)
	require.NoError(t, l.Write(t.Context(), start, first.Bytes()))
	require.NoError(t, l.Sync(t.Context(), ends[2]))
	require.NoError(t, l.Truncate(t.Context(), start))
	second := pgwal.NewEncoder(start, 0, systemID)
	records(second, 64)
	require.NoError(t, l.Write(t.Context(), start, second.Bytes()))
	l.Close()
	l = d.open(t, start)
	defer l.Close()
	require.Equal(t, ends[0], l.End())
}

// The log is compared with a slice of bytes over random operations and reopenings.
func TestAgainstASlice(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		// A start near a segment's end makes most runs cross it.
		start := wal.SegmentStart(4) - wal.LSN(8*rapid.IntRange(1, 1200).Draw(rt, "words before the segment's end"))
		if start%8192 != 0 && start%8192 < 24 {
			start += 24
		}
		d := newDisk(t, start)
		m := &model{t: rt, d: d, l: d.open(t, start), start: start}
		m.encoder = pgwal.NewEncoder(start, 0, systemID)
		m.ends = []wal.LSN{start}
		rt.Repeat(map[string]func(*rapid.T){
			"":         m.check,
			"write":    m.write,
			"sync":     m.sync,
			"truncate": m.truncate,
			"reopen":   m.reopen,
		})
		m.l.Close()
	})
}

type model struct {
	t       *rapid.T
	d       *disk
	l       *segment.Log
	start   wal.LSN
	encoder *pgwal.Encoder
	bytes   []byte    // all that was written, from start
	ends    []wal.LSN // of whole records in bytes, the start first
	synced  int       // ends[synced] is durable
}

func (m *model) write(rt *rapid.T) {
	size := rapid.SampledFrom([]int{1, 100, 3000, 9000, 70_000}).Draw(rt, "size")
	_, end := m.encoder.Append(message(size))
	p := m.encoder.Take()
	if rapid.IntRange(0, 5).Draw(rt, "torn") == 0 {
		p = p[:len(p)-8]
	}
	at := m.start + wal.LSN(len(m.bytes))
	require.NoError(rt, m.l.Write(rt.Context(), at, p))
	m.bytes = append(m.bytes, p...)
	if at+wal.LSN(len(p)) == end {
		m.ends = append(m.ends, end)
		return
	}
	m.reopen(rt) // only a restart gets behind a torn record
}

func (m *model) sync(rt *rapid.T) {
	m.synced = len(m.ends) - 1
	require.NoError(rt, m.l.Sync(rt.Context(), m.ends[m.synced]))
}

func (m *model) truncate(rt *rapid.T) {
	n := rapid.IntRange(0, len(m.ends)-1).Draw(rt, "records kept")
	m.cut(n)
	m.synced = min(m.synced, n)
	require.NoError(rt, m.l.Truncate(rt.Context(), m.ends[n]))
}

// cut keeps n records.
func (m *model) cut(n int) {
	m.ends = m.ends[:n+1]
	m.bytes = m.bytes[:m.ends[n]-m.start]
	m.encoder = pgwal.NewEncoder(m.ends[n], m.prev(), systemID)
}

// prev is the LSN of the last record: any will do for a log that is read from a
// mark on, so it is found by reading.
func (m *model) prev() wal.LSN {
	decoder := pgwal.NewDecoder("model", m.start)
	decoder.Feed(m.bytes)
	var rec pgwal.Record
	for {
		more, err := decoder.Next(&rec)
		require.NoError(m.t, err)
		if !more {
			return rec.LSN
		}
	}
}

func (m *model) reopen(rt *rapid.T) {
	m.l.Close()
	m.cut(len(m.ends) - 1)
	l, err := segment.Open(rt.Context(), m.d, m.d.cfg, m.ends[m.synced])
	require.NoError(rt, err)
	m.l, m.synced = l, len(m.ends)-1
}

func (m *model) check(rt *rapid.T) {
	require.Equal(rt, m.start+wal.LSN(len(m.bytes)), m.l.End())
	got := make([]byte, len(m.bytes))
	require.NoError(rt, m.l.ReadAt(rt.Context(), got, m.start))
	require.True(rt, bytes.Equal(m.bytes, got))
}
