package pgcontrol

import (
	"fmt"
	"time"

	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/pgwal"
)

// State says how the cluster was left.
type State uint32

// The states. The numbers are part of the format.
const (
	StartingUp         State = 0
	ShutDown           State = 1 // cleanly: nothing to replay
	ShutDownInRecovery State = 2
	ShuttingDown       State = 3
	InCrashRecovery    State = 4
	InArchiveRecovery  State = 5
	InProduction       State = 6
)

// String names the state as pg_controldata does.
func (s State) String() string {
	switch s {
	case StartingUp:
		return "starting up"
	case ShutDown:
		return "shut down"
	case ShutDownInRecovery:
		return "shut down in recovery"
	case ShuttingDown:
		return "shutting down"
	case InCrashRecovery:
		return "in crash recovery"
	case InArchiveRecovery:
		return "in archive recovery"
	case InProduction:
		return "in production"
	}
	return fmt.Sprintf("unrecognized state %d", uint32(s))
}

// File is a control file. Fields stand in the file's order.
type File struct {
	SystemID       uint64 // drawn by initdb; stamped on every WAL segment
	CatalogVersion uint32
	State          State
	Time           int64 // seconds since 1970, when the file was last written

	CheckPoint     wal.LSN          // start of the last checkpoint's record
	CheckPointCopy pgwal.CheckPoint // what that record says

	UnloggedLSN           wal.LSN // counter that serves unlogged relations as LSN
	MinRecoveryPoint      wal.LSN
	MinRecoveryTimelineID uint32
	BackupStartPoint      wal.LSN
	BackupEndPoint        wal.LSN
	BackupEndRequired     bool

	// Settings of the running server that a standby must match.
	WALLevel             uint32 // 0 minimal, 1 replica, 2 logical
	WALLogHints          bool
	MaxConnections       int32
	MaxWorkerProcesses   int32
	MaxWALSenders        int32
	MaxPreparedXacts     int32
	MaxLocksPerXact      int32
	TrackCommitTimestamp bool

	// How the server was built.
	MaxAlign             uint32
	FloatFormat          float64 // 1234567
	BlockBytes           uint32
	SegmentBlocks        uint32 // of a relation's file before the next begins
	WALBlockBytes        uint32
	WALSegmentBytes      uint32
	NameBytes            uint32
	IndexKeys            uint32
	ToastChunkBytes      uint32
	LargeObjectChunkSize uint32
	Float8ByVal          bool

	DataChecksumVersion uint32 // 0: data checksums are off
	MockAuthNonce       [32]byte
}

// Modified returns when the file was last written.
func (f *File) Modified() time.Time { return time.Unix(f.Time, 0).UTC() }
