package pgwal

import "golang.org/x/sys/cpu"

// shortCRCMax is the size of the largest record that shortCRC is for: from here on
// hash/crc32 is faster, for it runs three chains side by side in long bodies.
const shortCRCMax = 512

var hasShortCRC = cpu.X86.HasSSE42

// recordCRC computes the CRC-32C of the record raw, which has its header at least: of
// what follows the header, then of the header up to the CRC itself.
func recordCRC(raw []byte) uint32 {
	if hasShortCRC && len(raw) <= shortCRCMax {
		return shortCRC(raw, &crcPrefixes[len(raw)%8])
	}
	return libraryCRC(raw)
}

// crcPrefixes are, by the number of bytes in a body beyond a multiple of 8, what
// shortCRC begins with.
var crcPrefixes = makeCRCPrefixes()

// crcPrefix begins a CRC at the 8 bytes of which the body's first ones are the last.
type crcPrefix struct {
	keep  uint64 // mask of the body's bytes
	start uint64 // state that, after zeros in place of the others, is that of an empty CRC
}

func makeCRCPrefixes() (all [8]crcPrefix) {
	for n := range all {
		zeros := 8 - n
		all[n] = crcPrefix{keep: ^uint64(0) << (8 * zeros), start: uint64(crcBeforeZeros(^uint32(0), zeros))}
	}
	return all
}

// crcBeforeZeros is the state of a CRC that n bytes of zeros turn into state. A zero
// byte takes the state s to s>>8 ^ table[s&0xFF], and the highest byte of an entry of
// the table tells which one it is.
func crcBeforeZeros(state uint32, n int) uint32 {
	for range n {
		for low, entry := range castagnoli {
			if entry>>24 == state>>24 {
				state = (state^entry)<<8 | uint32(low)
				break
			}
		}
	}
	return state
}

// shortCRC is recordCRC for a short record, by the processor's own instruction. prefix
// is the one of raw's length. It reads raw and prefix, and nothing else.
//
//go:noescape
func shortCRC(raw []byte, prefix *crcPrefix) uint32
