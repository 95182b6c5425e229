package pgcontrol_test

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/varvedb/varve/pageserver/pgcontrol"
	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/pgwal"
	"github.com/varvedb/varve/wal/pgwal/pgtest"
)

// golden is the control file of a fresh cluster of PostgreSQL 15.18.
func golden(t testing.TB) []byte {
	text, err := os.ReadFile("testdata/pg_control.hex")
	require.NoError(t, err)
	b, err := hex.DecodeString(strings.Join(strings.Fields(string(text)), ""))
	require.NoError(t, err)
	return append(b, make([]byte, pgcontrol.FileBytes-len(b))...)
}

func TestGolden(t *testing.T) {
	b := golden(t)
	f, err := pgcontrol.Decode("pg_control", b)
	require.NoError(t, err)
	require.Equal(t, pgcontrol.ShutDown, f.State)
	require.Equal(t, uint64(7711161666124255538), f.SystemID)
	require.Equal(t, "0/1500718", f.CheckPoint.String())
	require.Equal(t, pgwal.FullXID(724), f.CheckPointCopy.NextXID)
	require.Equal(t, float64(1234567), f.FloatFormat)
	require.Equal(t, b, f.AppendTo(nil))
	require.Equal(t, append([]byte("before"), b...), f.AppendTo([]byte("before")))
}

func TestEveryFlippedByteIsReported(t *testing.T) {
	b := golden(t)
	for i := range b {
		b[i] ^= 0x10
		_, err := pgcontrol.Decode("global/pg_control", b)
		require.ErrorIs(t, err, wal.ErrCorruption, "byte %d", i)
		require.ErrorContains(t, err, "global/pg_control", "byte %d", i)
		b[i] ^= 0x10
	}
	_, err := pgcontrol.Decode("short", b[:100])
	require.ErrorIs(t, err, wal.ErrCorruption)
}

// TestAgainstControldata compares every field with what PostgreSQL's own reader
// prints: for a fresh cluster, then for one whose fields all have been changed, so
// that no field can hide behind a zero or a neighbour of equal value.
func TestAgainstControldata(t *testing.T) {
	server := pgtest.Init(t, pgtest.Options{})
	path := filepath.Join(server.DataDir, "global", "pg_control")
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	f, err := pgcontrol.Decode(path, b)
	require.NoError(t, err)
	require.Equal(t, b, f.AppendTo(nil))
	require.Equal(t, controldata(t, server), render(f))

	changeAll(f)
	require.NoError(t, os.WriteFile(path, f.AppendTo(nil), 0o600))
	require.Equal(t, controldata(t, server), render(f))
}

func changeAll(f *pgcontrol.File) {
	c := &f.CheckPointCopy
	f.SystemID, f.CatalogVersion, f.State, f.Time = 1<<60+7, 202209062, pgcontrol.InArchiveRecovery, 1600000001
	f.CheckPoint = 0x1_02030408
	c.Redo, c.TimeLine, c.PrevTimeLine, c.FullPageWrites = 0x2_02030408, 3, 2, false
	c.NextXID, c.NextOID, c.NextMulti, c.NextMultiOffset = 5<<32|1001, 1002, 1003, 1004
	c.OldestXID, c.OldestXIDDB, c.OldestMulti, c.OldestMultiDB = 1005, 1006, 1007, 1008
	c.Time, c.OldestCommitTsXID, c.NewestCommitTsXID, c.OldestActiveXID = 1600000002, 1009, 1010, 1011
	f.UnloggedLSN, f.MinRecoveryPoint, f.MinRecoveryTimelineID = 1012, 1013, 1014
	f.BackupStartPoint, f.BackupEndPoint, f.BackupEndRequired = 1015, 1016, true
	f.WALLevel, f.WALLogHints, f.TrackCommitTimestamp = 2, true, true
	f.MaxConnections, f.MaxWorkerProcesses, f.MaxWALSenders = 1017, 1018, 1019
	f.MaxPreparedXacts, f.MaxLocksPerXact = 1020, 1021
	f.MaxAlign, f.BlockBytes, f.SegmentBlocks, f.WALBlockBytes = 1022, 1023, 1024, 1025
	f.NameBytes, f.IndexKeys, f.ToastChunkBytes, f.LargeObjectChunkSize = 1027, 1028, 1029, 1030
	f.Float8ByVal, f.DataChecksumVersion = false, 1
	for i := range f.MockAuthNonce {
		f.MockAuthNonce[i] = byte(i)
	}
}

func onOff(b bool) string { return map[bool]string{true: "on", false: "off"}[b] }
func date(s int64) string { return fmt.Sprintf("@%d", s) }

