package workload

import (
	"encoding/binary"
	"hash/crc32"
	"io/fs"
	"sync"
	"testing/fstest"

	"github.com/varvedb/varve/pageserver/datadir"
	"github.com/varvedb/varve/pageserver/pgcontrol"
	"github.com/varvedb/varve/sim/check"
	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/pgwal"
	"github.com/varvedb/varve/wal/segment"
)

const (
	// SystemID is the simulated cluster's.
	SystemID = 7_000_000_000_000_000_042
	// FirstXID is the cluster's next transaction id: the last ones of a page of
	// pg_xact, so that a run comes to the next page soon.
	FirstXID = 32768*3 - 40

	databaseOID = 5
)

// Where the cluster's last record may begin, past a page header.
const (
	// LateInSegment is shortly before the end of a segment: a run comes to the next soon.
	LateInSegment = wal.LSN(2*wal.SegmentSize - 40*pgwal.WALPageSize + pageHeaderSkipped)
	// EarlyInSegment is shortly after its begin: to begin the log of a branch is little
	// work, which is to fill the segment up to there.
	EarlyInSegment = wal.LSN(wal.SegmentSize + 4*pgwal.WALPageSize + pageHeaderSkipped)

	pageHeaderSkipped = 24 + 1000*8%4096
)

// Relation is the n-th relation of the workload.
func Relation(n int) pgwal.RelFileNode {
	return pgwal.RelFileNode{Spc: datadir.DefaultTablespace, DB: databaseOID, Rel: 16384 + uint32(n)}
}

// checkpointOf is what the cluster's last record says.
func checkpointOf(at wal.LSN) pgwal.CheckPoint {
	return pgwal.CheckPoint{
		Redo: at, TimeLine: 1, PrevTimeLine: 1, FullPageWrites: true,
		NextXID: FirstXID, NextOID: 24576, NextMulti: 1, OldestXID: 717, OldestXIDDB: 1, OldestMulti: 1, OldestMultiDB: 1,
		Time: 1_600_000_000,
	}
}

// lastSegments is the segment of the log that ends with the shutdown checkpoint, by where
// that is. They are the same in all runs of a process, and only read.
var lastSegments = map[wal.LSN]func() []byte{
	LateInSegment:  sync.OnceValue(func() []byte { return lastSegment(LateInSegment) }),
	EarlyInSegment: sync.OnceValue(func() []byte { return lastSegment(EarlyInSegment) }),
}

func lastSegment(at wal.LSN) []byte {
	log, checkpoint := make([]byte, wal.SegmentSize), checkpointOf(at)
	encoder := pgwal.NewEncoder(at, at-120, SystemID)
	encoder.Append(pgwal.ShutdownCheckpoint(checkpoint.AppendTo(nil)))
	copy(log[at.SegmentOffset():], encoder.Bytes())
	return log
}

// Directory is a cleanly stopped data directory in memory: an empty cluster but for
// the pages given. Each relation has its blocks from 0 on; a value of zero is a page of
// zeros. The last record begins at an LSN, [LateInSegment] or [EarlyInSegment].
func Directory(relations [][]check.Value, at wal.LSN) fs.FS {
	checkpoint := checkpointOf(at)
	control := pgcontrol.File{
		SystemID: SystemID, CatalogVersion: datadir.CatalogVersion, State: pgcontrol.ShutDown, Time: checkpoint.Time,
		CheckPoint: at, CheckPointCopy: checkpoint, UnloggedLSN: 1000,
		WALLevel: 1, WALLogHints: true, MaxConnections: 100, MaxWorkerProcesses: 8, MaxWALSenders: 10, MaxLocksPerXact: 64,
		MaxAlign: 8, FloatFormat: 1234567, BlockBytes: pgwal.PageSize, SegmentBlocks: datadir.SegmentBlocks,
		WALBlockBytes: pgwal.WALPageSize, WALSegmentBytes: wal.SegmentSize, NameBytes: 64, IndexKeys: 32,
		ToastChunkBytes: 1996, LargeObjectChunkSize: 2048, Float8ByVal: true,
	}
	dir := fstest.MapFS{}
	add := func(path string, body []byte) { dir[path] = &fstest.MapFile{Data: body, Mode: 0o600} }
	base := datadir.DatabaseDir(datadir.DefaultTablespace, databaseOID)
	add("PG_VERSION", []byte(datadir.MajorVersion))
	add("global/pg_control", control.AppendTo(nil))
	add("global/pg_filenode.map", relMap())
	add(base+"/PG_VERSION", []byte(datadir.MajorVersion))
	add(base+"/pg_filenode.map", relMap())
	add("pg_xact/0000", make([]byte, 3*pgwal.PageSize))
	add("pg_wal/"+segment.Name(at.Segment()), lastSegments[at]())
	for n, values := range relations {
		var body []byte
		for block, value := range values {
			page := make([]byte, pgwal.PageSize)
			if value != 0 {
				page = newPage(pgwal.BlockNumber(block), value, at)
			}
			body = append(body, page...)
		}
		add(datadir.ForkPath(Relation(n), pgwal.MainFork), body)
	}
	return dir
}

// relMap is a relation map that maps nothing, with its checksum.
func relMap() []byte {
	const magic, sumOffset = 0x592717, 504
	b := binary.LittleEndian.AppendUint32(nil, magic)
	b = append(b, make([]byte, sumOffset-4)...)
	b = binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)))
	return append(b, 0, 0, 0, 0)
}
