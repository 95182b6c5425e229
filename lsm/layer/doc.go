// Package layer is the layer file: versions of a range of keys over a range of
// LSNs, written once, read by range.
//
// A *delta layer* holds every version of its keys with an LSN in (LSNLo, LSNHi],
// a key's versions side by side. An *image layer* holds at most one version per
// key, an image as of LSNHi (= LSNLo), and is complete: a key of its range that
// it lacks has no value there. An image's own LSN is that of the newest change in
// it, so it may lie below the layer's. Key ranges include both ends.
//
// # File
//
//	+--------+--------------+--------------+-- - --+--------------+-------------+--------+
//	| header | data block 0 | data block 1 |       | filter block | index block | footer |
//	+--------+--------------+--------------+-- - --+--------------+-------------+--------+
//
// Integers are little-endian, keys and ids raw bytes. The header says which layer
// this is; its bytes 0..88 are the layer's identity.
//
//	header, 92 bytes
//	 0  8  magic "varveLYR"
//	 8  2  format version, 4
//	10  1  kind: 1 delta, 2 image
//	11  1  zero
//	12  4  generation
//	16 16  timeline
//	32 18  first key          the least key in the file
//	50 18  last key           the greatest key in the file
//	68  8  LSNLo
//	76  8  LSNHi
//	84  4  number             apart from the other layers of its generation
//	88  4  CRC32C of bytes 0..88
//
//	block, 16 bytes and the payload
//	 0  4  CRC32C of identity, the block's offset in the file (8 bytes), bytes 4.. of the block
//	 4  4  size of the payload as stored
//	 8  4  size of the payload as decoded
//	12  1  type: 1 data, 2 index, 3 filter
//	13  1  codec: 0 none, 1 lz4 block
//	14  2  zero
//	16  n  payload
//
//	data payload: keys, then versions in order of (key, LSN), then their values
//	 0  1  p, the number of bytes that all keys in it begin with
//	 1  1  f, the bytes of the number of a version
//	 2  1  l, the bytes of an LSN
//	 3  1  v, the bytes of a place
//	 4     number of versions, number of keys, at least 1, and least LSN, as varints of
//	       encoding/binary
//	 p     the bytes that all keys begin with
//	then for each key, f, l and v being as small as they can be
//	 18-p  the rest of the key
//	 f     number of its first version, from 0
//	then for each version
//	 l     LSN, less the least
//	then for each version
//	 v     its place: 4 times where its value ends, counted from the first value, and its
//	       kind: 1 image, 2 delta, 3 tombstone (delta layers only)
//	then the values, up to the end
//	Numbers of f, l and v bytes have the highest byte first.
//
//	index payload
//	 0  1  p, the number of bytes that all keys in it begin with
//	 1  1  l, the bytes of an LSN
//	 2  1  o, the bytes of an offset
//	 3  1  zero
//	 4  p  the bytes that all keys begin with
//	then for each data block, p, l and o being as small as they can be
//	 18-p  the rest of the key of its first entry
//	 l     if the block before ends with that key: LSN of the first entry, less LSNLo; else zero
//	 o     offset in the file; the block ends where the next one, or the filter block, begins
//	LSN and offset have the highest byte first, so that entries are in order as bytes.
//
//	filter payload: a Bloom filter of the keys, lines of 64 bytes; never compressed
//
//	footer, 52 bytes
//	 0  8  offset of the index block
//	 8  4  its size, with the block's header
//	12  4  size of the filter block, with its header
//	16  4  number of data blocks
//	20  4  zero
//	24  8  number of versions
//	32  8  number of keys
//	40  4  CRC32C of identity, the footer's offset in the file (8 bytes), bytes 0..40
//	44  8  magic "RYLevrav"
//
// With h = kv.Key.Hash of a key, its line is number (h >> 32) * lines >> 32, and with
// p = h * 0x9E3779B97F4A7C15 its six bits in there are p & 511, then the same of p
// rotated right by 9, 18, and so on.
//
// Because a block's checksum covers the layer's identity and its place, a sound
// block of another file or offset is as wrong as a flipped bit.
//
// A data block is closed before it would outgrow the block size, but holds at
// least one entry: a value larger than a block has one of its own. Blocks are
// stored as they are when lz4 saves less than a sixteenth; where it did so for many in a
// row, only some are tried.
//
// # Reading
//
// The index of layers knows where filter and index block are, so the first read of a
// layer fetches those two, the next the data block, and no read asks for the whole
// file. A key that the filter does not let through costs no read. A chain that does not end in its newest block is fetched
// [chainReadBlocks] blocks at a time. Decoded blocks live in a [Cache], indexes and filters
// in another, so that data does not drive out what finds it.
//
// The package checks and decodes; where bytes come from is a [Source]'s matter.
package layer
