package pgwal_test

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/pgwal"
)

// encoded is a log of every shape of record at a position, and the records' ends.
func encoded(at wal.LSN) (log []byte, ends []wal.LSN) {
	e := pgwal.NewEncoder(at, 0, systemID)
	for _, spec := range specs() {
		_, end := e.Append(spec)
		ends = append(ends, end)
	}
	return e.Bytes(), ends
}

// scan feeds log in pieces of at most size bytes and returns the ends of the records
// found before the first error.
func scan(s *pgwal.Scanner, log []byte, size int) (ends []wal.LSN, err error) {
	for len(log) > 0 {
		n := min(size, len(log))
		s.Feed(log[:n])
		log = log[n:]
		for {
			ok, err := s.Next()
			if err != nil {
				return ends, err
			}
			if !ok {
				break
			}
			ends = append(ends, s.Position())
		}
	}
	return ends, nil
}

func TestScannerCountsOnlyWholeRecords(t *testing.T) {
	for _, p := range positions {
		log, ends := encoded(p.at)
		s, want, found := pgwal.NewScanner("log", p.at), p.at, 0
		for i := range log {
			got, err := scan(s, log[i:i+1], 1)
			require.NoError(t, err)
			if pos := p.at + wal.LSN(i+1); found < len(ends) && pos == ends[found] {
				want, found = pos, found+1
				require.Equal(t, []wal.LSN{want}, got, "%s at %v", p.name, pos)
			}
			require.Equal(t, want, s.Position(), "%s after %v", p.name, p.at+wal.LSN(i))
		}
		require.Len(t, ends, found)
	}
}

func TestScannerResumesAtAnyRecordEnd(t *testing.T) {
	const at = 0x3fff000
	log, ends := encoded(at)
	for i, end := range ends {
		s := pgwal.NewScanner("log", end)
		got, err := scan(s, log[end-at:], 1000)
		require.NoError(t, err)
		require.Equal(t, ends[i+1:], append([]wal.LSN{}, got...))
	}
}

func TestEveryFlippedBitIsFound(t *testing.T) {
	const at = 0x3ffff00 // the long page header too
	log, ends := encoded(at)
	removable := byte(4) // the one bit of the log that says nothing
	flipped := 0
	for i := range log {
		for bit := range 8 {
			mask := byte(1) << bit
			inPage := (at + i) % pgwal.WALPageSize
			if inPage == 2 && mask == removable || (at+i)%wal.SegmentSize >= 24 && (at+i)%wal.SegmentSize < 32 {
				continue // and the system identifier, until one is expected
			}
			if bit != i%8 && inPage >= 40 {
				continue // in records, one bit a byte is enough
			}
			log[i] ^= mask
			s := pgwal.NewScanner("log", at)
			got, err := scan(s, log, len(log))
			log[i] ^= mask
			flipped++
			if err != nil {
				require.ErrorIs(t, err, wal.ErrCorruption)
				_, again := s.Next()
				require.Equal(t, err, again, "the error stays")
			}
			// A flipped length may ask for more than there is.
			require.Less(t, len(got), len(ends), "byte %d bit %d", i, bit)
			require.Equal(t, ends[:len(got)], append([]wal.LSN{}, got...))
		}
	}
	t.Logf("%d flips found", flipped)
}

func TestScannerKnowsItsSystem(t *testing.T) {
	log, ends := encoded(0x3ffff00)
	s := pgwal.NewScanner("log", 0x3ffff00)
	s.ExpectSystemID(systemID)
	got, err := scan(s, log, 512)
	require.NoError(t, err)
	require.Equal(t, ends, got)

	s = pgwal.NewScanner("log", 0x3ffff00)
	s.ExpectSystemID(systemID + 1)
	_, err = scan(s, log, 512)
	require.EqualError(t, err, "corruption in log at offset 67108864: system identifier at 0/4000000: want 7000000000000000002, got 7000000000000000001")
}

func TestScannerRefusesALengthThatNoRecordHas(t *testing.T) {
	for _, length := range []uint32{0, 1, 23, 1020<<20 + 1, 1 << 31, 0xFFFFFFFF} {
		log := binary.LittleEndian.AppendUint32(nil, length)
		_, err := scan(pgwal.NewScanner("log", 0x3000028), append(log, make([]byte, 100)...), 200)
		require.ErrorIs(t, err, wal.ErrCorruption, "%d", length)
		require.ErrorContains(t, err, "record length at 0/3000028: want 24 to 1069547520")
	}
}

