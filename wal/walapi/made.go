package walapi

import (
	"fmt"
	"hash/crc32"

	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/quorum"
)

// The object tenants/TENANT/logs/TIMELINE says that the timeline's log was made on
// the safekeepers. It is written once, by a Put that is conditional on its absence,
// when every safekeeper has made it, and before anyone asks for a vote. From then on no
// safekeeper makes that log: one that does not have it has lost it. Numbers are
// little-endian.
//
//	offset  bytes
//	     0      4  magic "VLOG"
//	     4      4  version = 1
//	     8     16  tenant
//	    24     16  timeline
//	    40      8  system id
//	    48      4  PG version
//	    52      8  start LSN
//	    60      4  CRC32C of all bytes before
const (
	madeMagic   = "VLOG"
	madeVersion = 1
	madeSize    = 64
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// MadeKey names the object that says that a timeline's log was made.
func MadeKey(id quorum.Identity) string {
	return fmt.Sprintf("tenants/%v/logs/%v", id.Tenant, id.Timeline)
}

// AppendMade appends the object that says that a log was made.
func AppendMade(dst []byte, id quorum.Identity) []byte {
	begin := len(dst)
	dst = append(dst, madeMagic...)
	dst = le.AppendUint32(dst, madeVersion)
	dst = append(dst, id.Tenant[:]...)
	dst = append(dst, id.Timeline[:]...)
	dst = le.AppendUint64(dst, id.SystemID)
	dst = le.AppendUint32(dst, id.PGVersion)
	dst = le.AppendUint64(dst, uint64(id.Start))
	return le.AppendUint32(dst, crc32.Checksum(dst[begin:], castagnoli))
}

// DecodeMade reads an object; key names it in errors.
func DecodeMade(key string, src []byte) (id quorum.Identity, err error) {
	if len(src) != madeSize {
		return id, wal.Corruptf(key, 0, "size of log object", madeSize, len(src))
	}
	sum := le.Uint32(src[madeSize-4:])
	if want := crc32.Checksum(src[:madeSize-4], castagnoli); sum != want {
		return id, wal.Corruptf(key, madeSize-4, "checksum of log object", want, sum)
	}
	if magic := string(src[:4]); magic != madeMagic {
		return id, wal.Corruptf(key, 0, "magic of log object", madeMagic, fmt.Sprintf("%q", magic))
	}
	if version := le.Uint32(src[4:]); version != madeVersion {
		return id, fmt.Errorf("read %s: want version %d, got %d: it was written by another version of Varve", key, madeVersion, version)
	}
	copy(id.Tenant[:], src[8:])
	copy(id.Timeline[:], src[24:])
	id.SystemID = le.Uint64(src[40:])
	id.PGVersion = le.Uint32(src[48:])
	id.Start = wal.LSN(le.Uint64(src[52:]))
	return id, nil
}
