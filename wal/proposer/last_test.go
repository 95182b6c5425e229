package proposer

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/pgwal"
)

// The record before every record end of a random log is the one that was written
// there, however long it is and wherever the log starts.
func TestLastRecordAgainstTheWriter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		start := 2*wal.SegmentSize - wal.LSN(8*rapid.IntRange(1, 5000).Draw(t, "words before the segment's end"))
		if start%8192 < 24 {
			start += 24
		}
		type record struct{ lsn, end wal.LSN }
		var records []record
		log := pgwal.NewEncoder(start, 0, 7)
		for range rapid.IntRange(1, 12).Draw(t, "records") {
			spec := pgwal.RecordSpec{RMgr: pgwal.RMgrLogicalMsg}
			if rapid.IntRange(0, 19).Draw(t, "switch") == 0 {
				spec = pgwal.RecordSpec{RMgr: pgwal.RMgrXLOG, Info: 0x40}
			} else {
				spec.MainData = make([]byte, rapid.SampledFrom([]int{1, 40, 3000, 8100, 8150, 8192, 9000, 50_000}).Draw(t, "size"))
			}
			lsn, end := log.Append(spec)
			records = append(records, record{lsn, end})
		}
		bytes, cut := log.Bytes(), rapid.SampledFrom([]int{1000, 1 << 20}).Draw(t, "bytes per read")
		read := func(begin, end wal.LSN) ([]byte, error) {
			require.GreaterOrEqual(t, begin, start, "nothing below the log's start is read")
			return bytes[begin-start:][:min(int(end-begin), cut)], nil
		}
		i := rapid.IntRange(0, len(records)-1).Draw(t, "record")
		got, err := lastRecord(start, records[i].end, read)
		require.NoError(t, err)
		require.Equal(t, records[i].lsn, got)
	})
}

func TestLastRecordNamesWhatIsNoLog(t *testing.T) {
	log := pgwal.NewEncoder(wal.SegmentSize+40, 0, 7)
	_, end := log.Append(pgwal.RecordSpec{RMgr: pgwal.RMgrLogicalMsg, MainData: make([]byte, 100)})
	read := func(begin, end wal.LSN) ([]byte, error) {
		return append(log.Bytes(), make([]byte, 64)...)[begin-wal.SegmentSize-40:][:end-begin], nil
	}
	_, err := lastRecord(wal.SegmentSize+40, end+8, read)
	require.ErrorIs(t, err, wal.ErrCorruption)
	_, err = lastRecord(wal.SegmentSize+40, end-8, read)
	require.ErrorIs(t, err, wal.ErrCorruption)
}
