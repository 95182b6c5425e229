package pgcontrol

import (
	"encoding/binary"
	"hash/crc32"
	"math"

	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/assert"
)

// Layout, offsets in bytes:
//
//	0    system identifier (8)   | version (4)          | catalog version (4)
//	16   state (4)     | pad (4) | time (8)
//	32   checkpoint LSN (8)      | checkpoint copy (88) ...
//	128  unlogged LSN (8)        | min recovery LSN (8)
//	144  its TLI (4)   | pad (4) | backup start (8)
//	160  backup end (8)          | end required (1) pad (3) | wal_level (4)
//	176  log hints (1) pad (3)   | max_connections (4)  | worker processes (4) | WAL senders (4)
//	192  prepared xacts (4)      | locks per xact (4)   | commit ts (1) pad (3) | max align (4)
//	208  float format (8)        | block (4)            | segment blocks (4)
//	224  WAL block (4)           | WAL segment (4)      | name (4)  | index keys (4)
//	240  toast chunk (4)         | large object (4)     | float8 by value (1) pad (3) | checksums (4)
//	256  nonce (32)
//	288  CRC-32C of bytes 0 to 287 (4)
//	292  zeros to the end
const (
	// FileBytes is the size of the file.
	FileBytes = 8192
	// Version is the only format that this package knows.
	Version = 1300

	checkPointOffset = 40
	checkPointEnd    = 128
	nonceOffset      = 256
	crcOffset        = 288
	usedBytes        = 292
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Decode reads a control file; name is used in errors. The error matches
// wal.ErrCorruption if the file is not one that PostgreSQL 13 to 15 wrote.
func Decode(name string, b []byte) (*File, error) {
	if err := check(name, b); err != nil {
		return nil, err
	}
	f := &File{
		SystemID:       u64(b, 0),
		CatalogVersion: u32(b, 12),
		State:          State(u32(b, 16)),
		Time:           int64(u64(b, 24)),
		CheckPoint:     wal.LSN(u64(b, 32)),
	}
	if err := f.CheckPointCopy.Decode(b[checkPointOffset:checkPointEnd]); err != nil {
		return nil, wal.Corruptf(name, checkPointOffset, "checkpoint copy", "what a checkpoint record holds", err)
	}
	f.decodeRecovery(b)
	f.decodeSettings(b)
	f.decodeBuild(b)
	return f, nil
}

func check(name string, b []byte) error {
	if len(b) != FileBytes {
		return wal.Corruptf(name, 0, "control file size", FileBytes, len(b))
	}
	// The version first: it says where the checksum stands.
	if got := u32(b, 8); got != Version {
		return wal.Corruptf(name, 8, "control file version", Version, got)
	}
	if want, got := crc32.Checksum(b[:crcOffset], castagnoli), u32(b, crcOffset); want != got {
		return wal.Corruptf(name, crcOffset, "control file checksum", want, got)
	}
	for i, c := range b[usedBytes:] {
		if c != 0 {
			return wal.Corruptf(name, int64(usedBytes+i), "byte after the control file's checksum", 0, c)
		}
	}
	return nil
}

func (f *File) decodeRecovery(b []byte) {
	f.UnloggedLSN = wal.LSN(u64(b, 128))
	f.MinRecoveryPoint = wal.LSN(u64(b, 136))
	f.MinRecoveryTimelineID = u32(b, 144)
	f.BackupStartPoint = wal.LSN(u64(b, 152))
	f.BackupEndPoint = wal.LSN(u64(b, 160))
	f.BackupEndRequired = b[168] != 0
}

func (f *File) decodeSettings(b []byte) {
	f.WALLevel = u32(b, 172)
	f.WALLogHints = b[176] != 0
	f.MaxConnections = int32(u32(b, 180))
	f.MaxWorkerProcesses = int32(u32(b, 184))
	f.MaxWALSenders = int32(u32(b, 188))
	f.MaxPreparedXacts = int32(u32(b, 192))
	f.MaxLocksPerXact = int32(u32(b, 196))
	f.TrackCommitTimestamp = b[200] != 0
}

func (f *File) decodeBuild(b []byte) {
	f.MaxAlign = u32(b, 204)
	f.FloatFormat = math.Float64frombits(u64(b, 208))
	f.BlockBytes = u32(b, 216)
	f.SegmentBlocks = u32(b, 220)
	f.WALBlockBytes = u32(b, 224)
	f.WALSegmentBytes = u32(b, 228)
	f.NameBytes = u32(b, 232)
	f.IndexKeys = u32(b, 236)
	f.ToastChunkBytes = u32(b, 240)
	f.LargeObjectChunkSize = u32(b, 244)
	f.Float8ByVal = b[248] != 0
	f.DataChecksumVersion = u32(b, 252)
	copy(f.MockAuthNonce[:], b[nonceOffset:crcOffset])
}

// AppendTo appends the whole file, checksum and trailing zeros included, to dst.
func (f *File) AppendTo(dst []byte) []byte {
	start := len(dst)
	dst = binary.LittleEndian.AppendUint64(dst, f.SystemID)
	dst = appendU32(dst, Version, f.CatalogVersion, uint32(f.State), 0)
	dst = appendU64(dst, uint64(f.Time), uint64(f.CheckPoint))
	dst = f.CheckPointCopy.AppendTo(dst)
	assert.That(len(dst)-start == checkPointEnd, "the checkpoint copy ends at byte %d", checkPointEnd)
	dst = appendU64(dst, uint64(f.UnloggedLSN), uint64(f.MinRecoveryPoint))
	dst = appendU32(dst, f.MinRecoveryTimelineID, 0)
	dst = appendU64(dst, uint64(f.BackupStartPoint), uint64(f.BackupEndPoint))
	dst = appendU32(dst, truth(f.BackupEndRequired), f.WALLevel, truth(f.WALLogHints),
		uint32(f.MaxConnections), uint32(f.MaxWorkerProcesses), uint32(f.MaxWALSenders),
		uint32(f.MaxPreparedXacts), uint32(f.MaxLocksPerXact), truth(f.TrackCommitTimestamp), f.MaxAlign)
	dst = appendU64(dst, math.Float64bits(f.FloatFormat))
	dst = appendU32(dst, f.BlockBytes, f.SegmentBlocks, f.WALBlockBytes, f.WALSegmentBytes,
		f.NameBytes, f.IndexKeys, f.ToastChunkBytes, f.LargeObjectChunkSize,
		truth(f.Float8ByVal), f.DataChecksumVersion)
	dst = append(dst, f.MockAuthNonce[:]...)
	assert.That(len(dst)-start == crcOffset, "the checksum stands at byte %d", crcOffset)
	dst = appendU32(dst, crc32.Checksum(dst[start:], castagnoli))
	return append(dst, make([]byte, FileBytes-usedBytes)...)
}

func truth(b bool) uint32 {
	if b {
		return 1
	}
	return 0
}

func u32(b []byte, at int) uint32 { return binary.LittleEndian.Uint32(b[at:]) }
func u64(b []byte, at int) uint64 { return binary.LittleEndian.Uint64(b[at:]) }

func appendU32(dst []byte, values ...uint32) []byte {
	for _, v := range values {
		dst = binary.LittleEndian.AppendUint32(dst, v)
	}
	return dst
}

func appendU64(dst []byte, values ...uint64) []byte {
	for _, v := range values {
		dst = binary.LittleEndian.AppendUint64(dst, v)
	}
	return dst
}
