package world

import (
	"encoding/binary"
	"hash/crc32"
)

// SealTape puts the checksum that is right behind bytes, so that a fuzzer comes past it.
func SealTape(p []byte) []byte {
	return binary.LittleEndian.AppendUint32(p[:len(p):len(p)], crc32.Checksum(p, castagnoli))
}
