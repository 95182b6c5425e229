package pgsource

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/varvedb/varve/wal"
)

const (
	logDataTag   = 'w'
	keepaliveTag = 'k'
	statusTag    = 'r'

	logDataHeaderSize = 1 + 8 + 8 + 8
	keepaliveSize     = 1 + 8 + 8 + 1
	statusSize        = 1 + 8 + 8 + 8 + 8 + 1
)

// epoch is the zero of PostgreSQL's clock.
var epoch = time.Date(2000, time.January, 1, 0, 0, 0, 0, time.UTC)

// message is one CopyData of the server. Exactly one of the two kinds is set.
type message struct {
	begin  wal.LSN // of data
	data   []byte  // a piece of log, never empty; nil in a keepalive
	answer bool    // a keepalive asks for a status at once
}

// decodeMessage reads a CopyData's content. The result points into p.
func decodeMessage(p []byte) (message, error) {
	if len(p) == 0 {
		return message{}, fmt.Errorf("replication message is empty")
	}
	switch p[0] {
	case logDataTag:
		if len(p) <= logDataHeaderSize {
			return message{}, fmt.Errorf("log data message of %d bytes: want more than %d", len(p), logDataHeaderSize)
		}
		return message{begin: wal.LSN(binary.BigEndian.Uint64(p[1:])), data: p[logDataHeaderSize:]}, nil
	case keepaliveTag:
		if len(p) != keepaliveSize {
			return message{}, fmt.Errorf("keepalive message of %d bytes: want %d", len(p), keepaliveSize)
		}
		return message{answer: p[keepaliveSize-1] != 0}, nil
	}
	return message{}, fmt.Errorf("replication message of unknown type %q", p[0])
}

// appendStatus appends a standby status that reports at as written, flushed and
// applied.
func appendStatus(dst []byte, at wal.LSN, now time.Time) []byte {
	dst = append(dst, statusTag)
	for range 3 {
		dst = binary.BigEndian.AppendUint64(dst, uint64(at))
	}
	dst = binary.BigEndian.AppendUint64(dst, uint64(now.Sub(epoch).Microseconds()))
	return append(dst, 0)
}