// render lists the fields under pg_controldata's labels.
func render(f *pgcontrol.File) map[string]string {
	c := &f.CheckPointCopy
	number := func(v any) string { return fmt.Sprint(v) }
	return map[string]string{
		"pg_control version number":             number(pgcontrol.Version),
		"Catalog version number":                number(f.CatalogVersion),
		"Database system identifier":            number(f.SystemID),
		"Database cluster state":                f.State.String(),
		"pg_control last modified":              date(f.Time),
		"Latest checkpoint location":            f.CheckPoint.String(),
		"Latest checkpoint's REDO location":     c.Redo.String(),
		"Latest checkpoint's REDO WAL file":     fmt.Sprintf("%08X%016X", c.TimeLine, c.Redo.Segment()/256<<32|c.Redo.Segment()%256),
		"Latest checkpoint's TimeLineID":        number(c.TimeLine),
		"Latest checkpoint's PrevTimeLineID":    number(c.PrevTimeLine),
		"Latest checkpoint's full_page_writes":  onOff(c.FullPageWrites),
		"Latest checkpoint's NextXID":           fmt.Sprintf("%d:%d", c.NextXID>>32, uint32(c.NextXID)),
		"Latest checkpoint's NextOID":           number(c.NextOID),
		"Latest checkpoint's NextMultiXactId":   number(c.NextMulti),
		"Latest checkpoint's NextMultiOffset":   number(c.NextMultiOffset),
		"Latest checkpoint's oldestXID":         number(c.OldestXID),
		"Latest checkpoint's oldestXID's DB":    number(c.OldestXIDDB),
		"Latest checkpoint's oldestActiveXID":   number(c.OldestActiveXID),
		"Latest checkpoint's oldestMultiXid":    number(c.OldestMulti),
		"Latest checkpoint's oldestMulti's DB":  number(c.OldestMultiDB),
		"Latest checkpoint's oldestCommitTsXid": number(c.OldestCommitTsXID),
		"Latest checkpoint's newestCommitTsXid": number(c.NewestCommitTsXID),
		"Time of latest checkpoint":             date(c.Time),
		"Fake LSN counter for unlogged rels":    f.UnloggedLSN.String(),
		"Minimum recovery ending location":      f.MinRecoveryPoint.String(),
		"Min recovery ending loc's timeline":    number(f.MinRecoveryTimelineID),
		"Backup start location":                 f.BackupStartPoint.String(),
		"Backup end location":                   f.BackupEndPoint.String(),
		"End-of-backup record required":         map[bool]string{true: "yes", false: "no"}[f.BackupEndRequired],
		"wal_level setting":                     [...]string{"minimal", "replica", "logical"}[f.WALLevel],
		"wal_log_hints setting":                 onOff(f.WALLogHints),
		"max_connections setting":               number(f.MaxConnections),
		"max_worker_processes setting":          number(f.MaxWorkerProcesses),
		"max_wal_senders setting":               number(f.MaxWALSenders),
		"max_prepared_xacts setting":            number(f.MaxPreparedXacts),
		"max_locks_per_xact setting":            number(f.MaxLocksPerXact),
		"track_commit_timestamp setting":        onOff(f.TrackCommitTimestamp),
		"Maximum data alignment":                number(f.MaxAlign),
		"Database block size":                   number(f.BlockBytes),
		"Blocks per segment of large relation":  number(f.SegmentBlocks),
		"WAL block size":                        number(f.WALBlockBytes),
		"Bytes per WAL segment":                 number(f.WALSegmentBytes),
		"Maximum length of identifiers":         number(f.NameBytes),
		"Maximum columns in an index":           number(f.IndexKeys),
		"Maximum size of a TOAST chunk":         number(f.ToastChunkBytes),
		"Size of a large-object chunk":          number(f.LargeObjectChunkSize),
		"Date/time type storage":                "64-bit integers",
		"Float8 argument passing":               map[bool]string{true: "by value", false: "by reference"}[f.Float8ByVal],
		"Data page checksum version":            number(f.DataChecksumVersion),
		"Mock authentication nonce":             hex.EncodeToString(f.MockAuthNonce[:]),
	}
}

// controldata parses what pg_controldata prints, dates as seconds since 1970.
func controldata(t *testing.T, server *pgtest.Server) map[string]string {
	out := server.Exec(t, "pg_controldata", server.DataDir)
	fields := map[string]string{}
	for lines := bufio.NewScanner(strings.NewReader(out)); lines.Scan(); {
		label, value, found := strings.Cut(lines.Text(), ":")
		require.True(t, found, lines.Text())
		fields[label] = strings.TrimSpace(value)
	}
	for _, label := range []string{"pg_control last modified", "Time of latest checkpoint"} {
		moment, err := time.Parse(time.ANSIC, fields[label])
		require.NoError(t, err)
		fields[label] = date(moment.Unix())
	}
	return fields
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte{})
	f.Add(golden(f))
	f.Fuzz(func(t *testing.T, b []byte) {
		requireErrorOrRoundTrip(t, b)
		requireErrorOrRoundTrip(t, seal(b))
	})
}

func requireErrorOrRoundTrip(t *testing.T, b []byte) {
	file, err := pgcontrol.Decode("fuzz", b)
	if err != nil {
		require.ErrorIs(t, err, wal.ErrCorruption)
		return
	}
	again, err := pgcontrol.Decode("again", file.AppendTo(nil))
	require.NoError(t, err)
	require.Equal(t, file.AppendTo(nil), again.AppendTo(nil))
}

// seal makes a file of any bytes that passes the checks of version and checksum.
func seal(b []byte) []byte {
	sealed := make([]byte, pgcontrol.FileBytes)
	copy(sealed[:288], b)
	binary.LittleEndian.PutUint32(sealed[8:], pgcontrol.Version)
	sum := crc32.Checksum(sealed[:288], crc32.MakeTable(crc32.Castagnoli))
	binary.LittleEndian.PutUint32(sealed[288:], sum)
	return sealed
}
