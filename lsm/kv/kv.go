// Package kv holds the words that all of lsm shares: a [Key], and a [Version] of
// its value as of an LSN.
package kv

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math/bits"

	"github.com/varvedb/varve/wal"
)

// KeySize is the size of a key in bytes.
const KeySize = 18

// Key names a value. Keys are ordered bytewise; what they mean is the caller's.
type Key [KeySize]byte

// MaxKey is the greatest key.
var MaxKey = Key(bytes.Repeat([]byte{0xff}, KeySize))

// String renders the key as 36 hexadecimal digits.
func (k Key) String() string { return hex.EncodeToString(k[:]) }

// ParseKey reads 36 hexadecimal digits.
func ParseKey(s string) (k Key, err error) {
	if len(s) != hex.EncodedLen(KeySize) {
		return k, fmt.Errorf("parse key %q: want %d hexadecimal digits, got %d characters", s, hex.EncodedLen(KeySize), len(s))
	}
	if _, err := hex.Decode(k[:], []byte(s)); err != nil {
		return k, fmt.Errorf("parse key %q: %w", s, err)
	}
	return k, nil
}

// Compare returns -1, 0 or 1 as k lies before, at or after other.
func (k Key) Compare(other Key) int {
	// By words: the compiler calls no memory comparison for it, and keys of one
	// relation differ in their last bytes only.
	if c := cmp.Compare(binary.BigEndian.Uint64(k[0:]), binary.BigEndian.Uint64(other[0:])); c != 0 {
		return c
	}
	if c := cmp.Compare(binary.BigEndian.Uint64(k[8:]), binary.BigEndian.Uint64(other[8:])); c != 0 {
		return c
	}
	return cmp.Compare(binary.BigEndian.Uint16(k[16:]), binary.BigEndian.Uint16(other[16:]))
}

// Is reports whether k is other. It is inlined, which the == of arrays of this size is not.
func (k *Key) Is(other *Key) bool {
	le := binary.LittleEndian
	return le.Uint64(k[0:]) == le.Uint64(other[0:]) && le.Uint64(k[8:]) == le.Uint64(other[8:]) && le.Uint16(k[16:]) == le.Uint16(other[16:])
}

// Less reports whether k lies before other.
func (k Key) Less(other Key) bool { return k.Compare(other) < 0 }

// Hash mixes the key into 64 bits. It is part of the layer format: filters are made
// of it.
func (k Key) Hash() uint64 {
	a, b, c := binary.LittleEndian.Uint64(k[0:]), binary.LittleEndian.Uint64(k[8:]), uint64(binary.LittleEndian.Uint16(k[16:]))
	hi, lo := bits.Mul64(a^0x9E3779B97F4A7C15, b^c<<48^0xC2B2AE3D27D4EB4F)
	hi, lo = bits.Mul64(hi^lo^c, 0xD6E8FEB86659FD93)
	return hi ^ lo
}

// Next returns the key right after k, and false if k is [MaxKey].
func (k Key) Next() (Key, bool) {
	for i := KeySize - 1; i >= 0; i-- {
		k[i]++
		if k[i] != 0 {
			return k, true
		}
	}
	return k, false
}

// Kind says what a version is. The numbers are part of the layer format.
type Kind uint8

// The kinds of versions. Zero is none of them.
const (
	Image     Kind = 1 // a whole value: nothing below it is needed
	Delta     Kind = 2 // a change, to be applied to what lies below it
	Tombstone Kind = 3 // from this LSN on there is nothing
)

func (k Kind) String() string {
	switch k {
	case Image:
		return "image"
	case Delta:
		return "delta"
	case Tombstone:
		return "tombstone"
	}
	return fmt.Sprintf("kind %d", uint8(k))
}

// Valid reports whether k is one of the three kinds.
func (k Kind) Valid() bool { return k >= Image && k <= Tombstone }

// Version is one state of, or change to, a key's value. There is at most one
// version for each key and LSN.
type Version struct {
	Key   Key
	LSN   wal.LSN // end of the record that made it
	Kind  Kind
	Value []byte // empty for a tombstone
}

// ValueBytesMax bounds a value. The greatest values known are the state files of
// prepared transactions with very many locks: a few MiB.
const ValueBytesMax = 64 << 20

// Compare orders versions by key, then LSN.
func (v Version) Compare(other Version) int {
	if c := v.Key.Compare(other.Key); c != 0 {
		return c
	}
	return cmp.Compare(v.LSN, other.LSN)
}
