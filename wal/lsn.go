package wal

import (
	"fmt"
	"strconv"
	"strings"
)

// LSN is a byte position in a timeline's write-ahead log, as in PostgreSQL. The
// zero LSN is invalid: no record starts or ends there.
type LSN uint64

// InvalidLSN is the zero LSN, which names no position.
const InvalidLSN LSN = 0

// SegmentSize is the size of a WAL segment in bytes. Varve accepts only
// PostgreSQL's default of 16 MiB.
const SegmentSize = 16 << 20

// String renders the LSN as PostgreSQL does: two hexadecimal halves.
func (l LSN) String() string {
	return fmt.Sprintf("%X/%X", uint32(l>>32), uint32(l))
}

// IsValid reports whether the LSN names a position.
func (l LSN) IsValid() bool { return l != InvalidLSN }

// Segment returns the number of the segment that holds the byte at l.
func (l LSN) Segment() uint64 { return uint64(l) / SegmentSize }

// SegmentOffset returns the offset in bytes of l inside its segment.
func (l LSN) SegmentOffset() int { return int(uint64(l) % SegmentSize) }

// SegmentStart returns the LSN of the first byte of segment number n.
func SegmentStart(n uint64) LSN { return LSN(n * SegmentSize) }

// ParseLSN reads PostgreSQL's textual form, such as 0/16B3748.
func ParseLSN(s string) (LSN, error) {
	high, low, ok := strings.Cut(s, "/")
	if !ok {
		return 0, fmt.Errorf("parse LSN %q: want two hexadecimal numbers joined by a slash, such as 0/16B3748", s)
	}
	h, err := parseHalf(high)
	if err != nil {
		return 0, fmt.Errorf("parse LSN %q: %w", s, err)
	}
	l, err := parseHalf(low)
	if err != nil {
		return 0, fmt.Errorf("parse LSN %q: %w", s, err)
	}
	return LSN(h<<32 | l), nil
}

func parseHalf(s string) (uint64, error) {
	n, err := strconv.ParseUint(s, 16, 32)
	if err != nil {
		return 0, fmt.Errorf("%q is not a hexadecimal number of at most 8 digits", s)
	}
	return n, nil
}

// MarshalText implements encoding.TextMarshaler.
func (l LSN) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (l *LSN) UnmarshalText(text []byte) error {
	parsed, err := ParseLSN(string(text))
	if err != nil {
		return err
	}
	*l = parsed
	return nil
}
