package pgwal

import (
	"encoding/binary"

	"github.com/varvedb/varve/wal"
)

// The operations of XLOG records (pg_control.h).
const (
	OpXLOGCheckpointShutdown  = 0x00
	OpXLOGCheckpointOnline    = 0x10
	OpXLOGNoop                = 0x20
	OpXLOGNextOID             = 0x30
	OpXLOGSwitch              = 0x40
	OpXLOGBackupEnd           = 0x50
	OpXLOGParameterChange     = 0x60
	OpXLOGRestorePoint        = 0x70
	OpXLOGFPWChange           = 0x80
	OpXLOGEndOfRecovery       = 0x90
	OpXLOGFPIForHint          = 0xA0
	OpXLOGFPI                 = 0xB0
	OpXLOGOverwriteContrecord = 0xD0
)

// CheckPointSize is the size in bytes of a [CheckPoint] in a record and in pg_control.
const CheckPointSize = 88

// CheckPoint is the body of CHECKPOINT_SHUTDOWN and CHECKPOINT_ONLINE, and
// pg_control's checkPointCopy. In bytes:
//
//	 0              8          12         16    17       24             32
//	+--------------+----------+----------+-----+--------+--------------+
//	| redo         | timeline | previous | fpw | zero   | next xid     |
//	+--------------+----------+----------+-----+--------+--------------+
//	32         36          40             44         48           52           56          60
//	+----------+-----------+--------------+----------+------------+------------+-----------+
//	| next oid | next mxid | next mx off  | old xid  | its db     | old mxid   | its db    |
//	+----------+-----------+--------------+----------+------------+------------+-----------+
//	60       64             72                80                84               88
//	+--------+--------------+--------+--------+-----------------+--------+
//	| zero   | time         | oldest, newest  | oldest active   | zero   |
//	|        |              | commit ts xid   | xid             |        |
//	+--------+--------------+--------+--------+-----------------+--------+
type CheckPoint struct {
	Redo              wal.LSN // where replay would start; a shutdown checkpoint's own LSN
	TimeLine          uint32
	PrevTimeLine      uint32
	FullPageWrites    bool
	NextXID           FullXID
	NextOID           uint32
	NextMulti         uint32
	NextMultiOffset   uint32
	OldestXID         XID
	OldestXIDDB       uint32
	OldestMulti       uint32
	OldestMultiDB     uint32
	Time              int64 // seconds since 1970 UTC
	OldestCommitTsXID XID   // 0 when commit timestamps are off
	NewestCommitTsXID XID
	OldestActiveXID   XID // 0 in a shutdown checkpoint
}

// Decode sets c from the [CheckPointSize] bytes of a checkpoint. The padding, which
// PostgreSQL does not always zero, is ignored.
func (c *CheckPoint) Decode(src []byte) error {
	return c.decode(fields{src: src})
}

// ParseCheckPoint reads a CHECKPOINT_SHUTDOWN or CHECKPOINT_ONLINE record.
func ParseCheckPoint(rec *Record) (c CheckPoint, err error) {
	err = c.decode(mainData(rec))
	return c, err
}

func (c *CheckPoint) decode(f fields) error {
	c.Redo = f.lsn()
	c.TimeLine = f.u32()
	c.PrevTimeLine = f.u32()
	c.FullPageWrites = f.boolean()
	f.align()
	c.NextXID = FullXID(f.u64())
	c.NextOID = f.u32()
	c.NextMulti = f.u32()
	c.NextMultiOffset = f.u32()
	c.OldestXID = f.u32()
	c.OldestXIDDB = f.u32()
	c.OldestMulti = f.u32()
	c.OldestMultiDB = f.u32()
	f.align()
	c.Time = int64(f.u64())
	c.OldestCommitTsXID = f.u32()
	c.NewestCommitTsXID = f.u32()
	c.OldestActiveXID = f.u32()
	f.align()
	return f.done()
}

// AppendTo appends the [CheckPointSize] bytes of c to dst.
func (c *CheckPoint) AppendTo(dst []byte) []byte {
	le := binary.LittleEndian
	dst = le.AppendUint64(dst, uint64(c.Redo))
	dst = le.AppendUint32(dst, c.TimeLine)
	dst = le.AppendUint32(dst, c.PrevTimeLine)
	fpw := uint64(0)
	if c.FullPageWrites {
		fpw = 1
	}
	dst = le.AppendUint64(dst, fpw)
	dst = le.AppendUint64(dst, uint64(c.NextXID))
	for _, v := range [...]uint32{c.NextOID, c.NextMulti, c.NextMultiOffset, c.OldestXID, c.OldestXIDDB, c.OldestMulti, c.OldestMultiDB, 0} {
		dst = le.AppendUint32(dst, v)
	}
	dst = le.AppendUint64(dst, uint64(c.Time))
	for _, v := range [...]uint32{c.OldestCommitTsXID, c.NewestCommitTsXID, c.OldestActiveXID, 0} {
		dst = le.AppendUint32(dst, v)
	}
	return dst
}

