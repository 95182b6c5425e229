package datadir

import (
	"encoding/binary"
	"hash/crc32"

	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/pgwal"
)

// A pg_filenode.map (relmapper.c): magic, number of entries, room for 62 of them, CRC-32C
// of all that, padding.
const (
	relMapMagic   = 0x592717
	relMapMax     = 62
	relMapHeader  = 8
	relMapEntry   = 8
	relMapChecked = relMapHeader + relMapMax*relMapEntry
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Mapping says which file a relation has that no row of pg_class names one for.
type Mapping struct {
	OID  uint32 // of the relation
	File uint32 // its relfilenode
}

// ParseRelMap reads a pg_filenode.map. name is how an error calls it.
func ParseRelMap(name string, body []byte) ([]Mapping, error) {
	if len(body) != pgwal.RelMapSize {
		return nil, wal.Corruptf(name, 0, "size", pgwal.RelMapSize, len(body))
	}
	if want, got := crc32.Checksum(body[:relMapChecked], castagnoli), binary.LittleEndian.Uint32(body[relMapChecked:]); want != got {
		return nil, wal.Corruptf(name, relMapChecked, "checksum", want, got)
	}
	if magic := binary.LittleEndian.Uint32(body); magic != relMapMagic {
		return nil, wal.Corruptf(name, 0, "magic", relMapMagic, magic)
	}
	count := binary.LittleEndian.Uint32(body[4:])
	if count > relMapMax {
		return nil, wal.Corruptf(name, 4, "number of entries", relMapMax, count)
	}
	mappings := make([]Mapping, count)
	for i := range mappings {
		entry := body[relMapHeader+i*relMapEntry:]
		mappings[i] = Mapping{OID: binary.LittleEndian.Uint32(entry), File: binary.LittleEndian.Uint32(entry[4:])}
	}
	return mappings, nil
}