func TestScannerRefusesARecordThatDoesNotFollow(t *testing.T) {
	for _, next := range []wal.LSN{0x3000050, 0x4000000 - 8, 0x3002000} { // on a page, across two, at a start
		e := pgwal.NewEncoder(next-40, 0, systemID)
		first, _ := e.Append(pgwal.Commit(3, 1, nil, nil))
		for prev, want := range map[wal.LSN]string{first: "", first - 8: "link to the record before", 0: "link to the record before"} {
			second := pgwal.NewEncoder(next, prev, systemID)
			second.Append(pgwal.Commit(4, 1, nil, nil))
			_, err := scan(pgwal.NewScanner("log", next-40), append(bytes.Clone(e.Bytes()), second.Bytes()...), 1000)
			if want == "" {
				require.NoError(t, err)
				continue
			}
			require.ErrorContains(t, err, want)
		}
	}
	// A first record is sound after any record below it.
	e := pgwal.NewEncoder(0x3000050, 0x3000048, systemID)
	e.Append(pgwal.Commit(4, 1, nil, nil))
	_, err := scan(pgwal.NewScanner("log", 0x3000050), e.Bytes(), 1000)
	require.NoError(t, err)
	_, err = scan(pgwal.NewScanner("log", 0x3000048), e.Bytes(), 1000)
	require.ErrorContains(t, err, "link to the record before at 0/3000048: want less than its own LSN")
}

func TestScannerRefusesAnUnknownManager(t *testing.T) {
	for rmgr, sound := range map[pgwal.RMgr]bool{0: true, 21: true, 22: false, 127: false, 128: true, 255: true} {
		e := pgwal.NewEncoder(0x3000050, 0, systemID)
		e.Append(pgwal.RecordSpec{RMgr: rmgr, MainData: []byte("x")})
		_, err := scan(pgwal.NewScanner("log", 0x3000050), e.Bytes(), 1000)
		require.Equal(t, sound, err == nil, "%d", rmgr)
	}
}

func TestScannerMemoryIsBoundedByWhatItWasFed(t *testing.T) {
	// A length of a gigabyte, in a header that is otherwise right, costs one page: the
	// next page's header gives it away.
	log, _ := encoded(0x3000028)
	binary.LittleEndian.PutUint32(log, 1000<<20)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := scan(pgwal.NewScanner("log", 0x3000028), log, 4096)
	runtime.ReadMemStats(&after)
	require.ErrorContains(t, err, "length of the rest of a record at 0/3002000")
	require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(32<<10))
}

func TestSwitchedSegmentMustBeEmpty(t *testing.T) {
	e := pgwal.NewEncoder(0x3ff0028, 0, systemID)
	e.Append(pgwal.RecordSpec{RMgr: pgwal.RMgrXLOG, Info: 0x40})
	for _, at := range []int{24, 8192, len(e.Bytes()) - 1} {
		log := bytes.Clone(e.Bytes())
		log[at] = 1
		s := pgwal.NewScanner("log", 0x3ff0028)
		_, err := scan(s, log, 1000)
		require.ErrorContains(t, err, "rest of a switched segment")
		require.Equal(t, wal.LSN(0x3ff0028), s.Position())
	}
}

// abandoned is a log whose record at the end of a page was abandoned by a crash, and
// overwritten on the next page by a record that names it.
func abandoned(named wal.LSN) (log []byte, broken, after wal.LSN) {
	const at, page = 0x3001f00, 0x3002000
	e := pgwal.NewEncoder(at, 0, systemID)
	last, _ := e.Append(pgwal.Commit(3, 1, nil, nil))
	broken, _ = e.Append(pgwal.FullPageImage(rel, pgwal.MainFork, 0, noise(), pgwal.CompressionNone))
	log = bytes.Clone(e.Bytes()[:page-at])

	if named == 0 {
		named = broken
	}
	e = pgwal.NewEncoder(page, last, systemID)
	body := binary.LittleEndian.AppendUint64(nil, uint64(named))
	_, after = e.Append(pgwal.RecordSpec{RMgr: pgwal.RMgrXLOG, Info: 0xD0, MainData: binary.LittleEndian.AppendUint64(body, 5)})
	e.Append(pgwal.Commit(4, 1, nil, nil))
	e.Bytes()[2] |= 8 // XLP_FIRST_IS_OVERWRITE_CONTRECORD
	return append(log, e.Bytes()...), broken, after
}

