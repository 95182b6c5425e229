package wal

import (
	"encoding/hex"
	"fmt"
)

// TenantID names an isolation unit: a project to its users. 16 random bytes,
// written as 32 hexadecimal digits.
type TenantID [16]byte

// TimelineID names the storage of one branch. 16 random bytes, written as 32
// hexadecimal digits.
type TimelineID [16]byte

// NodeID numbers a node: a safekeeper, a pageserver or a proposer.
type NodeID uint64

// Term fences the writers of a log: a larger term, won by majority vote, makes
// every smaller one powerless.
type Term uint64

// Generation fences pageservers: each attachment of a timeline takes the next.
type Generation uint32

func (id TenantID) String() string   { return hex.EncodeToString(id[:]) }
func (id TimelineID) String() string { return hex.EncodeToString(id[:]) }

// IsZero reports whether the id is unset.
func (id TenantID) IsZero() bool { return id == TenantID{} }

// IsZero reports whether the id is unset.
func (id TimelineID) IsZero() bool { return id == TimelineID{} }

// ParseTenantID reads 32 hexadecimal digits.
func ParseTenantID(s string) (TenantID, error) {
	id, err := parseID(s)
	if err != nil {
		return TenantID{}, fmt.Errorf("parse tenant id %q: %w", s, err)
	}
	return TenantID(id), nil
}

// ParseTimelineID reads 32 hexadecimal digits.
func ParseTimelineID(s string) (TimelineID, error) {
	id, err := parseID(s)
	if err != nil {
		return TimelineID{}, fmt.Errorf("parse timeline id %q: %w", s, err)
	}
	return TimelineID(id), nil
}

func parseID(s string) (id [16]byte, err error) {
	if len(s) != hex.EncodedLen(len(id)) {
		return id, fmt.Errorf("want %d hexadecimal digits, got %d characters", hex.EncodedLen(len(id)), len(s))
	}
	if _, err := hex.Decode(id[:], []byte(s)); err != nil {
		return id, err
	}
	return id, nil
}

// MarshalText implements encoding.TextMarshaler.
func (id TenantID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (id *TenantID) UnmarshalText(text []byte) (err error) {
	*id, err = ParseTenantID(string(text))
	return err
}

// MarshalText implements encoding.TextMarshaler.
func (id TimelineID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (id *TimelineID) UnmarshalText(text []byte) (err error) {
	*id, err = ParseTimelineID(string(text))
	return err
}
