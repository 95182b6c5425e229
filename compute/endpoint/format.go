package endpoint

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/quorum"
)

// The object tenants/TENANT/logs/TIMELINE says that the timeline's log was made on
// the safekeepers. It is written once, by a Put that is conditional on its absence,
// when every safekeeper has made it. Numbers are little-endian.
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
	logObjectMagic   = "VLOG"
	logObjectVersion = 1
	logObjectSize    = 64
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func logObjectKey(id quorum.Identity) string {
	return fmt.Sprintf("tenants/%v/logs/%v", id.Tenant, id.Timeline)
}

func appendLogObject(dst []byte, id quorum.Identity) []byte {
	begin := len(dst)
	dst = append(dst, logObjectMagic...)
	dst = binary.LittleEndian.AppendUint32(dst, logObjectVersion)
	dst = append(dst, id.Tenant[:]...)
	dst = append(dst, id.Timeline[:]...)
	dst = binary.LittleEndian.AppendUint64(dst, id.SystemID)
	dst = binary.LittleEndian.AppendUint32(dst, id.PGVersion)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(id.Start))
	return binary.LittleEndian.AppendUint32(dst, crc32.Checksum(dst[begin:], castagnoli))
}

// decodeLogObject reads an object; key names it in errors.
func decodeLogObject(key string, src []byte) (id quorum.Identity, err error) {
	if len(src) != logObjectSize {
		return id, wal.Corruptf(key, 0, "size of log object", logObjectSize, len(src))
	}
	sum := binary.LittleEndian.Uint32(src[logObjectSize-4:])
	if want := crc32.Checksum(src[:logObjectSize-4], castagnoli); sum != want {
		return id, wal.Corruptf(key, logObjectSize-4, "checksum of log object", want, sum)
	}
	if magic := string(src[:4]); magic != logObjectMagic {
		return id, wal.Corruptf(key, 0, "magic of log object", logObjectMagic, fmt.Sprintf("%q", magic))
	}
	if version := binary.LittleEndian.Uint32(src[4:]); version != logObjectVersion {
		return id, fmt.Errorf("read %s: want version %d, got %d: it was written by another version of Varve", key, logObjectVersion, version)
	}
	copy(id.Tenant[:], src[8:])
	copy(id.Timeline[:], src[24:])
	id.SystemID = binary.LittleEndian.Uint64(src[40:])
	id.PGVersion = binary.LittleEndian.Uint32(src[48:])
	id.Start = wal.LSN(binary.LittleEndian.Uint64(src[52:]))
	return id, nil
}
