//go:build !amd64

package pgwal

// recordCRC computes the CRC-32C of the record raw, which has its header at least: of
// what follows the header, then of the header up to the CRC itself.
func recordCRC(raw []byte) uint32 { return libraryCRC(raw) }