// ParseNextOID reads a NEXTOID record: OIDs below the result may be in use.
func ParseNextOID(rec *Record) (uint32, error) {
	f := mainData(rec)
	oid := f.u32()
	return oid, f.done()
}

// ParseBackupEnd reads a BACKUP_END record: where the backup that ended began.
func ParseBackupEnd(rec *Record) (wal.LSN, error) {
	f := mainData(rec)
	start := f.lsn()
	return start, f.done()
}

// ParameterChange is the body of PARAMETER_CHANGE: the settings that pg_control holds.
type ParameterChange struct {
	MaxConnections       int32
	MaxWorkerProcesses   int32
	MaxWALSenders        int32
	MaxPreparedXacts     int32
	MaxLocksPerXact      int32
	WALLevel             WALLevel
	WALLogHints          bool
	TrackCommitTimestamp bool
}

// WALLevel is PostgreSQL's wal_level as the log and pg_control hold it.
type WALLevel int32

// The values of wal_level.
const (
	WALLevelMinimal WALLevel = 0
	WALLevelReplica WALLevel = 1
	WALLevelLogical WALLevel = 2
)

// String names the level as the setting does, ? if it is unknown.
func (l WALLevel) String() string {
	switch l {
	case WALLevelMinimal:
		return "minimal"
	case WALLevelReplica:
		return "replica"
	case WALLevelLogical:
		return "logical"
	}
	return "?"
}

// ParseParameterChange reads a PARAMETER_CHANGE record.
func ParseParameterChange(rec *Record) (ParameterChange, error) {
	f := mainData(rec)
	p := ParameterChange{
		MaxConnections:       int32(f.u32()),
		MaxWorkerProcesses:   int32(f.u32()),
		MaxWALSenders:        int32(f.u32()),
		MaxPreparedXacts:     int32(f.u32()),
		MaxLocksPerXact:      int32(f.u32()),
		WALLevel:             WALLevel(f.u32()),
		WALLogHints:          f.boolean(),
		TrackCommitTimestamp: f.boolean(),
	}
	f.take(2) // padding
	return p, f.done()
}

// ParseFPWChange reads a FPW_CHANGE record: whether full_page_writes is on from here.
func ParseFPWChange(rec *Record) (bool, error) {
	f := mainData(rec)
	on := f.boolean()
	return on, f.done()
}

// EndOfRecovery is the body of END_OF_RECOVERY.
type EndOfRecovery struct {
	Time                   Timestamp
	TimeLine, PrevTimeLine uint32
}

// ParseEndOfRecovery reads an END_OF_RECOVERY record.
func ParseEndOfRecovery(rec *Record) (EndOfRecovery, error) {
	f := mainData(rec)
	e := EndOfRecovery{Time: f.time(), TimeLine: f.u32(), PrevTimeLine: f.u32()}
	return e, f.done()
}

// RestorePoint is the body of RESTORE_POINT.
type RestorePoint struct {
	Time Timestamp
	Name string
}

// restorePointNameSize is PostgreSQL's MAXFNAMELEN: the name's room in the record.
const restorePointNameSize = 64

// ParseRestorePoint reads a RESTORE_POINT record.
func ParseRestorePoint(rec *Record) (RestorePoint, error) {
	f := mainData(rec)
	p := RestorePoint{Time: f.time()}
	name := fields{rec: rec, src: f.take(restorePointNameSize)}
	p.Name = name.cstring()
	f.failed = f.failed || name.failed
	return p, f.done()
}

// OverwriteContrecord is the body of OVERWRITE_CONTRECORD: the record that began at
// LSN was never finished, and the log goes on here.
type OverwriteContrecord struct {
	LSN  wal.LSN
	Time Timestamp
}

// ParseOverwriteContrecord reads an OVERWRITE_CONTRECORD record.
func ParseOverwriteContrecord(rec *Record) (OverwriteContrecord, error) {
	f := mainData(rec)
	o := OverwriteContrecord{LSN: f.lsn(), Time: f.time()}
	return o, f.done()
}
