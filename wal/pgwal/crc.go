package pgwal

import "hash/crc32"

// recordCRCSize is the number of bytes of a record's header that its CRC covers: all
// before the CRC itself.
const recordCRCSize = 20

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// libraryCRC is recordCRC by hash/crc32, for any processor.
func libraryCRC(raw []byte) uint32 {
	crc := crc32.Update(0, castagnoli, raw[recordHeaderSize:])
	return crc32.Update(crc, castagnoli, raw[:recordCRCSize])
}