func TestAbandonedRecordIsSkipped(t *testing.T) {
	log, _, after := abandoned(0)
	for _, size := range []int{1, 256, len(log)} {
		ends, err := scan(pgwal.NewScanner("log", 0x3001f00), log, size)
		require.NoError(t, err)
		require.Equal(t, []wal.LSN{0x3001f28, after, after + 40}, ends)
	}
	ends, err := scan(pgwal.NewScanner("log", 0x3002000), log[0x100:], 100)
	require.NoError(t, err, "a reader may begin on the page")
	require.Equal(t, []wal.LSN{after, after + 40}, ends)
}

func TestOverwriteMustNameTheAbandonedRecord(t *testing.T) {
	log, _, _ := abandoned(0x3001f08)
	_, err := scan(pgwal.NewScanner("log", 0x3001f00), log, 100)
	require.ErrorContains(t, err, "overwritten record at 0/3002018: want 0/3001F28, got 0/3001F08")

	// The flag without a record to abandon.
	e := pgwal.NewEncoder(0x3002000-40, 0, systemID)
	e.Append(pgwal.Commit(3, 1, nil, nil))
	e.Append(pgwal.Commit(4, 1, nil, nil))
	e.Bytes()[40+2] |= 8
	_, err = scan(pgwal.NewScanner("log", 0x3002000-40), e.Bytes(), 100)
	require.ErrorContains(t, err, ": page that overwrites a record at 0/3002000: want a record in progress")

	// The flag with some other record behind it.
	_, err = scan(pgwal.NewScanner("log", 0x3002000), e.Bytes()[40:], 100)
	require.ErrorContains(t, err, "first record of a page that overwrites a record")
}

func TestDecoderDoesNotAllocate(t *testing.T) {
	const at = 0x3000000
	e := pgwal.NewEncoder(at, 0, systemID)
	r := rand.New(rand.NewPCG(3, 4))
	for len(e.Bytes()) < 1<<20 {
		all := specs()
		e.Append(all[r.IntN(len(all))])
	}
	log := e.Bytes()
	d := pgwal.NewDecoder("log", at)
	var rec pgwal.Record
	page := make([]byte, pgwal.PageSize)
	records := 0
	step := func(size int) {
		d.Feed(log[:size])
		log = log[size:]
		for {
			ok, err := d.Next(&rec)
			if err != nil {
				t.Fatal(err)
			}
			if !ok {
				return
			}
			records++
			for i := range rec.Blocks {
				if rec.Blocks[i].HasImage {
					if err := rec.Restore(&rec.Blocks[i], page); err != nil {
						t.Fatal(err)
					}
				}
			}
		}
	}
	step(256 << 10) // buffers reach their size
	warm := records
	allocs := testing.AllocsPerRun(100, func() { step(5000) })
	require.Greater(t, records-warm, 100)
	require.Zero(t, allocs)
}

// A scanner checks a record that crosses pages as it comes, and a decoder keeps it: they
// must find the same damage, whatever byte it is in and however the bytes are cut.
func TestScannerFindsWhatADecoderFinds(t *testing.T) {
	const at = 0x3001f00
	e := pgwal.NewEncoder(at, 0, systemID)
	e.Append(pgwal.RecordSpec{RMgr: pgwal.RMgrXLOG, Info: pgwal.OpXLOGNoop, MainData: bytes.Repeat([]byte{7}, 9003)})
	second, _ := e.Append(pgwal.Commit(3, 1, nil, nil))
	for i := range e.Bytes() {
		log := bytes.Clone(e.Bytes())
		log[i] ^= 0x10
		for _, size := range []int{1000, len(log)} {
			d, want := pgwal.NewDecoder("log", at), error(nil)
			var record pgwal.Record
			for piece := range slices.Chunk(log, size) {
				d.Feed(piece)
				for more := want == nil; more; {
					more, want = d.Next(&record)
				}
			}
			if length := i < 4 || i >= int(second-at) && i < int(second-at)+4; !length {
				require.ErrorIs(t, want, wal.ErrCorruption, "byte %d", i)
			}
			s := pgwal.NewScanner("log", at)
			_, got := scan(s, log, size)
			require.Equal(t, want, got, "byte %d", i)
			require.Equal(t, d.Position(), s.Position(), "byte %d", i)
		}
	}
}

func TestScannerKeepsNoRecord(t *testing.T) {
	e := pgwal.NewEncoder(0x3000028, 0, systemID)
	e.Append(pgwal.RecordSpec{RMgr: pgwal.RMgrXLOG, Info: pgwal.OpXLOGNoop, MainData: make([]byte, 4<<20)})
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	ends, err := scan(pgwal.NewScanner("log", 0x3000028), e.Bytes(), 128<<10)
	runtime.ReadMemStats(&after)
	require.NoError(t, err)
	require.Len(t, ends, 1)
	require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(4<<10))
}
